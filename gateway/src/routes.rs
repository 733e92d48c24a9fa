//! The gateway's HTTP: the way into a WebSocket, and who is online.

mod online;

use crate::{Gateway, upgrade};
use axum::Router;
use axum::routing::get;

/// All of `/ws`.
pub(crate) fn router(gateway: Gateway) -> Router {
    Router::new()
        .route("/ws/chat", get(upgrade::by_header))
        .route("/ws/chat/{key}", get(upgrade::by_path))
        .route("/ws/chat/{key}/online-users", get(online::in_chat))
        .route("/ws/online-users", get(online::everywhere))
        .with_state(gateway)
}
