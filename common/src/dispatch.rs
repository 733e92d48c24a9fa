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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::memory::MemoryHub;
    use crate::bus::testing::TestTasks;
    use crate::bus::{BusMetrics, Publication};
    use crate::event::{EventKind, RevocationReason};
    use crate::id::{ChatId, UserId};
    use bytes::Bytes;
    use messenger_testing::within;
    use tokio::sync::mpsc;

    #[derive(Debug, PartialEq)]
    enum Told {
        Revoked(Revocation),
        Missed,
        Events(Vec<SinkEvent>),
    }

    struct Listener(mpsc::UnboundedSender<Told>);

    impl RevocationSink for Listener {
        fn revoked(&self, revocation: Revocation) {
            self.0.send(Told::Revoked(revocation)).unwrap();
        }
        fn missed(&self) {
            self.0.send(Told::Missed).unwrap();
        }
    }

    #[async_trait]
    impl EventSink for Listener {
        async fn handle(&self, events: Vec<SinkEvent>) {
            self.0.send(Told::Events(events)).unwrap();
        }
    }

    #[tokio::test]
    async fn revocations_are_for_every_program_and_the_rest_for_the_sink() {
        let tasks = TestTasks::new();
        let bus = MemoryHub::new().join(&tasks.tasks, BusMetrics::unregistered());
        let (told, mut heard) = mpsc::unbounded_channel();
        let (revocations, sink) = (Arc::new(Listener(told.clone())), Arc::new(Listener(told)));
        tasks.tasks.spawn("bus receiver", Dispatcher::run(bus.clone(), revocations, Some(sink)));
        assert_eq!(within("subscribed", heard.recv()).await, Some(Told::Missed));
        assert_eq!(
            within("told on", heard.recv()).await,
            Some(Told::Events(vec![SinkEvent::Subscribed(Topic::Nodes)]))
        );
        let revocation = Revocation { user_id: UserId(1), session_id: None, reason: RevocationReason::SessionEnded };
        let typing = Envelope::Ephemeral {
            chat_id: ChatId(1),
            user_id: UserId(1),
            kind: EventKind::Typing,
            json: Bytes::from_static(b"{}"),
        };
        let payloads = [
            Envelope::Probe(1).encode(),
            Bytes::from_static(b"?"),
            typing.encode(),
            Envelope::Revoked(revocation).encode(),
        ];
        bus.publish(&payloads.map(|payload| Publication { topic: Topic::Nodes, payload })).await.unwrap();
        let mut rest = vec![within("one", heard.recv()).await.unwrap(), within("two", heard.recv()).await.unwrap()];
        rest.sort_by_key(|told| matches!(told, Told::Events(_)));
        assert_eq!(rest, [Told::Revoked(revocation), Told::Events(vec![SinkEvent::Envelope(typing)])]);
    }
}
