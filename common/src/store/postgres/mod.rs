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
use super::{
    Access, ChatPatch, Committed, Credentials, EndedSession, HistoryFrom, LogPage, NewGroup, NewMessage, NewUser,
    OutboxId, PageRequest, PoolState, Rotation, Rows, SentBatch, Session, Store, UserRow,
};
use crate::error::{Error, Result};
use crate::id::{ChatId, MessageId, Seq, SessionId, UserId};
use crate::model::{Chat, HistoryPage, Member, Message, Role, User};
use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
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

    async fn create_user(&self, user: NewUser) -> Result<User> {
        self.run(|| accounts::create_user(&self.pool, &user)).await
    }

    async fn credentials(&self, login: &str) -> Result<Option<Credentials>> {
        self.run(|| accounts::credentials(&self.pool, login)).await
    }

    async fn credentials_of(&self, user: UserId) -> Result<Option<Credentials>> {
        self.run(|| accounts::credentials_of(&self.pool, user)).await
    }

    async fn users(&self, ids: &[UserId]) -> Result<Vec<UserRow>> {
        self.run(|| accounts::users(&self.pool, ids)).await
    }

    async fn search_users(&self, prefix: &str, page: &PageRequest) -> Result<Rows<UserRow>> {
        self.run(|| accounts::search_users(&self.pool, prefix, page)).await
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
        self.run(|| accounts::update_user(&self.pool, user, verified, email, password_hash, keep)).await
    }

    async fn deactivate_user(&self, user: UserId) -> Result<()> {
        self.run(|| accounts::deactivate_user(&self.pool, user)).await
    }

    async fn set_last_seen(&self, seen: &[(UserId, OffsetDateTime)]) -> Result<()> {
        self.run(|| accounts::set_last_seen(&self.pool, seen)).await
    }

    async fn create_session(&self, user: UserId, verified: &str, ttl: Duration) -> Result<Session> {
        self.run(|| sessions::create_session(&self.pool, user, verified, ttl)).await
    }

    async fn rotate_session(&self, session: SessionId, generation: i64, ttl: Duration) -> Result<Rotation> {
        self.run(|| sessions::rotate_session(&self.pool, session, generation, ttl)).await
    }

    async fn end_session(&self, session: SessionId) -> Result<()> {
        self.run(|| sessions::end_session(&self.pool, session)).await
    }

    async fn sessions_ended_within(&self, period: Duration) -> Result<Vec<EndedSession>> {
        self.run(|| sessions::sessions_ended_within(&self.pool, period)).await
    }

    async fn create_group(&self, group: NewGroup) -> Result<(Chat, Committed)> {
        self.run(|| chats::create_group(&self.pool, &group)).await
    }

    async fn private_chat(&self, user: UserId, other: UserId) -> Result<(Chat, bool, Committed)> {
        self.run(|| chats::private_chat(&self.pool, user, other)).await
    }

    async fn chats_of(&self, user: UserId, page: &PageRequest) -> Result<Rows<Chat>> {
        self.run(|| chats::chats_of(&self.pool, user, page)).await
    }

    async fn chat(&self, chat: ChatId, viewer: UserId) -> Result<Option<Chat>> {
        self.run(|| chats::chat(&self.pool, chat, viewer)).await
    }

    async fn update_chat(&self, chat: ChatId, by: UserId, patch: ChatPatch) -> Result<(Chat, Committed)> {
        self.run(|| chats::update_chat(&self.pool, chat, by, &patch)).await
    }

    async fn delete_chat(&self, chat: ChatId, by: UserId) -> Result<Committed> {
        self.run(|| chats::delete_chat(&self.pool, chat, by)).await
    }

    async fn join(&self, chat: ChatId, user: UserId, max_members: i64) -> Result<(Chat, Committed)> {
        self.run(|| members::join(&self.pool, chat, user, max_members)).await
    }

    async fn leave(&self, chat: ChatId, user: UserId) -> Result<Committed> {
        self.run(|| members::leave(&self.pool, chat, user)).await
    }

    async fn members(&self, chat: ChatId, by: UserId, page: &PageRequest) -> Result<Rows<Member>> {
        self.run(|| members::members(&self.pool, chat, by, page)).await
    }

    async fn add_members(
        &self,
        chat: ChatId,
        by: UserId,
        ids: &[UserId],
        max: i64,
    ) -> Result<(Vec<Member>, Committed)> {
        self.run(|| members::add_members(&self.pool, chat, by, ids, max)).await
    }

    async fn set_role(&self, chat: ChatId, by: UserId, user: UserId, role: Role) -> Result<(Member, Committed)> {
        self.run(|| members::set_role(&self.pool, chat, by, user, role)).await
    }

    async fn remove_member(&self, chat: ChatId, by: UserId, user: UserId) -> Result<Committed> {
        self.run(|| members::remove_member(&self.pool, chat, by, user)).await
    }

    async fn mark_read(&self, chat: ChatId, user: UserId, seq: Seq) -> Result<Seq> {
        self.run(|| members::mark_read(&self.pool, chat, user, seq)).await
    }

    async fn access(&self, pairs: &[(ChatId, UserId)]) -> Result<Vec<Option<Access>>> {
        self.run(|| members::access(&self.pool, pairs)).await
    }

    async fn member_ids(&self, chats: &[ChatId], max: i64) -> Result<Vec<(ChatId, Vec<UserId>)>> {
        self.run(|| members::member_ids(&self.pool, chats, max)).await
    }

    async fn still_members(&self, chat: ChatId, users: &[UserId]) -> Result<Vec<UserId>> {
        self.run(|| members::still_members(&self.pool, chat, users)).await
    }

    async fn chats_for_status(&self, users: &[UserId], max: i64) -> Result<Vec<(UserId, Vec<ChatId>)>> {
        self.run(|| members::chats_for_status(&self.pool, users, max)).await
    }

    async fn send(&self, batch: Vec<NewMessage>) -> Result<SentBatch> {
        self.run(|| messages::send(&self.pool, &batch)).await
    }

    async fn history(&self, chat: ChatId, by: UserId, from: HistoryFrom, limit: usize) -> Result<HistoryPage> {
        self.run(|| messages::history(&self.pool, chat, by, &from, limit)).await
    }

    async fn edit(&self, message: MessageId, by: UserId, text: String) -> Result<(Message, Committed)> {
        self.run(|| messages::edit(&self.pool, message, by, &text)).await
    }

    async fn delete(&self, message: MessageId, by: UserId) -> Result<Committed> {
        self.run(|| messages::delete(&self.pool, message, by)).await
    }

    async fn log_after(&self, chat: ChatId, after: Seq, limit: usize) -> Result<Option<LogPage>> {
        self.run(|| log::log_after(&self.pool, chat, after, limit)).await
    }

    async fn heads(&self, chats: &[ChatId]) -> Result<Vec<(ChatId, Seq)>> {
        self.run(|| log::heads(&self.pool, chats)).await
    }

    async fn outbox_remove(&self, ids: &[OutboxId]) -> Result<()> {
        self.run(|| log::outbox_remove(&self.pool, ids)).await
    }

    async fn outbox_claim(&self, age: Duration, limit: usize) -> Result<Vec<Committed>> {
        self.run(|| log::outbox_claim(&self.pool, age, limit)).await
    }

    async fn outbox_pending(&self) -> Result<i64> {
        self.run(|| log::outbox_pending(&self.pool)).await
    }

    async fn prune(&self, older_than: Duration, limit: usize) -> Result<usize> {
        self.run(|| prune::prune(&self.pool, older_than, limit)).await
    }

    fn writers(&self) -> usize {
        // The others are for reads.
        (self.pool.size() / 2).clamp(1, 4)
    }

    fn pool(&self) -> PoolState {
        self.pool.state()
    }
}
