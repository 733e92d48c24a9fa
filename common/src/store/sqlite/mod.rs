//! The store over SQLite: one file, one process. Imports of the crate: the store's own shapes and the clock.
//!
//! Write-ahead log with full synchronisation: what is committed is on disk. One connection writes, under `begin immediate`, so that
//! its lock stands for the row locks of Postgres; several read beside it, each statement in a snapshot of its own.

mod accounts;
mod chats;
mod lock;
mod log;
mod members;
mod messages;
mod sessions;
#[cfg(test)]
mod tests;

use super::fault::Fault;
use super::row::Time;
use super::{PoolState, Store};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::event::micros;
use async_trait::async_trait;
use serde::Serialize;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Sqlite, Transaction};
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// No operation takes longer.
const BOUND: Duration = Duration::from_millis(1950);
/// How long a caller waits for a connection.
const ACQUIRE: Duration = Duration::from_millis(1500);
/// How many read at once.
const READERS: u32 = 4;

/// The store over SQLite; cloned, it shares its connections.
#[derive(Clone)]
pub struct SqliteStore {
    database: Database,
}

/// The file's connections, and the clock that stamps what is stored.
#[derive(Clone)]
struct Database {
    writer: SqlitePool,
    reader: SqlitePool,
    clock: Clock,
}

impl Database {
    /// Begins a transaction that writes; one at a time, the others wait.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, Fault> {
        Ok(self.writer.begin_with("begin immediate").await?)
    }

    fn now(&self) -> Time {
        // As it is stored, so that what is told at once and what is read later are the same.
        let now = self.clock.now();
        Time::from_micros(micros(now)).unwrap_or(Time(now))
    }

    /// The present time moved by so much, within what can be stored.
    fn after(&self, by: Duration) -> Time {
        moved(self.now(), i64::try_from(by.as_micros()).unwrap_or(i64::MAX))
    }

    fn before(&self, by: Duration) -> Time {
        moved(self.now(), -i64::try_from(by.as_micros()).unwrap_or(i64::MAX))
    }

    fn state(&self) -> PoolState {
        let idle = self.writer.num_idle() + self.reader.num_idle();
        let idle = u32::try_from(idle).unwrap_or(u32::MAX);
        PoolState { in_use: (self.writer.size() + self.reader.size()).saturating_sub(idle), idle }
    }
}

fn moved(now: Time, by: i64) -> Time {
    Time::from_micros(micros(now.0).saturating_add(by)).unwrap_or(now)
}

/// A list as `json_each` takes it.
fn json(values: &impl Serialize) -> Result<String, Fault> {
    Ok(serde_json::to_string(values).map_err(Error::internal)?)
}

async fn commit<T>(transaction: Transaction<'static, Sqlite>, value: T) -> Result<T, Fault> {
    transaction.commit().await.map_err(Fault::Unknown)?;
    Ok(value)
}

impl SqliteStore {
    /// Opens the file, which is made where there is none.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, Clock::system()).await
    }

    /// The same under a clock of the caller's.
    pub async fn open_with(path: impl AsRef<Path>, clock: Clock) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(ACQUIRE)
            .disable_statement_logging();
        let pool = || {
            SqlitePoolOptions::new()
                .acquire_timeout(ACQUIRE)
                .test_before_acquire(false)
                .max_lifetime(None)
                .idle_timeout(None)
        };
        // A full disk ends a transaction without the library's knowing: it would take every later one for a part of it. Such a
        // connection is made anew.
        let writer = pool().max_connections(1).before_acquire(|connection, _| {
            let fit = !connection.is_in_transaction();
            Box::pin(async move { Ok(fit) })
        });
        let writer = writer.connect_with(options.clone()).await.map_err(Fault::Sql)?;
        let reader = pool().max_connections(READERS).connect_lazy_with(options.read_only(true));
        Ok(Self { database: Database { writer, reader, clock } })
    }

    /// Brings the schema up.
    pub async fn migrate(&self) -> Result<()> {
        let mut writer = self.database.writer.acquire().await.map_err(Fault::Sql)?;
        migrator().run_direct(None, &mut *writer, false).await.map_err(Error::internal)
    }

    /// Whether all migrations of this release are applied.
    pub async fn schema_ready(&self) -> Result<bool> {
        let applied: Vec<i64> = self.run(|| log::applied_migrations(&self.database)).await?;
        Ok(migrator().iter().all(|migration| applied.contains(&migration.version)))
    }

    /// Runs an operation within the bound.
    async fn run<T, F, Fut>(&self, operation: F) -> Result<T>
    where
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, Fault>> + Send,
    {
        match timeout(BOUND, operation()).await {
            Ok(result) => result.map_err(Error::from),
            Err(_) => Err(Error::unavailable("the database did not answer in time")),
        }
    }
}

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("./migrations/sqlite");
    // A newer release's migrations: this one's code runs on them too.
    migrator.set_ignore_missing(true);
    migrator
}

#[async_trait]
impl Store for SqliteStore {
    async fn ping(&self) -> Result<()> {
        self.run(|| log::ping(&self.database)).await
    }

    fn writers(&self) -> usize {
        1
    }

    fn pool(&self) -> PoolState {
        self.database.state()
    }
}
