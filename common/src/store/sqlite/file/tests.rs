//! The file of one process: locked, whole at the end, and left alone where it is another's.

use super::super::SqliteStore;
use super::super::copies::{backup, restore};
use super::{FileLock, beside, lock_bytes, prepare};
use crate::id::{ChatId, UserId};
use crate::store::{Accounts, Chats, Log, Messages, NewGroup, NewMessage, NewUser, Store};
use crate::words::Words;
use sqlx::Connection;
use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::Duration;
use time::OffsetDateTime;

const SECRET_TEXT: &str = "a text that must be gone for good";

async fn open(path: &Path) -> SqliteStore {
    let store = SqliteStore::open(path).await.unwrap();
    store.migrate().await.unwrap();
    store
}

async fn user(store: &SqliteStore, name: &str) -> UserId {
    let (username, email) = (name.to_owned(), format!("{name}@example.org"));
    store.create_user(NewUser { username, email, password_hash: "x".into() }).await.unwrap().id
}

async fn group(store: &SqliteStore, owner: UserId) -> ChatId {
    let group = NewGroup { owner, name: "secret room".into(), description: None, is_public: true, member_ids: vec![] };
    store.create_group(group).await.unwrap().0.id
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Why the file is refused.
async fn refusal(path: &Path) -> String {
    let error = SqliteStore::open(path).await.err().expect("it is refused");
    error.inside().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_orderly_end_the_file_is_whole_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let store = open(&path).await;
    user(&store, "ann").await;
    for name in names(dir.path()) {
        let mode = std::fs::metadata(dir.path().join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    store.close().await;
    drop(store);
    assert_eq!(names(dir.path()), ["chat.db", "chat.db.lock"]);
    let copy = dir.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    assert!(open(&copy).await.credentials("ann").await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_serves_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let store = open(&path).await;
    let link = dir.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for name in [&path, &link] {
        let second = SqliteStore::open(name).await.err().expect("it is refused");
        assert_eq!(second.code(), "unavailable");
        assert!(second.inside().unwrap().to_string().contains("another process is using it"));
    }
    store.drains();
    assert!(refusal(&path).await.contains("draining"));
    user(&store, "ann").await;
    store.close().await;
    drop(store);
    let next = open(&path).await;
    assert!(next.credentials("ann").await.unwrap().is_some());
    assert!(refusal(&path).await.contains("is using it"), "the word of the one before is gone");
}

/// On some volumes every kind of lock is one of bytes: a lock of the whole file would keep SQLite
/// out of its own.
#[test]
fn the_lock_leaves_sqlite_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let lock = FileLock::take(&path).unwrap();
    prepare(&path, &lock).unwrap();
    lock.hold(&path).unwrap();
    let other = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    lock_bytes(&other, 0, 0x4000_0000 + 512).unwrap();
    assert!(lock_bytes(&other, 0, 0).is_err(), "the whole file, to its end and beyond");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_ours_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.db");
    let url = format!("sqlite:{}?mode=rwc", path.display());
    let mut old = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let tables = "create table users (id integer primary key); create table chat_members (a int)";
    sqlx::raw_sql(tables).execute(&mut old).await.unwrap();
    old.close().await.unwrap();
    let text = dir.path().join("notes.txt");
    std::fs::write(
        &text,
        "a text of a few words, longer than the header of a database would have to be, by some bytes",
    )
    .unwrap();
    for (path, words) in [(&path, "another program, perhaps of an earlier messenger"), (&text, "no SQLite database")] {
        let before = std::fs::read(path).unwrap();
        let said = refusal(path).await;
        assert!(said.contains(words), "{said}");
        assert_eq!(std::fs::read(path).unwrap(), before);
    }
    assert_eq!(names(dir.path()), ["notes.txt", "old.db"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_another_state_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, crashed) = (dir.path().join("chat.db"), dir.path().join("crashed.db"));
    let backup = dir.path().join("backup.db");
    let store = open(&path).await;
    user(&store, "ann").await;
    store.close().await;
    drop(store);
    std::fs::copy(&path, &backup).unwrap();
    let store = open(&path).await;
    user(&store, "ben").await;
    // As a crash leaves them.
    for ending in ["", "-wal", ".lock"] {
        std::fs::copy(beside(&path, ending), beside(&crashed, ending)).unwrap();
    }
    let recovered = open(&crashed).await;
    assert!(recovered.credentials("ben").await.unwrap().is_some());
    drop(recovered);
    for replaced in [Some(&backup), None] {
        let other = dir.path().join(format!("other{}.db", replaced.is_some()));
        for ending in ["-wal", ".lock"] {
            std::fs::copy(beside(&path, ending), beside(&other, ending)).unwrap();
        }
        if let Some(backup) = replaced {
            std::fs::copy(backup, &other).unwrap();
            // SQLite would replay the log for one who only looks whether the schema is there.
            let waits = SqliteStore::is_migrated(&other).await.expect_err("it is refused").cause();
            assert!(waits.contains("-wal belongs to another state"), "{waits}");
        }
        let said = refusal(&other).await;
        assert!(said.contains("-wal belongs to another state"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_text_is_in_neither_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat.db");
    let store = open(&path).await;
    let ann = user(&store, "ann").await;
    let (kept, gone) = (group(&store, ann).await, group(&store, ann).await);
    for chat_id in [kept, gone] {
        let texts = (0..30).map(|_| NewMessage {
            chat_id,
            author_id: ann,
            author_username: "ann".into(),
            text: SECRET_TEXT.into(),
            client_message_id: None,
            reply_to_id: None,
            mentions: Vec::new(),
            words: Words::of(SECRET_TEXT),
        });
        for sent in store.send(texts.collect()).await.unwrap().results {
            let id = sent.unwrap().message.id;
            if chat_id == kept && id.0 % 2 == 0 {
                store.delete(id, ann).await.unwrap();
            } else if chat_id == kept {
                store.edit(id, ann, "x".into(), Vec::new()).await.unwrap();
            }
        }
    }
    store.delete_chat(gone, ann).await.unwrap();
    while store.prune(Duration::from_secs(3600), 1000).await.unwrap() > 0 {}
    let hits = |ending: &str, text: &str| {
        let bytes = std::fs::read(beside(&path, ending)).unwrap();
        bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count()
    };
    assert_eq!((hits("", SECRET_TEXT), hits("-wal", SECRET_TEXT)), (0, 0));
    assert_eq!((hits("", "secret room"), hits("-wal", "secret room")), (1, 0), "the name of the living one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_read_only_does_not_answer() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("chat.db")).await;
    store.ping().await.unwrap();
    let mut writer = store.database.writer.acquire().await.unwrap();
    sqlx::raw_sql("pragma query_only = on").execute(&mut *writer).await.unwrap();
    drop(writer);
    assert_eq!(store.ping().await.unwrap_err().code(), "unavailable");
}

/// The folder belongs to whoever took over the service, and root runs a command.
#[test]
fn a_lock_file_that_is_a_link_is_not_followed() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, other) = (dir.path().join("chat.db"), elsewhere.path().join("shadow"));
    let own = std::fs::metadata(dir.path()).unwrap().uid();
    if own == 0 {
        chown(dir.path(), Some(4711), None).unwrap();
    }
    for text in [None, Some("root:*:")] {
        if let Some(text) = text {
            std::fs::write(&other, text).unwrap();
        }
        symlink(&other, beside(&path, ".lock")).unwrap();
        assert!(FileLock::take(&path).is_err());
        let kept = text.map(|text| (text.to_owned(), own));
        let there = std::fs::read_to_string(&other).ok().zip(std::fs::metadata(&other).ok().map(|file| file.uid()));
        assert_eq!(there, kept);
        std::fs::remove_file(beside(&path, ".lock")).unwrap();
    }
    drop(FileLock::take(&path).unwrap());
}

/// A command of root's beside a program that runs as another user. Others make files of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_root_restores_belongs_to_the_owner_of_the_database() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, copy) = (dir.path().join("chat.db"), elsewhere.path().join("copy.db"));
    let owner = |path: &Path| std::fs::metadata(path).unwrap().uid();
    let own = owner(dir.path());
    let service = if own == 0 { 4711 } else { own };
    open(&path).await.close().await;
    backup(&path, &copy, false).await.unwrap();
    assert_eq!(owner(&copy), own, "a backup is of whoever makes it");
    for kept in [dir.path(), &path, &beside(&path, ".lock")] {
        chown(kept, Some(service), None).unwrap();
    }
    restore(&path, &copy, OffsetDateTime::UNIX_EPOCH).await.unwrap().expect("the one before");
    assert_eq!(owner(&path), service);
    // Where there is none, the folder tells.
    for gone in names(dir.path()) {
        std::fs::remove_file(dir.path().join(gone)).unwrap();
    }
    restore(&path, &copy, OffsetDateTime::UNIX_EPOCH).await.unwrap();
    assert_eq!(owner(&path), service);
    let lock = FileLock::take(&path).unwrap();
    assert_eq!(owner(&beside(&path, ".lock")), service);
    drop(lock);
}
