//! A sequenced event on its way to its readers.

use bytes::Bytes;
use messenger_common::event::{Effect, EventKind};
use messenger_common::id::{Seq, UserId};

/// A sequenced event, framed.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place.
    pub seq: Seq,
    /// Its kind.
    pub kind: EventKind,
    /// Its effect on subscriptions.
    pub effect: Effect,
    /// When it was committed, microseconds since the Unix epoch.
    pub committed_at_micros: i64,
    /// The WebSocket frame, shared by all subscribers.
    pub frame: Bytes,
}

impl Event {
    /// Whether it takes that user out of the chat.
    pub fn removes(&self, user: UserId) -> bool {
        match self.effect {
            Effect::Left(left) => left == user,
            Effect::ChatDeleted => true,
            Effect::None | Effect::Joined(_) => false,
        }
    }

    /// Whether it takes anybody out of the chat.
    pub fn is_removal(&self) -> bool {
        matches!(self.effect, Effect::Left(_) | Effect::ChatDeleted)
    }
}
