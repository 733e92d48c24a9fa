//! The marks on a message: reactions and pins.

use super::{Change, Transaction, leave_in_outbox, lock, lock_message};
use crate::error::Error;
use crate::event::{EventBody, PinChange, ReactionChange};
use crate::id::{ChatId, MessageId, Seq, UserId};
use crate::model::Reaction;
use crate::model::{MAX_PINS, MAX_REACTIONS};
use crate::store::Committed;
use crate::store::fault::Fault;
use async_trait::async_trait;

/// The statements of reactions, pins, mentions and blocks.
#[async_trait]
pub(in crate::store) trait MarkStatements: Send {
    /// Whether one of these users blocked that one.
    async fn is_blocked_by(&mut self, user: UserId, others: &[UserId]) -> Result<bool, Fault>;
    /// Whether the other user of the private chat blocked this one.
    async fn is_blocked_in(&mut self, chat: ChatId, user: UserId) -> Result<bool, Fault>;
    /// Inserts a user's emoji. False: it is there already.
    async fn insert_reaction(&mut self, message: MessageId, user: UserId, emoji: &str) -> Result<bool, Fault>;
    /// Deletes a user's emoji. False: there is none.
    async fn delete_reaction(&mut self, message: MessageId, user: UserId, emoji: &str) -> Result<bool, Fault>;
    /// Writes a message's counts.
    async fn set_reactions(&mut self, message: MessageId, reactions: &[Reaction]) -> Result<(), Fault>;
    /// How many messages are pinned, and whether this is one of them. One that a node of an
    /// older release deleted does not count.
    async fn pins_of(&mut self, chat: ChatId, message: MessageId) -> Result<(i64, bool), Fault>;
    /// Inserts a pin.
    async fn insert_pin(&mut self, chat: ChatId, message: MessageId, seq: Seq) -> Result<(), Fault>;
    /// Deletes a pin.
    async fn delete_pin(&mut self, chat: ChatId, message: MessageId) -> Result<(), Fault>;
    /// Inserts mentions of these users, at the number of the event that mentions them.
    async fn insert_mentions(
        &mut self,
        chat: ChatId,
        message: MessageId,
        seq: Seq,
        users: &[UserId],
    ) -> Result<(), Fault>;
    /// Deletes a message's mentions of these users.
    async fn delete_mentions(&mut self, chat: ChatId, message: MessageId, users: &[UserId]) -> Result<(), Fault>;
}

/// `Blocked` where the other user of a private chat blocked this one.
pub(super) async fn require_unblocked(tx: &mut dyn Transaction, change: &Change, by: UserId) -> Result<(), Fault> {
    if !change.chat.is_group && tx.is_blocked_in(change.chat.id, by).await? {
        return Err(Error::Blocked.into());
    }
    Ok(())
}

/// See [`crate::store::Marks::react`].
pub(in crate::store) async fn react(
    tx: &mut dyn Transaction,
    id: MessageId,
    by: UserId,
    emoji: &str,
    add: bool,
) -> Result<Committed, Fault> {
    let (mut change, message) = lock_message(tx, id, by).await?;
    if change.role.is_none() {
        return Err(Error::MessageNotFound.into());
    }
    require_unblocked(tx, &change, by).await?;
    let mut reactions = message.reactions;
    let at = reactions.iter().position(|one| one.emoji == emoji);
    if add && at.is_none() && reactions.len() >= MAX_REACTIONS {
        return Err(Error::TooManyReactions.into());
    }
    let changed =
        if add { tx.insert_reaction(id, by, emoji).await? } else { tx.delete_reaction(id, by, emoji).await? };
    if !changed {
        return Ok(Committed::default());
    }
    let place = at.unwrap_or(reactions.len());
    if at.is_none() {
        reactions.push(Reaction { emoji: emoji.to_owned(), count: 0, me: None });
    }
    let one = &mut reactions[place];
    one.count += if add { 1 } else { -1 };
    let reaction = ReactionChange { message_id: id, user_id: by, emoji: emoji.to_owned(), count: one.count };
    reactions.retain(|one| one.count > 0);
    tx.set_reactions(id, &reactions).await?;
    change.push(if add { EventBody::ReactionAdded(reaction) } else { EventBody::ReactionRemoved(reaction) });
    tx.record(&change).await?;
    leave_in_outbox(tx, change).await
}

/// See [`crate::store::Marks::pin`].
pub(in crate::store) async fn pin(
    tx: &mut dyn Transaction,
    chat: ChatId,
    message: MessageId,
    by: UserId,
    add: bool,
) -> Result<Committed, Fault> {
    let mut change = lock(tx, chat, by).await?;
    change.require_host()?;
    require_unblocked(tx, &change, by).await?;
    if tx.chat_of(message).await? != Some(chat) {
        return Err(Error::MessageNotFound.into());
    }
    let (pins, is_pinned) = tx.pins_of(chat, message).await?;
    if is_pinned == add {
        return Ok(Committed::default());
    }
    if add && pins >= MAX_PINS {
        return Err(Error::TooManyPins.into());
    }
    let pin = PinChange { message_id: message, user_id: by };
    let seq = change.push(if add { EventBody::MessagePinned(pin) } else { EventBody::MessageUnpinned(pin) });
    if add {
        tx.insert_pin(chat, message, seq).await?;
    } else {
        tx.delete_pin(chat, message).await?;
    }
    tx.record(&change).await?;
    leave_in_outbox(tx, change).await
}
