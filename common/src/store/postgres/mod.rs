//! The store over Postgres. Imports of the crate: the store's own shapes only.
//!
//! Every operation is bounded to two seconds; a read or an uncommitted transaction that lost its connection is tried again within them.

mod accounts;
mod chats;
mod lock;
mod log;
mod members;
mod messages;
mod pool;
mod prune;
mod sessions;

use self::pool::Pool;
use super::fault::Fault;
use super::{PoolState, Store};
use crate::error::{Error, Result};
use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// No operation takes longer: the contract gives two seconds from the request to its 503, and a busy machine wants some of them.
const BOUND: Duration = Duration::from_millis(1750);
/// The lock under which one node brings the schema up and the others wait.
const MIGRATION_LOCK: i64 = 0x6d65_7373_656e_6765;

/// The store over Postgres; cloned, it shares its pool.
#[derive(Clone)]
pub struct PostgresStore {
    pool: Arc<Pool>,
}

impl PostgresStore {
    /// A store over that database; opens no connection yet. An address that cannot be read is `Error::Invalid` on `DATABASE_URL`.
    #[allow(clippy::unused_async, reason = "opening may come to wait; its callers are ready for it")]
    pub async fn connect(url: &SecretString, pool_size: u32) -> Result<Self> {
        let options: PgConnectOptions = url
            .expose_secret()
            .parse()
            // The parser's message may quote the address, and with it the password.
            .map_err(|_| Error::invalid("DATABASE_URL", "is not an address like postgres://user@host:5432/database"))?;
        // Not in the startup packet, which poolers refuse to pass on; nothing here reads a float.
        let options = options.extra_float_digits(None).application_name("messenger");
        Ok(Self { pool: Pool::new(options, pool_size) })
    }

    /// Brings the schema up. Any number of nodes may do so at once: one does it, the others wait up to a minute, then find it done.
    pub async fn migrate(&self) -> Result<()> {
        let mut connection = self.pool.options().connect().await.map_err(Error::unavailable)?;
        sqlx::raw_sql("set lock_timeout = '60s'").execute(&mut connection).await.map_err(Fault::Sql)?;
        sqlx::query("select pg_advisory_lock($1)")
            .bind(MIGRATION_LOCK)
            .execute(&mut connection)
            .await
            .map_err(Fault::Sql)?;
        sqlx::raw_sql("set lock_timeout = 0").execute(&mut connection).await.map_err(Fault::Sql)?;
        let migrated = migrator().run_direct(None, &mut connection, false).await;
        // The lock ends with the connection.
        connection.close().await.map_err(Fault::Sql)?;
        migrated.map_err(Error::internal)
    }

    /// Whether all migrations of this release are applied.
    pub async fn schema_ready(&self) -> Result<bool> {
        let applied: Vec<i64> = self.run(|| log::applied_migrations(&self.pool)).await?;
        Ok(migrator().iter().all(|migration| applied.contains(&migration.version)))
    }

    /// Runs an operation within the bound, once more where it lost its connection before anything was committed.
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
        match timeout(BOUND, tries).await {
            Ok(result) => result.map_err(Error::from),
            Err(_) => Err(Error::unavailable("the database did not answer in time")),
        }
    }
}

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("./migrations/postgres");
    migrator.set_locking(false);
    // A newer release's migrations: this one's code runs on them too.
    migrator.set_ignore_missing(true);
    migrator
}

#[async_trait]
impl Store for PostgresStore {
    async fn ping(&self) -> Result<()> {
        self.run(|| log::ping(&self.pool)).await
    }

    fn writers(&self) -> usize {
        // The others are for reads.
        (self.pool.size() / 2).clamp(1, 4)
    }

    fn pool(&self) -> PoolState {
        self.pool.state()
    }
}
