//! Changes of a chat itself.

use super::{Change, Transaction, heirs, leave_in_outbox, lock, view};
use crate::error::{Error, Result};
use crate::id::{ChatId, Seq, UserId};
use crate::model::{Chat, Member, Role};
use crate::store::chats::{ChatRow, NewChat};
use crate::store::fault::Fault;
use crate::store::{ChatPatch, Committed, NewGroup};

/// See [`crate::store::Chats::create_group`].
pub(in crate::store) async fn create_group(
    tx: &mut dyn Transaction,
    group: &NewGroup,
) -> Result<(Chat, Committed), Fault> {
    let mut ids = vec![group.owner];
    ids.extend(&group.member_ids);
    let users = tx.active_users(&ids).await?;
    if users.len() != ids.len() {
        return Err(Error::invalid("member_ids", "names a user who does not exist, or one twice, or yourself").into());
    }
    if tx.is_blocked_by(group.owner, &group.member_ids).await? {
        return Err(Error::Blocked.into());
    }
    let row = tx.insert_chat(&NewChat::Group(group), ids.len()).await?;
    let row = row.ok_or_else(|| Error::internal("a group was not inserted"))?;
    fill(tx, row, users, (group.owner, Role::Owner)).await
}

/// Gives a new chat its members and notifies them. Answers the chat as its creator sees it.
async fn fill(
    tx: &mut dyn Transaction,
    row: ChatRow,
    users: Vec<(UserId, String)>,
    (creator, creators_role): (UserId, Role),
) -> Result<(Chat, Committed), Fault> {
    let (chat, at) = (row.id, row.created_at);
    let mut change = Change::new(Some(row), Some(creators_role), at)?;
    let member = |(user_id, username)| {
        let role = if user_id == creator { creators_role } else { Role::Member };
        (Member { user_id, username, role, joined_at: at.0 }, Seq(0))
    };
    let members: Vec<(Member, Seq)> = users.into_iter().map(member).collect();
    tx.insert_members(&change, &members).await?;
    // All but the creator see the same chat: of a private chat there is one other.
    let others: Vec<UserId> =
        members.iter().map(|(member, _)| member.user_id).filter(|user| *user != creator).collect();
    let pairs: Vec<_> = [creator].iter().chain(others.first()).map(|user| (chat, *user)).collect();
    let seen = tx.views(&pairs).await?;
    let seen_by = |user: UserId| seen.iter().find(|(viewer, _)| *viewer == user).map(|(_, chat)| chat);
    let own = seen_by(creator).ok_or_else(|| Error::internal("a new chat is not seen by its creator"))?;
    change.welcome([(creator, Seq(0))], own);
    if let Some(chat) = others.first().and_then(|user| seen_by(*user)) {
        change.welcome(others.iter().map(|user| (*user, Seq(0))), chat);
    }
    Ok((own.clone(), leave_in_outbox(tx, change).await?))
}

/// The two users of a private chat, the lower id first. `UserNotFound`: nobody has a chat with
/// oneself.
pub(in crate::store) fn pair(user: UserId, other: UserId) -> Result<(UserId, UserId)> {
    if user == other { Err(Error::UserNotFound) } else { Ok((user.min(other), user.max(other))) }
}

/// See [`crate::store::Chats::private_chat`], for a pair whose chat was not found.
pub(in crate::store) async fn private_chat(
    tx: &mut dyn Transaction,
    user: UserId,
    other: UserId,
) -> Result<(Chat, bool, Committed), Fault> {
    let (low, high) = pair(user, other)?;
    let users = tx.active_users(&[low, high]).await?;
    if users.len() != 2 {
        return Err(Error::UserNotFound.into());
    }
    if tx.is_blocked_by(user, &[other]).await? {
        return Err(Error::Blocked.into());
    }
    let Some(row) = tx.insert_chat(&NewChat::Private(low, high), 2).await? else {
        // Another transaction made it meanwhile. It has committed: the unique index waited for
        // that.
        let chat = tx.private_chat_of(low, high).await?.ok_or(Error::ChatNotFound)?;
        return Ok((view(tx, chat, user).await?, false, Committed::default()));
    };
    let (chat, committed) = fill(tx, row, users, (user, Role::Member)).await?;
    Ok((chat, true, committed))
}

/// See [`crate::store::Chats::update_chat`].
pub(in crate::store) async fn update_chat(
    tx: &mut dyn Transaction,
    chat: ChatId,
    by: UserId,
    patch: &ChatPatch,
) -> Result<(Chat, Committed), Fault> {
    let mut change = lock(tx, chat, by).await?;
    change.require_owner()?;
    if change.patch(patch) {
        tx.record(&change).await?;
    }
    let seen = view(tx, chat, by).await?;
    Ok((seen, leave_in_outbox(tx, change).await?))
}

/// See [`crate::store::Chats::delete_chat`].
pub(in crate::store) async fn delete_chat(
    tx: &mut dyn Transaction,
    chat: ChatId,
    by: UserId,
) -> Result<Committed, Fault> {
    let mut change = lock(tx, chat, by).await?;
    change.require_owner()?;
    heirs::delete(tx, &mut change).await?;
    tx.record(&change).await?;
    leave_in_outbox(tx, change).await
}
