//! Transitions of presence on their way to those who share a chat with the user: queries of the
//! store, then one publication for many. They are acknowledged once the bus took them; until then
//! they stay pending, and another node publishes them should this one die.
//!
//! A task of its own, so that a store that is slow or away delays neither the leases nor anybody's
//! `welcome`. Transitions that could not be announced are announced when the store is back: of
//! each user the newest.

use super::{SWEEP, USERS_PER_CALL};
use crate::newest::NewestByKey;
use messenger_common::bus::{Bus, Publication};
use messenger_common::error::{Error, Result};
use messenger_common::event::{Envelope, StatusChange, micros};
use messenger_common::id::UserId;
use messenger_common::model::Status;
use messenger_common::once::OncePerCause;
use messenger_common::presence::{Presence, Transition};
use messenger_common::store::Store;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::sync::Notify;

/// Transitions are gathered for this long, or up to [`USERS_PER_CALL`]: a crowd that arrives costs
/// a few queries and publications, not some a user.
const GATHER: Duration = Duration::from_millis(20);
/// Chats named in one publication, about: the last user may bring all of theirs.
const CHATS_PER_PUBLICATION: usize = 4096;
/// Users whose transition waits at most; beyond it the oldest is dropped.
const WAITING: usize = 100_000;

/// See the module.
pub(crate) struct Announcer {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    presence: Arc<dyn Presence>,
    status_max_members: i64,
    waiting: Mutex<Waiting>,
    added: Notify,
}

struct Waiting {
    newest: NewestByKey<UserId, Due>,
    /// Whether some were taken out and are not announced yet.
    in_flight: bool,
}

/// A transition that is due to be announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Due {
    transition: Transition,
    /// The user's last end of being online, to be stored: it may be that of an earlier transition,
    /// which is announced no more.
    seen: Option<OffsetDateTime>,
}

impl From<Transition> for Due {
    fn from(transition: Transition) -> Self {
        Self { transition, seen: (!transition.online).then_some(transition.at) }
    }
}

impl Default for Waiting {
    fn default() -> Self {
        Self { newest: NewestByKey::new(WAITING), in_flight: false }
    }
}

impl Waiting {
    fn add(&mut self, mut due: Due) {
        let user = due.transition.user_id;
        if let Some(known) = self.newest.get(&user).copied() {
            let seen = known.seen.max(due.seen);
            if known.transition.decided_at > due.transition.decided_at {
                due = known;
            }
            due.seen = seen;
        }
        self.newest.insert(user, due);
    }

    fn take(&mut self, most: usize) -> Vec<Due> {
        let some: Vec<_> = std::iter::from_fn(|| self.newest.pop()).map(|(_, due)| due).take(most).collect();
        self.in_flight = !some.is_empty();
        some
    }
}

impl Announcer {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        presence: Arc<dyn Presence>,
        status_max_members: i64,
    ) -> Self {
        Self { store, bus, presence, status_max_members, waiting: Mutex::default(), added: Notify::new() }
    }

    /// Takes transitions; never waits.
    pub(super) fn announce(&self, transitions: Vec<Transition>) {
        if !transitions.is_empty() {
            let mut waiting = self.waiting.lock();
            for transition in transitions {
                waiting.add(transition.into());
            }
            self.added.notify_one();
        }
    }

    /// Whether nothing is left to announce.
    pub(super) fn is_idle(&self) -> bool {
        let waiting = self.waiting.lock();
        waiting.newest.is_empty() && !waiting.in_flight
    }

    /// How many transitions wait to be announced.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.lock().newest.len()
    }

    /// Announces what comes; notifies `settled` at each pause.
    pub(super) async fn run(&self, settled: &Notify) {
        // A publication while the bus is down reaches nobody.
        let mut bus_up = self.bus.up();
        let (mut most, logged) = (USERS_PER_CALL, OncePerCause::default());
        loop {
            if bus_up.wait_for(|up| *up).await.is_err() {
                return;
            }
            let some = self.take(most);
            if some.is_empty() {
                settled.notify_waiters();
                self.added.notified().await;
                self.gather(most).await;
            } else if let Err(error) = self.announce_some(&some).await {
                let (users, cause) = (some.len(), error.cause());
                if logged.is_news(&cause, Instant::now()) {
                    tracing::warn!(error = cause, users, "cannot announce transitions of presence; retrying");
                } else {
                    tracing::debug!(error = cause, users, "cannot announce transitions of presence; retrying");
                }
                // The fault may be one user's: the others must not share it for ever.
                most = (some.len() / 2).max(1);
                let pause = some.len() == 1 || matches!(error, Error::Unavailable(_));
                self.put_back(some);
                if pause {
                    tokio::time::sleep(SWEEP).await;
                }
            } else {
                most = (most * 2).min(USERS_PER_CALL);
                self.gather(most).await;
            }
        }
    }

    async fn gather(&self, most: usize) {
        if self.waiting() < most {
            tokio::time::sleep(GATHER).await;
        }
    }

    fn take(&self, most: usize) -> Vec<Due> {
        self.waiting.lock().take(most)
    }

    fn put_back(&self, some: Vec<Due>) {
        let mut waiting = self.waiting.lock();
        for due in some {
            waiting.add(due);
        }
    }

    async fn announce_some(&self, due: &[Due]) -> Result<()> {
        let seen: Vec<_> = due.iter().filter_map(|due| Some((due.transition.user_id, due.seen?))).collect();
        if !seen.is_empty() {
            self.store.set_last_seen(&seen).await?;
        }
        let transitions: Vec<Transition> = due.iter().map(|due| due.transition).collect();
        let pieces = pieces(self.changes(&transitions).await?.into_iter());
        let publications: Vec<_> = pieces.into_iter().map(|some| Publication::from(&Envelope::Status(some))).collect();
        if !publications.is_empty() {
            self.bus.publish(&publications).await?;
        }
        if let Err(error) = self.presence.acknowledge(&transitions).await {
            // They are published again: receivers drop doubles.
            tracing::debug!(%error, "cannot acknowledge transitions of presence");
        }
        Ok(())
    }

    /// These transitions with the chats whose subscribers are notified; without those of users who
    /// have none.
    pub(super) async fn changes(&self, transitions: &[Transition]) -> Result<Vec<StatusChange>> {
        let ids: Vec<UserId> = transitions.iter().map(|t| t.user_id).collect();
        let users: HashMap<UserId, _> =
            self.store.users(&ids).await?.into_iter().map(|row| (row.user.id, row)).collect();
        let mut chats: HashMap<UserId, _> =
            self.store.chats_for_status(&ids, self.status_max_members).await?.into_iter().collect();
        let changes = transitions.iter().filter_map(|transition| {
            let row = users.get(&transition.user_id)?;
            Some(StatusChange {
                user_id: transition.user_id,
                username: row.user.username.clone(),
                status: if transition.online { Status::Online } else { Status::Offline },
                last_seen_at: if transition.online { row.last_seen_at } else { Some(transition.at) },
                decided_at_micros: micros(transition.decided_at),
                chats: chats.remove(&transition.user_id).unwrap_or_default(),
            })
        });
        Ok(changes.filter(|change| !change.chats.is_empty()).collect())
    }
}

/// Splits changes so that no publication names many more than [`CHATS_PER_PUBLICATION`] chats.
fn pieces(changes: impl Iterator<Item = StatusChange>) -> Vec<Vec<StatusChange>> {
    let (mut pieces, mut piece, mut chats) = (Vec::new(), Vec::new(), 0);
    for change in changes {
        chats += change.chats.len();
        piece.push(change);
        if chats >= CHATS_PER_PUBLICATION {
            pieces.push(std::mem::take(&mut piece));
            chats = 0;
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use messenger_common::id::ChatId;

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
        let taken = waiting.take(USERS_PER_CALL);
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
        assert_eq!(seen(&waiting.take(USERS_PER_CALL)), [at, None]);
        assert!(waiting.in_flight);
        assert_eq!(waiting.take(USERS_PER_CALL), []);
        assert!(!waiting.in_flight);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut waiting = Waiting::default();
        let most = i64::try_from(WAITING).expect("small");
        (0..most + 3).for_each(|user| waiting.add(transition(user, 1, true).into()));
        assert_eq!(waiting.newest.len(), WAITING);
        assert_eq!(waiting.take(USERS_PER_CALL).len(), USERS_PER_CALL);
    }

    #[test]
    fn a_publication_names_a_bounded_number_of_chats() {
        let change = |chats: usize| StatusChange {
            user_id: UserId(1),
            username: "ann".into(),
            status: Status::Online,
            last_seen_at: None,
            decided_at_micros: 0,
            chats: vec![ChatId(1); chats],
        };
        let sizes =
            |of: &[usize]| -> Vec<usize> { pieces(of.iter().copied().map(change)).iter().map(Vec::len).collect() };
        assert_eq!(sizes(&[]), [] as [usize; 0]);
        assert_eq!(sizes(&[1, 2, 3]), [3]);
        assert_eq!(sizes(&[4000, 95, 1, 9000, 5]), [3, 1, 1]);
    }
}
