//! Notices after the fact: those that were published while a gateway did not hear the bus. The
//! tables know them: memberships, private chats' messages, mentions, and members' own views.

use super::outbox::{OutboxPayload, StoredNotice, StoredNoticeKind};
use super::stored_time::Time;
use super::{NoticeBody, UserNotice};
use crate::error::Result;
use crate::id::{ChatId, MessageId, Seq, UserId};
use async_trait::async_trait;
use sqlx::FromRow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;
use time::OffsetDateTime;

/// Messages are looked for this far back: `unread_count` speaks for older ones. Memberships are
/// looked for as far back as the log reaches.
const MESSAGES_WITHIN: Duration = Duration::from_mins(10);
/// The time that one page covers, with messages and without.
const SLICE: Duration = Duration::from_secs(10);
const SLICE_OF_MEMBERSHIPS: Duration = Duration::from_hours(1);
/// A row may bear a time so much before that of one with a lower id: transactions run side by
/// side.
const OUT_OF_ORDER: Duration = Duration::from_secs(10);
/// Notices that are made at once.
const AT_ONCE: usize = 200;

/// Where a page begins.
#[derive(Clone, Copy, Debug)]
pub enum NoticesFrom {
    /// That long ago, by the database's clock.
    Ago(Duration),
    /// Where the page before ended.
    At(OffsetDateTime),
}

/// A notice that was published, or is about to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastNotice {
    /// The notice, with the content of now.
    pub notice: UserNotice,
    /// How long ago that happened.
    pub ago: Duration,
}

/// A page of notices, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoticesPage {
    /// The notices.
    pub notices: Vec<PastNotice>,
    /// Where the next page begins. `None`: this was the last.
    pub next: Option<OffsetDateTime>,
}

/// Notices after the fact. See the store's obligations.
#[async_trait]
pub trait Notices: Send + Sync + 'static {
    /// The notices to these users from that time on: chats that they came into or went out of,
    /// messages of their private chats, mentions, changes of their own view. They show chats and
    /// texts as they are now, and only to those who may see them. Texts that were deleted since are
    /// left out.
    async fn notices(&self, users: &HashSet<UserId>, from: NoticesFrom) -> Result<NoticesPage>;
}

/// The time that a page covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) since: Time,
    /// Its end; in the future for the last page.
    pub(super) until: Time,
    /// Whether messages are looked for.
    pub(super) messages: bool,
    now: Time,
    is_last: bool,
}

impl Window {
    pub(super) fn of(from: NoticesFrom, now: Time) -> Self {
        let since = match from {
            NoticesFrom::Ago(ago) => now.0 - ago,
            NoticesFrom::At(at) => at,
        };
        let messages_since = now.0 - MESSAGES_WITHIN;
        // The page after that without messages begins a moment too early.
        let messages = since + SLICE >= messages_since;
        let until = if messages { since + SLICE } else { messages_since.min(since + SLICE_OF_MEMBERSHIPS) };
        let is_last = until >= now.0;
        // A transaction that commits late bears an earlier time than the last page's end.
        let until = if is_last { now.0 + SLICE_OF_MEMBERSHIPS } else { until };
        Self { since: Time(since), until: Time(until), messages, now, is_last }
    }

    /// The times whose first ids bound the window's rows.
    pub(super) fn ids_between(&self) -> (Time, Time) {
        (Time(self.since.0 - OUT_OF_ORDER), Time(self.until.0 + OUT_OF_ORDER))
    }

    pub(super) fn page(&self, notices: Vec<PastNotice>) -> NoticesPage {
        NoticesPage { notices, next: (!self.is_last).then_some(self.until.0) }
    }
}

// The first id of a table whose row is not older than $1, and 1 beyond the last where there is
// none. Ids rise with time, but for [`OUT_OF_ORDER`].
macro_rules! first_id {
    ($table:literal) => {
        concat!(
            "with recursive search (low, high) as (
                 select cast(0 as bigint), coalesce(max(id), 0) + 1 from ",
            $table,
            "    union all
                 select case when (select x.created_at from ",
            $table,
            " x where x.id >= s.low + (s.high - s.low) / 2 order by x.id limit 1) < $1
                             then s.low + (s.high - s.low) / 2 else s.low end,
                        case when (select x.created_at from ",
            $table,
            " x where x.id >= s.low + (s.high - s.low) / 2 order by x.id limit 1) < $1
                             then s.high else s.low + (s.high - s.low) / 2 end
                 from search s where s.high - s.low > 1
             )
             select min(high) from search"
        )
    };
}
pub(super) use first_id;

/// The reasons of a [`FoundRow`]. Statements name them by [`reasons`](super::kinds::reasons).
pub(super) mod reason {
    pub(in crate::store) const ADDED: i32 = 1;
    pub(in crate::store) const REMOVED: i32 = 2;
    pub(in crate::store) const MESSAGE: i32 = 3;
    pub(in crate::store) const MENTIONED: i32 = 4;
    pub(in crate::store) const SETTINGS: i32 = 5;
}

/// A row of a window.
#[derive(FromRow)]
pub(super) struct FoundRow {
    reason: i32,
    chat_id: ChatId,
    seq: Seq,
    /// The user who is concerned. Of a mention, its author.
    user_id: Option<UserId>,
    /// More users, as JSON.
    users: Option<String>,
    message_id: Option<MessageId>,
    at: Time,
}

/// A mention that is a notice unless its user muted the chat or blocked the author.
#[derive(Clone, Copy)]
pub(super) struct FoundMention {
    pub(super) user: UserId,
    pub(super) chat: ChatId,
    pub(super) seq: Seq,
    pub(super) message: MessageId,
    pub(super) author: UserId,
}

/// The notices of a window to the users asked about, by name.
#[derive(Default)]
pub(super) struct Found {
    memberships: Vec<(StoredNoticeKind, ChatId, Seq, UserId)>,
    messages: BTreeSet<(ChatId, Seq)>,
    pub(super) mentions: Vec<FoundMention>,
    settings: Vec<(ChatId, UserId)>,
    at: HashMap<(ChatId, Seq), Time>,
    settings_at: HashMap<(ChatId, UserId), Time>,
}

impl Found {
    pub(super) fn of(rows: Vec<FoundRow>, users: &HashSet<UserId>) -> Self {
        let mut found = Self::default();
        for row in rows {
            let listed = row.users.as_deref().and_then(|users| serde_json::from_str::<Vec<UserId>>(users).ok());
            let author = row.user_id.filter(|_| row.reason == reason::MENTIONED);
            let own = row.user_id.filter(|_| author.is_none());
            let mut concerned = listed.into_iter().flatten().chain(own).filter(|user| users.contains(user)).peekable();
            if concerned.peek().is_none() {
                continue;
            }
            let (chat, seq) = (row.chat_id, row.seq);
            match row.reason {
                reason::ADDED => {
                    found.memberships.extend(concerned.map(|user| (StoredNoticeKind::Added, chat, seq, user)));
                }
                reason::REMOVED => {
                    found.memberships.extend(concerned.map(|user| (StoredNoticeKind::Removed, chat, seq, user)));
                }
                reason::MESSAGE => _ = found.messages.insert((chat, seq)),
                reason::MENTIONED => {
                    let (Some(author), Some(message)) = (author, row.message_id) else { continue };
                    let mentions = concerned.filter(|user| *user != author);
                    found.mentions.extend(mentions.map(|user| FoundMention { user, chat, seq, message, author }));
                }
                reason::SETTINGS => {
                    for user in concerned {
                        found.settings.push((chat, user));
                        found.settings_at.insert((chat, user), row.at);
                    }
                    continue;
                }
                _ => continue,
            }
            found.at.insert((chat, seq), row.at);
        }
        found
    }

    /// The names of the notices, as an outbox has them: from these their content is made.
    pub(super) fn payloads(&self) -> Vec<OutboxPayload> {
        let mut payloads = Vec::new();
        for some in self.memberships.chunks(AT_ONCE) {
            let notices = some.iter().map(|(kind, chat, seq, user)| StoredNotice {
                kind: *kind,
                chat: *chat,
                seq: *seq,
                users: vec![*user],
            });
            payloads.push(OutboxPayload { notices: notices.collect(), ..OutboxPayload::default() });
        }
        for some in self.messages.iter().collect::<Vec<_>>().chunks(AT_ONCE) {
            let events = some.iter().map(|(chat, seq)| (*chat, *seq, *seq)).collect();
            payloads.push(OutboxPayload { events, ..OutboxPayload::default() });
        }
        for some in self.mentions.chunks(AT_ONCE) {
            let events: BTreeSet<_> = some.iter().map(|one| (one.chat, one.seq, one.seq)).collect();
            let mentioned = some.iter().map(|one| (one.chat, one.seq, vec![one.user])).collect();
            payloads.push(OutboxPayload {
                events: events.into_iter().collect(),
                mentioned,
                ..OutboxPayload::default()
            });
        }
        for some in self.settings.chunks(AT_ONCE) {
            payloads.push(OutboxPayload { settings: some.to_vec(), ..OutboxPayload::default() });
        }
        payloads
    }

    /// The notices to these users, of what was made from the names, the oldest first.
    pub(super) fn page(&self, window: &Window, users: &HashSet<UserId>, made: Vec<UserNotice>) -> NoticesPage {
        let is_wanted = |notice: &UserNotice| match &notice.body {
            NoticeBody::NewMessage(message) => {
                !message.is_deleted && self.messages.contains(&(notice.chat_id, notice.seq))
            }
            _ => true,
        };
        let at = |notice: &UserNotice| match &notice.body {
            NoticeBody::Settings(_) => self.settings_at.get(&(notice.chat_id, notice.user_id)),
            _ => self.at.get(&(notice.chat_id, notice.seq)),
        };
        let made = made.into_iter().filter(|notice| users.contains(&notice.user_id) && is_wanted(notice));
        let mut all: Vec<_> = made.map(|notice| (at(&notice).map_or(window.since, |at| *at), notice)).collect();
        all.sort_by_key(|(at, notice)| (*at, notice.chat_id, notice.seq));
        let ago = |at: Time| (window.now.0 - at.0).try_into().unwrap_or(Duration::ZERO);
        window.page(all.into_iter().map(|(at, notice)| PastNotice { notice, ago: ago(at) }).collect())
    }
}
