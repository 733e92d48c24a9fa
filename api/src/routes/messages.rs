//! `/messages`: send, read, search, edit, delete.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use messenger_common::auth::AuthUser;
use messenger_common::error::Result;
use messenger_common::http::caller::Author;
use messenger_common::http::extract::{JsonBody, PathParams, QueryParams};
use messenger_common::id::{ChatId, MessageId, UserId};
use messenger_common::model::{FoundMessage, HistoryPage, Message, Page};
use messenger_common::service::messages::{self, EditMessage, HistoryQuery, SearchQuery, SendMessage};
use messenger_common::service::{Context, Query, Unchecked};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn router() -> OpenApiRouter<Context> {
    OpenApiRouter::new()
        .routes(routes!(send_message))
        .routes(routes!(search_messages))
        .routes(routes!(get_message))
        .routes(routes!(message_history))
        .routes(routes!(edit_message))
        .routes(routes!(delete_message))
}

/// A page of a history.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "what the document says of `HistoryQuery`")]
struct HistoryParams {
    /// How many messages you want.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<i64>,
    /// Only messages older than this one. Not together with `after`.
    before: Option<MessageId>,
    /// Only messages newer than this one. Not together with `before`.
    after: Option<MessageId>,
    /// The `next_cursor` of an earlier page; the next page goes on in the same direction.
    #[param(min_length = 1)]
    cursor: Option<String>,
}

/// Send a message
///
/// The message is committed when you get the answer. You can retry with the same
/// `client_message_id`, on any node, over REST or WebSocket: you get the first message with 200,
/// and nothing is sent twice.
#[utoipa::path(post, path = "/messages/send", tag = "messages", security(("bearer" = [])), request_body = SendMessage,
    responses((status = 201, description = "The new message", body = Message),
        (status = 200, description = "The message that you sent before", body = Message)),
    extensions(("x-problems" =
        json!(["chat_not_found", "not_a_member", "blocked", "client_message_id_reused", "rate_limited"]))))]
async fn send_message(
    State(ctx): State<Context>,
    Author(by): Author,
    JsonBody(body): JsonBody<Unchecked<SendMessage>>,
) -> Result<(StatusCode, Json<Message>)> {
    let sent = messages::send(&ctx, &by, body).await?;
    Ok((if sent.created { StatusCode::CREATED } else { StatusCode::OK }, Json(sent.message)))
}

/// Get a page of the history
///
/// Without `before` and `after` you get the newest page. The oldest message comes first, and
/// deleted ones are left out. Send the answer's `seq` as `after_seq` of `subscribe_chat`, and you
/// miss nothing.
#[utoipa::path(get, path = "/messages/chat/{chat_id}", tag = "messages", security(("bearer" = [])),
    params(("chat_id" = ChatId, Path, description = "The chat"), HistoryParams),
    responses((status = 200, description = "A page of messages", body = HistoryPage)),
    extensions(("x-problems" = json!(["invalid", "chat_not_found", "not_a_member"]))))]
async fn message_history(
    State(ctx): State<Context>,
    by: AuthUser,
    PathParams(chat): PathParams<ChatId>,
    QueryParams(query): QueryParams<Query<HistoryQuery>>,
) -> Result<Json<HistoryPage>> {
    messages::history(&ctx, &by, chat, query).await.map(Json)
}

/// What a search looks for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "what the document says of `SearchQuery`")]
struct SearchParams {
    /// Words, at most 32. All must occur; their case and accents do not count. `"a phrase"` stands
    /// together. The last word is looked for by its beginning, from two letters on.
    #[param(min_length = 1, max_length = 256)]
    q: String,
    /// Only in this chat.
    chat_id: Option<ChatId>,
    /// Only messages of this user.
    author_id: Option<UserId>,
    /// How many messages you want.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<i64>,
    /// The `next_cursor` of an earlier page.
    cursor: Option<String>,
}

/// Search messages
///
/// You find messages of the chats that you are a member of now, the newest first, by their text of
/// now. A question without a letter, a digit or an emoji finds nothing. A page may hold fewer
/// messages than you want and have a `next_cursor`.
#[utoipa::path(get, path = "/messages/search", tag = "messages", security(("bearer" = [])), params(SearchParams),
    responses((status = 200, description = "A page of messages", body = Page<FoundMessage>)),
    extensions(("x-problems" = json!(["invalid", "chat_not_found", "not_a_member"]))))]
async fn search_messages(
    State(ctx): State<Context>,
    by: AuthUser,
    QueryParams(query): QueryParams<Query<SearchQuery>>,
) -> Result<Json<Page<FoundMessage>>> {
    messages::search(&ctx, &by, query).await.map(Json)
}

/// Get a message
///
/// You must be a member of its chat. A deleted message is not found.
#[utoipa::path(get, path = "/messages/{message_id}", tag = "messages", security(("bearer" = [])),
    params(("message_id" = MessageId, Path, description = "The message")),
    responses((status = 200, description = "The message", body = Message)),
    extensions(("x-problems" = json!(["message_not_found"]))))]
async fn get_message(
    State(ctx): State<Context>,
    by: AuthUser,
    PathParams(message): PathParams<MessageId>,
) -> Result<Json<Message>> {
    messages::get(&ctx, &by, message).await.map(Json)
}

/// Edit a message
///
/// You must be its author.
#[utoipa::path(put, path = "/messages/edit/{message_id}", tag = "messages", security(("bearer" = [])),
    request_body = EditMessage, params(("message_id" = MessageId, Path, description = "The message")),
    responses((status = 200, description = "The message", body = Message)),
    extensions(("x-problems" = json!(["message_not_found", "not_author", "not_a_member", "blocked"]))))]
async fn edit_message(
    State(ctx): State<Context>,
    Author(by): Author,
    PathParams(message): PathParams<MessageId>,
    JsonBody(body): JsonBody<Unchecked<EditMessage>>,
) -> Result<Json<Message>> {
    messages::edit(&ctx, &by, message, body).await.map(Json)
}

/// Delete a message
///
/// You must be its author, or an owner of the group. The message's text is erased.
#[utoipa::path(delete, path = "/messages/delete/{message_id}", tag = "messages", security(("bearer" = [])),
    params(("message_id" = MessageId, Path, description = "The message")),
    responses((status = 204, description = "The message is deleted")),
    extensions(("x-problems" = json!(["message_not_found", "not_author", "not_a_member"]))))]
async fn delete_message(
    State(ctx): State<Context>,
    Author(by): Author,
    PathParams(message): PathParams<MessageId>,
) -> Result<StatusCode> {
    messages::delete(&ctx, &by, message).await?;
    Ok(StatusCode::NO_CONTENT)
}
