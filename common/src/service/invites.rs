//! Invitations into a group.

use super::input::{Fields, FromFields, Unchecked};
use super::{Context, PageQuery, page};
use crate::auth::AuthUser;
use crate::config::INVITE_SECONDS;
use crate::error::{Error, Result};
use crate::id::ChatId;
use crate::model::{Chat, Invite, InvitePreview, Page};
use crate::random;
use crate::store::NewInvite;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::net::IpAddr;
use std::time::Duration;
use utoipa::ToSchema;

/// The longest that one can be asked for, in seconds: ten years.
const MAX_SECONDS: i64 = 315_360_000;
/// The most uses that one can be asked for.
const MAX_USES: i64 = 1_000_000;

/// A new invitation.
#[derive(Clone, Copy, Debug, ToSchema)]
pub struct CreateInvite {
    /// Seconds from now until it lets nobody in; null: never.
    #[schema(minimum = 1, maximum = 315_360_000, default = 604_800)]
    pub expires_in: Option<i64>,
    /// How many users it lets in; null: any number.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub max_uses: Option<i64>,
}

impl FromFields for CreateInvite {
    fn read(fields: &mut Fields) -> Self {
        Self {
            expires_in: fields.change("expires_in").unwrap_or(Some(INVITE_SECONDS)),
            max_uses: fields.optional("max_uses"),
        }
    }
}

/// Makes an invitation. `ChatNotFound`, `NotAMember`, `NotOwner`, `PrivateChat`, `Invalid`.
pub async fn create(
    ctx: &Context,
    by: &AuthUser,
    chat: ChatId,
    body: impl Into<Unchecked<CreateInvite>>,
) -> Result<Invite> {
    ctx.store.create_invite(chat, by.user_id, new(body)?).await
}

/// An invitation with a fresh code. `Invalid`.
pub fn new(body: impl Into<Unchecked<CreateInvite>>) -> Result<NewInvite> {
    let (body, mut faults) = body.into().split();
    if body.expires_in.is_some_and(|seconds| !(1..=MAX_SECONDS).contains(&seconds)) {
        faults.add("expires_in", format!("must be from 1 to {MAX_SECONDS} seconds, or null"));
    }
    if body.max_uses.is_some_and(|uses| !(1..=MAX_USES).contains(&uses)) {
        faults.add("max_uses", format!("must be from 1 to {MAX_USES}, or null"));
    }
    faults.none()?;
    let expires_in = body.expires_in.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    let code = URL_SAFE_NO_PAD.encode(random::bytes::<16>());
    Ok(NewInvite { code, expires_in, max_uses: body.max_uses })
}

/// A group's invitations, the newest first. The errors of [`create`].
pub async fn list(
    ctx: &Context,
    by: &AuthUser,
    chat: ChatId,
    query: impl Into<Unchecked<PageQuery>>,
) -> Result<Page<Invite>> {
    ctx.store.invites(chat, by.user_id, &page(query)?).await
}

/// Revokes an invitation. The errors of [`create`], `InviteNotFound`.
pub async fn revoke(ctx: &Context, by: &AuthUser, chat: ChatId, code: &str) -> Result<()> {
    let code = known_form(code)?;
    ctx.store.revoke_invite(chat, by.user_id, code).await
}

/// Shows the group of an invitation to anybody who has its code. The address that
/// asks pays. `InviteNotFound`, `RateLimited`.
pub async fn preview(ctx: &Context, from: IpAddr, code: &str) -> Result<InvitePreview> {
    ctx.charge_address(from).await?;
    ctx.store.invite(known_form(code)?).await?.ok_or(Error::InviteNotFound)
}

/// Enters the group of an invitation. A member stays one. `InviteNotFound`, `GroupFull`.
pub async fn accept(ctx: &Context, by: &AuthUser, code: &str) -> Result<Chat> {
    let code = known_form(code)?;
    let (chat, committed) = ctx.store.accept_invite(code, by.user_id, ctx.limits.max_group_members).await?;
    ctx.publisher.publish(committed);
    Ok(chat)
}

/// No invitation has a code of another form, and a database need not take it: Postgres allows no
/// NUL in a text.
fn known_form(code: &str) -> Result<&str> {
    if code.is_ascii() && !code.contains('\0') { Ok(code) } else { Err(Error::InviteNotFound) }
}
