//! `/chats`: groups and private chats.

use super::pages::ListParams;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use messenger_common::auth::AuthUser;
use messenger_common::error::Result;
use messenger_common::http::caller::Author;
use messenger_common::http::extract::{JsonBody, PathParams, QueryParams};
use messenger_common::id::ChatId;
use messenger_common::model::{Chat, Page};
use messenger_common::service::chats::{self, CreateChat, MarkRead, UpdateChat, UpdateSettings};
use messenger_common::service::{Context, PageQuery, Query, Unchecked};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn router() -> OpenApiRouter<Context> {
    OpenApiRouter::new()
        .routes(routes!(create_chat))
        .routes(routes!(list_chats))
        .routes(routes!(get_chat, update_chat, delete_chat))
        .routes(routes!(join_chat))
        .routes(routes!(leave_chat))
        .routes(routes!(mark_read))
        .routes(routes!(update_settings))
}

/// Create a chat
///
/// This creates a group. With `is_group` false it creates the private chat with exactly one other
/// user; if you have that chat already, you get it with 200.
#[utoipa::path(post, path = "/chats/create", tag = "chats", security(("bearer" = [])), request_body = CreateChat,
    responses((status = 201, description = "The new chat", body = Chat),
        (status = 200, description = "The private chat that you had already", body = Chat)),
    extensions(("x-problems" = json!(["group_full", "blocked"]))))]
async fn create_chat(
    State(ctx): State<Context>,
    Author(by): Author,
    JsonBody(body): JsonBody<Unchecked<CreateChat>>,
) -> Result<(StatusCode, Json<Chat>)> {
    let (chat, created) = chats::create(&ctx, &by, body).await?;
    Ok((if created { StatusCode::CREATED } else { StatusCode::OK }, Json(chat)))
}

/// List your chats
///
/// The last active one comes first. Each has your `role`, its `last_message` and your
/// `unread_count`.
#[utoipa::path(get, path = "/chats/", tag = "chats", security(("bearer" = [])), params(ListParams),
    responses((status = 200, description = "A page of chats", body = Page<Chat>)),
    extensions(("x-problems" = json!(["invalid"]))))]
async fn list_chats(
    State(ctx): State<Context>,
    by: AuthUser,
    QueryParams(query): QueryParams<Query<PageQuery>>,
) -> Result<Json<Page<Chat>>> {
    chats::list(&ctx, &by, query).await.map(Json)
}

/// Get a chat
///
/// Every user can see a public group, and only its members its content. A closed group exists for
/// its members only, a private chat for its two users only.
#[utoipa::path(get, path = "/chats/{chat_id}", tag = "chats", security(("bearer" = [])),
    params(("chat_id" = ChatId, Path, description = "The chat")),
    responses((status = 200, description = "The chat as you see it", body = Chat)),
    extensions(("x-problems" = json!(["chat_not_found"]))))]
async fn get_chat(
    State(ctx): State<Context>,
    by: AuthUser,
    PathParams(chat): PathParams<ChatId>,
) -> Result<Json<Chat>> {
    chats::get(&ctx, &by, chat).await.map(Json)
}

/// Change a group
///
/// You must be an owner of the group. Fields that you leave out stay as they are.
#[utoipa::path(patch, path = "/chats/{chat_id}", tag = "chats", security(("bearer" = [])), request_body = UpdateChat,
    params(("chat_id" = ChatId, Path, description = "The chat")),
    responses((status = 200, description = "The chat", body = Chat)),
    extensions(("x-problems" = json!(["chat_not_found", "not_a_member", "not_owner", "private_chat"]))))]
async fn update_chat(
    State(ctx): State<Context>,
    Author(by): Author,
    PathParams(chat): PathParams<ChatId>,
    JsonBody(body): JsonBody<Unchecked<UpdateChat>>,
) -> Result<Json<Chat>> {
    chats::update(&ctx, &by, chat, body).await.map(Json)
}

/// Delete a group
///
/// You must be an owner of the group. Its messages are deleted with it.
#[utoipa::path(delete, path = "/chats/{chat_id}", tag = "chats", security(("bearer" = [])),
    params(("chat_id" = ChatId, Path, description = "The chat")),
    responses((status = 204, description = "The chat is deleted")),
    extensions(("x-problems" = json!(["chat_not_found", "not_a_member", "not_owner", "private_chat"]))))]
async fn delete_chat(
    State(ctx): State<Context>,
    Author(by): Author,
    PathParams(chat): PathParams<ChatId>,
) -> Result<StatusCode> {
    chats::delete(&ctx, &by, chat).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Join a group
///
/// Joining twice is not an error. A closed group is entered by an invitation, or by being added.
#[utoipa::path(post, path = "/chats/{chat_id}/join", tag = "chats", security(("bearer" = [])),
    params(("chat_id" = ChatId, Path, description = "The chat")),
    responses((status = 200, description = "The chat as its member sees it", body = Chat)),
    extensions(("x-problems" = json!(["chat_not_found", "group_full"]))))]
async fn join_chat(
    State(ctx): State<Context>,
    Author(by): Author,
    PathParams(chat): PathParams<ChatId>,
) -> Result<Json<Chat>> {
    chats::join(&ctx, &by, chat).await.map(Json)
}

/// Leave a group
///
/// If you are the last owner, the longest-standing member becomes owner. If you are the last
/// member, the group is deleted.
#[utoipa::path(delete, path = "/chats/{chat_id}/leave", tag = "chats", security(("bearer" = [])),
    params(("chat_id" = ChatId, Path, description = "The chat")),
    responses((status = 204, description = "You are no longer a member")),
    extensions(("x-problems" = json!(["chat_not_found", "not_a_member", "private_chat"]))))]
async fn leave_chat(
    State(ctx): State<Context>,
    Author(by): Author,
    PathParams(chat): PathParams<ChatId>,
) -> Result<StatusCode> {
    chats::leave(&ctx, &by, chat).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Mark as read
///
/// The read mark never moves back, nor past the chat's newest event. Sending a message marks
/// everything up to it as read.
#[utoipa::path(post, path = "/chats/{chat_id}/read", tag = "chats", security(("bearer" = [])), request_body = MarkRead,
    params(("chat_id" = ChatId, Path, description = "The chat")),
    responses((status = 204, description = "The read mark is saved")),
    extensions(("x-problems" = json!(["chat_not_found", "not_a_member"]))))]
async fn mark_read(
    State(ctx): State<Context>,
    by: AuthUser,
    PathParams(chat): PathParams<ChatId>,
    JsonBody(body): JsonBody<Unchecked<MarkRead>>,
) -> Result<StatusCode> {
    chats::mark_read_to(&ctx, &by, chat, body).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Change your view of a chat
///
/// Mute it, archive it or pin it, for yourself alone. Fields that you leave out stay as they are.
/// Your connections get `chat_settings`.
#[utoipa::path(patch, path = "/chats/{chat_id}/settings", tag = "chats", security(("bearer" = [])),
    request_body = UpdateSettings, params(("chat_id" = ChatId, Path, description = "The chat")),
    responses((status = 200, description = "The chat with your settings", body = Chat)),
    extensions(("x-problems" = json!(["chat_not_found", "not_a_member"]))))]
async fn update_settings(
    State(ctx): State<Context>,
    by: AuthUser,
    PathParams(chat): PathParams<ChatId>,
    JsonBody(body): JsonBody<Unchecked<UpdateSettings>>,
) -> Result<Json<Chat>> {
    chats::update_settings(&ctx, &by, chat, body).await.map(Json)
}
