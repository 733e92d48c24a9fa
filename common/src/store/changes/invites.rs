//! Invitations, and the users who come in by them.

use super::{Change, Transaction, lock, members, view};
use crate::error::Error;
use crate::id::{ChatId, UserId};
use crate::model::{Chat, Invite, MAX_INVITES, User};
use crate::store::fault::Fault;
use crate::store::invites::InviteRow;
use crate::store::stored_time::Time;
use crate::store::{Committed, NewInvite, NewUser};
use async_trait::async_trait;

/// The statements of invitations.
#[async_trait]
pub(in crate::store) trait InviteStatements: Send {
    /// The database's time.
    async fn now(&mut self) -> Result<Time, Fault>;
    /// Inserts an invitation.
    async fn insert_invite(&mut self, invite: &InviteRow) -> Result<(), Fault>;
    /// How many of a chat's invitations let somebody in at that time, counted up to `limit`.
    async fn open_invites(&mut self, chat: ChatId, at: Time, limit: i64) -> Result<i64, Fault>;
    /// The invitation of that code, expired or not.
    async fn invite_of(&mut self, code: &str) -> Result<Option<InviteRow>, Fault>;
    /// Takes a use. False: it has expired, or none is left.
    async fn count_use(&mut self, id: i64, at: Time) -> Result<bool, Fault>;
    /// Has a chat's invitation expire at that time. False: it has none of that code that goes on.
    async fn end_invite(&mut self, chat: ChatId, code: &str, at: Time) -> Result<bool, Fault>;
    /// Inserts an account. `UsernameTaken`, `EmailTaken`.
    async fn insert_user(&mut self, user: &NewUser) -> Result<User, Fault>;
}

/// See [`crate::store::Invites::create_invite`].
pub(in crate::store) async fn create(
    tx: &mut dyn Transaction,
    chat: ChatId,
    by: UserId,
    invite: &NewInvite,
) -> Result<Invite, Fault> {
    let change = lock(tx, chat, by).await?;
    change.require_owner()?;
    if tx.open_invites(chat, change.at, MAX_INVITES).await? >= MAX_INVITES {
        return Err(Error::TooManyInvites.into());
    }
    let row = InviteRow::new(Some((chat, by)), invite, change.at);
    tx.insert_invite(&row).await?;
    Ok(row.into())
}

/// See [`crate::store::Invites::create_host_invite`].
pub(in crate::store) async fn create_of_host(tx: &mut dyn Transaction, invite: &NewInvite) -> Result<Invite, Fault> {
    let row = InviteRow::new(None, invite, tx.now().await?);
    tx.insert_invite(&row).await?;
    Ok(row.into())
}

/// See [`crate::store::Invites::revoke_invite`].
pub(in crate::store) async fn revoke(
    tx: &mut dyn Transaction,
    chat: ChatId,
    by: UserId,
    code: &str,
) -> Result<(), Fault> {
    let change = lock(tx, chat, by).await?;
    change.require_owner()?;
    // Whoever registered by it a moment ago may have to repeat that.
    if tx.end_invite(chat, code, change.at).await? { Ok(()) } else { Err(Error::InviteNotFound.into()) }
}

/// See [`crate::store::Invites::accept_invite`].
pub(in crate::store) async fn accept(
    tx: &mut dyn Transaction,
    code: &str,
    user: UserId,
    max_members: i64,
) -> Result<(Chat, Committed), Fault> {
    let invite = tx.invite_of(code).await?.ok_or(Error::InviteNotFound)?;
    let chat = invite.chat_id.ok_or(Error::InviteNotFound)?;
    enter(tx, &invite, chat, user, max_members).await
}

/// See [`crate::store::Invites::register`].
pub(in crate::store) async fn register(
    tx: &mut dyn Transaction,
    user: &NewUser,
    code: &str,
    max_members: i64,
) -> Result<(User, Committed), Fault> {
    // First: who has none does not learn which names and addresses are taken.
    let invite = tx.invite_of(code).await?.ok_or(Error::InviteNotFound)?;
    let user = tx.insert_user(user).await?;
    let committed = if let Some(chat) = invite.chat_id {
        enter(tx, &invite, chat, user.id, max_members).await?.1
    } else {
        let at = tx.now().await?;
        take_use(tx, &invite, at).await?;
        Committed::default()
    };
    Ok((user, committed))
}

/// Lets a user into the invitation's group, under its lock.
async fn enter(
    tx: &mut dyn Transaction,
    invite: &InviteRow,
    chat: ChatId,
    user: UserId,
    max_members: i64,
) -> Result<(Chat, Committed), Fault> {
    let (row, role, at) = tx.lock(chat, user).await?;
    let change = Change::invited(row, role, at)?;
    if invite.expired(at.0) {
        return Err(Error::InviteNotFound.into());
    }
    if change.role.is_some() {
        return Ok((view(tx, chat, user).await?, Committed::default()));
    }
    // Its row is written last: one that is refused takes no use.
    let entered = members::enter(tx, change, user, max_members).await.map_err(|fault| match fault {
        Fault::Rule(Error::ChatNotFound) => Error::InviteNotFound.into(),
        other => other,
    })?;
    take_use(tx, invite, at).await?;
    Ok(entered)
}

async fn take_use(tx: &mut dyn Transaction, invite: &InviteRow, at: Time) -> Result<(), Fault> {
    if tx.count_use(invite.id, at).await? { Ok(()) } else { Err(Error::InviteNotFound.into()) }
}
