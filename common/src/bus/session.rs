//! One life of a link: from connecting until either connection is lost or silent.

use super::channels::{Direction, change};
use super::link::{Kind, Link};
use super::{BusEvent, Topic};
use crate::backoff::Backoff;
use crate::event::Envelope;
use crate::redis::connect::connect;
use bytes::Bytes;
use parking_lot::Mutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{PushInfo, PushKind, Value};
use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};

/// The pause between probes.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Without a probe for this long, the session ends.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// A pause between two probes that no timer makes.
const STANDSTILL: Duration = PROBE_EVERY.saturating_mul(2);
/// The life of a probe's key, milliseconds.
const PROBE_KEY_MILLIS: u64 = 10_000;
/// The longest wait for the confirmation of a batch of subscriptions.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(3);
/// Topics that one round trip subscribes.
const TOPICS_PER_ROUND_TRIP: usize = 500;
/// The pause before a topic that the server refused is subscribed again.
const RETRY_REFUSED: Duration = Duration::from_millis(200);
/// The longest pauses between attempts to connect; each is random up to that.
const RECONNECT: Backoff = Backoff { first: Duration::from_millis(20), longest: Duration::from_millis(500) };

/// Why a session ended.
#[derive(Debug)]
enum End {
    Lost,
    Mute,
    /// The server takes no writes: what is published there reaches its own clients only.
    Replica,
    Failed(redis::RedisError),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("the connection was lost"),
            Self::Mute => f.write_str("no probe came back in time"),
            Self::Replica => f.write_str("the server is a replica; REDIS_URL must lead to the primary"),
            Self::Failed(error) => write!(f, "a command failed: {error}"),
        }
    }
}

/// Keeps a link, session after session. It never returns: `Infallible` has no value.
pub(super) async fn keep(link: Arc<Link>) -> Infallible {
    let mut pauses = RECONNECT.start();
    let mut established = false;
    // The reason logged last: each is logged once until the link is up again.
    let mut logged = None;
    loop {
        let reason = match Session::open(&link).await {
            Ok(session) => {
                if established {
                    link.shared.metrics.reconnects.inc();
                }
                established = true;
                let end = session.run(&link).await;
                if link.is_up() {
                    pauses.reset();
                    logged = None;
                }
                end.to_string()
            }
            Err(error) => error.to_string(),
        };
        let addr = &link.server;
        if logged.as_ref() == Some(&reason) {
            tracing::debug!(redis.addr = %addr, reason, "the bus link is down");
        } else {
            tracing::warn!(redis.addr = %addr, reason, "the bus link is down; connecting again");
            logged = Some(reason.clone());
        }
        link.set_down(reason);
        *link.publisher.lock() = None;
        tokio::time::sleep(jittered(pauses.pause(), &link)).await;
    }
}

/// Random over its whole range, so that the nodes of a cluster do not all come back at once.
fn jittered(pause: Duration, link: &Link) -> Duration {
    let part = u32::try_from((link.shared.random)() >> 40).unwrap_or(u32::MAX);
    pause.mul_f64(f64::from(part) / f64::from(1 << 24))
}

struct Session {
    listener: Arc<Listener>,
    subscriber: MultiplexedConnection,
    publisher: MultiplexedConnection,
}

/// Takes what the server pushes on the two connections.
struct Listener {
    link: Weak<Link>,
    /// Names the session: a probe of an earlier session says nothing about this one.
    nonce: u64,
    lost: Notify,
    /// Notified when all topics of the session's beginning are subscribed.
    all_subscribed: Notify,
    life: Mutex<Life>,
}

struct Life {
    /// False once the session has ended: a late probe of its connections does not count.
    alive: bool,
    probed: Instant,
}

impl Session {
    async fn open(link: &Arc<Link>) -> redis::RedisResult<Self> {
        let listener = Arc::new(Listener {
            link: Arc::downgrade(link),
            nonce: (link.shared.random)(),
            lost: Notify::new(),
            all_subscribed: Notify::new(),
            life: Mutex::new(Life { alive: true, probed: Instant::now() }),
        });
        let (of_subscriber, of_publisher) = (listener.clone(), listener.clone());
        // Found once: both connections are to the same server.
        let server = link.server.find().await?;
        let (subscriber, publisher) = tokio::try_join!(
            connect(&server, move |push| of_subscriber.on_push(push)),
            connect(&server, move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    of_publisher.lost.notify_one();
                }
                Ok::<(), ()>(())
            }),
        )?;
        Ok(Self { listener, subscriber, publisher })
    }

    /// Runs until something fails. Dropping the session closes both connections.
    async fn run(self, link: &Link) -> End {
        link.subscriptions.lock().resubscribe_all();
        link.changed.notify_one();
        link.suspect.store(false, Ordering::Relaxed);
        *link.publisher.lock() = Some(self.publisher.clone());
        let end = tokio::select! {
            () = self.listener.lost.notified() => End::Lost,
            end = self.probe(link) => end,
            end = self.reconcile(link) => end,
        };
        self.listener.life.lock().alive = false;
        end
    }

    /// Publishes a probe every second and checks that one came back lately. The first probe, which
    /// says that the link is up, waits until all topics are subscribed. So the node receives what
    /// others publish because the link is up again.
    async fn probe(&self, link: &Link) -> End {
        let mut subscriber = self.subscriber.clone();
        match tokio::time::timeout(
            CONFIRM_TIMEOUT,
            change(&mut subscriber, link.kind, Direction::Subscribe, vec![link.probe.clone()]),
        )
        .await
        {
            Err(_) => return End::Mute,
            Ok(Err(error)) => return End::Failed(error),
            Ok(Ok(refused)) if !refused.is_empty() => {
                // In a cluster the probe's slot moved. The bus makes another link once it knows
                // where to.
                link.shared.attention.notify_one();
                tokio::time::sleep(PROBE_TIMEOUT).await;
                return End::Mute;
            }
            Ok(Ok(_)) => {}
        }
        self.listener.all_subscribed.notified().await;
        self.listener.life.lock().probed = Instant::now();
        let mut publisher = self.publisher.clone();
        let payload = Envelope::Probe(self.listener.nonce).encode();
        let command = match link.kind {
            Kind::Plain => "PUBLISH",
            Kind::Sharded => "SPUBLISH",
        };
        let mut probe = redis::cmd(command);
        probe.arg(&link.probe).arg(&payload[..]);
        // A demoted primary keeps its connections and goes on publishing, to its own clients: only
        // a write shows that. The key has the channel's name, so that a cluster's node serves it.
        let mut write = redis::cmd("SET");
        write.arg(&link.probe).arg(self.listener.nonce).arg("PX").arg(PROBE_KEY_MILLIS);
        let mut ticks = tokio::time::interval(PROBE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = Instant::now();
        loop {
            ticks.tick().await;
            let now = Instant::now();
            {
                let mut life = self.listener.life.lock();
                // A process that stood still (a paused machine) did not read what came: that is no
                // word on the link. Each round counts as one pause, however late it is.
                let pause = now.duration_since(looked);
                if pause > STANDSTILL {
                    life.probed = (life.probed + (pause - PROBE_EVERY)).min(now);
                }
                if now.duration_since(life.probed) > PROBE_TIMEOUT {
                    return End::Mute;
                }
            }
            looked = now;
            let probing = async {
                let written = publisher.req_packed_command(&write).await.and_then(Value::extract_error);
                if written.as_ref().is_err_and(is_replica) {
                    return Err(End::Replica);
                }
                match written.and(publisher.req_packed_command(&probe).await) {
                    Err(error) if error.is_unrecoverable_error() => Err(End::Failed(error)),
                    // A refusal (no memory, no right to that key): the next probe may succeed, and
                    // the time-out above decides.
                    _ => Ok(()),
                }
            };
            if let Ok(Err(end)) = tokio::time::timeout(PROBE_EVERY / 2, probing).await {
                return end;
            }
        }
    }

    /// Sends each change of the subscriptions to the server.
    async fn reconcile(&self, link: &Link) -> End {
        let mut subscriber = self.subscriber.clone();
        let mut reported = false;
        loop {
            let changes = link.subscriptions.lock().take(TOPICS_PER_ROUND_TRIP);
            if changes.is_empty() {
                if !std::mem::replace(&mut reported, true) {
                    self.listener.all_subscribed.notify_one();
                }
                link.changed.notified().await;
                continue;
            }
            let names =
                |topics: &[Topic]| -> Vec<_> { topics.iter().map(|topic| link.shared.namespace.name(topic)).collect() };
            let sending = async {
                let mut unsubscribe = names(&changes.unsubscribe);
                unsubscribe.retain(|name| *name != link.probe);
                let mut refused = change(&mut subscriber, link.kind, Direction::Unsubscribe, unsubscribe).await?;
                let subscribe = names(&changes.subscribe);
                refused.extend(change(&mut subscriber, link.kind, Direction::Subscribe, subscribe).await?);
                Ok(refused)
            };
            match tokio::time::timeout(CONFIRM_TIMEOUT, sending).await {
                Err(_) => return End::Mute,
                Ok(Err(error)) => return End::Failed(error),
                Ok(Ok(refused)) if refused.is_empty() => {}
                Ok(Ok(refused)) => {
                    link.shared.attention.notify_one();
                    tokio::time::sleep(RETRY_REFUSED).await;
                    let mut subscriptions = link.subscriptions.lock();
                    for topic in refused.iter().filter_map(|name| link.topic(name)) {
                        subscriptions.retry(&topic);
                    }
                }
            }
        }
    }
}

impl Listener {
    /// The connection's own task calls this for everything that the server pushes, so it never
    /// waits.
    #[expect(clippy::unnecessary_wraps, reason = "the shape that the client library asks for")]
    fn on_push(&self, push: PushInfo) -> Result<(), ()> {
        let Some(link) = self.link.upgrade() else { return Ok(()) };
        match push.kind {
            PushKind::Message | PushKind::SMessage => self.on_message(&link, push.data),
            PushKind::Subscribe | PushKind::SSubscribe => {
                let Some(topic) = channel(&push.data).and_then(|name| link.topic(name)) else { return Ok(()) };
                if channel(&push.data) != Some(&link.probe) || link.subscriptions.lock().contains(&topic) {
                    link.shared.events.send(BusEvent::Subscribed(topic));
                }
            }
            // An answer to an unsubscription, or the topic's slot moved to another node.
            PushKind::SUnsubscribe => {
                let Some(topic) = channel(&push.data).and_then(|name| link.topic(name)) else { return Ok(()) };
                if channel(&push.data) == Some(&link.probe) {
                    self.lost.notify_one();
                }
                if link.subscriptions.lock().retry(&topic) {
                    link.changed.notify_one();
                    link.shared.attention.notify_one();
                }
            }
            PushKind::Disconnection => self.lost.notify_one(),
            _ => {}
        }
        Ok(())
    }

    fn on_message(&self, link: &Link, mut data: Vec<Value>) {
        let Some(Value::BulkString(payload)) = data.pop() else { return };
        let payload = Bytes::from(payload);
        let Some(name) = channel(&data) else { return };
        if name == link.probe
            && let Ok(Envelope::Probe(nonce)) = Envelope::decode(payload.clone())
        {
            if nonce == self.nonce {
                self.on_probe(link);
            }
            return;
        }
        if let Some(topic) = link.topic(name)
            && (name != link.probe || link.subscriptions.lock().contains(&topic))
        {
            link.shared.metrics.received.inc();
            link.shared.events.send(BusEvent::Message { topic, payload });
        }
    }

    fn on_probe(&self, link: &Link) {
        let mut life = self.life.lock();
        if life.alive {
            life.probed = Instant::now();
            link.suspect.store(false, Ordering::Relaxed);
            link.set_up(true);
        }
    }
}

fn is_replica(error: &redis::RedisError) -> bool {
    matches!(error.kind(), redis::ErrorKind::Server(redis::ServerErrorKind::ReadOnly))
}

fn channel(data: &[Value]) -> Option<&str> {
    match data.first()? {
        Value::BulkString(name) => std::str::from_utf8(name).ok(),
        Value::SimpleString(name) => Some(name),
        _ => None,
    }
}
