//! Succession: a group always has an owner whose account is active, or it is deleted.

use super::{Change, Transaction, leave_in_outbox, lock};
use crate::error::Error;
use crate::event::{EventBody, MemberChange};
use crate::id::{ChatId, UserId};
use crate::model::Role;
use crate::store::fault::Fault;
use crate::store::{Committed, NoticeBody};

/// See [`crate::store::Members::pass_on`].
pub(in crate::store) async fn pass_on(
    tx: &mut dyn Transaction,
    chat: ChatId,
    user: UserId,
) -> Result<Committed, Fault> {
    let mut change = match lock(tx, chat, user).await {
        Err(Fault::Rule(Error::ChatNotFound)) => return Ok(Committed::default()),
        locked => locked?,
    };
    let Some(role) = change.role.filter(|_| change.chat.is_group) else { return Ok(Committed::default()) };
    if tx.stays_active(user).await? || tx.has_owner(chat, user).await? {
        return Ok(Committed::default());
    }
    if crown(tx, &mut change, user).await? {
        if role == Role::Owner
            && let Some(mut former) = tx.member(chat, user).await?
            && tx.set_role(chat, user, Role::Member).await?
        {
            former.role = Role::Member;
            change.push(EventBody::MemberUpdated(MemberChange::from(&former)));
        }
    } else {
        delete(tx, &mut change).await?;
    }
    tx.record(&change).await?;
    leave_in_outbox(tx, change).await
}

/// Gives a group without an active owner one. False: nobody but `leaver` is active in it.
pub(super) async fn crown(tx: &mut dyn Transaction, change: &mut Change, leaver: UserId) -> Result<bool, Fault> {
    let heir = tx.crown_heir(change.chat.id, leaver).await?;
    if let Some(heir) = &heir {
        change.push(EventBody::MemberUpdated(MemberChange::from(heir)));
    }
    Ok(heir.is_some())
}

/// Deletes the chat, its last event, and notifies its members.
pub(super) async fn delete(tx: &mut dyn Transaction, change: &mut Change) -> Result<(), Fault> {
    let members = tx.delete_members(change.chat.id).await?;
    change.deleted();
    for user in members {
        change.notify(user, NoticeBody::ChatRemoved);
    }
    Ok(())
}
