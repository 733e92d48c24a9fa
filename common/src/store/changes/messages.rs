//! Changes of a message that was sent.

use super::{Change, Transaction, leave_in_outbox, lock};
use crate::error::Error;
use crate::event::EventBody;
use crate::id::{MessageId, UserId};
use crate::model::{Message, Role};
use crate::store::Committed;
use crate::store::fault::Fault;

/// Locks the message's chat, then reads the message. `MessageNotFound`, also for a user who may
/// not see it.
async fn lock_message(tx: &mut dyn Transaction, id: MessageId, by: UserId) -> Result<(Change, Message), Fault> {
    let chat = tx.chat_of(id).await?.ok_or(Error::MessageNotFound)?;
    let change = lock(tx, chat, by).await.map_err(|fault| match fault {
        Fault::Rule(Error::ChatNotFound) => Error::MessageNotFound.into(),
        other => other,
    })?;
    let message = tx.message(change.chat.id, id).await?.ok_or(Error::MessageNotFound)?;
    Ok((change, message))
}

/// See [`crate::store::Messages::edit`].
pub(in crate::store) async fn edit(
    tx: &mut dyn Transaction,
    id: MessageId,
    by: UserId,
    text: &str,
) -> Result<(Message, Committed), Fault> {
    if text.contains('\0') {
        return Err(Error::invalid("text", "must not contain a NUL character").into());
    }
    let (mut change, mut message) = lock_message(tx, id, by).await?;
    change.require_author(&message, by)?;
    if message.text == text {
        return Ok((message, Committed::default()));
    }
    tx.set_text(id, text, change.at).await?;
    text.clone_into(&mut message.text);
    message.is_edited = true;
    message.edited_at = Some(change.at.0);
    change.push(EventBody::MessageEdited { message: message.clone() });
    tx.record(&change).await?;
    Ok((message, leave_in_outbox(tx, change).await?))
}

/// See [`crate::store::Messages::delete`].
pub(in crate::store) async fn delete(tx: &mut dyn Transaction, id: MessageId, by: UserId) -> Result<Committed, Fault> {
    let (mut change, message) = lock_message(tx, id, by).await?;
    if !(change.chat.is_group && change.role == Some(Role::Owner)) {
        change.require_author(&message, by)?;
    }
    tx.erase_text(id, change.at).await?;
    change.push(EventBody::MessageDeleted { message_id: id });
    tx.record(&change).await?;
    leave_in_outbox(tx, change).await
}
