//! The back ends of a process, chosen by its configuration, and the tasks that every program runs on them.
//!
//! A database or a Redis that is not up yet is waited for, with a line in the log, for a minute; then the start fails with what was wrong.

use crate::auth::{Passwords, Revocations, Tokens};
use crate::bus::memory::MemoryHub;
use crate::bus::pool::RedisPool;
use crate::bus::redis::RedisBus;
use crate::bus::{Bus, BusMetrics, Tasks};
use crate::clock::Clock;
use crate::config::{Config, Database, Program};
use crate::dispatch::{Dispatcher, EventSink};
use crate::error::{Error, Result};
use crate::id::NodeId;
use crate::lifecycle::Lifecycle;
use crate::metrics::{Metrics, PoolUse};
use crate::presence::Presence;
use crate::presence::memory::MemoryPresence;
use crate::presence::redis::RedisPresence;
use crate::rate_limit::memory::MemoryLimiter;
use crate::rate_limit::redis::RedisLimiter;
use crate::rate_limit::{Off, RateLimiter};
use crate::relay::{Publisher, Relay};
use crate::service::{Context, Parts, SendQueue, hashing_threads};
use crate::store::Store;
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What is not up yet is waited for this long.
const START_WITHIN: Duration = Duration::from_secs(60);
/// The pause between two tries, and how often a line of the log says what is waited for.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// One call of presence takes no longer.
const PRESENCE_WITHIN: Duration = Duration::from_secs(1);
/// How often the database is asked whether it is there, for `/readyz`.
const READINESS: Duration = Duration::from_secs(2);

/// The back ends of a process.
#[derive(Clone)]
pub struct Backends {
    /// Accounts, chats, messages, logs.
    pub store: Arc<dyn Store>,
    /// Word of what was committed.
    pub bus: Arc<dyn Bus>,
    /// Who is online.
    pub presence: Arc<dyn Presence>,
    /// Counts against limits.
    pub limiter: Arc<dyn RateLimiter>,
    /// What is measured.
    pub metrics: Metrics,
    /// The machine's clock.
    pub clock: Clock,
    /// This process in the cluster.
    pub node: NodeId,
}

impl Backends {
    /// Connects; brings the schema up or waits for it. `Unavailable` after a minute of waiting, or when told to stop meanwhile.
    pub async fn connect(config: &Config, lifecycle: &Lifecycle) -> Result<Self> {
        let metrics = Metrics::new(config.program);
        let (clock, node) = (Clock::system(), NodeId::from_random(crate::random::bits()));
        let tasks = Tasks::from(lifecycle);
        let store = store(config, lifecycle).await?;
        let bus_metrics = BusMetrics::of(&metrics);
        let (bus, presence, limiter): (Arc<dyn Bus>, Arc<dyn Presence>, Arc<dyn RateLimiter>) = match &config.redis {
            None => (
                MemoryHub::new().join(&tasks, bus_metrics),
                Arc::new(MemoryPresence::new(&clock, config.presence_lease)),
                Arc::new(MemoryLimiter::new()),
            ),
            Some(redis) => {
                let bus =
                    RedisBus::connect(&redis.nodes, redis.cluster, &node, &tasks, bus_metrics, crate::random::bits)?;
                let mut up = bus.up();
                waited_for("Redis", lifecycle, async || {
                    let is_up = up.wait_for(|up| *up);
                    match tokio::time::timeout(PAUSES.0, is_up).await {
                        Ok(Ok(_)) => Ok(()),
                        _ => Err(Error::unavailable("the bus does not carry yet (REDIS_URL)")),
                    }
                })
                .await?;
                let pool = RedisPool::new(&redis.nodes, redis.cluster, PRESENCE_WITHIN)?;
                let presence = RedisPresence::new(Arc::new(pool), config.presence_lease);
                (bus, Arc::new(presence), Arc::new(RedisLimiter::start(redis, lifecycle)?))
            }
        };
        let limiter = if config.rate_limits { limiter } else { Arc::new(Off) };
        Ok(Self { store, bus, presence, limiter, metrics, clock, node })
    }

    /// The rules' context, with the publisher and the senders behind it started.
    pub fn context(&self, config: &Config, lifecycle: &Lifecycle) -> Result<Context> {
        let tasks = Tasks::from(lifecycle);
        let dropped = self.metrics.backplane_published(crate::metrics::PublishResult::Dropped).clone();
        let publisher = Publisher::start(Arc::clone(&self.bus), Arc::clone(&self.store), &tasks, dropped);
        let sends = SendQueue::start(&self.store, &publisher, &self.metrics, lifecycle);
        let secret = config.secret_key.expose_secret().as_bytes();
        Ok(Context::new(Parts {
            store: Arc::clone(&self.store),
            publisher,
            presence: Arc::clone(&self.presence),
            limiter: Arc::clone(&self.limiter),
            rate_limits: config.rate_limits,
            tokens: Tokens::new(secret, config.access_token_ttl, config.refresh_token_ttl, self.clock.clone()),
            passwords: Passwords::new(config.argon2_memory_kib, hashing_threads()).map_err(Error::internal)?,
            revocations: Revocations::new(config.access_token_ttl),
            sends,
            limits: config.limits.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
        }))
    }

    /// Starts what every program runs beside its requests: the receiver of the bus, word of revocations, readiness, and where there
    /// is an api, the relay. Returns once this process knows of every session that has ended.
    pub async fn run(
        &self,
        config: &Config,
        ctx: &Context,
        lifecycle: &Lifecycle,
        sink: Option<Arc<dyn EventSink>>,
    ) -> Result<()> {
        let tasks = Tasks::from(lifecycle);
        let revocations = ctx.revocations.clone();
        let told = Arc::new(revocations.clone());
        tasks.spawn("bus receiver", Dispatcher::run(Arc::clone(&self.bus), told, sink));
        revocations.read(&*self.store, revocations.kept_for()).await?;
        lifecycle.spawn("revocations", revocations.run(Arc::clone(&self.store), self.bus.up(), lifecycle.stopping()));
        if config.program != Program::Gateway {
            let pending = self.metrics.outbox_pending.clone();
            let retention = config.limits.event_retention;
            Relay::start(Arc::clone(&self.bus), Arc::clone(&self.store), &tasks, pending, retention);
        }
        tasks.spawn("readiness", ready(self.clone(), lifecycle.clone()));
        Ok(())
    }
}

/// Says at a beat what `/readyz` and the pool's gauge are to show.
async fn ready(backends: Backends, lifecycle: Lifecycle) {
    let (database, backplane) =
        (lifecycle.readiness().register("database"), lifecycle.readiness().register("backplane"));
    let mut beats = tokio::time::interval(READINESS);
    let mut up = backends.bus.up();
    loop {
        backplane.set(*up.borrow_and_update());
        tokio::select! {
            _ = beats.tick() => {}
            changed = up.changed() => {
                if changed.is_err() {
                    return;
                }
                continue;
            }
        }
        database.set(backends.store.ping().await.is_ok());
        let pool = backends.store.pool();
        backends.metrics.db_pool(PoolUse::InUse).set(pool.in_use.into());
        backends.metrics.db_pool(PoolUse::Idle).set(pool.idle.into());
    }
}

async fn store(config: &Config, lifecycle: &Lifecycle) -> Result<Arc<dyn Store>> {
    match &config.database {
        Database::Sqlite(path) => {
            let store = SqliteStore::open(path).await?;
            store.migrate().await?;
            Ok(Arc::new(store))
        }
        Database::Postgres(url) => {
            let store = PostgresStore::connect(url, config.db_pool_size).await?;
            waited_for("the database", lifecycle, async || store.ping().await).await?;
            if config.migrate && config.program != Program::Gateway {
                store.migrate().await?;
            } else {
                waited_for("the database's schema", lifecycle, async || {
                    let ready = store.schema_ready().await?;
                    if ready { Ok(()) } else { Err(Error::unavailable("migrations of this release are not applied")) }
                })
                .await?;
            }
            Ok(Arc::new(store))
        }
    }
}

/// Tries until it works, for a minute.
async fn waited_for(
    what: &'static str,
    lifecycle: &Lifecycle,
    mut attempt: impl AsyncFnMut() -> Result<()>,
) -> Result<()> {
    let (began, mut said) = (Instant::now(), None::<Instant>);
    loop {
        let Err(error) = attempt().await else { return Ok(()) };
        let source = error.inside().map_or_else(|| error.to_string(), ToString::to_string);
        if lifecycle.draining().is_cancelled() {
            return Err(Error::unavailable(format!("told to stop while waiting for {what}")));
        }
        if began.elapsed() > START_WITHIN {
            return Err(Error::unavailable(format!("waited a minute for {what}: {source}")));
        }
        if said.is_none_or(|at| at.elapsed() >= PAUSES.1) {
            said = Some(Instant::now());
            tracing::warn!(error = source, "waiting for {what}");
        }
        tokio::time::sleep(PAUSES.0).await;
    }
}
