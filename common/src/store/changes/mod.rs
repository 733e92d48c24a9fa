//! The changes of a chat, each written once for both back ends: its rights, statements, events and
//! notices.
//!
//! A change locks its chat first and decides rights under that lock (guarantee G6). It is a
//! function over a [`Transaction`], which knows the statements of one back end and no rule.
//! Sending is not here: each back end has a faster way for it.

mod change;
pub(super) mod chats;
pub(super) mod heirs;
pub(super) mod invites;
pub(super) mod marks;
pub(super) mod members;
pub(super) mod messages;
#[cfg(test)]
mod tests;

pub(super) use self::change::Change;

use self::invites::InviteStatements;
use self::marks::MarkStatements;

use super::chats::{ChatRow, NewChat};
use super::fault::Fault;
use super::outbox::OutboxPayload;
use super::stored_time::Time;
use super::{Committed, OutboxId, SettingsPatch};
use crate::error::Error;
use crate::id::{ChatId, MessageId, Seq, UserId};
use crate::model::{Chat, Member, Message, Role};
use async_trait::async_trait;

/// One transaction of a back end: the statements that changes are made of. Each method is one
/// statement, or two where one cannot say it.
#[async_trait]
pub(super) trait Transaction: InviteStatements + MarkStatements + Send {
    /// Locks the chat until the transaction ends. Then reads its row, the role of `by`, and the
    /// database's time, so that they show what was committed before the lock was granted.
    async fn lock(&mut self, chat: ChatId, by: UserId) -> Result<(Option<ChatRow>, Option<Role>, Time), Fault>;
    /// Writes the chat's row and the change's events.
    async fn record(&mut self, change: &Change) -> Result<(), Fault>;
    /// Inserts an entry into the outbox.
    async fn insert_outbox(&mut self, payload: &OutboxPayload, at: Time) -> Result<OutboxId, Fault>;
    /// The chats as these users see them. A pair whose chat does not exist for its user is left
    /// out.
    async fn views(&mut self, pairs: &[(ChatId, UserId)]) -> Result<Vec<(UserId, Chat)>, Fault>;

    /// Inserts a chat with that many members. `None`: the private chat of this pair is there
    /// already, committed.
    async fn insert_chat(&mut self, chat: &NewChat<'_>, members: usize) -> Result<Option<ChatRow>, Fault>;
    /// The private chat of two users.
    async fn private_chat_of(&mut self, low: UserId, high: UserId) -> Result<Option<ChatId>, Fault>;
    /// Those of these users whose account is active, with their names, by id.
    async fn active_users(&mut self, ids: &[UserId]) -> Result<Vec<(UserId, String)>, Fault>;

    /// A member of the chat.
    async fn member(&mut self, chat: ChatId, user: UserId) -> Result<Option<Member>, Fault> {
        Ok(self.members_among(chat, &[user]).await?.pop())
    }
    /// Those of these users who are members of the chat, in no order.
    async fn members_among(&mut self, chat: ChatId, ids: &[UserId]) -> Result<Vec<Member>, Fault>;
    /// Inserts members, each with the number that its read mark begins at.
    async fn insert_members(&mut self, change: &Change, newcomers: &[(Member, Seq)]) -> Result<(), Fault>;
    /// Deletes a member.
    async fn delete_member(&mut self, chat: ChatId, user: UserId) -> Result<(), Fault>;
    /// Deletes all members and answers who they were.
    async fn delete_members(&mut self, chat: ChatId) -> Result<Vec<UserId>, Fault>;
    /// Sets a member's role. False: nothing was changed, because the chat would be left without an
    /// owner whose account is active.
    async fn set_role(&mut self, chat: ChatId, user: UserId, role: Role) -> Result<bool, Fault>;
    /// Changes a member's own view of the chat. Answers when; `None`: the user is no member.
    async fn set_settings(&mut self, chat: ChatId, user: UserId, patch: SettingsPatch) -> Result<Option<Time>, Fault>;
    /// Whether anyone but that user owns the chat, of those whose account is active.
    async fn has_owner(&mut self, chat: ChatId, but: UserId) -> Result<bool, Fault>;
    /// Makes an owner of the longest-standing member whose account is active, but not of that
    /// user. `None`: there is none.
    async fn crown_heir(&mut self, chat: ChatId, but: UserId) -> Result<Option<Member>, Fault>;
    /// Whether the account is active. It stays so until the transaction ends.
    async fn stays_active(&mut self, user: UserId) -> Result<bool, Fault>;

    /// The chat of a message that is not deleted.
    async fn chat_of(&mut self, message: MessageId) -> Result<Option<ChatId>, Fault>;
    /// A message of the chat that is not deleted, as that user sees it.
    async fn message(&mut self, chat: ChatId, message: MessageId, viewer: UserId) -> Result<Option<Message>, Fault>;
    /// Changes a message's text and whom it mentions.
    async fn set_text(&mut self, message: MessageId, text: &str, mentions: &[UserId], at: Time) -> Result<(), Fault>;
    /// Deletes a message: its row stays, its text goes, and with it what it bears.
    async fn erase_text(&mut self, message: MessageId, at: Time) -> Result<(), Fault>;
}

/// Begins a change: `ChatNotFound` where the chat is deleted, or exists for its members only
/// and the user is none.
async fn lock(tx: &mut dyn Transaction, chat: ChatId, by: UserId) -> Result<Change, Fault> {
    let (row, role, at) = tx.lock(chat, by).await?;
    Ok(Change::new(row, role, at)?)
}

/// Locks the message's chat, then reads the message. `MessageNotFound`, also for a user who may
/// not see it.
async fn lock_message(tx: &mut dyn Transaction, id: MessageId, by: UserId) -> Result<(Change, Message), Fault> {
    let chat = tx.chat_of(id).await?.ok_or(Error::MessageNotFound)?;
    let change = lock(tx, chat, by).await.map_err(|fault| match fault {
        Fault::Rule(Error::ChatNotFound) => Error::MessageNotFound.into(),
        other => other,
    })?;
    let message = tx.message(change.chat.id, id, by).await?.ok_or(Error::MessageNotFound)?;
    Ok((change, message))
}

/// The chat as that user sees it. `ChatNotFound`.
async fn view(tx: &mut dyn Transaction, chat: ChatId, user: UserId) -> Result<Chat, Fault> {
    let seen = tx.views(&[(chat, user)]).await?.pop();
    Ok(seen.ok_or(Error::ChatNotFound)?.1)
}

/// Ends a change: leaves its entry in the outbox, if there is anything to publish.
async fn leave_in_outbox(tx: &mut dyn Transaction, change: Change) -> Result<Committed, Fault> {
    if change.is_empty() {
        return Ok(Committed::default());
    }
    let id = tx.insert_outbox(&change.payload(), change.at).await?;
    Ok(change.into_committed(id))
}
