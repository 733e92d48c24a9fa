//! The log of every chat, and the outbox of what was committed and perhaps not published.

use crate::error::Result;
use crate::event::{LogEvent, Traced};
use crate::id::{ChatId, Seq, UserId};
use crate::model::{Chat, ChatSettings, Message};
use crate::store::stored_time::Time;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// How long a relay holds an outbox entry that it claimed.
pub const CLAIM_LEASE: Duration = Duration::from_millis(1500);

/// An entry of the outbox: names what one transaction committed, until it is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutboxId(pub i64);

/// Events and notices that a transaction committed. The caller must publish them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The events, in the order of their numbers within each chat.
    pub events: Vec<LogEvent>,
    /// Notices to users, beside the events.
    pub notices: Vec<UserNotice>,
    /// The outbox entry, to be removed once all that is published. `None`: nothing was committed.
    pub outbox: Option<OutboxId>,
    /// The events that belong to sampled traces.
    pub traced: Vec<Traced>,
}

/// A frame for every connection of a user; see [`crate::event::Envelope::Notice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserNotice {
    /// The user who gets it.
    pub user_id: UserId,
    /// The chat that it is about.
    pub chat_id: ChatId,
    /// The event of that chat that caused it; for a new chat, the head at that time.
    pub seq: Seq,
    /// Its content.
    pub body: NoticeBody,
}

/// The content of a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeBody {
    /// The user joined the chat, here as that user sees it. Users who see the same share one value.
    ChatAdded(Arc<Chat>),
    /// The user left the chat or was removed, or it was deleted.
    ChatRemoved,
    /// A message of a private chat, the same frame as its event.
    NewMessage(Box<Message>),
    /// A message that mentions the user.
    Mentioned(Box<Message>),
    /// The user's own view of the chat, as it is now.
    Settings(ChatSettings),
}

/// A question: a chat's log after a number, up to `limit` events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogAfter {
    /// The chat.
    pub chat_id: ChatId,
    /// The number.
    pub after: Seq,
    /// Events at most.
    pub limit: usize,
}

/// A piece of a chat's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// Consecutive after the number asked for. Fewer than `limit` only at the head.
    pub events: Vec<LogEvent>,
    /// The head in the same snapshot.
    pub head: Seq,
    /// The last number that the log no longer keeps. Above the number asked for, it means a gap
    /// that nothing can fill.
    pub floor: Seq,
}

/// The head of a chat's log, beside an entry by which a reader knows the history again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// The newest number.
    pub seq: Seq,
    /// When the entry that was asked about was committed. `None`: the log does not have it.
    pub committed_at: Option<OffsetDateTime>,
}

/// The newest message's id that was given when somebody looked: where the next look begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TailMark(pub(super) i64);

/// What the logs of all chats gained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// For a later look.
    pub mark: TailMark,
    /// The chats that gained an event, each with the newest number of those. `None`: this cannot be
    /// said from that mark on, because too much happened or the database is another one.
    pub moved: Option<Vec<(ChatId, Seq)>>,
}

/// More messages than this are not read: to compare the heads of all chats costs less.
pub(super) const TAIL: i64 = 500_000;

/// The log and its outbox. See the store's obligations.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Pieces of chats' logs, in the order asked. `None`: no such chat. The log of a deleted chat
    /// is still read.
    async fn logs_after(&self, asked: &[LogAfter]) -> Result<Vec<Option<LogPage>>>;
    /// For each chat the head of its log, and the commit of its entry of that number. In the order
    /// asked, deleted chats too; `None` where there is no such chat. Never from a replica.
    async fn heads(&self, asked: &[(ChatId, Seq)]) -> Result<Vec<Option<LogHead>>>;
    /// The tail of all logs: messages after a mark, and other events of the last `within`. What was
    /// not yet committed when the mark was taken may be before it, so begin from an older one.
    /// Without a mark nothing is read but the mark. Never from a replica.
    async fn tail(&self, since: Option<TailMark>, within: Duration) -> Result<Tail>;
    /// Removes entries that are published.
    async fn outbox_remove(&self, ids: &[OutboxId]) -> Result<()>;
    /// Claims up to `limit` entries that are older than `age` by the database's clock and that no
    /// other relay holds. Answers what they stand for, rebuilt. They stay in the outbox, leased to
    /// the caller for [`CLAIM_LEASE`], until they are removed: a relay that dies loses nothing.
    async fn outbox_claim(&self, age: Duration, limit: usize) -> Result<Vec<Committed>>;
    /// How many entries there are; the count stops at 10,000.
    async fn outbox_pending(&self) -> Result<i64>;
    /// Removes up to `limit` log entries older than the retention, oldest first, and raises the
    /// chats' floors. Erases as many texts of deleted chats, and deletes as many sessions long
    /// over, idempotency keys, invitations and networks each. Answers how many in all; 0 when
    /// nothing is left to do. Blocks no writer.
    async fn prune(&self, older_than: Duration, limit: usize) -> Result<usize>;
}

/// The heads of rows that bear the place of their question, counted from one.
pub(super) fn in_the_order_asked(asked: usize, rows: Vec<(i64, Seq, Option<Time>)>) -> Vec<Option<LogHead>> {
    let mut heads = vec![None; asked];
    for (place, seq, committed_at) in rows {
        if let Some(head) = usize::try_from(place - 1).ok().and_then(|at| heads.get_mut(at)) {
            *head = Some(LogHead { seq, committed_at: committed_at.map(|time| time.0) });
        }
    }
    heads
}
