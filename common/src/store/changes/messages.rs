//! Changes of a message that was sent.

use super::{Transaction, leave_in_outbox, lock_message, marks};
use crate::error::Error;
use crate::event::EventBody;
use crate::id::{MessageId, UserId};
use crate::model::{Message, Role};
use crate::store::fault::Fault;
use crate::store::send::{counted, mentioned, notified};
use crate::store::{Committed, Mention, NoticeBody};

/// See [`crate::store::Messages::edit`].
pub(in crate::store) async fn edit(
    tx: &mut dyn Transaction,
    id: MessageId,
    by: UserId,
    text: &str,
    mentions: &[Mention],
) -> Result<(Message, Committed), Fault> {
    if text.contains('\0') {
        return Err(Error::invalid("text", "must not contain a NUL character").into());
    }
    let (mut change, mut message) = lock_message(tx, id, by).await?;
    change.require_author(&message, by)?;
    if message.text == text {
        return Ok((message, Committed::default()));
    }
    marks::require_unblocked(tx, &change, by).await?;
    let mut now = mentioned(mentions);
    if !now.is_empty() {
        // They were looked up before the lock: a removal may have come between.
        let members = tx.members_among(change.chat.id, &now).await?;
        now.retain(|user| members.iter().any(|member| member.user_id == *user));
    }
    tx.set_text(id, text, &now, change.at).await?;
    text.clone_into(&mut message.text);
    message.is_edited = true;
    message.edited_at = Some(change.at.0);
    let before = std::mem::replace(&mut message.mentions, now);
    let shared = message.clone().for_all();
    let seq = change.push(EventBody::MessageEdited { message: shared.clone() });
    let fresh: Vec<UserId> = message.mentions.iter().copied().filter(|user| !before.contains(user)).collect();
    let gone: Vec<UserId> = before.into_iter().filter(|user| !message.mentions.contains(user)).collect();
    if !gone.is_empty() {
        tx.delete_mentions(change.chat.id, id, &gone).await?;
    }
    let to_count = counted(&fresh, by);
    if !to_count.is_empty() {
        tx.insert_mentions(change.chat.id, id, seq, &to_count).await?;
    }
    for user in notified(mentions, by, &fresh) {
        change.notify(user, NoticeBody::Mentioned(Box::new(shared.clone())));
    }
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
    if !message.mentions.is_empty() {
        tx.delete_mentions(change.chat.id, id, &message.mentions).await?;
    }
    change.push(EventBody::MessageDeleted { message_id: id });
    tx.record(&change).await?;
    leave_in_outbox(tx, change).await
}
