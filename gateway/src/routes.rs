//! The gateway's HTTP: the way into a WebSocket, and who is online.

mod online;

use crate::handshake;
use crate::state::Gateway;
use axum::Router;
use axum::routing::get;

/// All of `/ws`.
pub(crate) fn router(gateway: Gateway) -> Router {
    Router::new()
        .route("/ws/chat", get(handshake::by_header))
        .route("/ws/chat/{key}", get(handshake::by_path))
        .route("/ws/chat/{key}/online-users", get(online::in_chat))
        .route("/ws/online-users", get(online::everywhere))
        .with_state(gateway)
}
