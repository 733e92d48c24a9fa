//! The bus: carries publications of commits to the nodes that hold their readers.
//!
//! # Obligations of a back end
//! - **A hint, never the truth.** It may lose, double and reorder publications (between
//!   publishers). It may not lose them *silently*: after a possible loss it sends
//!   [`BusEvent::Subscribed`] again for each affected topic, once that topic is subscribed again.
//!   Receivers then compare heads with the log.
//! - **Order** is kept between the publications of one call and one topic.
//! - **Bounded**: when the receiver is slow, the back end either waits (in process), or drops
//!   events and sends `Subscribed` again. It never grows without bound.
//! - `subscribe` and `unsubscribe` only change the set of topics and return at once, in or out of
//!   an outage. The back end reconciles.

mod channels;
mod cluster;
mod events;
mod link;
pub mod memory;
mod metrics;
pub mod redis;
mod session;
mod subscriptions;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod topology;

pub use metrics::BusMetrics;

use crate::error::Result;
use crate::event::Envelope;
use crate::id::{ChatId, NodeId, UserId};
use async_trait::async_trait;
use bytes::Bytes;
use std::fmt;
use tokio::sync::{mpsc, watch};

/// The address of a publication.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// A chat's events: `c:<id>`.
    Chat(ChatId),
    /// Every connection of a user: `u:<id>`.
    User(UserId),
    /// Every node: `nodes`.
    Nodes,
    /// One node's probes of itself: `n:<node>`.
    Node(NodeId),
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chat(id) => write!(f, "c:{id}"),
            Self::User(id) => write!(f, "u:{id}"),
            Self::Nodes => f.write_str("nodes"),
            Self::Node(id) => write!(f, "n:{id}"),
        }
    }
}

impl Topic {
    /// Where an envelope is published. (A probe goes to the topic of its own node, which only its
    /// link knows.)
    pub fn of(envelope: &Envelope) -> Self {
        match envelope {
            Envelope::Log { chat_id, .. } | Envelope::Ephemeral { chat_id, .. } | Envelope::LogGrew { chat_id, .. } => {
                Self::Chat(*chat_id)
            }
            Envelope::Notice { user_id, .. } | Envelope::Traced { user_id: Some(user_id), .. } => Self::User(*user_id),
            Envelope::Traced { user_id: None, traced } => Self::Chat(traced.chat_id),
            Envelope::Revoked(_) | Envelope::Status(_) | Envelope::Probe(_) => Self::Nodes,
        }
    }

    /// Reads the name of a channel within the deployment's namespace.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "nodes" => Some(Self::Nodes),
            rest => {
                let (kind, id) = rest.split_once(':')?;
                match kind {
                    "c" => id.parse().ok().map(Self::Chat),
                    "u" => id.parse().ok().map(Self::User),
                    "n" => Some(Self::Node(NodeId(id.to_owned()))),
                    _ => None,
                }
            }
        }
    }
}

/// An encoded [`Envelope`] and its address.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The address.
    pub topic: Topic,
    /// The encoded envelope.
    pub payload: Bytes,
}

impl From<&Envelope> for Publication {
    fn from(envelope: &Envelope) -> Self {
        Self { topic: Topic::of(envelope), payload: envelope.encode() }
    }
}

/// An event of the bus for this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusEvent {
    /// A publication on a topic that the node subscribed to.
    Message {
        /// The address.
        topic: Topic,
        /// An encoded [`Envelope`].
        payload: Bytes,
    },
    /// From here on the node receives the topic; publications before may be lost. Sent after the
    /// first subscription and after every outage.
    Subscribed(Topic),
}

/// A node's end of the bus; see the module's obligations.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Publishes in one round trip. `Ok` means that the bus took them all, an error that it may
    /// have taken any of them. Never waits longer than two seconds, and fails at once while the
    /// link is down.
    async fn publish(&self, publications: &[Publication]) -> Result<()>;

    /// Adds to the set of topics. [`BusEvent::Subscribed`] follows for each that was not in it.
    fn subscribe(&self, topics: &[Topic]);

    /// Takes out of the set of topics.
    fn unsubscribe(&self, topics: &[Topic]);

    /// The receiving end. There is one: `None` when it was taken before.
    fn take_events(&self) -> Option<mpsc::Receiver<BusEvent>>;

    /// Whether the bus is up: connected, and its own probe came back lately.
    fn up(&self) -> watch::Receiver<bool>;

    /// Whether it carries some topics: while it is not up, others' servers are away.
    fn carries_some(&self) -> bool {
        *self.up().borrow()
    }

    /// Why it does not carry, where that is known.
    fn fault(&self) -> Option<String> {
        None
    }

    /// The same for people, while it is down.
    fn why_down(&self) -> String {
        self.fault().unwrap_or_else(|| "not connected".to_owned())
    }
}
