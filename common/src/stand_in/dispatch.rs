//! Stand-in.
#![allow(missing_docs)]
use crate::bus::Topic;
use crate::event::Envelope;
pub enum SinkEvent {
    Envelope(Envelope),
    Subscribed(Topic),
}
#[async_trait::async_trait]
pub trait EventSink: Send + Sync {
    async fn handle(&self, events: Vec<SinkEvent>);
}
