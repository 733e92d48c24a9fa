//! The assembly: parts, shards, tasks, router.

use crate::handshake::Early;
use crate::hub::Hub;
use crate::inbox::INBOX;
use crate::presence::{Announcer, Load, Parts, PresenceKeeper};
use crate::state::Gateway;
use crate::worker::Worker;
use crate::{drain, rebalance, revocation, routes};
use axum::Router;
use messenger_common::backends::StartError;
use messenger_common::config::Config;
use messenger_common::dispatch::EventSink;
use messenger_common::http::{Bound, Upgrades};
use messenger_common::lifecycle::Lifecycle;
use messenger_common::program::{self, App, Started};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Shards at most: the hub names them by the bits of a word.
const MAX_SHARDS: usize = 63;

impl Gateway {
    /// Starts the shards and the tasks behind them. An error is a thread or an event loop that the
    /// system refused.
    pub fn start(started: &Started<'_>) -> std::io::Result<Self> {
        let Started { config, backends, context, lifecycle, places } = *started;
        let ctx = context.clone();
        let presence = PresenceKeeper::start(
            Parts {
                node: backends.node.clone(),
                presence: Arc::clone(&backends.presence),
                announcer: Announcer::new(
                    Arc::clone(&backends.store),
                    Arc::clone(&backends.bus),
                    Arc::clone(&backends.presence),
                    config.limits.status_max_members,
                ),
                metrics: backends.metrics.clone(),
                load: Load::new(backends.metrics.clone(), lifecycle.clone()),
                grace: config.presence_grace,
                lease: config.presence_lease,
            },
            lifecycle,
        );
        let (shards, inboxes): (Vec<_>, Vec<_>) =
            (0..config.gateway_shards.clamp(1, MAX_SHARDS)).map(|_| mpsc::channel(INBOX)).unzip();
        let hub = Hub::new(ctx, Arc::clone(&backends.bus), backends.node.clone(), presence, lifecycle, shards);
        for (id, inbox) in inboxes.into_iter().enumerate() {
            Worker::start(id, Arc::clone(&hub), inbox)?;
        }
        lifecycle.spawn("revocations to shards", revocation::run(Arc::clone(&hub)));
        lifecycle.spawn("bus hearing", Arc::clone(&hub).watch_the_link());
        lifecycle.spawn("missed statuses", Arc::clone(&hub).read_missed_statuses());
        lifecycle.spawn("missed notices", Arc::clone(&hub).read_missed_notices());
        lifecycle.spawn("tail of the log", Arc::clone(&hub).follow_the_tail());
        lifecycle.spawn("tail while the bus is away", Arc::clone(&hub).follow_an_outage());
        if config.rebalance {
            lifecycle.spawn("hand-over of connections", rebalance::run(Arc::clone(&hub)));
        }
        Ok(Self::new(hub, config.allowed_origins.clone(), places.clone(), config.drain))
    }

    /// Starts a gateway for [`program::run`].
    pub fn app(started: &Started<'_>) -> Result<App, StartError> {
        let gateway = Self::start(started)
            .map_err(|error| StartError::new(format!("the gateway's shards cannot start: {error}")))?;
        let (router, sink) = (gateway.router(), Some(gateway.sink()));
        let upgrades = Early::new(&gateway, started.config).map(|early| Arc::new(early) as Arc<dyn Upgrades>);
        Ok(App { router, upgrades, sink, drained: Box::pin(async move { gateway.drain().await }) })
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
        drain::drain(&self.hub, self.drain_over).await;
    }
}

/// The WebSocket server, from its listeners to its exit code.
pub async fn run(config: Config, public: Bound, admin: TcpListener, lifecycle: Lifecycle) -> ExitCode {
    program::run(config, public, admin, lifecycle, Gateway::app).await
}
