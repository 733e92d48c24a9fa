//! What only SQLite has: a file that cannot grow.

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
