//! One life of a link: from connecting until either connection is lost or silent.

use super::link::{Kind, Link, refusal};
use super::{BusEvent, Topic};
use crate::event::Envelope;
use bytes::Bytes;
use parking_lot::Mutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Pipeline, PushInfo, PushKind, Value};
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};

/// How often a probe is sent.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Without a probe for this long, the link is taken for dead.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a batch of subscriptions may take to be confirmed.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(3);
/// How many topics are subscribed in one round trip.
const BATCH: usize = 500;
/// Before a topic that the server refused is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// Between attempts to connect: random up to this, less at first.
const MAX_BACK_OFF: Duration = Duration::from_millis(500);
const FIRST_BACK_OFF: Duration = Duration::from_millis(20);

/// Why a session ended.
#[derive(Debug)]
enum End {
    Lost,
    Mute,
    Failed(redis::RedisError),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("the connection was lost"),
            Self::Mute => f.write_str("no probe came back in time"),
            Self::Failed(error) => write!(f, "a command failed: {error}"),
        }
    }
}

/// Keeps a link, for ever: session after session.
pub(super) async fn keep(link: Arc<Link>) {
    let mut failures = 0_u32;
    let mut established = false;
    loop {
        match Session::open(&link).await {
            Ok(session) => {
                if established {
                    link.shared.metrics.reconnects.inc();
                }
                established = true;
                let end = session.run(&link).await;
                if link.is_up() {
                    failures = 0;
                }
                tracing::warn!(redis.addr = %link.info.addr(), reason = %end, "the bus link went down");
            }
            Err(error) if failures == 0 => {
                tracing::warn!(redis.addr = %link.info.addr(), %error, "the bus link cannot be made; trying on");
            }
            Err(error) => tracing::debug!(redis.addr = %link.info.addr(), %error, "the bus link cannot be made"),
        }
        link.set_up(false);
        *link.publisher.lock() = None;
        tokio::time::sleep(back_off(&link, failures)).await;
        failures = failures.saturating_add(1);
    }
}

/// Random over its whole range, so that a cluster's nodes do not come all at once.
fn back_off(link: &Link, failures: u32) -> Duration {
    let ceiling = FIRST_BACK_OFF.saturating_mul(1 << failures.min(10)).min(MAX_BACK_OFF);
    let part = u32::try_from((link.shared.random)() >> 40).unwrap_or(u32::MAX);
    ceiling.mul_f64(f64::from(part) / f64::from(1 << 24))
}

struct Session {
    ears: Arc<Ears>,
    hearing: MultiplexedConnection,
    telling: MultiplexedConnection,
}

/// What the connections' own tasks tell the session and the bus.
struct Ears {
    link: Weak<Link>,
    /// Which session: a probe of an earlier one says nothing of this one.
    nonce: u64,
    lost: Notify,
    /// Told when all that was wanted at the session's beginning is subscribed.
    told: Notify,
    life: Mutex<Life>,
}

struct Life {
    /// False once the session ended: what its connections still say of being up does not count.
    alive: bool,
    probed: Instant,
}

impl Session {
    async fn open(link: &Arc<Link>) -> redis::RedisResult<Self> {
        let ears = Arc::new(Ears {
            link: Arc::downgrade(link),
            nonce: (link.shared.random)(),
            lost: Notify::new(),
            told: Notify::new(),
            life: Mutex::new(Life { alive: true, probed: Instant::now() }),
        });
        let (for_hearing, for_telling) = (ears.clone(), ears.clone());
        let (hearing, telling) = tokio::try_join!(
            link.open(move |push| for_hearing.hear(push)),
            link.open(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    for_telling.lost.notify_one();
                }
                Ok::<(), ()>(())
            }),
        )?;
        Ok(Self { ears, hearing, telling })
    }

    /// Runs until something fails. Dropping the session closes both connections.
    async fn run(self, link: &Link) -> End {
        link.wanted.lock().start_over();
        link.changed.notify_one();
        link.suspect.store(false, Ordering::Relaxed);
        *link.publisher.lock() = Some(self.telling.clone());
        let end = tokio::select! {
            () = self.ears.lost.notified() => End::Lost,
            end = self.probe(link) => end,
            end = self.reconcile(link) => end,
        };
        self.ears.life.lock().alive = false;
        end
    }

    /// Publishes a probe every second and looks whether one came back lately. The first one, which says that the link is up, goes
    /// out when all that was wanted is subscribed: what others publish because the link is up again is then heard.
    async fn probe(&self, link: &Link) -> End {
        let mut hearing = self.hearing.clone();
        match tokio::time::timeout(CONFIRM_TIMEOUT, subscribe(&mut hearing, link.kind, vec![link.probe.clone()])).await
        {
            Err(_) => return End::Mute,
            Ok(Err(error)) => return End::Failed(error),
            Ok(Ok(refused)) if !refused.is_empty() => {
                // Of a cluster: the probe's slot moved. The bus makes another link once it knows where to.
                link.shared.attention.notify_one();
                tokio::time::sleep(PROBE_TIMEOUT).await;
                return End::Mute;
            }
            Ok(Ok(_)) => {}
        }
        self.ears.told.notified().await;
        self.ears.life.lock().probed = Instant::now();
        let mut telling = self.telling.clone();
        let payload = Envelope::Probe(self.ears.nonce).encode();
        let command = match link.kind {
            Kind::Plain => "PUBLISH",
            Kind::Sharded => "SPUBLISH",
        };
        let mut probe = redis::cmd(command);
        probe.arg(&link.probe).arg(&payload[..]);
        let mut ticks = tokio::time::interval(PROBE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.ears.life.lock().probed.elapsed() > PROBE_TIMEOUT {
                return End::Mute;
            }
            match tokio::time::timeout(PROBE_EVERY / 2, telling.req_packed_command(&probe)).await {
                Ok(Err(error)) if error.is_unrecoverable_error() => return End::Failed(error),
                // Unanswered or refused: the next may fare better, and the time-out above decides.
                _ => {}
            }
        }
    }

    /// Tells the server what is wanted, as it changes.
    async fn reconcile(&self, link: &Link) -> End {
        let mut hearing = self.hearing.clone();
        let mut told = false;
        loop {
            let changes = link.wanted.lock().take(BATCH);
            if changes.is_empty() {
                if !std::mem::replace(&mut told, true) {
                    self.ears.told.notify_one();
                }
                link.changed.notified().await;
                continue;
            }
            let telling = async {
                let unsubscribe: Vec<_> =
                    changes.unsubscribe.into_iter().filter(|topic| *topic != link.probe).collect();
                let mut refused = unsubscribe_from(&mut hearing, link.kind, unsubscribe).await?;
                refused.extend(subscribe(&mut hearing, link.kind, changes.subscribe).await?);
                Ok(refused)
            };
            match tokio::time::timeout(CONFIRM_TIMEOUT, telling).await {
                Err(_) => return End::Mute,
                Ok(Err(error)) => return End::Failed(error),
                Ok(Ok(refused)) if refused.is_empty() => {}
                Ok(Ok(refused)) => {
                    link.shared.attention.notify_one();
                    tokio::time::sleep(ASK_AGAIN).await;
                    let mut wanted = link.wanted.lock();
                    for topic in refused.iter().filter_map(|name| Topic::parse(name)) {
                        wanted.again(&topic);
                    }
                }
            }
        }
    }
}

impl Ears {
    /// Called by the connection's own task for everything that the server pushes, so it never waits.
    #[expect(clippy::unnecessary_wraps, reason = "the shape that the client library asks for")]
    fn hear(&self, push: PushInfo) -> Result<(), ()> {
        let Some(link) = self.link.upgrade() else { return Ok(()) };
        match push.kind {
            PushKind::Message | PushKind::SMessage => self.message(&link, push.data),
            PushKind::Subscribe | PushKind::SSubscribe => {
                let Some(topic) = channel(&push.data).and_then(Topic::parse) else { return Ok(()) };
                if channel(&push.data) != Some(&link.probe) || link.wanted.lock().contains(&topic) {
                    link.shared.outlet.offer(BusEvent::Subscribed(topic));
                }
            }
            // Asked for, or the topic's slot moved to another node.
            PushKind::SUnsubscribe => {
                let Some(topic) = channel(&push.data).and_then(Topic::parse) else { return Ok(()) };
                if channel(&push.data) == Some(&link.probe) {
                    self.lost.notify_one();
                }
                if link.wanted.lock().again(&topic) {
                    link.changed.notify_one();
                    link.shared.attention.notify_one();
                }
            }
            PushKind::Disconnection => self.lost.notify_one(),
            _ => {}
        }
        Ok(())
    }

    fn message(&self, link: &Link, mut data: Vec<Value>) {
        let Some(Value::BulkString(payload)) = data.pop() else { return };
        let payload = Bytes::from(payload);
        let Some(name) = channel(&data) else { return };
        if name == link.probe
            && let Ok(Envelope::Probe(nonce)) = Envelope::decode(payload.clone())
        {
            if nonce == self.nonce {
                self.probed(link);
            }
            return;
        }
        if let Some(topic) = Topic::parse(name)
            && (name != link.probe || link.wanted.lock().contains(&topic))
        {
            link.shared.metrics.received.inc();
            link.shared.outlet.offer(BusEvent::Message { topic, payload });
        }
    }

    fn probed(&self, link: &Link) {
        let mut life = self.life.lock();
        if life.alive {
            life.probed = Instant::now();
            link.suspect.store(false, Ordering::Relaxed);
            link.set_up(true);
        }
    }
}

fn channel(data: &[Value]) -> Option<&str> {
    match data.first()? {
        Value::BulkString(name) => std::str::from_utf8(name).ok(),
        Value::SimpleString(name) => Some(name),
        _ => None,
    }
}

/// Subscribes and waits for every confirmation; answers the channels that were refused.
async fn subscribe(
    connection: &mut MultiplexedConnection,
    kind: Kind,
    channels: Vec<String>,
) -> redis::RedisResult<Vec<String>> {
    if channels.is_empty() {
        return Ok(channels);
    }
    match kind {
        Kind::Plain => connection.subscribe(channels).await.map(|()| Vec::new()),
        Kind::Sharded => one_by_one(connection, "SSUBSCRIBE", channels).await,
    }
}

/// Unsubscribes and waits for every confirmation; answers the channels that were refused.
async fn unsubscribe_from(
    connection: &mut MultiplexedConnection,
    kind: Kind,
    channels: Vec<String>,
) -> redis::RedisResult<Vec<String>> {
    if channels.is_empty() {
        return Ok(channels);
    }
    match kind {
        Kind::Plain => connection.unsubscribe(channels).await.map(|()| Vec::new()),
        // A node that does not serve the slot any more has nothing to unsubscribe.
        Kind::Sharded => one_by_one(connection, "SUNSUBSCRIBE", channels).await.map(|_| Vec::new()),
    }
}

/// A command a channel, all in one round trip: a command with channels of two slots would be refused whole.
async fn one_by_one(
    connection: &mut MultiplexedConnection,
    command: &str,
    channels: Vec<String>,
) -> redis::RedisResult<Vec<String>> {
    let mut pipeline = Pipeline::with_capacity(channels.len());
    for channel in &channels {
        pipeline.cmd(command).arg(channel);
    }
    let answers = connection.req_packed_commands(&pipeline, 0, channels.len()).await?;
    let refused = channels.into_iter().zip(answers).filter_map(|(channel, answer)| {
        let error = refusal(answer)?;
        tracing::debug!(bus.channel = channel, %error, "{command} was refused");
        Some(channel)
    });
    Ok(refused.collect())
}
