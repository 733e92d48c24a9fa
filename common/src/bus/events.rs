//! The sending end of a node's event queue: bounded, and never silent about what did not fit.

use super::{BusEvent, Topic};
use parking_lot::Mutex;
use std::collections::HashSet;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// How many events wait for the receiver. When full, further ones are dropped and their topics told `Subscribed` anew once there is
/// room, so that the receiver compares heads with the log.
pub(super) const EVENT_QUEUE: usize = 16_384;

/// Puts events on the queue, or remembers the topics of those that did not fit.
#[derive(Debug)]
pub(super) struct Outlet {
    queue: mpsc::Sender<BusEvent>,
    /// Topics of dropped events; bounded by the topics that are subscribed.
    affected: Mutex<HashSet<Topic>>,
    dropped: Notify,
}

impl Outlet {
    pub(super) fn new(capacity: usize) -> (Self, mpsc::Receiver<BusEvent>) {
        let (queue, events) = mpsc::channel(capacity);
        (Self { queue, affected: Mutex::default(), dropped: Notify::new() }, events)
    }

    /// Without waiting.
    pub(super) fn offer(&self, event: BusEvent) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.queue.try_send(event) {
            self.remember(event);
        }
    }

    /// Waits for room, until then.
    pub(super) async fn offer_until(&self, event: BusEvent, deadline: Instant) {
        match self.queue.try_send(event) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(event)) => {
                match tokio::time::timeout_at(deadline, self.queue.reserve()).await {
                    Ok(Ok(place)) => place.send(event),
                    Ok(Err(_)) => {}
                    Err(_) => self.remember(event),
                }
            }
        }
    }

    fn remember(&self, event: BusEvent) {
        let topic = match event {
            BusEvent::Message { topic, .. } | BusEvent::Subscribed(topic) => topic,
        };
        if self.affected.lock().insert(topic) {
            self.dropped.notify_one();
        }
    }

    /// Tells the topics of dropped events anew as soon as there is room; runs as long as the bus.
    pub(super) async fn tell_dropped(&self) {
        loop {
            self.dropped.notified().await;
            loop {
                let Ok(place) = self.queue.reserve().await else {
                    // The receiver is gone: there is nobody to tell.
                    return std::future::pending().await;
                };
                let Some(topic) = self.affected.lock().extract_if(|_| true).next() else { break };
                tracing::warn!(bus.topic = %topic, "the event queue was full: the topic is told anew");
                place.send(BusEvent::Subscribed(topic));
            }
        }
    }
}
