//! The transitions that wait to be announced: of each user the newest. Those of users in many chats
//! stand in a queue of their own, so that a crowd of them holds nobody else up.

use crate::newest::NewestByKey;
use messenger_common::id::UserId;
use messenger_common::presence::Transition;
use time::OffsetDateTime;

/// Users whose transition waits at most, in either queue; beyond it the oldest is dropped.
const TRANSITIONS_WAITING: usize = 100_000;
/// A user in more chats than this waits behind those who are in fewer.
pub(super) const FEW_CHATS: usize = 100;

/// See the module.
pub(super) struct Waiting {
    newest: NewestByKey<UserId, Due>,
    /// Of users in many chats, with their number.
    dear: NewestByKey<UserId, (Due, usize)>,
    /// Whether some were taken out and are not announced yet.
    in_flight: bool,
}

/// A transition that is due to be announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) transition: Transition,
    /// The user's last end of being online, to be stored: it may be that of an earlier transition,
    /// which is announced no more.
    pub(super) seen: Option<OffsetDateTime>,
}

impl From<Transition> for Due {
    fn from(transition: Transition) -> Self {
        Self { transition, seen: (!transition.online).then_some(transition.at) }
    }
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            newest: NewestByKey::new(TRANSITIONS_WAITING),
            dear: NewestByKey::new(TRANSITIONS_WAITING),
            in_flight: false,
        }
    }
}

impl Waiting {
    /// Takes a transition of a user whose chats were not counted.
    pub(super) fn add(&mut self, due: Due) {
        let user = due.transition.user_id;
        let due = newest(due, self.newest.get(&user));
        self.newest.insert(user, due);
    }

    /// Takes some that [`Self::take`] gave, with the number of their users' chats. Answers those
    /// that are announced now.
    pub(super) fn sort(&mut self, counted: impl IntoIterator<Item = (Due, usize)>) -> Vec<Due> {
        let (few, many): (Vec<_>, Vec<_>) = counted.into_iter().partition(|(_, chats)| *chats <= FEW_CHATS);
        for (due, chats) in many {
            let user = due.transition.user_id;
            let due = newest(due, self.dear.get(&user).map(|(due, _)| due));
            self.dear.insert(user, (due, chats));
        }
        few.into_iter().map(|(due, _)| due).collect()
    }

    pub(super) fn take(&mut self, most: usize) -> Vec<Due> {
        let some: Vec<_> = std::iter::from_fn(|| self.newest.pop()).map(|(_, due)| due).take(most).collect();
        self.in_flight = !some.is_empty();
        some
    }

    /// Takes those of users in many chats: in so many together, and one user at least.
    pub(super) fn take_dear(&mut self, most: usize) -> Vec<Due> {
        let (mut some, mut all) = (Vec::new(), 0);
        while all < most
            && let Some((_, (due, chats))) = self.dear.pop()
        {
            all += chats;
            some.push(due);
        }
        self.in_flight = !some.is_empty();
        some
    }

    /// Whether some wait, and none of them for users in many chats: nothing is gathered beside
    /// these, which are announced one after the other.
    pub(super) fn is_cheap(&self) -> bool {
        self.dear.is_empty() && !self.newest.is_empty()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.newest.is_empty() && self.dear.is_empty() && !self.in_flight
    }

    pub(super) fn len(&self) -> usize {
        self.newest.len() + self.dear.len()
    }
}

/// Of two transitions of a user the later one, with the later end of being online.
fn newest(due: Due, known: Option<&Due>) -> Due {
    let Some(known) = known.copied() else { return due };
    let later = if known.transition.decided_at > due.transition.decided_at { known } else { due };
    Due { seen: known.seen.max(due.seen), ..later }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transition(user: i64, decided: i64, online: bool) -> Transition {
        let at = OffsetDateTime::from_unix_timestamp(decided).expect("a time");
        Transition { user_id: UserId(user), online, at, decided_at: at }
    }

    #[test]
    fn of_a_user_the_newest_decision_waits_whenever_it_came() {
        let mut waiting = Waiting::default();
        for (user, decided, online) in [(1, 10, false), (2, 11, true), (1, 12, true), (1, 9, false)] {
            waiting.add(transition(user, decided, online).into());
        }
        let taken = waiting.take(256);
        let transitions: Vec<_> = taken.iter().map(|due| due.transition).collect();
        assert_eq!(transitions, [transition(1, 12, true), transition(2, 11, true)]);
        // The end before it is not announced, but when it was is stored; also after a failure.
        let seen = |taken: &[Due]| -> Vec<_> { taken.iter().map(|due| due.seen).collect() };
        let at = Some(transition(1, 10, false).at);
        assert_eq!(seen(&taken), [at, None]);
        for due in taken {
            waiting.add(due);
        }
        waiting.add(transition(1, 13, true).into());
        assert_eq!(seen(&waiting.take(256)), [at, None]);
        assert!(waiting.in_flight);
        assert_eq!(waiting.take(256), []);
        assert!(!waiting.in_flight);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut waiting = Waiting::default();
        let most = i64::try_from(TRANSITIONS_WAITING).expect("small");
        (0..most + 3).for_each(|user| waiting.add(transition(user, 1, true).into()));
        assert_eq!(waiting.newest.len(), TRANSITIONS_WAITING);
        assert_eq!(waiting.take(256).len(), 256);
    }

    #[test]
    fn users_in_many_chats_wait_behind_the_others() {
        let mut waiting = Waiting::default();
        (1..=5).for_each(|user| waiting.add(transition(user, 10, true).into()));
        let counted = waiting.take(256).into_iter().zip([100, 101, 0, 900, 10_000]);
        let ids = |some: Vec<Due>| -> Vec<i64> { some.iter().map(|due| due.transition.user_id.0).collect() };
        assert_eq!(ids(waiting.sort(counted)), [1, 3]);
        assert!(waiting.len() == 3 && !waiting.is_idle());
        waiting.add(transition(6, 10, true).into());
        assert!(!waiting.is_cheap(), "nobody is gathered beside those in many chats");
        assert_eq!(ids(waiting.take(256)), [6]);
        assert_eq!(ids(waiting.take_dear(1000)), [2, 4]);
        // An older one that is counted later changes nothing.
        let older = waiting.sort([(transition(5, 9, false).into(), 10_000)]);
        assert!(older.is_empty());
        let last = waiting.take_dear(1000);
        assert_eq!(last.iter().map(|due| due.transition).collect::<Vec<_>>(), [transition(5, 10, true)]);
        assert_eq!(last[0].seen, Some(transition(5, 9, false).at));
        assert!(waiting.take_dear(1000).is_empty() && waiting.is_idle() && !waiting.is_cheap());
        waiting.add(transition(6, 11, true).into());
        assert!(waiting.is_cheap());
    }
}
