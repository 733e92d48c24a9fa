//! The bus: how word of what was committed reaches the nodes that hold its readers.
//!
//! # Obligations of a back end
//! - **A hint, never the truth.** It may lose, double and reorder (between publishers). What it may not do is lose *silently*: whatever
//!   could have lost word is told as [`BusEvent::Subscribed`] (again) for each topic that was affected, once that topic is subscribed anew.
//!   Receivers then compare heads with the log.
//! - **Order** is kept between the publications of one call and one topic.
//! - **Bounded**: when the receiver is slow, the back end either waits (in process) or drops and tells (`Subscribed` anew); it never
//!   grows without bound.
//! - `subscribe` and `unsubscribe` only change the wanted set and return at once, in or out of an outage; the back end reconciles.

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

/// Where something is published.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// A chat's events: `m:c:<id>`.
    Chat(ChatId),
    /// What goes to every connection of a user: `m:u:<id>`.
    User(UserId),
    /// What every node hears: `m:nodes`.
    Nodes,
    /// One node's questions to itself: `m:n:<node>`.
    Node(NodeId),
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chat(id) => write!(f, "m:c:{id}"),
            Self::User(id) => write!(f, "m:u:{id}"),
            Self::Nodes => f.write_str("m:nodes"),
            Self::Node(id) => write!(f, "m:n:{id}"),
        }
    }
}

impl Topic {
    /// Where an envelope is published. (A probe goes to the topic of its own node, which only its link
    /// knows.)
    pub fn of(envelope: &Envelope) -> Self {
        match envelope {
            Envelope::Log { chat_id, .. } | Envelope::Ephemeral { chat_id, .. } | Envelope::LogGrew { chat_id, .. } => {
                Self::Chat(*chat_id)
            }
            Envelope::Notice { user_id, .. } => Self::User(*user_id),
            Envelope::Revoked(_) | Envelope::Status(_) | Envelope::Probe(_) => Self::Nodes,
        }
    }

    /// Reads a channel's name.
    pub fn parse(name: &str) -> Option<Self> {
        match name.strip_prefix("m:")? {
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

/// Something to be published: an encoded [`Envelope`].
#[derive(Clone, Debug)]
pub struct Publication {
    /// Where.
    pub topic: Topic,
    /// What.
    pub payload: Bytes,
}

impl From<&Envelope> for Publication {
    fn from(envelope: &Envelope) -> Self {
        Self { topic: Topic::of(envelope), payload: envelope.encode() }
    }
}

/// What a node hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusEvent {
    /// A publication on a topic that the node subscribed to.
    Message {
        /// Where.
        topic: Topic,
        /// What: an encoded [`Envelope`].
        payload: Bytes,
    },
    /// From here on the topic is heard; before, word may have been lost. Told at the first subscription and after every outage.
    Subscribed(Topic),
}

/// What a node's bus link does; see the module's obligations.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Publishes in one round trip. `Ok` means that the bus took them all; an error means that any of them may have been
    /// taken. Never waits longer than two seconds, and errs at once while the link is known to be down.
    async fn publish(&self, publications: &[Publication]) -> Result<()>;

    /// Adds to the set of wanted topics; [`BusEvent::Subscribed`] follows for each that was not in it.
    fn subscribe(&self, topics: &[Topic]);

    /// Takes out of the set of wanted topics.
    fn unsubscribe(&self, topics: &[Topic]);

    /// The receiving end, of which there is one; `None` when it was taken before.
    fn take_events(&self) -> Option<mpsc::Receiver<BusEvent>>;

    /// Whether the link carries: connected, and its own probe came back lately.
    fn up(&self) -> watch::Receiver<bool>;
}
