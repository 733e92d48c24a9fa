//! The one receiver of a process's bus events: what every program must know of is handled here, the rest goes to the gateway's sink.
//!
//! Decoding happens once, here; batches are handed on as they come.

use crate::bus::{Bus, BusEvent, Topic};
use crate::event::{Envelope, Revocation};
use async_trait::async_trait;
use std::sync::Arc;

/// How many events are handed on at once.
const BATCH: usize = 256;

/// What a sink is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkEvent {
    /// Something was published on a topic that this node is subscribed to.
    Envelope(Envelope),
    /// From here on the topic is heard; before, word may have been lost.
    Subscribed(Topic),
}

/// Takes what the bus brings.
#[async_trait]
pub trait EventSink: Send + Sync + 'static {
    /// In the order of the bus; the next batch comes once this one is done, and meanwhile the bus queues (bounded).
    async fn handle(&self, events: Vec<SinkEvent>);
}

/// Learns of access that has ended.
pub trait RevocationSink: Send + Sync + 'static {
    /// This access has ended.
    fn revoked(&self, revocation: Revocation);
    /// Word may have been lost up to now: the store knows what has ended.
    fn missed(&self);
}

/// The receiver; see the module.
#[derive(Debug)]
pub struct Dispatcher;

impl Dispatcher {
    /// Subscribes to what concerns all nodes, then hands on events for as long as the bus lives. Returns at once where another
    /// took the events before.
    pub async fn run(bus: Arc<dyn Bus>, revocations: Arc<dyn RevocationSink>, sink: Option<Arc<dyn EventSink>>) {
        let Some(mut events) = bus.take_events() else {
            tracing::error!("the bus has a receiver already");
            return;
        };
        bus.subscribe(&[Topic::Nodes]);
        let mut batch = Vec::with_capacity(BATCH);
        while events.recv_many(&mut batch, BATCH).await > 0 {
            let mut rest = Vec::with_capacity(batch.len());
            for event in batch.drain(..) {
                match event {
                    BusEvent::Subscribed(topic) => {
                        if topic == Topic::Nodes {
                            revocations.missed();
                        }
                        rest.push(SinkEvent::Subscribed(topic));
                    }
                    BusEvent::Message { topic, payload } => match Envelope::decode(payload) {
                        Ok(Envelope::Revoked(revocation)) => revocations.revoked(revocation),
                        Ok(Envelope::Probe(_)) => {}
                        Ok(envelope) => rest.push(SinkEvent::Envelope(envelope)),
                        // Of a newer release: the log is the truth, and the gap will show.
                        Err(error) => tracing::warn!(bus.topic = %topic, %error, "a publication cannot be read"),
                    },
                }
            }
            if let Some(sink) = &sink
                && !rest.is_empty()
            {
                sink.handle(rest).await;
            }
        }
    }
}
