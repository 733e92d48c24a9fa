//! Changes of who is in a chat, and as what.

use super::change::Admission;
use super::{Change, Transaction, heirs, leave_in_outbox, lock, view};
use crate::error::Error;
use crate::event::{EventBody, LogEvent, MemberChange};
use crate::id::{ChatId, Seq, UserId};
use crate::model::{Chat, Member, Role};
use crate::store::fault::Fault;
use crate::store::outbox::{OutboxPayload, settings_notice};
use crate::store::{Committed, NoticeBody, OutboxId, SettingsPatch, UserNotice};
use std::sync::Arc;

/// See [`crate::store::Members::join`].
pub(in crate::store) async fn join(
    tx: &mut dyn Transaction,
    chat: ChatId,
    user: UserId,
    max_members: i64,
) -> Result<(Chat, Committed), Fault> {
    let change = lock(tx, chat, user).await?;
    if change.role.is_some() {
        return Ok((view(tx, chat, user).await?, Committed::default()));
    }
    enter(tx, change, user, max_members).await
}

/// Lets a user in who is no member yet, under the chat's lock. `ChatNotFound`, `GroupFull`.
pub(super) async fn enter(
    tx: &mut dyn Transaction,
    mut change: Change,
    user: UserId,
    max_members: i64,
) -> Result<(Chat, Committed), Fault> {
    let chat = change.chat.id;
    if change.chat.member_count >= max_members {
        return Err(Error::GroupFull.into());
    }
    // Its texts are not left to whoever comes by, once nobody is active in it.
    if !tx.has_owner(chat, user).await? && !heirs::crown(tx, &mut change, user).await? {
        return Err(Error::ChatNotFound.into());
    }
    let newcomer = candidates(tx, &change, &[user]).await?.pop().ok_or(Error::UserNotFound)?;
    let seq = change.joined(&newcomer);
    tx.insert_members(&change, &[(newcomer, seq)]).await?;
    tx.record(&change).await?;
    let seen = view(tx, chat, user).await?;
    change.welcome([(user, seq)], &seen);
    Ok((seen, leave_in_outbox(tx, change).await?))
}

/// The event and the notice of a join that a back end made in one round trip.
pub(in crate::store) fn joined(
    chat_id: ChatId,
    newcomer: &Member,
    seq: Seq,
    view: &Chat,
    outbox: Option<OutboxId>,
) -> Committed {
    let body = EventBody::MemberJoined(MemberChange::from(newcomer));
    let event = LogEvent { chat_id, seq, committed_at: newcomer.joined_at, body };
    let body = NoticeBody::ChatAdded(Arc::new(view.clone().for_all()));
    let notice = UserNotice { user_id: newcomer.user_id, chat_id, seq, body };
    Committed { events: vec![event], notices: vec![notice], outbox, traced: Vec::new() }
}

/// Those of these users who are active, as members to be.
async fn candidates(tx: &mut dyn Transaction, change: &Change, ids: &[UserId]) -> Result<Vec<Member>, Fault> {
    let users = tx.active_users(ids).await?;
    let joined_at = change.at.0;
    let member = |(user_id, username)| Member { user_id, username, role: Role::Member, joined_at };
    Ok(users.into_iter().map(member).collect())
}

/// See [`crate::store::Members::remove_member`], and [`crate::store::Members::leave`] where `by`
/// is `user`.
pub(in crate::store) async fn remove_member(
    tx: &mut dyn Transaction,
    chat: ChatId,
    by: UserId,
    user: UserId,
) -> Result<Committed, Fault> {
    let mut change = lock(tx, chat, by).await?;
    if by == user {
        change.require_member()?;
        change.require_group()?;
    } else {
        change.require_owner()?;
    }
    let leaver = tx.member(chat, user).await?.ok_or(Error::MemberNotFound)?;
    tx.delete_member(chat, user).await?;
    change.left(&leaver);
    // After a removal there is its owner.
    if by == user
        && !change.chat.is_deleted
        && !tx.has_owner(chat, user).await?
        && !heirs::crown(tx, &mut change, user).await?
    {
        heirs::delete(tx, &mut change).await?;
    }
    tx.record(&change).await?;
    leave_in_outbox(tx, change).await
}

/// See [`crate::store::Members::add_members`].
pub(in crate::store) async fn add_members(
    tx: &mut dyn Transaction,
    chat: ChatId,
    by: UserId,
    ids: &[UserId],
    max_members: i64,
) -> Result<(Vec<Member>, Committed), Fault> {
    let mut change = lock(tx, chat, by).await?;
    change.require_owner()?;
    let present = tx.members_among(chat, ids).await?;
    let is_present = |id: &UserId| present.iter().any(|member| member.user_id == *id);
    let absent: Vec<UserId> = ids.iter().copied().filter(|id| !is_present(id)).collect();
    let candidates = candidates(tx, &change, &absent).await?;
    if tx.is_blocked_by(by, &absent).await? {
        return Err(Error::Blocked.into());
    }
    let Admission { asked, newcomers } = change.admit(ids, present, candidates, max_members)?;
    if let Some((first, _)) = newcomers.first() {
        tx.insert_members(&change, &newcomers).await?;
        tx.record(&change).await?;
        // Newcomers to a group all see the same.
        let seen = view(tx, chat, first.user_id).await?;
        change.welcome(newcomers.iter().map(|(member, seq)| (member.user_id, *seq)), &seen);
    }
    Ok((asked, leave_in_outbox(tx, change).await?))
}

/// See [`crate::store::Members::set_role`].
pub(in crate::store) async fn set_role(
    tx: &mut dyn Transaction,
    chat: ChatId,
    by: UserId,
    user: UserId,
    role: Role,
) -> Result<(Member, Committed), Fault> {
    let mut change = lock(tx, chat, by).await?;
    change.require_owner()?;
    let mut member = tx.member(chat, user).await?.ok_or(Error::MemberNotFound)?;
    if member.role == role {
        return Ok((member, Committed::default()));
    }
    if role == Role::Owner && !tx.stays_active(user).await? {
        return Err(Error::invalid("role", "of an owner needs an active account, and this one is deactivated").into());
    }
    if !tx.set_role(chat, user, role).await? {
        return Err(Error::invalid("role", "of the last owner cannot change: name another owner first").into());
    }
    member.role = role;
    change.push(EventBody::MemberUpdated(MemberChange::from(&member)));
    tx.record(&change).await?;
    Ok((member, leave_in_outbox(tx, change).await?))
}

/// See [`crate::store::Members::set_settings`]. It is no event of the chat and waits for no lock.
pub(in crate::store) async fn set_settings(
    tx: &mut dyn Transaction,
    chat: ChatId,
    user: UserId,
    patch: SettingsPatch,
) -> Result<Option<Committed>, Fault> {
    let Some(at) = tx.set_settings(chat, user, patch).await? else { return Ok(None) };
    let Some(notice) = settings_notice(user, &view(tx, chat, user).await?) else { return Ok(None) };
    let payload = OutboxPayload { settings: vec![(chat, user)], ..OutboxPayload::default() };
    let outbox = Some(tx.insert_outbox(&payload, at).await?);
    Ok(Some(Committed { notices: vec![notice], outbox, ..Committed::default() }))
}
