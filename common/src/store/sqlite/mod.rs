//! The store over SQLite: one file, one process. Imports of the crate: the store's own rooms and
//! the clock.
//!
//! The file has a write-ahead log with full synchronisation: what is committed is on disk. One
//! connection writes, under `begin immediate`: that lock takes the place of Postgres's row locks.
//! Several connections read beside it, each statement in a snapshot of its own.

mod accounts;
mod addresses;
mod chats;
mod copies;
mod database;
mod deployment;
mod file;
mod host;
mod idempotency;
mod invites;
mod log;
mod marks;
mod members;
mod messages;
mod notices;
mod people;
mod prune;
mod search;
mod seen;
mod sessions;
#[cfg(test)]
mod tests;
mod transaction;

pub use self::copies::{backup, restore};
use self::database::{Database, commit};
use self::file::{FileLock, Place};
use self::transaction::Writing;
use super::fault::Fault;
use super::{PoolState, SchemaState, Store, changes};
use crate::clock::Clock;
use crate::error::{Error, Result};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sqlx::migrate::Migrator;
use sqlx::query::QueryAs;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, FromRow, Sqlite, SqliteConnection};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The longest that an operation takes.
const OPERATION_TIMEOUT: Duration = Duration::from_millis(1950);
/// How long a caller waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(1500);
/// The longest that the end of the process waits for the file.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that read at once.
const READERS: u32 = 4;

/// The store over SQLite; cloned, it shares its connections.
#[derive(Clone)]
pub struct SqliteStore {
    database: Database,
}

impl SqliteStore {
    /// Opens the file, or creates it, and locks it. `Unavailable`: another process has it.
    /// `Internal`: it cannot be written, or is not this program's, and was left as it is.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, Clock::system()).await
    }

    /// The same with the caller's clock.
    pub async fn open_with(path: impl AsRef<Path>, clock: Clock) -> Result<Self> {
        // By its own name: a link to it is locked as the file itself.
        let path = std::fs::canonicalize(&path).unwrap_or_else(|_| path.as_ref().to_owned());
        let lock = FileLock::take(&path)?;
        let options = options(&path);
        let judged = file::prepare(&path, &lock).and_then(|is_there| lock.hold(&path).map(|()| is_there));
        let judged = match judged {
            Ok(true) => only_ours(&options).await,
            other => other.map(drop),
        };
        judged.inspect_err(|_| lock.leave_no_trace(&path))?;
        let place = file::Place::of(&path).map_err(|error| Error::internal(file::not_writable(&path, &error)))?;
        let place = Some(Arc::new(place));
        let (writer, reader) = connections(&path, options, place.clone()).await?;
        let lock = Arc::new(lock);
        let database = Database { writer, reader, clock, lock: Some(lock.clone()), place };
        // Named in the file and beside it: a log of another run is noticed at the next start.
        let run = u32::try_from(crate::random::bits() >> 33).unwrap_or(1);
        let named = sqlx::raw_sql(AssertSqlSafe(format!("pragma user_version = {run}")));
        named.execute(&database.writer).await.map_err(|error| Error::internal(file::not_writable(&path, &error)))?;
        database.checkpoint().await.map_err(Fault::Sql)?;
        lock.begin(run).map_err(Error::internal)?;
        Ok(Self { database })
    }

    /// Opens the file beside the process that has it, for one short task: SQLite's own locks order
    /// the writes of both. The file is that process's to judge and to migrate. `Unavailable`: that
    /// process has it under another name.
    pub async fn open_beside(path: impl AsRef<Path>) -> Result<Self> {
        let path = std::fs::canonicalize(&path).unwrap_or_else(|_| path.as_ref().to_owned());
        drop(FileLock::take_or_stand_beside(&path)?);
        Self::beside(&path).await
    }

    async fn beside(path: &Path) -> Result<Self> {
        let (writer, reader) = connections(path, options(path).create_if_missing(false), None).await?;
        Ok(Self { database: Database { writer, reader, clock: Clock::system(), lock: None, place: None } })
    }

    /// Whether a file has all migrations of this release, also while another process has it.
    pub async fn is_migrated(path: impl AsRef<Path>) -> Result<bool> {
        let path = std::fs::canonicalize(&path).unwrap_or_else(|_| path.as_ref().to_owned());
        let lock = FileLock::take_or_stand_beside(&path)?;
        let ready = async {
            if let Some(lock) = &lock {
                file::prepare(&path, lock)?;
            }
            only_ours(&options(&path)).await?;
            let store = Self::beside(&path).await?;
            let ready = store.schema_ready().await;
            store.close().await;
            ready
        };
        let ready = ready.await;
        if let Some(lock) = lock {
            lock.leave_no_trace(&path);
        }
        ready
    }

    /// Applies the migrations.
    pub async fn migrate(&self) -> Result<()> {
        let mut writer = self.database.writer.acquire().await.map_err(Fault::Sql)?;
        migrator().run_direct(None, &mut *writer, false).await.map_err(Error::internal)
    }

    /// How the schema compares with this release's.
    pub async fn schema(&self) -> Result<SchemaState> {
        let table = "select 1 from sqlite_master where name = '_sqlx_migrations'";
        if self.row::<(i64,)>(sqlx::query_as(table)).await?.is_none() {
            return Ok(SchemaState::of(&migrator(), &[]));
        }
        let applied: Vec<(i64,)> =
            self.rows(sqlx::query_as("select version from _sqlx_migrations where success")).await?;
        let applied: Vec<i64> = applied.into_iter().map(|(version,)| version).collect();
        Ok(SchemaState::of(&migrator(), &applied))
    }

    /// Whether all migrations of this release are applied.
    pub async fn schema_ready(&self) -> Result<bool> {
        Ok(self.schema().await?.missing.is_empty())
    }

    /// Runs an operation within the bound.
    async fn run<T>(&self, operation: impl Future<Output = Result<T, Fault>> + Send) -> Result<T> {
        match timeout(OPERATION_TIMEOUT, operation).await {
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
        F: for<'t> FnOnce(&'t mut (dyn changes::Transaction + 'a)) -> BoxFuture<'t, Result<T, Fault>> + Send,
    {
        self.run(async {
            let mut writing = Writing { inner: self.database.begin().await?, database: self.database.clone() };
            let changed = change(&mut writing).await?;
            commit(writing.inner, changed).await
        })
        .await
    }

    /// The rows of one statement that reads.
    async fn rows<R>(&self, statement: Statement<R>) -> Result<Vec<R>>
    where
        R: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        self.run(async { Ok(statement.fetch_all(&self.database.reader).await?) }).await
    }

    /// The same where there is one row at most.
    async fn row<R>(&self, statement: Statement<R>) -> Result<Option<R>>
    where
        R: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        self.run(async { Ok(statement.fetch_optional(&self.database.reader).await?) }).await
    }
}

/// The tables of a database, by name.
async fn tables(connection: &mut SqliteConnection) -> Result<Vec<String>, sqlx::Error> {
    let statement = sqlx::query_scalar("select name from sqlite_master where type = 'table' order by name");
    statement.fetch_all(connection).await
}

/// Whether these are the tables of a messenger.
fn is_ours(names: &[String]) -> bool {
    let has = |name: &str| names.iter().any(|table| table == name);
    has("_sqlx_migrations") && ["users", "chats", "members", "outbox"].iter().all(|name| has(name))
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(ACQUIRE_TIMEOUT)
        .disable_statement_logging()
}

/// The connection that writes, and those that read. None is made to another file that took that
/// place.
async fn connections(
    path: &Path,
    options: SqliteConnectOptions,
    place: Option<Arc<Place>>,
) -> Result<(SqlitePool, SqlitePool)> {
    // Deleted content is overwritten.
    let options = options.journal_mode(SqliteJournalMode::Wal).pragma("secure_delete", "on");
    let pool = || {
        let place = place.clone();
        let in_place = move || place.as_ref().map_or(Ok(()), |place| place.check());
        SqlitePoolOptions::new()
            .after_connect(move |_, _| {
                let checked = in_place().map_err(|error| sqlx::Error::Io(std::io::Error::other(error.cause())));
                Box::pin(async move { checked })
            })
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .max_lifetime(None)
            .idle_timeout(None)
    };
    // A full disk ends a transaction, and the library does not notice: it would take every
    // later one for a part of it. So such a connection is opened anew.
    let writer = pool().max_connections(1).before_acquire(|connection, _| {
        let fit = !connection.is_in_transaction();
        Box::pin(async move { Ok(fit) })
    });
    let writer = writer.connect_with(options.clone()).await;
    let writer = writer.map_err(|error| Error::internal(file::not_writable(path, &error)))?;
    let reader = pool().max_connections(READERS).connect_lazy_with(options.read_only(true));
    Ok((writer, reader))
}

/// Refuses a database that is not this program's, before anything of it is changed.
async fn only_ours(options: &SqliteConnectOptions) -> Result<()> {
    let mut connection = options.connect().await.map_err(Fault::Sql)?;
    let names = tables(&mut connection).await.map_err(Fault::Sql)?;
    connection.close().await.map_err(Fault::Sql)?;
    // A start that was refused or cut short may have left the table of migrations alone.
    if is_ours(&names) || names.iter().all(|name| name == "_sqlx_migrations" || name.starts_with("sqlite_")) {
        return Ok(());
    }
    let shown = names.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
    let guess = if names.iter().any(|name| name == "users") { ", perhaps of an earlier messenger" } else { "" };
    Err(Error::internal(format!(
        "holds the tables of another program{guess} ({shown}) and was left as it is; name a new file, for example \
         DATABASE_URL=sqlite:chat.db"
    )))
}

/// A statement with its parameters, and the row that it answers.
type Statement<R> = QueryAs<'static, Sqlite, R, SqliteArguments>;

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("./migrations/sqlite");
    // A newer release may have migrated: this release runs on its schema too.
    migrator.set_ignore_missing(true);
    migrator
}

#[async_trait]
impl Store for SqliteStore {
    async fn ping(&self) -> Result<()> {
        self.run(async {
            sqlx::query("select 1").execute(&self.database.reader).await?;
            // The writer too: it can fail while the readers work. On a file that is read-only even
            // a begin succeeds, and only a write does not.
            let mut transaction = self.database.begin().await?;
            sqlx::query("update pruned set message_id = message_id").execute(&mut *transaction).await?;
            Ok(transaction.rollback().await?)
        })
        .await
    }

    fn drains(&self) {
        if let Some(lock) = &self.database.lock {
            lock.drains();
        }
    }

    async fn close(&self) {
        let closed = timeout(CLOSE_TIMEOUT, async {
            self.database.reader.close().await;
            let checkpointed = self.database.checkpoint().await;
            self.database.writer.close().await;
            checkpointed
        });
        match closed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the write-ahead log stays beside the database"),
            Err(_) => tracing::warn!("the database did not close in time; its write-ahead log stays beside it"),
        }
    }

    fn writers(&self) -> usize {
        1
    }

    fn log_readers(&self) -> usize {
        2
    }

    fn pool(&self) -> PoolState {
        self.database.state()
    }

    fn losses(&self) -> u64 {
        0
    }
}
