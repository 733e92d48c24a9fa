//! One contract suite over both back ends: SQLite in a temporary directory, and a real Postgres.

mod accounts;
mod addresses;
mod chats;
mod host;
mod idempotency;
mod invites;
mod log;
mod marks;
mod members;
mod mentions;
mod merging;
mod messages;
mod notices;
mod people;
mod plans;
mod postgres_only;
mod postgres_server;
mod races;
mod search;
mod search_plans;
mod sessions;

use super::postgres::PostgresStore;
use super::sqlite::SqliteStore;
use super::*;
use crate::error::Error;
use crate::event::{EventBody, LogEvent};
use crate::id::{ChatId, MessageId, Seq, SessionId, UserId};
use crate::model::{Chat, HistoryPage, Message, Page, Role, User};
use crate::words::Words;
use messenger_testing::postgres;
use sqlx::{AssertSqlSafe, Connection};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Runs each function over both back ends.
macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        messenger_testing::over_each! {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            sqlite: crate::store::contract::Fixture::sqlite().await,
            postgres: crate::store::contract::Fixture::postgres().await;
            $($name)*
        }
    };
}
use contract;

/// The same for what sends: on Postgres a few messages go another way than many.
macro_rules! contract_of_sends {
    ($($name:ident),* $(,)?) => {
        messenger_testing::over_each! {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            sqlite: crate::store::contract::Fixture::sqlite().await,
            postgres: crate::store::contract::Fixture::postgres().await,
            postgres_by_one_statement: crate::store::contract::Fixture::postgres_by_one_statement().await;
            $($name)*
        }
    };
}
use contract_of_sends;

/// A store of its own for one test.
pub(super) struct Fixture {
    pub(super) store: Arc<dyn Store>,
    raw: Raw,
    users: AtomicU32,
}

/// How the suite reaches the tables behind the store's back.
enum Raw {
    Sqlite(PathBuf, #[allow(dead_code, reason = "keeps the directory")] tempfile::TempDir),
    Postgres(String),
}

pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// Every fresh user's.
pub(super) const HASH: &str = "$argon2id$x";
/// The random part of the tokens of every session here.
pub(super) const KEY: SessionKey = SessionKey::new([7; 16]);
pub(super) const MANY: i64 = 100_000;

impl Fixture {
    pub(super) async fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("messenger.sqlite");
        let store = SqliteStore::open(&path).await.unwrap();
        assert!(!store.schema_ready().await.unwrap());
        store.migrate().await.unwrap();
        store.migrate().await.unwrap();
        assert!(store.schema_ready().await.unwrap());
        Self { store: Arc::new(store), raw: Raw::Sqlite(path, dir), users: AtomicU32::new(0) }
    }

    pub(super) async fn postgres() -> Self {
        Self::over_postgres(|store| store).await
    }

    pub(super) async fn postgres_by_one_statement() -> Self {
        Self::over_postgres(PostgresStore::of_many).await
    }

    async fn over_postgres(change: impl FnOnce(PostgresStore) -> PostgresStore) -> Self {
        Self::over(&postgres::shared_without_fsync().await.new_database().await, change).await
    }

    async fn over(url: &str, change: impl FnOnce(PostgresStore) -> PostgresStore) -> Self {
        let store = change(PostgresStore::connect(&url.to_owned().into(), 8).unwrap());
        store.migrate().await.unwrap();
        assert!(store.schema_ready().await.unwrap());
        Self { store: Arc::new(store), raw: Raw::Postgres(url.to_owned()), users: AtomicU32::new(0) }
    }

    /// Runs a statement behind the store's back and says how many rows it changed.
    pub(super) async fn sql(&self, sql: &str) -> u64 {
        match &self.raw {
            Raw::Sqlite(path, _) => {
                let url = format!("sqlite:{}", path.display());
                let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
                sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap().rows_affected()
            }
            Raw::Postgres(url) => {
                let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
                sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap().rows_affected()
            }
        }
    }

    /// The single number that a query answers, behind the store's back.
    pub(super) async fn number(&self, sql: &str) -> i64 {
        match &self.raw {
            Raw::Sqlite(path, _) => {
                let url = format!("sqlite:{}", path.display());
                let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
                sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap()
            }
            Raw::Postgres(url) => {
                let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
                sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap()
            }
        }
    }

    /// A fresh user.
    pub(super) async fn user(&self) -> User {
        let n = self.users.fetch_add(1, Ordering::Relaxed);
        self.named(&format!("user{n}")).await
    }

    pub(super) async fn named(&self, username: &str) -> User {
        let email = format!("{username}@example.org");
        let user = NewUser { username: username.into(), email, password_hash: HASH.into() };
        self.store.create_user(user).await.unwrap()
    }

    /// A group of that owner and those members.
    pub(super) async fn group(&self, owner: &User, members: &[&User]) -> Chat {
        let group = NewGroup {
            owner: owner.id,
            name: "group".into(),
            description: None,
            is_public: true,
            member_ids: members.iter().map(|user| user.id).collect(),
        };
        let (chat, committed) = self.store.create_group(group).await.unwrap();
        self.recorded(&committed).await;
        chat
    }

    pub(super) async fn send(&self, chat: ChatId, author: &User, text: &str) -> Message {
        let sent = self.send_batch(vec![new(chat, author, text)]).await;
        sent.results.into_iter().next().unwrap().unwrap().message
    }

    pub(super) async fn log_after(&self, chat_id: ChatId, after: Seq, limit: usize) -> Result<Option<LogPage>> {
        Ok(self.store.logs_after(&[LogAfter { chat_id, after, limit }]).await?.pop().flatten())
    }

    /// Sends, and checks that the batch's word is what the log and the outbox keep.
    pub(super) async fn send_batch(&self, batch: Vec<NewMessage>) -> SentBatch {
        let sent = self.store.send(batch).await.unwrap();
        self.recorded(&sent.committed).await;
        sent
    }

    /// A mutation's answer must be what a replay reads, and what a relay would rebuild if its
    /// publisher died now.
    pub(super) async fn recorded(&self, committed: &Committed) {
        for event in &committed.events {
            let page = self.log_after(event.chat_id, Seq(event.seq.0 - 1), 1).await.unwrap().unwrap();
            assert_eq!(page.events, [event.clone()]);
        }
        let mut claimed = self.store.outbox_claim(Duration::ZERO, 500).await.unwrap();
        let Some(outbox) = committed.outbox else {
            assert_eq!(committed, &Committed::default());
            return;
        };
        let found = claimed.iter().position(|claimed| claimed.outbox == Some(outbox)).expect("it is in the outbox");
        let found = claimed.swap_remove(found);
        assert_eq!(sorted(&found.events), sorted(&committed.events));
        assert_eq!(sorted(&found.notices), sorted(&committed.notices));
        self.store.outbox_remove(&[outbox]).await.unwrap();
    }

    /// Everything that is in the outbox and free.
    pub(super) async fn all_pending(&self) -> Vec<OutboxId> {
        let mut all = Vec::new();
        loop {
            let claimed = self.store.outbox_claim(Duration::ZERO, 500).await.unwrap();
            if claimed.is_empty() {
                return all;
            }
            all.extend(claimed.into_iter().filter_map(|one| one.outbox));
        }
    }

    /// A time long gone, as this database writes it.
    pub(super) fn long_ago(&self) -> &'static str {
        match self.raw {
            Raw::Sqlite(..) => "0",
            Raw::Postgres(_) => "'2001-01-01'",
        }
    }

    /// False, as this database writes it.
    pub(super) fn no(&self) -> &'static str {
        match self.raw {
            Raw::Sqlite(..) => "0",
            Raw::Postgres(_) => "false",
        }
    }

    pub(super) async fn head(&self, chat: ChatId) -> Seq {
        self.store.heads(&[(chat, Seq(0))]).await.unwrap()[0].unwrap().seq
    }

    pub(super) async fn history(&self, chat: ChatId, by: &User) -> Vec<Message> {
        self.store.history(chat, by.id, HistoryFrom::Newest, 100).await.unwrap().items
    }
}

fn sorted<T: std::fmt::Debug>(all: &[T]) -> Vec<String> {
    let mut all: Vec<_> = all.iter().map(|one| format!("{one:?}")).collect();
    all.sort();
    all
}

pub(super) fn new(chat: ChatId, author: &User, text: &str) -> NewMessage {
    NewMessage {
        chat_id: chat,
        author_id: author.id,
        author_username: author.username.clone(),
        text: text.into(),
        client_message_id: None,
        reply_to_id: None,
        mentions: Vec::new(),
        words: Words::of(text),
    }
}

pub(super) fn with_id(chat: ChatId, author: &User, text: &str, id: &str) -> NewMessage {
    NewMessage { client_message_id: Some(id.into()), ..new(chat, author, text) }
}

pub(super) fn first(limit: usize) -> PageRequest {
    PageRequest { cursor: None, limit }
}

pub(super) fn next(cursor: Option<String>, limit: usize) -> PageRequest {
    PageRequest { cursor: Some(cursor.expect("there is a next page")), limit }
}

/// The contract's word for what went wrong.
pub(super) fn code<T: std::fmt::Debug>(result: Result<T>) -> &'static str {
    result.expect_err("it is refused").code()
}

/// The field that does not fit.
pub(super) fn field<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Err(Error::Invalid(errors)) => errors[0].field.clone(),
        other => panic!("expected a fault of a field, got {other:?}"),
    }
}

/// The kinds of the events.
pub(super) fn kinds(committed: &Committed) -> Vec<&'static str> {
    committed.events.iter().map(|event| event.kind().name()).collect()
}

/// Whom the notices reach.
pub(super) fn notified(committed: &Committed, what: &str) -> Vec<UserId> {
    let mut users: Vec<_> = committed
        .notices
        .iter()
        .filter(|notice| {
            what == match notice.body {
                NoticeBody::ChatAdded(_) => "chat_added",
                NoticeBody::ChatRemoved => "chat_removed",
                NoticeBody::NewMessage(_) => "new_message",
                NoticeBody::Mentioned(_) => "mentioned",
                NoticeBody::Settings(_) => "chat_settings",
            }
        })
        .map(|notice| notice.user_id)
        .collect();
    users.sort();
    users
}

pub(super) fn ids(users: &[&User]) -> Vec<UserId> {
    let mut ids: Vec<_> = users.iter().map(|user| user.id).collect();
    ids.sort();
    ids
}

/// The member whose change an event announces.
pub(super) fn changed(event: &LogEvent) -> (UserId, Role) {
    match &event.body {
        EventBody::MemberJoined(change) | EventBody::MemberLeft(change) | EventBody::MemberUpdated(change) => {
            (change.user_id, change.role)
        }
        other => panic!("{other:?} changes no member"),
    }
}
