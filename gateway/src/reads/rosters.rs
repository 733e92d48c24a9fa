//! The members of small chats who are online: read in batches, and kept for a moment. A herd that
//! comes back to a chat costs one read.
//!
//! A status of a member that comes is put into a kept roster, of each user the one that was decided
//! last. One that was decided before a read is in it already; one that comes after a subscription
//! began reaches that itself.

use crate::decisions::Decisions;
use messenger_common::batcher::Batcher;
use messenger_common::error::Result;
use messenger_common::event::StatusChange;
use messenger_common::id::{ChatId, UserId};
use messenger_common::lifecycle::Lifecycle;
use messenger_common::model::Status;
use messenger_common::service::Context;
use messenger_common::service::online::members_online;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROSTERS_PER_QUERY: usize = 64;
/// How long a roster serves others after its read began.
const KEPT_FOR: Duration = Duration::from_millis(1500);
/// How long a decision about a user is remembered at least: an older one may come late.
const DECISION_KEPT_FOR: Duration = Duration::from_mins(1);
/// Users of all kept rosters at most; beyond it a roster serves only those who asked.
const KEPT_USERS: usize = 1 << 20;
/// A subscription waits this long for a roster; then it begins without.
const KNOWN_WITHIN: Duration = Duration::from_millis(100);

/// The users online in a chat; `None` where it is too large, or gone.
pub(crate) type Roster = Option<Arc<[UserId]>>;

/// See the module.
pub(crate) struct Rosters {
    batches: Batcher<ChatId, Roster>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    chats: HashMap<ChatId, Entry>,
    users: usize,
    decisions: Decisions,
    /// When the present period of the decisions began.
    period: Option<Instant>,
}

struct Entry {
    began: Instant,
    /// `None` while it is read.
    roster: Option<Roster>,
    /// The users whose status came since the read began, and whether it is `online`.
    statuses: HashMap<UserId, bool>,
    /// Whether some of them are not in the roster yet.
    is_behind: bool,
}

impl Entry {
    fn users(&self) -> usize {
        self.roster.as_ref().and_then(Option::as_ref).map_or(0, |users| users.len())
    }

    /// Puts the statuses into the roster.
    fn bring_up(&mut self) {
        if let Some(Some(roster)) = self.roster.as_mut()
            && std::mem::take(&mut self.is_behind)
        {
            *roster = with(roster, &self.statuses);
        }
    }
}

fn with(roster: &[UserId], statuses: &HashMap<UserId, bool>) -> Arc<[UserId]> {
    let others = roster.iter().copied().filter(|user| !statuses.contains_key(user));
    others.chain(statuses.iter().filter(|(_, is_online)| **is_online).map(|(user, _)| *user)).collect()
}

impl Kept {
    fn get(&mut self, chat: ChatId, now: Instant) -> Option<Roster> {
        let entry = self.chats.get_mut(&chat).filter(|entry| now.duration_since(entry.began) < KEPT_FOR)?;
        self.users -= entry.users();
        entry.bring_up();
        self.users += entry.users();
        entry.roster.clone()
    }

    fn begin(&mut self, chat: ChatId, now: Instant) {
        let before = self.chats.remove(&chat);
        self.users -= before.as_ref().map_or(0, Entry::users);
        // One that is still being read needs them too.
        let statuses = before.filter(|entry| entry.roster.is_none()).map(|entry| entry.statuses).unwrap_or_default();
        let is_behind = !statuses.is_empty();
        self.chats.insert(chat, Entry { began: now, roster: None, statuses, is_behind });
    }

    /// Keeps what was read from then on, unless another read has begun since. Returns it with the
    /// statuses that came meanwhile.
    fn finish(&mut self, chat: ChatId, began: Instant, roster: Roster) -> Roster {
        let Some(entry) = self.chats.get_mut(&chat) else { return roster };
        if entry.began != began || entry.roster.is_some() {
            return roster.map(|roster| with(&roster, &entry.statuses));
        }
        entry.roster = Some(roster);
        entry.bring_up();
        if self.users < KEPT_USERS {
            self.users += entry.users();
            return entry.roster.clone().flatten();
        }
        self.chats.remove(&chat).and_then(|entry| entry.roster).flatten()
    }

    fn changed(&mut self, user: UserId, decided: i64, is_online: bool, chats: &[ChatId]) {
        if self.decisions.is_outdated(user, decided) {
            return;
        }
        for chat in chats {
            let Some(entry) = self.chats.get_mut(chat) else { continue };
            entry.statuses.insert(user, is_online);
            entry.is_behind = true;
        }
    }

    fn drop_old(&mut self, now: Instant) {
        if now.duration_since(*self.period.get_or_insert(now)) >= DECISION_KEPT_FOR {
            self.period = Some(now);
            self.decisions.begin_period();
        }
        let users_kept = &mut self.users;
        self.chats.retain(|_, entry| {
            let stays = now.duration_since(entry.began) < KEPT_FOR;
            *users_kept -= if stays { 0 } else { entry.users() };
            stays
        });
    }
}

impl Rosters {
    pub(super) fn start(ctx: &Context, lifecycle: &Lifecycle) -> Self {
        let (ctx, kept) = (ctx.clone(), Arc::<Mutex<Kept>>::default());
        let own = Arc::clone(&kept);
        let batches = Batcher::start(lifecycle, "online rosters", ROSTERS_PER_QUERY, move |chats: Vec<ChatId>| {
            let (ctx, kept) = (ctx.clone(), Arc::clone(&own));
            async move { read(&ctx, &kept, &chats).await }
        });
        Self { batches, kept }
    }

    /// The roster of a chat, if it is known soon.
    pub(crate) async fn get(&self, chat: ChatId) -> Roster {
        if let Some(roster) = self.kept(chat) {
            return roster;
        }
        let asked = tokio::time::timeout(KNOWN_WITHIN, self.batches.get(chat)).await;
        asked.ok()?.ok()?
    }

    /// The roster of a chat, if it was read a moment ago.
    pub(crate) fn kept(&self, chat: ChatId) -> Option<Roster> {
        self.kept.lock().get(chat, Instant::now())
    }

    /// The statuses of users have changed.
    pub(crate) fn changed(&self, changes: &[StatusChange]) {
        let mut kept = self.kept.lock();
        for change in changes {
            let is_online = change.status == Status::Online;
            kept.changed(change.user_id, change.decided_at_micros, is_online, &change.chats);
        }
    }

    /// Forgets what has served its time.
    pub(crate) fn sweep(&self, now: Instant) {
        self.kept.lock().drop_old(now);
    }
}

async fn read(ctx: &Context, kept: &Mutex<Kept>, asked: &[ChatId]) -> Result<Vec<Roster>> {
    let mut distinct = asked.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let mut rosters: HashMap<ChatId, Roster> = HashMap::with_capacity(distinct.len());
    let now = Instant::now();
    {
        let mut kept = kept.lock();
        // Some were read since they were asked for, or a moment before.
        rosters.extend(distinct.iter().filter_map(|chat| Some((*chat, kept.get(*chat, now)?))));
        distinct.retain(|chat| !rosters.contains_key(chat));
        for chat in &distinct {
            kept.begin(*chat, now);
        }
    }
    if !distinct.is_empty() {
        let online = members_online(ctx, &distinct, ctx.limits.status_max_members).await?.into_iter();
        let online: HashMap<ChatId, Arc<[UserId]>> =
            online.map(|(chat, members)| (chat, members.into_iter().map(|online| online.user_id).collect())).collect();
        let mut kept = kept.lock();
        for chat in distinct {
            let roster = kept.finish(chat, now, online.get(&chat).cloned());
            rosters.insert(chat, roster);
        }
    }
    Ok(asked.iter().map(|chat| rosters.get(chat).cloned().flatten()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: ChatId = ChatId(1);

    fn roster(users: i64) -> Arc<[UserId]> {
        (0..users).map(UserId).collect()
    }

    #[test]
    fn a_roster_serves_for_a_moment() {
        let (mut kept, start) = (Kept::default(), Instant::now());
        kept.begin(CHAT, start);
        assert_eq!(kept.get(CHAT, start), None, "it is being read");
        assert_eq!(kept.finish(CHAT, start, Some(roster(3))), Some(roster(3)));
        assert_eq!(kept.get(CHAT, start + KEPT_FOR / 2), Some(Some(roster(3))));
        assert_eq!(kept.get(CHAT, start + KEPT_FOR), None);
        kept.drop_old(start + KEPT_FOR);
        assert_eq!((kept.chats.len(), kept.users), (0, 0));
    }

    #[test]
    fn statuses_that_come_since_its_read_began_are_in_it() {
        let (mut kept, start) = (Kept::default(), Instant::now());
        let users = |roster: Option<Roster>| -> Vec<i64> {
            let mut users: Vec<i64> = roster.flatten().expect("a roster").iter().map(|user| user.0).collect();
            users.sort_unstable();
            users
        };
        kept.begin(CHAT, start);
        kept.changed(UserId(0), 10, false, &[ChatId(9), CHAT]);
        kept.changed(UserId(7), 11, true, &[CHAT]);
        assert_eq!(users(Some(kept.finish(CHAT, start, Some(roster(3))))), [1, 2, 7]);
        for (user, decided, is_online) in [(0, 12, true), (1, 13, false), (7, 9, false), (2, 15, false), (2, 14, true)]
        {
            kept.changed(UserId(user), decided, is_online, &[CHAT]);
        }
        assert_eq!(users(kept.get(CHAT, start)), [0, 7], "of each the one that was decided last");
        assert_eq!(kept.users, 2);
        kept.begin(CHAT, start);
        assert_eq!(kept.users, 0);
        assert_eq!(kept.finish(CHAT, start, None), None, "a large chat has none");
        kept.changed(UserId(1), 20, true, &[CHAT]);
        assert_eq!(kept.get(CHAT, start), Some(None));
    }

    #[test]
    fn of_two_reads_at_once_the_younger_is_kept_with_the_statuses_of_both() {
        let (mut kept, start) = (Kept::default(), Instant::now());
        let later = start + Duration::from_millis(25);
        let sorted = |roster: Roster| {
            let mut users = roster.expect("a roster").to_vec();
            users.sort_unstable();
            users
        };
        for younger_first in [false, true] {
            let (offline, online) = (UserId(1), UserId(5));
            kept.begin(CHAT, start);
            kept.changed(offline, 10 + i64::from(younger_first), false, &[CHAT]);
            kept.begin(CHAT, later);
            kept.changed(online, 10 + i64::from(younger_first), true, &[CHAT]);
            let (mut reads, seen) = ([start, later], [UserId(0), UserId(2), online]);
            if younger_first {
                reads.reverse();
            }
            for began in reads {
                assert_eq!(sorted(kept.finish(CHAT, began, Some(roster(3)))), seen);
            }
            assert_eq!(sorted(kept.get(CHAT, later).flatten()), seen);
            assert_eq!(kept.users, 3);
        }
    }

    #[test]
    fn an_older_decision_that_comes_late_is_not_put_over_a_newer_read() {
        let (mut kept, start) = (Kept::default(), Instant::now());
        kept.changed(UserId(1), 11, true, &[CHAT]);
        kept.begin(CHAT, start);
        kept.finish(CHAT, start, Some(roster(3)));
        kept.changed(UserId(1), 10, false, &[CHAT]);
        assert_eq!(kept.get(CHAT, start), Some(Some(roster(3))));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (mut kept, start) = (Kept::default(), Instant::now());
        kept.users = KEPT_USERS;
        kept.begin(CHAT, start);
        assert_eq!(kept.finish(CHAT, start, Some(roster(3))), Some(roster(3)));
        assert_eq!((kept.get(CHAT, start), kept.users), (None, KEPT_USERS));
    }
}
