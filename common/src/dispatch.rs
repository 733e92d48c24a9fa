//! The one receiver of a process's bus events. It handles revocations, which concern every
//! program, and passes the rest to the gateway's sink.
//!
//! It decodes each event once, and passes batches on as they come.

use crate::bus::{Bus, BusEvent, Topic};
use crate::event::{Envelope, Revocation};
use crate::once::OncePerCause;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Instant;

/// Events that are passed on at once.
const EVENTS_AT_ONCE: usize = 256;

/// An event for a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkEvent {
    /// A publication on a topic that this node subscribes to.
    Envelope(Envelope),
    /// From here on the node receives the topic; publications before may be lost. Comes again when
    /// a publication is known to be missing.
    Subscribed(Topic),
}

/// Takes the events of the bus.
#[async_trait]
pub trait EventSink: Send + Sync + 'static {
    /// Takes a batch, in the order of the bus. The next batch comes once this one is done;
    /// meanwhile the bus queues (bounded).
    async fn handle(&self, events: Vec<SinkEvent>);
}

/// Takes revocations.
pub trait RevocationSink: Send + Sync + 'static {
    /// This access ended.
    fn revoked(&self, revocation: Revocation);
    /// Revocations up to now may be lost: the store knows them.
    fn missed(&self);
}

/// The receiver; see the module.
#[derive(Debug)]
pub struct Dispatcher;

impl Dispatcher {
    /// Subscribes to the topic of all nodes, then passes events on for as long as the bus lives.
    /// Returns at once if another receiver took the events before.
    pub async fn run(bus: Arc<dyn Bus>, revocations: Arc<dyn RevocationSink>, sink: Option<Arc<dyn EventSink>>) {
        let Some(mut events) = bus.take_events() else {
            tracing::error!("the bus has a receiver already");
            return;
        };
        bus.subscribe(&[Topic::Nodes]);
        let (mut batch, logged) = (Vec::with_capacity(EVENTS_AT_ONCE), OncePerCause::default());
        while events.recv_many(&mut batch, EVENTS_AT_ONCE).await > 0 {
            let mut rest = Vec::with_capacity(batch.len());
            for event in batch.drain(..) {
                match event {
                    BusEvent::Subscribed(topic) => {
                        if topic == Topic::Nodes {
                            revocations.missed();
                        }
                        rest.push(SinkEvent::Subscribed(topic));
                    }
                    // A program without sockets hears what is for all nodes; of that, revocations
                    // alone are for it.
                    BusEvent::Message { payload, .. } if sink.is_none() && !Envelope::is_revocation(&payload) => {}
                    BusEvent::Message { topic, payload } => match Envelope::decode(payload) {
                        Ok(Envelope::Revoked(revocation)) => revocations.revoked(revocation),
                        Ok(Envelope::Probe(_)) => {}
                        // A publication on the topic shows that it is subscribed, and that
                        // something was lost: the same work follows.
                        Ok(Envelope::LogGrew { chat_id, .. }) => rest.push(SinkEvent::Subscribed(Topic::Chat(chat_id))),
                        Ok(envelope) => rest.push(SinkEvent::Envelope(envelope)),
                        // From a newer release: the log is the truth, and the gap will show.
                        Err(error) => {
                            if logged.is_news(&error.to_string(), Instant::now()) {
                                tracing::warn!(bus.topic = %topic, %error, "cannot decode publications");
                            }
                        }
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
    use crate::id::{ChatId, Seq, UserId};
    use bytes::Bytes;
    use messenger_testing::within;
    use tokio::sync::mpsc;

    #[derive(Debug, PartialEq)]
    enum Heard {
        Revoked(Revocation),
        Missed,
        Events(Vec<SinkEvent>),
    }

    struct Listener(mpsc::UnboundedSender<Heard>);

    impl RevocationSink for Listener {
        fn revoked(&self, revocation: Revocation) {
            self.0.send(Heard::Revoked(revocation)).unwrap();
        }
        fn missed(&self) {
            self.0.send(Heard::Missed).unwrap();
        }
    }

    #[async_trait]
    impl EventSink for Listener {
        async fn handle(&self, events: Vec<SinkEvent>) {
            self.0.send(Heard::Events(events)).unwrap();
        }
    }

    #[tokio::test]
    async fn revocations_are_for_every_program_and_the_rest_for_the_sink() {
        let tasks = TestTasks::new();
        let bus = MemoryHub::new().join(&tasks.tasks, BusMetrics::unregistered());
        let (sender, mut heard) = mpsc::unbounded_channel();
        let (revocations, sink) = (Arc::new(Listener(sender.clone())), Arc::new(Listener(sender)));
        tasks.tasks.spawn("bus receiver", Dispatcher::run(bus.clone(), revocations, Some(sink)));
        assert_eq!(within("subscribed", heard.recv()).await, Some(Heard::Missed));
        assert_eq!(
            within("passed on", heard.recv()).await,
            Some(Heard::Events(vec![SinkEvent::Subscribed(Topic::Nodes)]))
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
            Envelope::LogGrew { chat_id: ChatId(1), seq: Seq(5) }.encode(),
            Envelope::Revoked(revocation).encode(),
        ];
        bus.publish(&payloads.map(|payload| Publication { topic: Topic::Nodes, payload })).await.unwrap();
        let mut rest = vec![within("one", heard.recv()).await.unwrap(), within("two", heard.recv()).await.unwrap()];
        rest.sort_by_key(|heard| matches!(heard, Heard::Events(_)));
        let events = vec![SinkEvent::Envelope(typing), SinkEvent::Subscribed(Topic::Chat(ChatId(1)))];
        assert_eq!(rest, [Heard::Revoked(revocation), Heard::Events(events)]);
    }
}
