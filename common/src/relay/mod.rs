//! From commit to bus: the publisher publishes a commit at once, the relay publishes what a
//! publisher left.
//!
//! The outbox decides: an entry stands in it from the commit until the bus has taken its
//! publications. If the process dies in between, the bus is away, or a queue is full, the entry
//! stays. Any relay publishes it within two seconds of the bus being there (guarantee G3). So it
//! may be published twice; receivers drop doubles.

mod batch;
mod encode;
mod outbox;
mod publisher;
#[cfg(test)]
mod tests;

use crate::event::Envelope;
use crate::store::{Committed, UserNotice};
pub use outbox::Relay;
pub use publisher::Publisher;

/// These notices as they are published.
pub fn envelopes(notices: Vec<UserNotice>) -> Vec<Envelope> {
    encode::Telling::of(&Committed { notices, ..Committed::default() }).notices()
}
