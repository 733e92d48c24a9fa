//! The back ends of a program: store, bus, presence, limits. The start waits a minute for each,
//! and as long as it takes for the schema. A task watches each from then on.

mod watch;

use crate::bus::memory::MemoryHub;
use crate::bus::redis::RedisBus;
use crate::bus::{Bus, BusMetrics};
use crate::clock::{self, Clock};
use crate::config::{Config, Database, Program, RedisConfig};
use crate::error::{Error, Result};
use crate::history::History;
use crate::id::NodeId;
use crate::lifecycle::{BUS, DATABASE, Lifecycle};
use crate::metrics::Metrics;
use crate::presence::Presence;
use crate::presence::memory::MemoryPresence;
use crate::presence::redis::RedisPresence;
use crate::rate_limit::memory::MemoryLimiter;
use crate::rate_limit::redis::RedisLimiter;
use crate::rate_limit::{Off, RateLimiter};
use crate::redis::facts;
use crate::redis::pool::RedisPool;
use crate::redis::{Namespace, Place, server};
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;
use crate::store::{SchemaState, Store};
use std::fmt;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The longest wait for a back end that is not up yet.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// The pause between attempts, and between lines of the log about them.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(250);
const FIRST_LOG_PAUSE: Duration = Duration::from_secs(5);
/// The longest wait for a file that another process uses and does not drain.
const FILE_TIMEOUT: Duration = Duration::from_secs(2);
const LONGEST_LOG_PAUSE: Duration = Duration::from_mins(5);
/// No call of presence waits longer for Redis.
const PRESENCE_TIMEOUT: Duration = Duration::from_secs(1);

/// The back ends of a running program.
#[derive(Clone)]
pub struct Backends {
    /// The data.
    pub store: Arc<dyn Store>,
    /// Which history of the chats this is.
    pub history: History,
    /// Publications between nodes.
    pub bus: Arc<dyn Bus>,
    /// The users who are online.
    pub presence: Arc<dyn Presence>,
    /// Counts against limits.
    pub limiter: Arc<dyn RateLimiter>,
    /// Counts rates in this process alone.
    pub local_limiter: Arc<dyn RateLimiter>,
    /// The metrics.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
    /// This process, among those of the cluster.
    pub node: NodeId,
}

/// Why a program does not start: one line.
#[derive(Debug)]
pub struct StartError(String);

impl StartError {
    /// An error of that line.
    pub fn new(line: impl Into<String>) -> Self {
        Self(line.into().replace(['\n', '\r'], " "))
    }

    fn of(what: &str, error: &Error) -> Self {
        Self::new(format!("{what}: {}", error.cause()))
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl Backends {
    /// Connects the back ends that the configuration names. Waits for a database or a Redis that is
    /// not up yet, and migrates the schema or waits for it. From then on `/readyz` says whether
    /// they answer.
    pub async fn connect(config: &Config, metrics: &Metrics, lifecycle: &Lifecycle) -> Result<Self, StartError> {
        let database_ready = lifecycle.readiness().register(DATABASE);
        let bus_ready = lifecycle.readiness().register(BUS);
        let (clock, node) = (Clock::system(), NodeId::from_random(crate::random::bits()));
        database_ready.down("waiting for the database or its schema".to_owned());
        let store = store(config).await?;
        let known = || async { store.deployment().await.map(|_| ()) };
        until("the deployment's identity", Some(START_TIMEOUT), known).await?;
        let deployment = store.deployment().await.map_err(|error| StartError::of("DATABASE_URL", &error))?;
        let history = History::new(deployment);
        lifecycle.spawn("database watch", watch::store(store.clone(), database_ready, metrics.clone()));
        if config.read_url.is_some() {
            lifecycle.spawn("replica watch", watch::replica(store.clone(), metrics.clone()));
        }
        lifecycle.spawn("history watch", watch::history(store.clone(), history.clone(), lifecycle.clone()));
        let (draining, draining_store) = (lifecycle.draining(), store.clone());
        lifecycle.spawn("database drain", async move {
            draining.cancelled().await;
            draining_store.drains();
        });
        let bus_metrics = BusMetrics::of(metrics);
        let (bus, presence, counting): (Arc<dyn Bus>, Arc<dyn Presence>, Arc<dyn RateLimiter>) = match &config.redis {
            None => {
                let bus = MemoryHub::new().join(lifecycle, bus_metrics);
                (bus, Arc::new(MemoryPresence::new(&clock, config.presence_lease)), Arc::new(MemoryLimiter::new()))
            }
            Some(redis) => {
                // One address of a cluster is that cluster.
                let cluster =
                    redis.cluster || until("Redis", Some(START_TIMEOUT), || server::is_cluster(redis)).await?;
                let redis = RedisConfig { cluster, ..redis.clone() };
                lifecycle.spawn("redis watch", facts::watch(redis.clone()));
                redis_back_ends(config, &redis, history.deployment(), &node, bus_metrics, lifecycle)
                    .map_err(|error| StartError::of("REDIS_URL", &error))?
            }
        };
        lifecycle.spawn("bus watch", watch::bus(bus.clone(), bus_ready));
        wait_for_bus(&bus).await?;
        let (limiter, local_limiter): (_, Arc<dyn RateLimiter>) = if config.rate_limits {
            (counting, Arc::new(MemoryLimiter::new()))
        } else {
            (Arc::new(Off), Arc::new(Off))
        };
        Ok(Self { store, history, bus, presence, limiter, local_limiter, metrics: metrics.clone(), clock, node })
    }
}

type OverRedis = (Arc<dyn Bus>, Arc<dyn Presence>, Arc<dyn RateLimiter>);

fn redis_back_ends(
    config: &Config,
    redis: &RedisConfig,
    deployment: &str,
    node: &NodeId,
    metrics: BusMetrics,
    lifecycle: &Lifecycle,
) -> Result<OverRedis> {
    let namespace = Namespace::new(deployment);
    let place = Place { config: redis.clone(), namespace };
    let bus = RedisBus::connect(&place, node, lifecycle, metrics, crate::random::bits)?;
    let pool = Arc::new(RedisPool::new(redis, PRESENCE_TIMEOUT)?);
    let presence = Arc::new(RedisPresence::new(pool, &place.namespace, config.presence_lease));
    Ok((bus, presence, Arc::new(RedisLimiter::start(&place, lifecycle)?)))
}

/// Brings the schema up, and closes the database. Waits as a program's start does.
pub async fn migrate(config: &Config) -> Result<(), StartError> {
    let config = Config { migrate: true, ..config.clone() };
    store(&config).await?.close().await;
    Ok(())
}

/// How the schema compares with this release's. Waits for nothing.
pub async fn schema(config: &Config) -> Result<SchemaState, StartError> {
    let fault = |error: Error| StartError::of("DATABASE_URL", &error);
    match &config.database {
        Database::Sqlite(path) if !path.exists() => {
            Err(StartError::new(format!("DATABASE_URL: there is no {} yet; `migrate` makes it", path.display())))
        }
        Database::Sqlite(path) => {
            let store = match SqliteStore::open(path).await {
                // A program has it, and goes on.
                Err(Error::Unavailable(_)) => SqliteStore::open_beside(path).await,
                store => store,
            };
            let store = store.map_err(fault)?;
            let state = store.schema().await.map_err(fault);
            store.close().await;
            state
        }
        Database::Postgres(url) => PostgresStore::connect_with(url, config.authorities.as_ref(), 1)
            .map_err(fault)?
            .schema()
            .await
            .map_err(fault),
    }
}

async fn store(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    match &config.database {
        Database::Sqlite(path) => sqlite(path, config.migrate).await,
        Database::Postgres(url) => {
            let fault = |error: Error| StartError::of("DATABASE_URL", &error);
            let store =
                PostgresStore::connect_with(url, config.authorities.as_ref(), config.db_pool_size).map_err(fault)?;
            let store = match &config.read_url {
                Some(replica) => store
                    .with_replica(replica, config.authorities.as_ref())
                    .map_err(|error| StartError::of("DATABASE_READ_URL", &error))?,
                None => store,
            };
            until("the database", Some(START_TIMEOUT), || store.ping()).await?;
            until("the database", Some(START_TIMEOUT), || store.check()).await?;
            warn_of(&store, config.db_pool_size, &Clock::system()).await;
            // A long migration ends no program: it waits, not ready.
            if config.migrate && config.program != Program::Gateway {
                until("the database's schema", None, || store.migrate()).await?;
            } else {
                let what = "the database's schema (an api with MIGRATE=on brings it up)";
                until(what, None, || is_ready(store.schema_ready())).await?;
            }
            Ok(Arc::new(store))
        }
    }
}

/// Names in the log what lets a program serve, but worse than it could.
async fn warn_of(store: &PostgresStore, pool: u32, clock: &Clock) {
    let asked = clock.now();
    // One that is away by now is the watch's to report.
    let Ok(facts) = store.facts().await else { return };
    for warning in facts.warnings(pool, clock::ahead(facts.clock, asked, clock.now())) {
        tracing::warn!("{warning}");
    }
}

async fn sqlite(path: &Path, migrate: bool) -> Result<Arc<dyn Store>, StartError> {
    let fault = |error: Error| StartError::of(&format!("the database {}", path.display()), &error);
    if !migrate {
        until("the database's schema (`messenger migrate` brings it up)", None, || migrated(path)).await?;
    }
    let begun = Instant::now();
    let store = loop {
        match SqliteStore::open(path).await {
            Ok(store) => break store,
            // The one before is about to end: a restart does not wait for its last moment itself.
            Err(error @ Error::Unavailable(_)) => {
                let patience = if error.cause().contains("draining") { START_TIMEOUT } else { FILE_TIMEOUT };
                if begun.elapsed() >= patience {
                    return Err(fault(error));
                }
            }
            Err(error) => return Err(fault(error)),
        }
        sleep(ATTEMPT_PAUSE).await;
    };
    if migrate {
        store.migrate().await.map_err(fault)?;
    } else {
        is_ready(store.schema_ready()).await.map_err(fault)?;
    }
    store.ping().await.map_err(fault)?;
    Ok(Arc::new(store))
}

/// The file is left to the command that migrates it. Whatever else is wrong with it, the start
/// says.
async fn migrated(path: &Path) -> Result<()> {
    if !path.exists() {
        return Err(Error::unavailable(format!("there is no {} yet", path.display())));
    }
    match is_ready(SqliteStore::is_migrated(path)).await {
        Err(error @ Error::Unavailable(_)) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

async fn is_ready(ready: impl Future<Output = Result<bool>>) -> Result<()> {
    match ready.await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::unavailable("the schema is not up to date yet")),
        Err(error) => Err(error),
    }
}

/// Retries while the back end is unavailable, for `longest` where that is given, and logs it. Any
/// other error ends it at once.
async fn until<T, F>(what: &str, longest: Option<Duration>, attempt: impl Fn() -> F) -> Result<T, StartError>
where
    F: Future<Output = Result<T>>,
{
    let begun = Instant::now();
    let (mut logged, mut pause) = (None::<Instant>, FIRST_LOG_PAUSE);
    loop {
        // Each attempt is bounded by itself, except a migration, which may take as long as it
        // needs.
        let error = match attempt().await {
            Ok(done) => return Ok(done),
            Err(error @ Error::Unavailable(_)) => error,
            Err(error) => return Err(StartError::of(what, &error)),
        };
        if let Some(longest) = longest.filter(|longest| begun.elapsed() + ATTEMPT_PAUSE >= *longest) {
            return Err(StartError::new(format!("waited {} s for {what}: {}", longest.as_secs(), error.cause())));
        }
        if logged.is_none_or(|at| at.elapsed() >= pause) {
            pause = logged.map_or(pause, |_| pause * 2).min(LONGEST_LOG_PAUSE);
            logged = Some(Instant::now());
            tracing::warn!(error = error.cause(), "waiting for {what}");
        }
        sleep(ATTEMPT_PAUSE).await;
    }
}

async fn wait_for_bus(bus: &Arc<dyn Bus>) -> Result<(), StartError> {
    let up = bus.up();
    until("Redis", Some(START_TIMEOUT), || {
        let mut up = up.clone();
        async move {
            match timeout(ATTEMPT_PAUSE, up.wait_for(|up| *up)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(closed)) => Err(Error::internal(closed)),
                Err(_) => Err(Error::unavailable(bus.why_down())),
            }
        }
    })
    .await
}
