//! The bus within one process: a hub that any number of nodes of the same process share.
//!
//! A publication waits for slow receivers, up to [`PUBLISH_TIMEOUT`]. Then it drops the event for
//! them, and they get `Subscribed` again.

use super::events::{EVENT_QUEUE, EventQueue, EventSender};
use super::{Bus, BusEvent, BusMetrics, Publication, Topic};
use crate::error::Result;
use crate::lifecycle::Lifecycle;
use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// The longest wait of one call of `publish` for receivers whose queues are full.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(1);

/// Where the nodes of one process meet.
#[derive(Debug, Default)]
pub struct MemoryHub {
    nodes: AtomicU64,
    topics: RwLock<HashMap<Topic, Vec<Subscriber>>>,
}

#[derive(Clone, Debug)]
struct Subscriber {
    node: u64,
    events: Arc<EventSender>,
    metrics: BusMetrics,
}

impl MemoryHub {
    /// A hub without nodes.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// One more node of the hub.
    pub fn join(self: &Arc<Self>, lifecycle: &Lifecycle, metrics: BusMetrics) -> Arc<MemoryBus> {
        self.join_with_queue(lifecycle, metrics, EVENT_QUEUE)
    }

    pub(super) fn join_with_queue(
        self: &Arc<Self>,
        lifecycle: &Lifecycle,
        metrics: BusMetrics,
        capacity: usize,
    ) -> Arc<MemoryBus> {
        let (sender, queue) = EventSender::new(capacity);
        let sender = Arc::new(sender);
        let reporting = sender.clone();
        lifecycle.spawn("bus events", async move { reporting.report_dropped().await });
        metrics.up.set(1);
        let node = self.nodes.fetch_add(1, Ordering::Relaxed);
        Arc::new(MemoryBus {
            hub: self.clone(),
            subscriber: Subscriber { node, events: sender, metrics },
            events: Mutex::new(Some(queue)),
            up: watch::Sender::new(true),
        })
    }
}

/// One node's end of a [`MemoryHub`].
#[derive(Debug)]
pub struct MemoryBus {
    hub: Arc<MemoryHub>,
    subscriber: Subscriber,
    events: Mutex<Option<EventQueue>>,
    up: watch::Sender<bool>,
}

#[async_trait]
impl Bus for MemoryBus {
    async fn publish(&self, publications: &[Publication]) -> Result<()> {
        let deadline = Instant::now() + PUBLISH_TIMEOUT;
        for Publication { topic, payload } in publications {
            let subscribers = self.hub.topics.read().get(topic).cloned().unwrap_or_default();
            for subscriber in subscribers {
                subscriber.metrics.received.inc();
                let event = BusEvent::Message { topic: topic.clone(), payload: payload.clone() };
                subscriber.events.send_until(event, deadline).await;
            }
        }
        self.subscriber.metrics.published_ok.inc_by(publications.len() as u64);
        Ok(())
    }

    fn subscribe(&self, topics: &[Topic]) {
        let mut all = self.hub.topics.write();
        for topic in topics {
            let subscribers = all.entry(topic.clone()).or_default();
            if subscribers.iter().all(|subscriber| subscriber.node != self.subscriber.node) {
                subscribers.push(self.subscriber.clone());
                self.subscriber.events.send(BusEvent::Subscribed(topic.clone()));
            }
        }
    }

    fn unsubscribe(&self, topics: &[Topic]) {
        let mut all = self.hub.topics.write();
        for topic in topics {
            if let Some(subscribers) = all.get_mut(topic) {
                subscribers.retain(|subscriber| subscriber.node != self.subscriber.node);
                if subscribers.is_empty() {
                    all.remove(topic);
                }
            }
        }
    }

    fn take_events(&self) -> Option<mpsc::Receiver<BusEvent>> {
        self.events.lock().take()
    }

    fn up(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }
}

impl Drop for MemoryBus {
    /// A node that is gone receives nothing more.
    fn drop(&mut self) {
        self.hub.topics.write().retain(|_, subscribers| {
            subscribers.retain(|subscriber| subscriber.node != self.subscriber.node);
            !subscribers.is_empty()
        });
    }
}
