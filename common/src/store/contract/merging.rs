//! The words of new messages on Postgres: they wait in the index, and a node merges them beside
//! the sends.

use super::postgres_only::within;
use super::*;
use futures_util::FutureExt;

/// When a message was written that waits.
const NOW: Duration = Duration::ZERO;

/// Messages whose words wait to be merged.
const WORDS_WAITING: &str = "select pending_tuples from pgstatginindex('messages_found')";

/// A database in which nobody but the test merges.
async fn unmerged(size: u32) -> (Arc<PostgresStore>, Fixture) {
    let (store, at) = Fixture::postgres_of(size).await;
    at.sql("create extension pgstattuple").await;
    at.sql("alter table messages set (autovacuum_enabled = off)").await;
    (store, at)
}

/// The same, with a chat whose first message was merged.
async fn merged_once() -> (Fixture, User, ChatId) {
    let (_, at) = unmerged(4).await;
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    at.send(chat, &ann, "first").await;
    assert!(!at.store.merge_words(NOW).await.unwrap(), "none were merged before");
    assert_eq!(at.number(WORDS_WAITING).await, 0);
    (at, ann, chat)
}

/// Merges as a node does that minds so many messages and an hour: whether some may wait on.
async fn merge(at: &Fixture, most: i64) -> bool {
    at.number(&format!("select messenger_merge_words_v1({most}, '1 hour', '0')::integer::bigint")).await == 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_are_merged_once_they_are_many_or_wait_for_long() {
    let (at, ann, chat) = merged_once().await;
    for _ in 0..2 {
        at.send(chat, &ann, "one of a few").await;
        assert!(merge(&at, 3).await, "they are few and new");
    }
    assert_eq!(at.number(WORDS_WAITING).await, 2);
    at.send(chat, &ann, "the third").await;
    assert!(!merge(&at, 3).await);
    assert_eq!(at.number(WORDS_WAITING).await, 0);
    // Too long ago; and marks of another history, or of a clock that was set.
    for mark in [
        "merged_at = clock_timestamp() - interval '2 hours'",
        "merged_at = clock_timestamp() + interval '2 hours'",
        "message_id = 1::bigint << 40",
    ] {
        at.send(chat, &ann, "one").await;
        assert!(merge(&at, 3).await, "{mark}");
        at.sql(&format!("update words_merged set {mark}")).await;
        assert!(!merge(&at, 3).await, "{mark}");
        assert_eq!(at.number(WORDS_WAITING).await, 0, "{mark}");
        assert!(merge(&at, 3).await, "{mark}: it counts from here on");
    }
}

/// The list of pending entries is bounded by bytes, and the send that finds it full merges it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_messages_of_many_words_are_merged_at_once() {
    let (at, ann, chat) = merged_once().await;
    let store = &at.store;
    let many = "字 ".repeat(4096);
    for _ in 0..7 {
        at.send(chat, &ann, &many).await;
    }
    // However long the sends took.
    at.sql("update words_merged set merged_at = clock_timestamp()").await;
    assert!(store.merge_words(NOW).await.unwrap(), "they may wait yet");
    let last = at.send(chat, &ann, &many).await;
    assert!(!store.merge_words(NOW).await.unwrap());
    assert_eq!(at.number(WORDS_WAITING).await, 0);
    // Edits take no new number.
    for _ in 0..8 {
        store.edit(last.id, ann.id, many.clone(), Vec::new()).await.unwrap();
    }
    assert!(!store.merge_words(NOW).await.unwrap());
    assert_eq!(at.number(WORDS_WAITING).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_merges_and_nobody_waits_for_it() {
    let (_, at) = unmerged(4).await;
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    at.send(chat, &ann, "one").await;
    let mut other = sqlx::PgConnection::connect(at.url()).await.unwrap();
    sqlx::raw_sql("begin; select from words_merged for no key update").execute(&mut other).await.unwrap();
    assert!(at.store.merge_words(NOW).await.unwrap(), "another node merges");
    at.send(chat, &ann, "two").await;
    assert_eq!(at.number(WORDS_WAITING).await, 2);
    sqlx::raw_sql("commit").execute(&mut other).await.unwrap();
    assert!(!at.store.merge_words(NOW).await.unwrap());
    assert_eq!(at.number(WORDS_WAITING).await, 0);
}

/// A merge may take long: it takes no connection that a request may need.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_leaves_half_of_the_connections() {
    let (store, at) = unmerged(4).await;
    let ann = at.user().await;
    let chats = [at.group(&ann, &[]).await.id, at.group(&ann, &[]).await.id];
    at.send(chats[0], &ann, "one").await;
    let mut stranger = sqlx::PgConnection::connect(at.url()).await.unwrap();
    sqlx::raw_sql("begin; select from chats for update").execute(&mut stranger).await.unwrap();
    let sends = chats.map(|chat| {
        let (store, message) = (store.clone(), new(chat, &ann, "held"));
        tokio::spawn(async move { store.send(vec![message]).await })
    });
    within(async || store.pool().in_use == 2).await;
    assert!(store.merge_words(NOW).await.unwrap());
    sqlx::raw_sql("commit").execute(&mut stranger).await.unwrap();
    for send in sends {
        send.await.unwrap().unwrap();
    }
    assert_eq!(at.number(WORDS_WAITING).await, 3, "it waits for a connection");
    within(async || !store.merge_words(NOW).await.unwrap()).await;
    assert_eq!(at.number(WORDS_WAITING).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_wrote_nothing_asks_for_no_merge() {
    let (_, at) = unmerged(4).await;
    let store = &at.store;
    let wrote = || store.words_written().now_or_never().is_some();
    assert!(!wrote());
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    wrote();
    let message = at.send(chat, &ann, "one").await;
    assert!(wrote());
    at.history(chat, &ann).await;
    store.ping().await.unwrap();
    assert!(!wrote(), "once for what was written, and not for reads");
    let stranger = at.user().await;
    wrote();
    assert!(store.edit(message.id, stranger.id, "no".into(), Vec::new()).await.is_err());
    assert!(!wrote(), "nor for what was refused");
    store.edit(message.id, ann.id, "two".into(), Vec::new()).await.unwrap();
    assert!(wrote());
    at.sql("update messages set words = null").await;
    assert_eq!(store.fill_words(10).await.unwrap(), 1);
    assert!(wrote());
}

/// A load that is too much for one merge never gets smaller by itself: it is no outage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_that_takes_too_long_is_a_fault() {
    let (_, at) = unmerged(4).await;
    at.sql(
        "create or replace function messenger_merge_words_v1(p_most bigint, p_longest interval, p_written interval)
         returns boolean language plpgsql as $$
         begin perform set_config('statement_timeout', '10', true); perform pg_sleep(0.05); raise query_canceled; end $$",
    )
    .await;
    let failed = at.store.merge_words(NOW).await;
    assert!(matches!(failed, Err(Error::Internal(_))), "{failed:?}");
}

/// Undoes the migration, as the release before left the database.
async fn undone(at: &Fixture) {
    for undo in [
        "delete from _sqlx_migrations where version = 42",
        "drop table words_merged",
        "drop function messenger_merge_words_v1",
        "alter index messages_found set (gin_pending_list_limit = 1024)",
    ] {
        at.sql(undo).await;
    }
}

/// Guarantee G10: a transaction that has read by the index delays the migration. Writes wait behind
/// it, but never for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_the_index_holds_the_writes_up_for_two_seconds_at_most() {
    let (store, at) = unmerged(4).await;
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    undone(&at).await;
    let mut reader = sqlx::PgConnection::connect(at.url()).await.unwrap();
    let read = "begin isolation level repeatable read; select count(*) from messages where words @@ 'word'";
    sqlx::raw_sql(read).execute(&mut reader).await.unwrap();
    let migrating = tokio::spawn(async move { store.migrate().await });
    let waits = "select count(*) from pg_locks where relation = 'messages_found'::regclass and not granted";
    let (mut longest, mut waited) = (Duration::ZERO, 0);
    let until = tokio::time::Instant::now() + Duration::from_secs(5);
    while tokio::time::Instant::now() < until {
        waited += at.number(waits).await;
        let begun = tokio::time::Instant::now();
        at.store.send(vec![new(chat, &ann, "beside it")]).await.unwrap();
        longest = longest.max(begun.elapsed());
    }
    println!("the longest send took {longest:?}");
    assert!(waited > 0, "the migration waits for the reader");
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    assert!(!migrating.is_finished());
    sqlx::raw_sql("commit").execute(&mut reader).await.unwrap();
    migrating.await.unwrap().unwrap();
    assert!(!at.store.merge_words(NOW).await.unwrap());
}

/// Guarantee G10: it waits for no write that another transaction has done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_setting_of_the_index_changes_beside_the_writes() {
    let (store, at) = unmerged(4).await;
    let ann = at.user().await;
    let chat = at.group(&ann, &[]).await.id;
    undone(&at).await;
    let mut long = sqlx::PgConnection::connect(at.url()).await.unwrap();
    let write = format!(
        "begin; insert into messages (chat_id, seq, author_id, text, created_at, words)
         values ({chat}, 1000, {}, 'text', now(), '''text'':1')",
        ann.id
    );
    sqlx::raw_sql(AssertSqlSafe(write)).execute(&mut long).await.unwrap();
    let migrated = tokio::time::timeout(Duration::from_secs(10), store.migrate()).await;
    migrated.expect("it waits for no write").unwrap();
    at.send(chat, &ann, "beside it").await;
    sqlx::raw_sql("commit").execute(&mut long).await.unwrap();
    assert!(!at.store.merge_words(NOW).await.unwrap());
    assert_eq!(at.number(WORDS_WAITING).await, 0);
}
