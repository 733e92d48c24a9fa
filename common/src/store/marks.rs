//! The marks on messages: reactions, pins, mentions.

use super::cursor::{self, PageRequest};
use super::log::Committed;
use super::messages::{Mention, MessageRow};
use crate::error::Result;
use crate::id::{ChatId, MessageId, Seq, UserId};
use crate::model::{Message, Page};
use async_trait::async_trait;
use sqlx::FromRow;

/// Reactions, pins and mentions. See the store's obligations.
#[async_trait]
pub trait Marks: Send + Sync + 'static {
    /// Those of these lowered names that members of the chat have, each with its member. None for
    /// a user who is not in the chat: nothing that is made of them may say who is.
    async fn mentioned(&self, chat: ChatId, by: UserId, names: &[String]) -> Result<Vec<(String, Mention)>>;
    /// Adds the user's emoji to a message, or takes it back. The same again changes nothing.
    /// `MessageNotFound`, also for users who are not in the chat; `Blocked`, `TooManyReactions`.
    async fn react(&self, message: MessageId, by: UserId, emoji: &str, add: bool) -> Result<Committed>;
    /// Pins a message, or takes the pin away. The same again changes nothing. `ChatNotFound`,
    /// `NotAMember`, `NotOwner` in a group, `Blocked`, `MessageNotFound`, `TooManyPins`.
    async fn pin(&self, chat: ChatId, message: MessageId, by: UserId, add: bool) -> Result<Committed>;
    /// The pinned messages, the last pinned first. `ChatNotFound`, `NotAMember`.
    async fn pins(&self, chat: ChatId, by: UserId, page: &PageRequest) -> Result<Page<Message>>;
}

/// A row of a page of pins: the chat's rights, and perhaps a message.
#[derive(FromRow)]
pub(super) struct PinRow {
    /// Whether the chat exists for users who are not in it.
    pub(super) is_open: bool,
    pub(super) is_member: bool,
    pin_seq: Option<Seq>,
    #[sqlx(flatten)]
    message: MessageRow,
}

impl PinRow {
    /// A page of these rows, of which there is one more than `limit` where there are more.
    pub(super) fn page(rows: Vec<Self>, chat: ChatId, limit: usize) -> Page<Message> {
        let found = rows.into_iter().filter_map(|row| Some((row.pin_seq?, row.message.into_message(chat)?)));
        let found: Vec<(Seq, Message)> = found.collect();
        let next_cursor = (found.len() > limit).then(|| found.get(limit - 1)).flatten();
        let next_cursor = next_cursor.map(|(seq, _)| cursor::of_pin(*seq));
        Page { items: found.into_iter().take(limit).map(|(_, message)| message).collect(), next_cursor }
    }
}
