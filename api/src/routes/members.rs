//! `/chats/{chat_id}/members`: who is in a chat, and in what role.

use super::pages::ListParams;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use messenger_common::auth::AuthUser;
use messenger_common::error::Result;
use messenger_common::http::caller::Author;
use messenger_common::http::extract::{JsonBody, PathParams, QueryParams};
use messenger_common::id::{ChatId, UserId};
use messenger_common::model::{Member, Page};
use messenger_common::service::members::{self, AddMembers, SetRole};
use messenger_common::service::{Context, PageQuery, Query, Unchecked};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn router() -> OpenApiRouter<Context> {
    OpenApiRouter::new().routes(routes!(list_members, add_members)).routes(routes!(set_role, remove_member))
}

/// List the members
///
/// You must be a member of the chat.
#[utoipa::path(get, path = "/chats/{chat_id}/members", tag = "members", security(("bearer" = [])),
    params(("chat_id" = ChatId, Path, description = "The chat"), ListParams),
    responses((status = 200, description = "A page of members", body = Page<Member>)),
    extensions(("x-problems" = json!(["invalid", "chat_not_found", "not_a_member"]))))]
async fn list_members(
    State(ctx): State<Context>,
    by: AuthUser,
    PathParams(chat): PathParams<ChatId>,
    QueryParams(query): QueryParams<Query<PageQuery>>,
) -> Result<Json<Page<Member>>> {
    members::list(&ctx, &by, chat, query).await.map(Json)
}

/// Add members
///
/// You must be an owner of the group. Adding someone who is a member already is not an error.
#[utoipa::path(post, path = "/chats/{chat_id}/members", tag = "members", security(("bearer" = [])),
    request_body = AddMembers, params(("chat_id" = ChatId, Path, description = "The chat")),
    responses((status = 200, description = "The users that you named, as members", body = Page<Member>)),
    extensions(("x-problems" = json!(["chat_not_found", "not_a_member", "not_owner", "private_chat", "group_full",
        "blocked"]))))]
async fn add_members(
    State(ctx): State<Context>,
    Author(by): Author,
    PathParams(chat): PathParams<ChatId>,
    JsonBody(body): JsonBody<Unchecked<AddMembers>>,
) -> Result<Json<Page<Member>>> {
    members::add(&ctx, &by, chat, body).await.map(Json)
}

/// Change a role
///
/// You must be an owner of the group. A group always keeps one owner.
#[utoipa::path(patch, path = "/chats/{chat_id}/members/{user_id}", tag = "members", security(("bearer" = [])),
    request_body = SetRole,
    params(("chat_id" = ChatId, Path, description = "The chat"), ("user_id" = UserId, Path, description = "The member")),
    responses((status = 200, description = "The member", body = Member)),
    extensions(("x-problems" =
        json!(["chat_not_found", "member_not_found", "not_a_member", "not_owner", "private_chat"]))))]
async fn set_role(
    State(ctx): State<Context>,
    Author(by): Author,
    PathParams((chat, user)): PathParams<(ChatId, UserId)>,
    JsonBody(body): JsonBody<Unchecked<SetRole>>,
) -> Result<Json<Member>> {
    members::set_role(&ctx, &by, chat, user, body).await.map(Json)
}

/// Remove a member
///
/// You must be an owner of the group. The removed user gets no more of its events within a second,
/// on every node.
#[utoipa::path(delete, path = "/chats/{chat_id}/members/{user_id}", tag = "members", security(("bearer" = [])),
    params(("chat_id" = ChatId, Path, description = "The chat"), ("user_id" = UserId, Path, description = "The member")),
    responses((status = 204, description = "The user is no longer a member")),
    extensions(("x-problems" =
        json!(["chat_not_found", "member_not_found", "not_a_member", "not_owner", "private_chat"]))))]
async fn remove_member(
    State(ctx): State<Context>,
    Author(by): Author,
    PathParams((chat, user)): PathParams<(ChatId, UserId)>,
) -> Result<StatusCode> {
    members::remove(&ctx, &by, chat, user).await?;
    Ok(StatusCode::NO_CONTENT)
}
