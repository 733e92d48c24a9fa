//! Messages: sent in batches, read by pages, edited, deleted.

use super::log::Committed;
use super::stored_time::Time;
use crate::error::{Error, Result};
use crate::id::{ChatId, MessageId, Seq, UserId};
use crate::model::{HistoryPage, Message, Reaction};
use crate::words::Words;
use async_trait::async_trait;
use sqlx::FromRow;

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// The chat that it goes to.
    pub chat_id: ChatId,
    /// Its author.
    pub author_id: UserId,
    /// The author's name. Names never change.
    pub author_username: String,
    /// Validated by `service`.
    pub text: String,
    /// Unique among the author's messages in the chat, for ever.
    pub client_message_id: Option<String>,
    /// A message of the same chat. Otherwise `Error::Invalid` on `reply_to_id`.
    pub reply_to_id: Option<MessageId>,
    /// The members that its text mentions, found by [`super::Marks::mentioned`].
    pub mentions: Vec<Mention>,
    /// The words of its text, made before its turn to be committed.
    pub words: Words,
}

/// A member whom a text mentions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The member.
    pub user_id: UserId,
    /// False for the author, for a member who muted the chat, and for one who blocked the author.
    pub notify: bool,
}

/// The outcome of one send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The message. For a retry, the one that was sent first.
    pub message: Message,
    /// False for a retry, which commits nothing.
    pub created: bool,
}

/// The outcome of a batch of sends.
#[derive(Debug)]
pub struct SentBatch {
    /// In the order given. A failed one harms no other. `NotAMember`, `ChatNotFound`,
    /// `ClientMessageIdReused`, `Invalid`, `Blocked`.
    pub results: Vec<Result<Sent>>,
    /// The events of the messages that were created; for a private chat, with notices to both
    /// users.
    pub committed: Committed,
}

/// Which page of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryFrom {
    /// The newest page.
    Newest,
    /// Messages before this one of the chat.
    Before(MessageId),
    /// Messages after this one of the chat.
    After(MessageId),
    /// The `next_cursor` of an earlier page.
    Cursor(String),
}

/// Messages. See the store's obligations.
#[async_trait]
pub trait Messages: Send + Sync + 'static {
    /// Sends a batch in one transaction and one round trip. Each message has its own rights and its
    /// own outcome. Moves the author's read mark to the message. The caller never puts two entries
    /// with the same author, chat and `client_message_id` into one batch.
    async fn send(&self, batch: Vec<NewMessage>) -> Result<SentBatch>;
    /// A page of messages that are not deleted. `ChatNotFound`, `NotAMember`. `Invalid` on `before`
    /// or `after` where that message is not in the chat.
    async fn history(&self, chat: ChatId, by: UserId, from: HistoryFrom, limit: usize) -> Result<HistoryPage>;
    /// One message. `MessageNotFound`, also for a deleted message and for a user who is not a
    /// member of its chat.
    async fn message(&self, message: MessageId, by: UserId) -> Result<Message>;
    /// Changes a message's text. `NotAuthor`. `NotAMember` for an author who left.
    /// `MessageNotFound`, also for a deleted message and for a user who may not see the chat. The
    /// same text again changes nothing and commits nothing.
    /// `mentions` of the chat's members replace the earlier ones; those who are new are notified.
    async fn edit(
        &self,
        message: MessageId,
        by: UserId,
        text: String,
        mentions: Vec<Mention>,
    ) -> Result<(Message, Committed)>;
    /// The chat of a message that is not deleted.
    async fn chat_of(&self, message: MessageId) -> Result<Option<ChatId>>;
    /// Deletes a message and erases its text. The author may, and an owner of the group; the errors
    /// are those of [`Self::edit`].
    async fn delete(&self, message: MessageId, by: UserId) -> Result<Committed>;
}

// The columns of a message `x` and its author `a` that a [`MessageRow`] reads, with where its text
// and the word that it is deleted come from.
macro_rules! message_columns {
    () => {
        $crate::store::messages::message_columns!("x.text", "x.deleted_at is not null")
    };
    ($text:literal, $is_deleted:literal) => {
        concat!(
            "x.id as m_id, x.author_id as m_author_id, a.username as m_author_username,
             a.display_name as m_author_display_name, ",
            $text,
            " as m_text, x.created_at as m_created_at, x.edited_at as m_edited_at, ",
            $is_deleted,
            " as m_is_deleted, x.seq as m_seq, x.client_message_id as m_client_message_id,
             x.reply_to_id as m_reply_to_id, x.reactions as m_reactions, x.mentions as m_mentions"
        )
    };
}
pub(super) use message_columns;

/// A message as [`message_columns`] lists it; all `None` where an outer join found none.
#[derive(FromRow)]
pub(super) struct MessageRow {
    m_id: Option<MessageId>,
    m_author_id: Option<UserId>,
    m_author_username: Option<String>,
    m_author_display_name: Option<String>,
    m_text: Option<String>,
    m_created_at: Option<Time>,
    m_edited_at: Option<Time>,
    m_is_deleted: Option<bool>,
    m_seq: Option<Seq>,
    m_client_message_id: Option<String>,
    m_reply_to_id: Option<MessageId>,
    m_reactions: Option<String>,
    m_mentions: Option<String>,
    /// The reader's own emoji. `None` where no reader is asked about.
    #[sqlx(default)]
    m_mine: Option<String>,
}

impl MessageRow {
    /// As a statement would answer it.
    #[cfg(test)]
    pub(super) fn of(message: Option<&Message>) -> Self {
        Self {
            m_id: message.map(|message| message.id),
            m_author_id: message.map(|message| message.author_id),
            m_author_username: message.map(|message| message.author_username.clone()),
            m_author_display_name: message.and_then(|message| message.author_display_name.clone()),
            m_text: message.map(|message| message.text.clone()),
            m_created_at: message.map(|message| Time(message.created_at)),
            m_edited_at: message.and_then(|message| message.edited_at).map(Time),
            m_is_deleted: message.map(|message| message.is_deleted),
            m_seq: message.map(|message| message.seq),
            m_client_message_id: message.and_then(|message| message.client_message_id.clone()),
            m_reply_to_id: message.and_then(|message| message.reply_to_id),
            m_reactions: message.and_then(|message| stored_reactions(&message.reactions)),
            m_mentions: message.and_then(|message| stored_users(&message.mentions)),
            m_mine: None,
        }
    }

    pub(super) fn into_message(self, chat_id: ChatId) -> Option<Message> {
        let is_deleted = self.m_is_deleted.unwrap_or(false);
        Some(Message {
            id: self.m_id?,
            chat_id,
            author_id: self.m_author_id?,
            author_username: self.m_author_username?,
            author_display_name: self.m_author_display_name,
            text: if is_deleted { String::new() } else { self.m_text? },
            created_at: self.m_created_at?.0,
            is_edited: self.m_edited_at.is_some(),
            edited_at: self.m_edited_at.map(|at| at.0),
            is_deleted,
            seq: self.m_seq?,
            client_message_id: self.m_client_message_id,
            reply_to_id: self.m_reply_to_id,
            // A node of an older release deletes the text alone.
            reactions: read_reactions(self.m_reactions.as_deref().filter(|_| !is_deleted), self.m_mine.as_deref()),
            mentions: read_users(self.m_mentions.as_deref().filter(|_| !is_deleted)),
        })
    }
}

// The chat and the message of `$1`, if the user `$2` may read it, with these columns.
macro_rules! one_message {
    ($($columns:tt)*) => {
        concat!(
            "select x.chat_id, ",
            $($columns)*,
            " from messages x
             join chats c on c.id = x.chat_id and c.deleted_at is null
             join members me on me.chat_id = x.chat_id and me.user_id = $2
             join users a on a.id = x.author_id
             where x.id = $1 and x.deleted_at is null"
        )
    };
}
pub(super) use one_message;

/// A row of `one_message!`.
#[derive(FromRow)]
pub(super) struct OneMessage {
    chat_id: ChatId,
    #[sqlx(flatten)]
    message: MessageRow,
}

impl OneMessage {
    pub(super) fn found(row: Option<Self>) -> Result<Message> {
        row.and_then(|row| row.message.into_message(row.chat_id)).ok_or(Error::MessageNotFound)
    }
}

/// The column of a message's reactions. `None`: there are none.
pub(super) fn stored_reactions(reactions: &[Reaction]) -> Option<String> {
    let pairs: Vec<_> = reactions.iter().map(|one| (&one.emoji, one.count)).collect();
    (!pairs.is_empty()).then(|| serde_json::to_string(&pairs).unwrap_or_default())
}

/// Reads it again, with the emoji of the reader where they are known.
pub(super) fn read_reactions(stored: Option<&str>, mine: Option<&str>) -> Vec<Reaction> {
    let Some(stored) = stored else { return Vec::new() };
    let pairs: Vec<(String, i64)> = serde_json::from_str(stored).unwrap_or_default();
    let mine: Option<Vec<String>> = mine.and_then(|mine| serde_json::from_str(mine).ok());
    let me = |emoji: &String| mine.as_ref().map(|mine| mine.contains(emoji));
    pairs.into_iter().map(|(emoji, count)| Reaction { me: me(&emoji), emoji, count }).collect()
}

/// The column of a list of users. `None`: it is empty.
pub(super) fn stored_users(users: &[UserId]) -> Option<String> {
    (!users.is_empty()).then(|| serde_json::to_string(users).unwrap_or_default())
}

pub(super) fn read_users(stored: Option<&str>) -> Vec<UserId> {
    stored.and_then(|stored| serde_json::from_str(stored).ok()).unwrap_or_default()
}

/// A row of a history page: the chat, whether the caller is a member, and perhaps a message.
#[derive(FromRow)]
pub(super) struct HistoryRow {
    /// Whether the chat exists for users who are not in it.
    pub(super) is_open: bool,
    pub(super) head: Seq,
    pub(super) is_member: bool,
    /// The `seq` of the message that the page begins at.
    pub(super) from_seq: Option<Seq>,
    #[sqlx(flatten)]
    pub(super) message: MessageRow,
}
