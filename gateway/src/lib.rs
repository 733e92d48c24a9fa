//! The gateway: holds WebSocket connections, follows the chats that somebody here reads, and answers who is online from any node.
//!
//! Imports point down: `routes, upgrade → session → commands → subscription → heal → shard → hub, feed, conn → frame, protocol`. All SQL and
//! Redis is behind the traits of `messenger_common`. Keeps G2 (the cursor), G5 (presence), G6 (the fence), G7 (bounded queues), G8 (drain).

#[cfg(feature = "bench")]
pub mod bench;
mod commands;
mod conn;
mod drain;
mod feed;
mod frame;
mod repair;
mod hub;
mod reads;
mod presence;
mod protocol;
mod revocation;
mod routes;
mod session;
mod shard;
#[path = "subscription/catch_up.rs"]
mod subscription;
mod handshake;

use axum::Router;
use axum::extract::FromRef;
use hub::Hub;
use messenger_common::backends::{Backends, StartError};
use messenger_common::config::{AllowedOrigins, Config};
use messenger_common::dispatch::EventSink;
use messenger_common::lifecycle::Lifecycle;
use messenger_common::program::{self, App, Started};
use messenger_common::service::Context;
use presence::{Parts, PresenceKeeper, Teller};
use shard::Shard;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A running gateway, without its listener.
#[derive(Clone)]
pub struct Gateway {
    hub: Arc<Hub>,
    origins: AllowedOrigins,
    next_shard: Arc<AtomicUsize>,
    drain: Duration,
}

impl Gateway {
    /// Starts the shards and the tasks behind them. An error is a thread or an event loop that the system refused.
    pub fn start(config: &Config, backends: &Backends, ctx: Context, lifecycle: &Lifecycle) -> std::io::Result<Self> {
        let presence = PresenceKeeper::start(
            Parts {
                node: backends.node.clone(),
                presence: Arc::clone(&backends.presence),
                teller: Teller::new(
                    Arc::clone(&backends.store),
                    ctx.publisher.clone(),
                    backends.bus.up(),
                    config.limits.status_max_members,
                ),
                metrics: backends.metrics.clone(),
                grace: config.presence_grace,
                lease: config.presence_lease,
            },
            lifecycle,
        );
        let (shards, inboxes): (Vec<_>, Vec<_>) =
            (0..config.gateway_shards.clamp(1, 63)).map(|_| mpsc::channel(shard::INBOX)).unzip();
        let hub = Hub::new(ctx, Arc::clone(&backends.bus), backends.node.clone(), presence, lifecycle, shards);
        for (id, inbox) in inboxes.into_iter().enumerate() {
            Shard::start(id, Arc::clone(&hub), inbox)?;
        }
        lifecycle.spawn("revocations to shards", revocation::run(Arc::clone(&hub)));
        Ok(Self { hub, origins: config.allowed_origins.clone(), next_shard: Arc::default(), drain: config.drain })
    }

    /// Starts a gateway for [`program::run`].
    pub fn app(started: &Started<'_>) -> Result<App, StartError> {
        let gateway = Self::start(started.config, started.backends, started.context.clone(), started.lifecycle)
            .map_err(|error| StartError::new(format!("the gateway's shards cannot start: {error}")))?;
        let (router, sink) = (gateway.router(), Some(gateway.sink()));
        Ok(App { router, sink, drained: Box::pin(async move { gateway.drain().await }) })
    }

    /// All of `/ws`.
    pub fn router(&self) -> Router {
        routes::router(self.clone())
    }

    /// Where the bus's events go.
    pub fn sink(&self) -> Arc<dyn EventSink> {
        Arc::clone(&self.hub) as Arc<dyn EventSink>
    }

    /// Releases all connections over `DRAIN_SECONDS` (G8).
    pub async fn drain(&self) {
        drain::drain(&self.hub, self.drain).await;
    }
}

/// The WebSocket server, from its listeners to its exit code.
pub async fn run(config: Config, listener: TcpListener, admin: TcpListener, lifecycle: Lifecycle) -> ExitCode {
    program::run(config, listener, admin, lifecycle, Gateway::app).await
}

impl FromRef<Gateway> for Context {
    fn from_ref(gateway: &Gateway) -> Self {
        gateway.hub.ctx.clone()
    }
}
