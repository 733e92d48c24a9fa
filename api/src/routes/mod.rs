//! The handlers: each takes the request apart, calls one rule of `messenger_common::service` and
//! shapes its answer.
//!
//! A handler's `x-problems` are the codes that its rule answers; those of every call (log-in,
//! body, inside) are added by [`crate::openapi`].

mod auth;
mod chats;
mod invites;
mod marks;
mod members;
mod messages;
pub(crate) mod online;
pub(crate) mod pages;
mod users;

use messenger_common::service::Context;
use utoipa_axum::router::OpenApiRouter;

/// The paths whose `POST` has a body of which each field has a default.
pub(crate) const BODY_MAY_BE_MISSING: [&str; 1] = ["/chats/{chat_id}/invites"];
/// The paths whose `POST` makes something and takes an `Idempotency-Key`.
pub(crate) const KEYED: [&str; 3] = ["/chats/create", "/chats/{chat_id}/invites", "/messages/send"];

/// The routes of contract section 2 that the rules answer.
pub(crate) fn api() -> OpenApiRouter<Context> {
    OpenApiRouter::new()
        .merge(auth::router())
        .merge(users::router())
        .merge(chats::router())
        .merge(members::router())
        .merge(invites::router())
        .merge(marks::router())
        .merge(messages::router())
}
