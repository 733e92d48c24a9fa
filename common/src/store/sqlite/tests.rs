//! Cases of SQLite alone: a file that cannot grow, and a table that a migration makes anew.

use super::*;
use crate::store::{Accounts, NewUser};
use sqlx::AssertSqlSafe;

async fn pages(store: &SqliteStore, limit: &str) -> i64 {
    let mut writer = store.database.writer.acquire().await.unwrap();
    sqlx::query_scalar(AssertSqlSafe(format!("pragma {limit}"))).fetch_one(&mut *writer).await.unwrap()
}

fn user(n: usize) -> NewUser {
    NewUser { username: format!("user{n}"), email: format!("{n}@example.org"), password_hash: "x".repeat(2_000) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_unavailable_and_once_there_is_room_writing_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path().join("messenger.sqlite")).await.unwrap();
    store.migrate().await.unwrap();
    for round in 0..3 {
        let full = pages(&store, "page_count").await;
        pages(&store, &format!("max_page_count = {full}")).await;
        let mut n = round * 100;
        let refused = loop {
            match store.create_user(user(n)).await {
                Ok(_) => n += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(refused.code(), "unavailable", "{:?}", refused.inside());
        pages(&store, "max_page_count = 1000000").await;
        store.create_user(user(n)).await.unwrap();
        store.ping().await.unwrap();
    }
}

/// As a failed commit leaves it: the library counts a transaction that the database has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_is_out_of_step_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path().join("messenger.sqlite")).await.unwrap();
    store.migrate().await.unwrap();
    let mut transaction = store.database.begin().await.unwrap();
    sqlx::raw_sql("rollback").execute(&mut *transaction).await.unwrap();
    assert!(transaction.commit().await.is_err());
    store.create_user(user(1)).await.unwrap();
    store.ping().await.unwrap();
}

async fn numbers(store: &SqliteStore, sql: &'static str) -> Vec<(i64, i64, i64, Option<i64>, Option<i64>, i64)> {
    sqlx::query_as(sql).fetch_all(&store.database.reader).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_files_events_are_kept_when_later_kinds_are_let_in() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path().join("messenger.sqlite")).await.unwrap();
    let older = migrator().iter().filter(|migration| migration.version < 4).cloned().collect();
    let mut writer = store.database.writer.acquire().await.unwrap();
    Migrator::with_migrations(older).run_direct(None, &mut *writer, false).await.unwrap();
    let rows = "insert into users (username, username_lower, email, email_lower, password_hash, created_at)
        values ('ann', 'ann', 'ann@x.org', 'ann@x.org', 'x', 0), ('ben', 'ben', 'ben@x.org', 'ben@x.org', 'x', 0);
        insert into chats (is_group, name, created_at, active_at, seq, member_count) values (1, 'room', 0, 0, 2, 2);
        insert into events (chat_id, seq, kind, user_id, role, created_at) values (1, 1, 5, 2, 2, 3), (1, 2, 4, 2, 2, 4)";
    sqlx::raw_sql(rows).execute(&mut *writer).await.unwrap();
    drop(writer);
    let sql = "select chat_id, seq, kind, user_id, role, created_at from events order by chat_id, seq";
    let before = numbers(&store, sql).await;
    assert_eq!(before.len(), 2, "{before:?}");
    let later = "insert into events (chat_id, seq, kind, created_at) select id, seq + 1, 255, active_at from chats";
    let mut writer = store.database.writer.acquire().await.unwrap();
    assert!(sqlx::raw_sql(later).execute(&mut *writer).await.is_err(), "the older file refuses it");
    drop(writer);

    assert!(!store.schema_ready().await.unwrap());
    store.migrate().await.unwrap();
    assert!(store.schema_ready().await.unwrap());
    assert_eq!(numbers(&store, sql).await, before);
    let mut writer = store.database.writer.acquire().await.unwrap();
    sqlx::raw_sql(later).execute(&mut *writer).await.unwrap();
    for refused in ["(1, 99, 1, 0)", "(99, 99, 255, 0)"] {
        let insert = format!("insert into events (chat_id, seq, kind, created_at) values {refused}");
        assert!(sqlx::raw_sql(AssertSqlSafe(insert)).execute(&mut *writer).await.is_err(), "{refused}");
    }
    let plan: Vec<(i64, i64, i64, String)> =
        sqlx::query_as("explain query plan select chat_id, seq from events where created_at < 1 order by created_at")
            .fetch_all(&mut *writer)
            .await
            .unwrap();
    assert!(plan.iter().any(|(.., step)| step.contains("events_created")), "{plan:?}");
}
