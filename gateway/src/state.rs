//! The state of the handlers: the hub, the origins that may connect, and which shard gets the next
//! connection.

use crate::hub::Hub;
use axum::extract::FromRef;
use messenger_common::config::AllowedOrigins;
use messenger_common::http::Places;
use messenger_common::service::Context;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A running gateway, without its listener.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) hub: Arc<Hub>,
    pub(crate) origins: AllowedOrigins,
    pub(crate) places: Places,
    next_shard: Arc<AtomicUsize>,
    pub(crate) drain_over: Duration,
}

impl Gateway {
    pub(crate) fn new(hub: Arc<Hub>, origins: AllowedOrigins, places: Places, drain_over: Duration) -> Self {
        Self { hub, origins, places, next_shard: Arc::default(), drain_over }
    }

    /// The shard for the next connection, each in turn.
    pub(crate) fn next_shard(&self) -> usize {
        self.next_shard.fetch_add(1, Ordering::Relaxed) % self.hub.shard_count()
    }
}

impl FromRef<Gateway> for Context {
    fn from_ref(gateway: &Gateway) -> Self {
        gateway.hub.ctx.clone()
    }
}
