//! A node's event queue: bounded, and never silent about what did not fit.

use super::{BusEvent, Topic};
use parking_lot::Mutex;
use std::collections::HashSet;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// Events that wait for the receiver. When the queue is full, further events are dropped. Their
/// topics get `Subscribed` again once there is room, so that the receiver compares heads with the
/// log.
pub(super) const EVENT_QUEUE: usize = 16_384;

/// The receiving end of the queue, which a bus gives away once.
pub(super) type EventQueue = mpsc::Receiver<BusEvent>;

/// Puts events on the queue, or remembers the topics of those that did not fit.
#[derive(Debug)]
pub(super) struct EventSender {
    queue: mpsc::Sender<BusEvent>,
    /// Topics of dropped events. Bounded by the topics that the node subscribes to.
    dropped: Mutex<HashSet<Topic>>,
    dropped_some: Notify,
}

impl EventSender {
    pub(super) fn new(capacity: usize) -> (Self, EventQueue) {
        let (queue, events) = mpsc::channel(capacity);
        (Self { queue, dropped: Mutex::default(), dropped_some: Notify::new() }, events)
    }

    /// Sends without waiting.
    pub(super) fn send(&self, event: BusEvent) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.queue.try_send(event) {
            self.drop_event(event);
        }
    }

    /// Waits for room until the deadline.
    pub(super) async fn send_until(&self, event: BusEvent, deadline: Instant) {
        match self.queue.try_send(event) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(event)) => {
                match tokio::time::timeout_at(deadline, self.queue.reserve()).await {
                    Ok(Ok(place)) => place.send(event),
                    Ok(Err(_)) => {}
                    Err(_) => self.drop_event(event),
                }
            }
        }
    }

    fn drop_event(&self, event: BusEvent) {
        let topic = match event {
            BusEvent::Message { topic, .. } | BusEvent::Subscribed(topic) => topic,
        };
        if self.dropped.lock().insert(topic) {
            self.dropped_some.notify_one();
        }
    }

    /// Sends `Subscribed` for the topics of dropped events as soon as there is room. Runs as long
    /// as the bus does.
    pub(super) async fn report_dropped(&self) {
        loop {
            self.dropped_some.notified().await;
            loop {
                let Ok(place) = self.queue.reserve().await else {
                    // The receiver is gone: nobody is left to report to.
                    return std::future::pending().await;
                };
                let Some(topic) = self.dropped.lock().extract_if(|_| true).next() else { break };
                tracing::warn!(bus.topic = %topic, "the event queue was full: events of this topic were dropped");
                place.send(BusEvent::Subscribed(topic));
            }
        }
    }
}
