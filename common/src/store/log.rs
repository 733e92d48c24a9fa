//! The log of every chat, and the outbox of what was committed and perhaps not published.

use crate::error::Result;
use crate::event::LogEvent;
use crate::id::{ChatId, Seq, UserId};
use crate::model::{Chat, Message};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

/// How long a claimed entry of the outbox is held for its relay.
pub const CLAIM_LEASE: Duration = Duration::from_millis(1500);

/// An entry of the outbox: what one transaction committed and nobody may have published yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutboxId(pub i64);

/// What a transaction committed and must now be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The events, in the order of their numbers within each chat.
    pub events: Vec<LogEvent>,
    /// What is told to users beside it.
    pub notices: Vec<UserNotice>,
    /// The outbox entry to be removed once all that is published; `None` when nothing was committed.
    pub outbox: Option<OutboxId>,
}

/// A frame for every connection of a user; see [`crate::event::Envelope::Notice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserNotice {
    /// To whom.
    pub user_id: UserId,
    /// Because of which chat.
    pub chat_id: ChatId,
    /// And the number of which of its events (the head at the time, for a chat just made).
    pub seq: Seq,
    /// What is told.
    pub body: NoticeBody,
}

/// What a user is told beside a chat's sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeBody {
    /// The user came into the chat, here as that user sees it: one value for all who see the same.
    ChatAdded(Arc<Chat>),
    /// The user came out of it, or it was deleted.
    ChatRemoved,
    /// A message of a private chat, the same frame as its event.
    NewMessage(Box<Message>),
}

/// A piece of a chat's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// Consecutive from the number asked after; fewer than asked only at the head.
    pub events: Vec<LogEvent>,
    /// The head in the same snapshot.
    pub head: Seq,
    /// The last number that the log no longer keeps. Greater than the number asked after: there is a gap that nothing can fill.
    pub floor: Seq,
}

/// The log and its outbox. See the store's obligations.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// The log after a number, up to `limit` events. `None`: no such chat (deleted ones are still read).
    async fn log_after(&self, chat: ChatId, after: Seq, limit: usize) -> Result<Option<LogPage>>;
    /// The heads of these chats; of deleted ones too.
    async fn heads(&self, chats: &[ChatId]) -> Result<Vec<(ChatId, Seq)>>;
    /// Removes what was published.
    async fn outbox_remove(&self, ids: &[OutboxId]) -> Result<()>;
    /// Takes up to `limit` entries older than `age` (database's clock), that no other relay holds, and rebuilds what they must tell. They stay in the
    /// outbox, leased to the caller for [`CLAIM_LEASE`], until removed: a relay that dies loses nothing.
    async fn outbox_claim(&self, age: Duration, limit: usize) -> Result<Vec<Committed>>;
    /// How many entries there are, counted up to 10,000.
    async fn outbox_pending(&self) -> Result<i64>;
    /// Removes up to `limit` log entries older than the retention, oldest first, raising the chats' floors, and erases as many texts of deleted
    /// chats; says how many, 0 when there is nothing left to do. Blocks no writer.
    async fn prune(&self, older_than: Duration, limit: usize) -> Result<usize>;
}
