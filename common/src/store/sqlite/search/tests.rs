//! Searches of frequent words: however frequent a word is elsewhere, and wherever its messages are,
//! a page reads few of them, and the next one goes on from there. Nothing is left out.

use super::*;
use crate::model::User;
use crate::store::{Accounts, NewUser, Store};
use crate::words::Language;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Messages of other users: more than one page can merge.
const OTHERS: i64 = 120_000;
const CHATS: usize = 300;

async fn user(store: &SqliteStore, name: &str) -> User {
    let email = format!("{name}@example.org");
    store.create_user(NewUser { username: name.into(), email, password_hash: "x".into() }).await.unwrap()
}

fn read(q: &str) -> Query {
    Query::read(q, Language::SIMPLE).unwrap()
}

/// Steps that the readers take in SQLite's statements from now on. What FTS5 does inside one is not
/// in them.
async fn count_steps(store: &SqliteStore) -> Arc<AtomicU64> {
    const STEPS_PER_CALL: i32 = 100;
    let steps = Arc::new(AtomicU64::new(0));
    let mut readers = Vec::new();
    for _ in 0..crate::store::sqlite::READERS {
        let mut reader = store.database.reader.acquire().await.unwrap();
        let steps = steps.clone();
        reader.lock_handle().await.unwrap().set_progress_handler(STEPS_PER_CALL, move || {
            steps.fetch_add(u64::from(STEPS_PER_CALL.unsigned_abs()), Ordering::Relaxed);
            true
        });
        readers.push(reader);
    }
    steps
}

/// A user of one chat, whose words are among the oldest alone, a user of many chats, and somebody
/// who has said the same words since, very often.
async fn filled(store: &SqliteStore) -> (User, User) {
    let (few, many, other) = (user(store, "few").await, user(store, "many").await, user(store, "other").await);
    let (few_id, many_id, other_id) = (few.id, many.id, other.id);
    let fill = format!(
        "begin immediate;
         create temporary table number as
             with recursive number (n) as (select 1 union all select n + 1 from number where n < {OTHERS}) select n from number;
         insert into chats (id, is_group, name, created_at, active_at, seq, member_count)
             select n, 1, 'chat', 0, 0, 1, 1 from number where n <= {CHATS} + 2;
         insert into members (chat_id, user_id, role, joined_at)
             select n, case n when {CHATS} + 1 then {few_id} when {CHATS} + 2 then {other_id} else {many_id} end, 1, 0
             from number where n <= {CHATS} + 2;
         insert into messages (chat_id, seq, author_id, text, created_at, worded)
             select {CHATS} + 1, n, {few_id}, case when n <= 100 then 'common word' || n else 'else' end, 0, 1
             from number where n <= 10000;
         insert into messages (chat_id, seq, author_id, text, created_at, worded)
             select n, 1, {many_id}, 'common word' || n, 0, 1 from number where n <= {CHATS};
         insert into messages (chat_id, seq, author_id, text, created_at, worded)
             select {CHATS} + 2, n, {other_id}, 'common word' || n, 0, 1 from number;
         insert into message_words (rowid, words, chat) select id, text, 'c' || chat_id from messages;
         commit"
    );
    let mut writer = store.database.writer.acquire().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(fill)).execute(&mut *writer).await.unwrap();
    (few, many)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_search_reads_few_rows_of_what_is_frequent_elsewhere() {
    /// Steps of one page: some seventy for each message that it reads.
    const PAGE: u64 = 1_000_000;
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path().join("messenger.sqlite")).await.unwrap();
    store.migrate().await.unwrap();
    let (few, many) = filled(&store).await;
    let steps = count_steps(&store).await;
    for (user, expected) in [(&few, 100), (&many, CHATS)] {
        for q in ["common", "wor", "common wor", "\"common wor", "\"common\"", "word99", "absent"] {
            let wanted = SearchFor { query: read(q), chat: None, author: None };
            let expected = match q {
                "word99" => 1,
                "absent" => 0,
                _ => expected,
            };
            let (mut found, mut pages, mut cursor) = (Vec::new(), 0, None);
            loop {
                let before = steps.load(Ordering::Relaxed);
                let page = store.search(user.id, &wanted, &PageRequest { cursor, limit: 100 }).await.unwrap();
                let taken = steps.load(Ordering::Relaxed) - before;
                assert!(taken < PAGE, "{q}: {taken} steps");
                pages += 1;
                found.extend(page.items.iter().map(|message| message.id));
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            println!("{q}: {} on {pages} pages", found.len());
            assert!(found.is_sorted_by(|a, b| a > b), "{q}: the newest first, each once");
            assert_eq!(found.len(), expected, "{q}");
            assert!(pages <= 20, "{q}: {pages} pages");
        }
    }
    store.close().await;
}

/// FTS5 merges all entries of a beginning that it is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fts5_is_not_asked_for_beginnings_of_very_many_messages() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path().join("messenger.sqlite")).await.unwrap();
    store.migrate().await.unwrap();
    assert_eq!(store.question(&read("wor")).await.unwrap().asked, ["words : \"wor\" *"], "of an empty file");
    filled(&store).await;
    for (q, asked, compared) in [
        ("wor", &[][..], &[" wor"][..]),
        ("common", &[], &[" common"]),
        ("common wor", &["words : \"common\""], &[" wor"]),
        ("\"common wor", &["words : \"common\""], &[" common wor"]),
        ("\"common\"", &["words : \"common\""], &[]),
        ("word9", &["words : \"word9\" *"], &[]),
        ("common absent", &["words : \"common\"", "words : \"absent\" *"], &[]),
    ] {
        let question = store.question(&read(q)).await.unwrap();
        assert_eq!(question.asked, asked, "{q}");
        assert_eq!(question.compared, compared, "{q}");
    }
    // With a language all words are wanted by their beginnings: so many as are merged in all.
    let query = Query::read("words else", Language::named("english").unwrap()).unwrap();
    let question = store.question(&query).await.unwrap();
    assert_eq!((question.asked.len(), question.compared.len()), (1, 1), "{question:?}");
    store.close().await;
}
