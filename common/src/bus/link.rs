//! One link to one Redis server: a connection that subscribes and one that publishes.
//!
//! The link trusts nothing that the client library remembers. It uses each connection until it
//! fails, drops it, and subscribes on the next one to its own set of topics. A probe, published on
//! the one connection every second and received on the other, finds what no error reports: a
//! frozen server, a proxy that stalls, a subscription that died silently. `session` makes the
//! connections and keeps the link.

use super::events::EventSender;
use super::metrics::BusMetrics;
use super::subscriptions::Subscriptions;
use super::{Publication, Topic};
use crate::redis::{Namespace, Server};
use parking_lot::Mutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Pipeline, Value};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// The longest wait for a publication's answer.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(1);

/// Which of Redis's two kinds of pub/sub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `SUBSCRIBE` and `PUBLISH`.
    Plain,
    /// `SSUBSCRIBE` and `SPUBLISH`, one slot a command.
    Sharded,
}

/// Why something could not be published.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("the link to Redis is down")]
    Down,
    #[error("Redis did not answer within {PUBLISH_TIMEOUT:?}")]
    Mute,
    #[error("the server is a replica: those who follow the primary heard nothing")]
    Replica,
    #[error(transparent)]
    Refused(#[from] redis::RedisError),
}

/// The parts that all links of a bus share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) events: Arc<EventSender>,
    pub(super) metrics: BusMetrics,
    pub(super) namespace: Namespace,
    /// Notified when a link's `up` may have changed, or when another server turned out to serve a
    /// topic.
    pub(super) attention: Arc<Notify>,
    /// 64 random bits at each call.
    pub(super) random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

pub(super) struct Link {
    pub(super) server: Server,
    pub(super) kind: Kind,
    /// The channel of the link's probes.
    pub(super) probe: String,
    pub(super) shared: Shared,
    pub(super) subscriptions: Mutex<Subscriptions>,
    /// Notified when `subscriptions` has changes for the server.
    pub(super) changed: Notify,
    /// The publishing connection of the present session.
    pub(super) publisher: Mutex<Option<MultiplexedConnection>>,
    /// A publication was not answered in time, and no probe has come back since: further ones fail
    /// at once.
    pub(super) suspect: AtomicBool,
    up: watch::Sender<bool>,
    /// Why it is down.
    fault: Mutex<Option<String>>,
}

impl Link {
    /// The topic of a channel of this deployment.
    pub(super) fn topic(&self, channel: &str) -> Option<Topic> {
        Topic::parse(self.shared.namespace.within(channel)?)
    }

    pub(super) fn new(server: Server, kind: Kind, probe: String, shared: Shared) -> Self {
        Self {
            server,
            kind,
            probe,
            shared,
            subscriptions: Mutex::default(),
            changed: Notify::new(),
            publisher: Mutex::new(None),
            suspect: AtomicBool::new(false),
            up: watch::Sender::new(false),
            fault: Mutex::new(None),
        }
    }

    pub(super) fn subscribe(&self, topics: &[Topic]) {
        if self.subscriptions.lock().add(topics) {
            self.changed.notify_one();
        }
    }

    pub(super) fn unsubscribe(&self, topics: &[Topic]) {
        if self.subscriptions.lock().remove(topics) {
            self.changed.notify_one();
        }
    }

    pub(super) fn up(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    pub(super) fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    pub(super) fn fault(&self) -> Option<String> {
        self.fault.lock().clone()
    }

    pub(super) fn set_down(&self, fault: String) {
        *self.fault.lock() = Some(fault);
        self.set_up(false);
    }

    pub(super) fn set_up(&self, up: bool) {
        if up {
            *self.fault.lock() = None;
        }
        // Only when it changes: a receiver that waits for the link's return would take each probe
        // for it.
        if self.up.send_if_modified(|was| std::mem::replace(was, up) != up) {
            self.shared.attention.notify_one();
        }
    }

    /// Publishes in one round trip, in order.
    pub(super) async fn publish<'a>(
        &self,
        publications: impl ExactSizeIterator<Item = &'a Publication>,
    ) -> Result<(), LinkError> {
        let Some(mut connection) = self.publisher.lock().clone() else { return Err(LinkError::Down) };
        if self.suspect.load(Ordering::Relaxed) {
            return Err(LinkError::Down);
        }
        let (pipeline, count) = self.pipeline(publications);
        let answer = tokio::time::timeout(PUBLISH_TIMEOUT, connection.req_packed_commands(&pipeline, 0, count)).await;
        match answer {
            Err(_) => {
                self.suspect.store(true, Ordering::Relaxed);
                Err(LinkError::Mute)
            }
            // The session learns of a lost connection from the connection itself.
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(mut answers)) => {
                let role = if self.kind == Kind::Plain { answers.pop().and_then(refusal) } else { None };
                // A user without that right learns of it by the next probe.
                if role.is_some_and(|error| error.to_string().contains("replica")) {
                    self.suspect.store(true, Ordering::Relaxed);
                    return Err(LinkError::Replica);
                }
                match answers.into_iter().find_map(refusal) {
                    None => Ok(()),
                    Some(error) => {
                        // In a cluster another server may serve the slot now.
                        self.shared.attention.notify_one();
                        Err(error.into())
                    }
                }
            }
        }
    }

    /// The commands, and how many there are.
    ///
    /// A demoted primary publishes as before, to its own clients: what it took would be lost to
    /// those who follow the new one until they compare heads. So it is asked in the same round trip
    /// whether it still is a primary: a replica refuses `WAIT`, and a primary answers at once.
    fn pipeline<'a>(&self, publications: impl ExactSizeIterator<Item = &'a Publication>) -> (Pipeline, usize) {
        let command = match self.kind {
            Kind::Plain => "PUBLISH",
            Kind::Sharded => "SPUBLISH",
        };
        let count = publications.len() + usize::from(self.kind == Kind::Plain);
        let mut pipeline = Pipeline::with_capacity(count);
        let mut channel = String::with_capacity(64);
        for publication in publications {
            channel.clear();
            // Writing to a string cannot fail.
            _ = write!(channel, "{}{}", self.shared.namespace, publication.topic);
            let mut one = redis::Cmd::with_capacity(3, command.len() + channel.len() + publication.payload.len());
            one.arg(command).arg(channel.as_str()).arg(&publication.payload[..]);
            pipeline.add_command(one);
        }
        if self.kind == Kind::Plain {
            pipeline.cmd("WAIT").arg(0).arg(0);
        }
        (pipeline, count)
    }

    /// The publishing connection, for the bus's own questions.
    pub(super) fn connection(&self) -> Option<MultiplexedConnection> {
        self.publisher.lock().clone()
    }
}

/// The error in an answer, if it is one.
pub(super) fn refusal(answer: Value) -> Option<redis::RedisError> {
    answer.extract_error().err()
}
