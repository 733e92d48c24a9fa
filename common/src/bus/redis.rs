//! The bus over Redis pub/sub: one server, or whatever stands behind one address (Sentinel with a
//! proxy, a managed service).

use super::cluster::ClusterBus;
use super::events::{EVENT_QUEUE, EventQueue, EventSender};
use super::link::{Kind, Link, Shared};
use super::metrics::BusMetrics;
use super::session;
use super::{Bus, BusEvent, Publication, Topic};
use crate::error::{Error, Result};
use crate::id::NodeId;
use crate::lifecycle::Lifecycle;
use crate::redis::{Place, connect};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc, watch};

/// The bus over one Redis server; see [`connect`](Self::connect).
pub struct RedisBus {
    link: Arc<Link>,
    events: Mutex<Option<EventQueue>>,
}

impl RedisBus {
    /// Starts the bus of `REDIS_URL`'s nodes and returns at once: [`Bus::up`] says when it carries.
    /// With `cluster` it uses Redis Cluster's sharded pub/sub, else the first node alone. `random`
    /// gives 64 random bits at each call. An address that cannot be read is an error.
    pub fn connect(
        place: &Place,
        node: &NodeId,
        lifecycle: &Lifecycle,
        metrics: BusMetrics,
        random: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<Arc<dyn Bus>> {
        Self::connect_with_queue(place, node, lifecycle, metrics, random, EVENT_QUEUE)
    }

    pub(super) fn connect_with_queue(
        place: &Place,
        node: &NodeId,
        lifecycle: &Lifecycle,
        metrics: BusMetrics,
        random: impl Fn() -> u64 + Send + Sync + 'static,
        capacity: usize,
    ) -> Result<Arc<dyn Bus>> {
        let (sender, queue) = EventSender::new(capacity);
        let sender = Arc::new(sender);
        let reporting = sender.clone();
        lifecycle.spawn("bus events", async move { reporting.report_dropped().await });
        let shared = Shared {
            events: sender,
            metrics,
            namespace: place.namespace.clone(),
            attention: Arc::new(Notify::new()),
            random: Arc::new(random),
        };
        if place.config.cluster {
            return Ok(ClusterBus::start(connect::nodes(&place.config)?, node, lifecycle, shared, queue));
        }
        let probe = place.namespace.name(Topic::Node(node.clone()));
        let link = Arc::new(Link::new(connect::server(&place.config)?, Kind::Plain, probe, shared));
        let running = link.clone();
        lifecycle.spawn("bus link", async move { match session::keep(running).await {} });
        let gauged = link.clone();
        lifecycle.spawn("bus gauge", async move {
            let mut up = gauged.up();
            loop {
                gauged.shared.metrics.up.set(i64::from(*up.borrow_and_update()));
                if up.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(Arc::new(Self { link, events: Mutex::new(Some(queue)) }))
    }
}

#[async_trait]
impl Bus for RedisBus {
    async fn publish(&self, publications: &[Publication]) -> Result<()> {
        if publications.is_empty() {
            return Ok(());
        }
        let result = self.link.publish(publications.iter()).await;
        self.link.shared.metrics.published(publications.len(), &result);
        result.map_err(Error::unavailable)
    }

    fn subscribe(&self, topics: &[Topic]) {
        self.link.subscribe(topics);
    }

    fn unsubscribe(&self, topics: &[Topic]) {
        self.link.unsubscribe(topics);
    }

    fn take_events(&self) -> Option<mpsc::Receiver<BusEvent>> {
        self.events.lock().take()
    }

    fn up(&self) -> watch::Receiver<bool> {
        self.link.up()
    }

    fn fault(&self) -> Option<String> {
        self.link.fault()
    }
}
