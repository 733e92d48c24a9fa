//! From commit to bus: the publisher tells what was committed at once, the relay what a publisher did not get to tell.
//!
//! The outbox decides: an entry stands in it from the commit until its publication is known to have been taken. A process that dies between,
//! a bus that is away, a queue that is full: the entry stays, and any relay tells it within two seconds of there being a way
//! (guarantee G3). So it may be told twice; receivers drop what they have had.

mod batch;
mod encode;
mod outbox;
mod publisher;
#[cfg(test)]
mod tests;

pub use outbox::Relay;
pub use publisher::Publisher;
