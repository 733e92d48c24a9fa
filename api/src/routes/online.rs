//! The gateways' answers under `/ws`, declared here so that the document is whole; its types
//! are shared with them.

use super::pages::ListParams;
use messenger_common::id::ChatId;
use messenger_common::model::OnlinePage;
use utoipa::OpenApi;

/// The gateways' part of the document.
#[derive(OpenApi)]
#[openapi(paths(online_users, chat_online_users))]
pub(crate) struct GatewayPaths;

/// List who is online
///
/// Every node gives the same answer.
#[utoipa::path(get, path = "/ws/online-users", tag = "presence", security(("bearer" = [])), params(ListParams),
    responses((status = 200, description = "A page of users, and how many are online in all", body = OnlinePage)),
    extensions(("x-problems" = json!(["invalid"]))))]
#[expect(dead_code, reason = "answered by the gateway")]
fn online_users() {}

/// List who of a chat is online
///
/// You must be a member of the chat. Every node gives the same answer.
#[utoipa::path(get, path = "/ws/chat/{chat_id}/online-users", tag = "presence", security(("bearer" = [])),
    params(("chat_id" = ChatId, Path, description = "The chat"), ListParams),
    responses((status = 200, description = "A page of members, and how many of them are online in all", body = OnlinePage)),
    extensions(("x-problems" = json!(["invalid", "chat_not_found", "not_a_member"]))))]
#[expect(dead_code, reason = "answered by the gateway")]
fn chat_online_users() {}
