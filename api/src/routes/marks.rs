//! The marks on a message: reactions and pins.

use super::pages::ListParams;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use messenger_common::auth::AuthUser;
use messenger_common::error::Result;
use messenger_common::http::caller::Author;
use messenger_common::http::extract::{PathParams, QueryParams};
use messenger_common::id::{ChatId, MessageId};
use messenger_common::model::{Message, Page};
use messenger_common::service::{Context, PageQuery, Query, marks};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn router() -> OpenApiRouter<Context> {
    OpenApiRouter::new()
        .routes(routes!(add_reaction, remove_reaction))
        .routes(routes!(pin_message, unpin_message))
        .routes(routes!(list_pins))
}

/// Add a reaction
///
/// One emoji of Unicode's list, percent-encoded; any sequence of it. The same again is not an
/// error. A message takes at most 20 different emoji.
#[utoipa::path(put, path = "/messages/{message_id}/reactions/{emoji}", tag = "messages", security(("bearer" = [])),
    params(("message_id" = MessageId, Path, description = "The message"), ("emoji" = String, Path, description = "The emoji")),
    responses((status = 204, description = "The emoji is under the message")),
    extensions(("x-problems" = json!(["message_not_found", "blocked", "too_many_reactions", "invalid", "rate_limited"]))))]
async fn add_reaction(
    State(ctx): State<Context>,
    Author(by): Author,
    PathParams((message, emoji)): PathParams<(MessageId, String)>,
) -> Result<StatusCode> {
    marks::react(&ctx, &by, message, &emoji, true).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Remove your reaction
///
/// If you have none with this emoji, nothing changes.
#[utoipa::path(delete, path = "/messages/{message_id}/reactions/{emoji}", tag = "messages", security(("bearer" = [])),
    params(("message_id" = MessageId, Path, description = "The message"), ("emoji" = String, Path, description = "The emoji")),
    responses((status = 204, description = "The emoji is not yours any more")),
    extensions(("x-problems" = json!(["message_not_found", "blocked", "invalid", "rate_limited"]))))]
async fn remove_reaction(
    State(ctx): State<Context>,
    Author(by): Author,
    PathParams((message, emoji)): PathParams<(MessageId, String)>,
) -> Result<StatusCode> {
    marks::react(&ctx, &by, message, &emoji, false).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Pin a message
///
/// In a group you must be an owner. A chat takes at most 50 pins. The same again is not an error.
#[utoipa::path(put, path = "/chats/{chat_id}/pins/{message_id}", tag = "chats", security(("bearer" = [])),
    params(("chat_id" = ChatId, Path, description = "The chat"), ("message_id" = MessageId, Path, description = "The message")),
    responses((status = 204, description = "The message is pinned")),
    extensions(("x-problems" = json!(["chat_not_found", "message_not_found", "not_a_member", "not_owner", "blocked",
        "too_many_pins", "rate_limited"]))))]
async fn pin_message(
    State(ctx): State<Context>,
    Author(by): Author,
    PathParams((chat, message)): PathParams<(ChatId, MessageId)>,
) -> Result<StatusCode> {
    marks::pin(&ctx, &by, chat, message, true).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Unpin a message
///
/// In a group you must be an owner. If it is not pinned, nothing changes.
#[utoipa::path(delete, path = "/chats/{chat_id}/pins/{message_id}", tag = "chats", security(("bearer" = [])),
    params(("chat_id" = ChatId, Path, description = "The chat"), ("message_id" = MessageId, Path, description = "The message")),
    responses((status = 204, description = "The message is not pinned")),
    extensions(("x-problems" = json!(["chat_not_found", "message_not_found", "not_a_member", "not_owner", "blocked",
        "rate_limited"]))))]
async fn unpin_message(
    State(ctx): State<Context>,
    Author(by): Author,
    PathParams((chat, message)): PathParams<(ChatId, MessageId)>,
) -> Result<StatusCode> {
    marks::pin(&ctx, &by, chat, message, false).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List the pinned messages
///
/// You must be a member. The last pinned one comes first.
#[utoipa::path(get, path = "/chats/{chat_id}/pins", tag = "chats", security(("bearer" = [])),
    params(("chat_id" = ChatId, Path, description = "The chat"), ListParams),
    responses((status = 200, description = "A page of messages", body = Page<Message>)),
    extensions(("x-problems" = json!(["invalid", "chat_not_found", "not_a_member"]))))]
async fn list_pins(
    State(ctx): State<Context>,
    by: AuthUser,
    PathParams(chat): PathParams<ChatId>,
    QueryParams(query): QueryParams<Query<PageQuery>>,
) -> Result<Json<Page<Message>>> {
    marks::pins(&ctx, &by, chat, query).await.map(Json)
}
