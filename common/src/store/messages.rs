//! Messages: sent in batches, read by pages, edited, deleted.

use super::Committed;
use crate::error::Result;
use crate::id::{ChatId, MessageId, UserId};
use crate::model::{HistoryPage, Message};
use async_trait::async_trait;

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// Where.
    pub chat_id: ChatId,
    /// By whom.
    pub author_id: UserId,
    /// The author's name (names never change).
    pub author_username: String,
    /// Checked before.
    pub text: String,
    /// Unique for the author in the chat, for ever.
    pub client_message_id: Option<String>,
    /// A message of the same chat; else `Error::Invalid` on `reply_to_id`.
    pub reply_to_id: Option<MessageId>,
}

/// What became of a send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The message: the first one, where it was a retry.
    pub message: Message,
    /// False for a retry: nothing was committed.
    pub created: bool,
}

/// What a batch of sends came to.
#[derive(Debug)]
pub struct SentBatch {
    /// In the order given; one that failed harmed no other. `NotAMember`, `ChatNotFound`, `ClientMessageIdReused`, `Invalid`.
    pub results: Vec<Result<Sent>>,
    /// What is to be told of those that were created (private chats: with the notices to both users).
    pub committed: Committed,
}

/// Which page of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryFrom {
    /// The newest.
    Newest,
    /// Older than this message of the chat.
    Before(MessageId),
    /// Newer than this message of the chat.
    After(MessageId),
    /// Where an earlier page left off.
    Cursor(String),
}

/// Messages. See the store's obligations.
#[async_trait]
pub trait Messages: Send + Sync + 'static {
    /// Sends a batch in one transaction, one round trip; each as its own rights allow. Two entries of one batch never share author,
    /// chat and `client_message_id` (the caller sees to that). Moves the author's read mark to what was sent.
    async fn send(&self, batch: Vec<NewMessage>) -> Result<SentBatch>;
    /// Without deleted ones. `ChatNotFound`, `NotAMember`; a message that is not in the chat: `Invalid` on `before` / `after`.
    async fn history(&self, chat: ChatId, by: UserId, from: HistoryFrom, limit: usize) -> Result<HistoryPage>;
    /// `MessageNotFound` (also for who may not see the chat, and deleted ones), `NotAuthor`, `NotAMember` (an author who left).
    /// The same text again changes nothing and commits nothing.
    async fn edit(&self, message: MessageId, by: UserId, text: String) -> Result<(Message, Committed)>;
    /// The author, or an owner of the group; else `NotAuthor`. The text is erased.
    async fn delete(&self, message: MessageId, by: UserId) -> Result<Committed>;
}
