//! The store over Postgres. Imports of the crate: the store's own rooms only.
//!
//! Every operation ends within two seconds. Within them, a read or an uncommitted transaction that
//! lost its connection is retried.

mod accounts;
mod addresses;
mod chats;
mod connection;
mod deployment;
mod facts;
mod host;
mod idempotency;
mod invites;
mod join;
mod log;
mod low_water;
mod marks;
mod members;
mod merging;
mod messages;
mod migrate;
mod notices;
mod people;
mod pool;
mod prune;
mod replica;
mod search;
mod seen;
mod sessions;
mod transaction;

pub use self::facts::ServerFacts;
use self::low_water::LowWater;
use self::pool::{LONGEST_IDLE, Pool};
use self::replica::Replica;
use super::changes::Transaction;
use super::fault::Fault;
use super::{PoolState, ReplicaState, Store};
use crate::config::Authorities;
use crate::error::{Error, Result};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use sqlx::FromRow;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow, Postgres};
use sqlx::query::QueryAs;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// The longest that an operation takes. The contract gives two seconds from a request to its 503,
/// and a busy machine needs some of them.
const OPERATION_TIMEOUT: Duration = Duration::from_millis(1750);

/// Up to so many messages are sent one after the other in one call; more, by one statement for
/// all. Measured, µs of Postgres a message: 131 and 174 at two, 112 and 135 at three, as much at
/// four.
const FEW: usize = 3;

/// The store over Postgres; cloned, it shares its pool.
#[derive(Clone)]
pub struct PostgresStore {
    pool: Arc<Pool>,
    outbox: Arc<LowWater>,
    /// Messages were written, whose words wait to be merged.
    written: Arc<Notify>,
    /// How many words this node wrote since it last found them merged.
    unmerged: Arc<AtomicUsize>,
    /// See [`FEW`].
    few: usize,
    replica: Option<Arc<Replica>>,
}

impl PostgresStore {
    /// A store over that database. Opens no connection yet. `Error::Invalid` on `DATABASE_URL`
    /// where it is no address.
    pub fn connect(url: &SecretString, pool_size: u32) -> Result<Self> {
        Self::connect_with(url, None, pool_size)
    }

    /// The same, with more authorities of the server's certificate. A file that the address names,
    /// or `PGSSLROOTCERT`, counts instead.
    pub fn connect_with(url: &SecretString, authorities: Option<&Authorities>, pool_size: u32) -> Result<Self> {
        Ok(Self {
            pool: Pool::new(options(url, authorities)?, pool_size),
            outbox: Arc::default(),
            written: Arc::default(),
            unmerged: Arc::default(),
            few: FEW,
            replica: None,
        })
    }

    /// Has lists and histories read from that replica, with as many connections.
    pub fn with_replica(self, url: &SecretString, authorities: Option<&Authorities>) -> Result<Self> {
        let size = u32::try_from(self.pool.size()).unwrap_or(u32::MAX);
        Ok(Self { replica: Some(Replica::new(Pool::new(options(url, authorities)?, size))), ..self })
    }

    /// The server's settings as a statement of ours sees them.
    #[cfg(test)]
    pub(super) async fn settings(&self, names: &[&str]) -> Result<Vec<String>> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let asked = "select current_setting(name) from unnest($1::text[]) with ordinality as s (name, n) order by n";
        let rows: Vec<(String,)> = self.rows(|| sqlx::query_as(asked).bind(&names)).await?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// The same store, which sends every batch by one statement for all.
    #[cfg(test)]
    pub(super) fn of_many(self) -> Self {
        Self { few: 0, ..self }
    }

    /// Closes what was idle for that long.
    #[cfg(test)]
    pub(super) fn trim(&self, longest: Duration) {
        self.pool.trim(longest);
    }

    /// Runs an operation within the bound, again where it lost its connection before anything was
    /// committed.
    async fn run<T, F, Fut>(&self, operation: F) -> Result<T>
    where
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, Fault>> + Send,
    {
        let tries = async {
            for _ in 0..3 {
                match operation().await {
                    Err(fault) if fault.may_retry() => {}
                    other => return other,
                }
            }
            operation().await
        };
        match timeout(OPERATION_TIMEOUT, tries).await {
            Ok(result) => result.map_err(Error::from),
            Err(_) => Err(Error::unavailable("the database did not answer in time")),
        }
    }

    /// Bounds several operations together as if they were one.
    async fn as_one<T>(&self, operations: impl Future<Output = Result<T>> + Send) -> Result<T> {
        match timeout(OPERATION_TIMEOUT, operations).await {
            Ok(result) => result,
            Err(_) => Err(Error::unavailable("the database did not answer in time")),
        }
    }

    /// Runs a change of a chat in one transaction.
    async fn change<'a, T, F>(&self, change: F) -> Result<T>
    where
        T: Send,
        F: for<'t> Fn(&'t mut (dyn Transaction + 'a)) -> BoxFuture<'t, Result<T, Fault>> + Send + Sync,
    {
        self.run(|| async {
            let mut lease = self.pool.begin().await?;
            let changed = change(lease.connection()).await;
            lease.end_transaction(changed).await
        })
        .await
    }

    /// The rows of one statement that reads, or that does no harm when it runs twice. It is made
    /// anew for each try.
    async fn rows<'q, R>(&self, statement: impl Fn() -> Statement<'q, R> + Send + Sync) -> Result<Vec<R>>
    where
        R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        self.run(|| async {
            let mut lease = self.pool.lease().await?;
            let rows = statement().fetch_all(lease.connection()).await;
            lease.end(rows).await
        })
        .await
    }

    /// The same where there is one row at most.
    async fn row<'q, R>(&self, statement: impl Fn() -> Statement<'q, R> + Send + Sync) -> Result<Option<R>>
    where
        R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        self.run(|| async {
            let mut lease = self.pool.lease().await?;
            let row = statement().fetch_optional(lease.connection()).await;
            lease.end(row).await
        })
        .await
    }
}

/// A statement with its parameters, and the row that it answers.
type Statement<'q, R> = QueryAs<'q, Postgres, R, PgArguments>;

/// The options of an address. `Error::Invalid` on `DATABASE_URL` where it is none.
fn options(url: &SecretString, authorities: Option<&Authorities>) -> Result<PgConnectOptions> {
    let options: PgConnectOptions = url
        .expose_secret()
        .parse()
        // The parser's message may quote the address, with its password.
        .map_err(|_| Error::invalid("DATABASE_URL", "is not an address like postgres://user@host:5432/database"))?;
    let names_its_own = ["sslrootcert=", "ssl-root-cert=", "ssl-ca="];
    match authorities {
        Some(authorities)
            if !names_its_own.iter().any(|name| url.expose_secret().contains(name))
                && std::env::var_os("PGSSLROOTCERT").is_none() =>
        {
            Ok(options.ssl_root_cert_from_pem(authorities.pem().to_vec()))
        }
        _ => Ok(options),
    }
}

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("./migrations/postgres");
    migrator.set_locking(false);
    // A newer release may have migrated: this release runs on its schema too.
    migrator.set_ignore_missing(true);
    migrator
}

#[async_trait]
impl Store for PostgresStore {
    async fn ping(&self) -> Result<()> {
        self.pool.trim(LONGEST_IDLE);
        self.run(|| async {
            let mut lease = self.pool.lease().await?;
            let answer = sqlx::query_scalar("select current_setting('transaction_read_only') = 'on'");
            let answer: Result<bool, _> = answer.fetch_one(lease.connection()).await;
            if let Ok(true) = answer {
                // New ones may reach the server that takes them now.
                lease.lost();
                self.pool.trim(Duration::ZERO);
                return Err(Error::unavailable(
                    "the database takes no writes: it is a standby, or default_transaction_read_only is on",
                )
                .into());
            }
            lease.end(answer).await.map(drop)
        })
        .await
    }

    fn writers(&self) -> usize {
        // The others are for reads.
        (self.pool.size() / 2).clamp(1, 4)
    }

    fn log_readers(&self) -> usize {
        (self.pool.size() / 4).max(1)
    }

    fn pool(&self) -> PoolState {
        self.pool.state()
    }

    fn losses(&self) -> u64 {
        self.pool.losses()
    }

    async fn look_at_replica(&self) -> Option<ReplicaState> {
        self.replica_state().await
    }
}
