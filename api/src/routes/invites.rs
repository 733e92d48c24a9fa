//! Invitations: made and revoked by a group's owners, accepted by those who have the code.

use super::pages::ListParams;
use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::header::HOST;
use axum::http::request::Parts;
use messenger_common::auth::AuthUser;
use messenger_common::error::Result;
use messenger_common::http::caller::Author;
use messenger_common::http::client_ip::ClientIp;
use messenger_common::http::extract::{JsonOrNothing, PathParams, QueryParams};
use messenger_common::id::ChatId;
use messenger_common::model::{Chat, Invite, InvitePreview, Page};
use messenger_common::service::invites::{self, CreateInvite};
use messenger_common::service::{Context, PageQuery, Query, Unchecked};
use std::convert::Infallible;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn router() -> OpenApiRouter<Context> {
    OpenApiRouter::new()
        .routes(routes!(list_invites, create_invite))
        .routes(routes!(revoke_invite))
        .routes(routes!(preview_invite))
        .routes(routes!(accept_invite))
}

/// The address that the caller used, as proxies say, for links. It goes to that caller alone, so a
/// header that is not true harms nobody else.
struct Address(String);

impl<S: Send + Sync> FromRequestParts<S> for Address {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let host = header(HOST.as_str()).or_else(|| parts.uri.authority().map(axum::http::uri::Authority::as_str));
        // Of several proxies the first is the one that the caller saw.
        let seen = |name: &str| header(name).and_then(|list| list.split(',').next()).map(str::trim);
        let is_https = seen("x-forwarded-proto").is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        let scheme = if is_https { "https" } else { "http" };
        let root = seen("x-forwarded-prefix").filter(|path| is_path(path)).unwrap_or_default().trim_end_matches('/');
        Ok(Self(host.map_or_else(String::new, |host| format!("{scheme}://{host}{root}"))))
    }
}

fn is_path(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%/".contains(&byte);
    text.starts_with('/') && !text.starts_with("//") && text.bytes().all(fits)
}

impl Address {
    fn link(&self, invite: Invite) -> Invite {
        Invite { url: format!("{}/invite/{}", self.0, invite.code), ..invite }
    }
}

/// Invite into a group
///
/// You must be an owner of the group. Anybody who gets the link can enter it, until the invitation
/// expires, is used up or is revoked.
#[utoipa::path(post, path = "/chats/{chat_id}/invites", tag = "invites", security(("bearer" = [])),
    request_body = CreateInvite, params(("chat_id" = ChatId, Path, description = "The group")),
    responses((status = 201, description = "The new invitation", body = Invite)),
    extensions(("x-problems" = json!(["chat_not_found", "not_a_member", "not_owner", "private_chat", "too_many_invites",
        "rate_limited"]))))]
async fn create_invite(
    State(ctx): State<Context>,
    Author(by): Author,
    address: Address,
    PathParams(chat): PathParams<ChatId>,
    JsonOrNothing(body): JsonOrNothing<Unchecked<CreateInvite>>,
) -> Result<(StatusCode, Json<Invite>)> {
    let invite = invites::create(&ctx, &by, chat, body).await?;
    Ok((StatusCode::CREATED, Json(address.link(invite))))
}

/// List a group's invitations
///
/// You must be an owner of the group. You get those that have not expired, the newest first.
#[utoipa::path(get, path = "/chats/{chat_id}/invites", tag = "invites", security(("bearer" = [])),
    params(("chat_id" = ChatId, Path, description = "The group"), ListParams),
    responses((status = 200, description = "A page of invitations", body = Page<Invite>)),
    extensions(("x-problems" = json!(["invalid", "chat_not_found", "not_a_member", "not_owner", "private_chat"]))))]
async fn list_invites(
    State(ctx): State<Context>,
    by: AuthUser,
    address: Address,
    PathParams(chat): PathParams<ChatId>,
    QueryParams(query): QueryParams<Query<PageQuery>>,
) -> Result<Json<Page<Invite>>> {
    let page = invites::list(&ctx, &by, chat, query).await?;
    let items = page.items.into_iter().map(|invite| address.link(invite)).collect();
    Ok(Json(Page { items, ..page }))
}

/// Revoke an invitation
///
/// You must be an owner of the group. Users who came in by it stay.
#[utoipa::path(delete, path = "/chats/{chat_id}/invites/{code}", tag = "invites", security(("bearer" = [])),
    params(("chat_id" = ChatId, Path, description = "The group"), ("code" = String, Path, description = "Its code")),
    responses((status = 204, description = "It lets nobody in any more")),
    extensions(("x-problems" =
        json!(["chat_not_found", "invite_not_found", "not_a_member", "not_owner", "private_chat"]))))]
async fn revoke_invite(
    State(ctx): State<Context>,
    by: AuthUser,
    PathParams((chat, code)): PathParams<(ChatId, String)>,
) -> Result<StatusCode> {
    invites::revoke(&ctx, &by, chat, &code).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// See an invitation
///
/// You need no account for it. An invitation to register only has no `chat`.
#[utoipa::path(get, path = "/invites/{code}", tag = "invites",
    params(("code" = String, Path, description = "The invitation's code")),
    responses((status = 200, description = "Where it leads", body = InvitePreview)),
    extensions(("x-problems" = json!(["invite_not_found", "rate_limited"]))))]
async fn preview_invite(
    State(ctx): State<Context>,
    from: ClientIp,
    code: Result<PathParams<String>>,
) -> Result<Json<InvitePreview>> {
    // A code that is no text is none, and has its price.
    let code = code.map(|PathParams(code)| code).unwrap_or_default();
    invites::preview(&ctx, from.0, &code).await.map(Json)
}

/// Accept an invitation
///
/// You become a member of its group. If you are one already, nothing changes and no use is
/// counted.
#[utoipa::path(post, path = "/invites/{code}/accept", tag = "invites", security(("bearer" = [])),
    params(("code" = String, Path, description = "The invitation's code")),
    responses((status = 200, description = "The group as its member sees it", body = Chat)),
    extensions(("x-problems" = json!(["invite_not_found", "group_full", "rate_limited"]))))]
async fn accept_invite(
    State(ctx): State<Context>,
    Author(by): Author,
    PathParams(code): PathParams<String>,
) -> Result<Json<Chat>> {
    invites::accept(&ctx, &by, &code).await.map(Json)
}
