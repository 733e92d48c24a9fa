//! The members of small chats who are online: read in batches, and kept for a moment. A herd that
//! comes back to a chat costs one read.
//!
//! A kept roster is dropped when a status of one of its members comes. A status that was
//! decided before a read is in it; one that comes later reaches the subscription itself.

use messenger_common::batcher::Batcher;
use messenger_common::error::Result;
use messenger_common::id::{ChatId, UserId};
use messenger_common::lifecycle::Lifecycle;
use messenger_common::service::Context;
use messenger_common::service::online::members_online;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROSTERS_PER_QUERY: usize = 64;
/// How long a roster serves others after its read began.
const KEPT_FOR: Duration = Duration::from_millis(1500);
/// Users of all kept rosters at most; beyond it a roster serves only those who asked.
const KEPT_USERS: usize = 1 << 20;
/// A subscription waits this long for a roster; then it begins without.
const PATIENCE: Duration = Duration::from_millis(100);

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
}

struct Entry {
    began: Instant,
    /// `None` while it is read.
    roster: Option<Roster>,
}

fn users(entry: &Entry) -> usize {
    entry.roster.as_ref().and_then(Option::as_ref).map_or(0, |users| users.len())
}

impl Kept {
    fn get(&self, chat: ChatId, now: Instant) -> Option<Roster> {
        let entry = self.chats.get(&chat).filter(|entry| now.duration_since(entry.began) < KEPT_FOR)?;
        entry.roster.clone()
    }

    fn begin(&mut self, chat: ChatId, now: Instant) {
        self.forget(chat);
        self.chats.insert(chat, Entry { began: now, roster: None });
    }

    /// Keeps what was read, unless the chat was forgotten meanwhile.
    fn finish(&mut self, chat: ChatId, roster: &Roster) {
        let Some(entry) = self.chats.get_mut(&chat).filter(|entry| entry.roster.is_none()) else { return };
        if self.users < KEPT_USERS {
            entry.roster = Some(roster.clone());
            self.users += users(entry);
        }
    }

    fn forget(&mut self, chat: ChatId) {
        if let Some(entry) = self.chats.remove(&chat) {
            self.users -= users(&entry);
        }
    }

    fn drop_old(&mut self, now: Instant) {
        let users_kept = &mut self.users;
        self.chats.retain(|_, entry| {
            let stays = now.duration_since(entry.began) < KEPT_FOR;
            *users_kept -= if stays { 0 } else { users(entry) };
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
        let asked = tokio::time::timeout(PATIENCE, self.batches.get(chat)).await;
        asked.ok()?.ok()?
    }

    /// The roster of a chat, if it was read a moment ago.
    pub(crate) fn kept(&self, chat: ChatId) -> Option<Roster> {
        self.kept.lock().get(chat, Instant::now())
    }

    /// The status of one of its members has changed.
    pub(crate) fn changed(&self, chats: &[ChatId]) {
        let mut kept = self.kept.lock();
        for chat in chats {
            kept.forget(*chat);
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
            let roster = online.get(&chat).cloned();
            kept.finish(chat, &roster);
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
        kept.finish(CHAT, &Some(roster(3)));
        assert_eq!(kept.get(CHAT, start + KEPT_FOR / 2), Some(Some(roster(3))));
        assert_eq!(kept.get(CHAT, start + KEPT_FOR), None);
        kept.drop_old(start + KEPT_FOR);
        assert_eq!((kept.chats.len(), kept.users), (0, 0));
    }

    #[test]
    fn a_status_makes_it_untrue_even_while_it_is_read() {
        let (mut kept, start) = (Kept::default(), Instant::now());
        kept.begin(CHAT, start);
        kept.finish(CHAT, &Some(roster(3)));
        kept.forget(CHAT);
        assert_eq!((kept.get(CHAT, start), kept.users), (None, 0));
        kept.begin(CHAT, start);
        kept.forget(CHAT);
        kept.finish(CHAT, &Some(roster(3)));
        assert_eq!(kept.get(CHAT, start), None);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (mut kept, start) = (Kept::default(), Instant::now());
        kept.users = KEPT_USERS;
        kept.begin(CHAT, start);
        kept.finish(CHAT, &Some(roster(3)));
        assert_eq!((kept.get(CHAT, start), kept.users), (None, KEPT_USERS));
    }
}
