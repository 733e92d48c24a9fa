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
use super::{
    Access, ChatPatch, Committed, Credentials, EndedSession, HistoryFrom, LogPage, NewGroup, NewMessage, NewUser,
    OutboxId, PageRequest, PoolState, Rotation, Rows, SentBatch, Session, Store, UserRow,
};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::event::micros;
use crate::id::{ChatId, MessageId, Seq, SessionId, UserId};
use crate::model::{Chat, HistoryPage, Member, Message, Role, User};
use async_trait::async_trait;
use serde::Serialize;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Sqlite, Transaction};
use std::path::Path;
use std::time::Duration;
use time::OffsetDateTime;
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

    async fn create_user(&self, user: NewUser) -> Result<User> {
        self.run(|| accounts::create_user(&self.database, &user)).await
    }

    async fn credentials(&self, login: &str) -> Result<Option<Credentials>> {
        self.run(|| accounts::credentials(&self.database, login)).await
    }

    async fn credentials_of(&self, user: UserId) -> Result<Option<Credentials>> {
        self.run(|| accounts::credentials_of(&self.database, user)).await
    }

    async fn users(&self, ids: &[UserId]) -> Result<Vec<UserRow>> {
        self.run(|| accounts::users(&self.database, ids)).await
    }

    async fn search_users(&self, prefix: &str, page: &PageRequest) -> Result<Rows<UserRow>> {
        self.run(|| accounts::search_users(&self.database, prefix, page)).await
    }

    async fn update_user(
        &self,
        user: UserId,
        verified: &str,
        email: Option<String>,
        password_hash: Option<String>,
        keep: SessionId,
    ) -> Result<Option<(User, Vec<SessionId>)>> {
        let (email, password_hash) = (email.as_deref(), password_hash.as_deref());
        self.run(|| accounts::update_user(&self.database, user, verified, email, password_hash, keep)).await
    }

    async fn deactivate_user(&self, user: UserId) -> Result<()> {
        self.run(|| accounts::deactivate_user(&self.database, user)).await
    }

    async fn set_last_seen(&self, seen: &[(UserId, OffsetDateTime)]) -> Result<()> {
        self.run(|| accounts::set_last_seen(&self.database, seen)).await
    }

    async fn create_session(&self, user: UserId, verified: &str, ttl: Duration) -> Result<Session> {
        self.run(|| sessions::create_session(&self.database, user, verified, ttl)).await
    }

    async fn rotate_session(&self, session: SessionId, generation: i64, ttl: Duration) -> Result<Rotation> {
        self.run(|| sessions::rotate_session(&self.database, session, generation, ttl)).await
    }

    async fn end_session(&self, session: SessionId) -> Result<()> {
        self.run(|| sessions::end_session(&self.database, session)).await
    }

    async fn sessions_ended_within(&self, period: Duration) -> Result<Vec<EndedSession>> {
        self.run(|| sessions::sessions_ended_within(&self.database, period)).await
    }

    async fn create_group(&self, group: NewGroup) -> Result<(Chat, Committed)> {
        self.run(|| chats::create_group(&self.database, &group)).await
    }

    async fn private_chat(&self, user: UserId, other: UserId) -> Result<(Chat, bool, Committed)> {
        self.run(|| chats::private_chat(&self.database, user, other)).await
    }

    async fn chats_of(&self, user: UserId, page: &PageRequest) -> Result<Rows<Chat>> {
        self.run(|| chats::chats_of(&self.database, user, page)).await
    }

    async fn chat(&self, chat: ChatId, viewer: UserId) -> Result<Option<Chat>> {
        self.run(|| chats::chat(&self.database, chat, viewer)).await
    }

    async fn update_chat(&self, chat: ChatId, by: UserId, patch: ChatPatch) -> Result<(Chat, Committed)> {
        self.run(|| chats::update_chat(&self.database, chat, by, &patch)).await
    }

    async fn delete_chat(&self, chat: ChatId, by: UserId) -> Result<Committed> {
        self.run(|| chats::delete_chat(&self.database, chat, by)).await
    }

    async fn join(&self, chat: ChatId, user: UserId, max_members: i64) -> Result<(Chat, Committed)> {
        self.run(|| members::join(&self.database, chat, user, max_members)).await
    }

    async fn leave(&self, chat: ChatId, user: UserId) -> Result<Committed> {
        self.run(|| members::leave(&self.database, chat, user)).await
    }

    async fn members(&self, chat: ChatId, by: UserId, page: &PageRequest) -> Result<Rows<Member>> {
        self.run(|| members::members(&self.database, chat, by, page)).await
    }

    async fn add_members(
        &self,
        chat: ChatId,
        by: UserId,
        ids: &[UserId],
        max: i64,
    ) -> Result<(Vec<Member>, Committed)> {
        self.run(|| members::add_members(&self.database, chat, by, ids, max)).await
    }

    async fn set_role(&self, chat: ChatId, by: UserId, user: UserId, role: Role) -> Result<(Member, Committed)> {
        self.run(|| members::set_role(&self.database, chat, by, user, role)).await
    }

    async fn remove_member(&self, chat: ChatId, by: UserId, user: UserId) -> Result<Committed> {
        self.run(|| members::remove_member(&self.database, chat, by, user)).await
    }

    async fn mark_read(&self, chat: ChatId, user: UserId, seq: Seq) -> Result<Seq> {
        self.run(|| members::mark_read(&self.database, chat, user, seq)).await
    }

    async fn access(&self, pairs: &[(ChatId, UserId)]) -> Result<Vec<Option<Access>>> {
        self.run(|| members::access(&self.database, pairs)).await
    }

    async fn member_ids(&self, chats: &[ChatId], max: i64) -> Result<Vec<(ChatId, Vec<UserId>)>> {
        self.run(|| members::member_ids(&self.database, chats, max)).await
    }

    async fn still_members(&self, chat: ChatId, users: &[UserId]) -> Result<Vec<UserId>> {
        self.run(|| members::still_members(&self.database, chat, users)).await
    }

    async fn chats_for_status(&self, users: &[UserId], max: i64) -> Result<Vec<(UserId, Vec<ChatId>)>> {
        self.run(|| members::chats_for_status(&self.database, users, max)).await
    }

    async fn send(&self, batch: Vec<NewMessage>) -> Result<SentBatch> {
        self.run(|| messages::send(&self.database, &batch)).await
    }

    async fn history(&self, chat: ChatId, by: UserId, from: HistoryFrom, limit: usize) -> Result<HistoryPage> {
        self.run(|| messages::history(&self.database, chat, by, &from, limit)).await
    }

    async fn edit(&self, message: MessageId, by: UserId, text: String) -> Result<(Message, Committed)> {
        self.run(|| messages::edit(&self.database, message, by, &text)).await
    }

    async fn delete(&self, message: MessageId, by: UserId) -> Result<Committed> {
        self.run(|| messages::delete(&self.database, message, by)).await
    }

    async fn log_after(&self, chat: ChatId, after: Seq, limit: usize) -> Result<Option<LogPage>> {
        self.run(|| log::log_after(&self.database, chat, after, limit)).await
    }

    async fn heads(&self, chats: &[ChatId]) -> Result<Vec<(ChatId, Seq)>> {
        self.run(|| log::heads(&self.database, chats)).await
    }

    async fn outbox_remove(&self, ids: &[OutboxId]) -> Result<()> {
        self.run(|| log::outbox_remove(&self.database, ids)).await
    }

    async fn outbox_claim(&self, age: Duration, limit: usize) -> Result<Vec<Committed>> {
        self.run(|| log::outbox_claim(&self.database, age, limit)).await
    }

    async fn outbox_pending(&self) -> Result<i64> {
        self.run(|| log::outbox_pending(&self.database)).await
    }

    async fn prune(&self, older_than: Duration, limit: usize) -> Result<usize> {
        self.run(|| log::prune(&self.database, older_than, limit)).await
    }

    fn writers(&self) -> usize {
        1
    }

    fn pool(&self) -> PoolState {
        self.database.state()
    }
}
