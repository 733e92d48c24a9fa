//! The embedded form's file: one process, whole after an orderly end.

use std::sync::Arc;
use std::time::Duration;

use crate::support::node::Env;
use crate::support::process::{self, Log};
use crate::support::{Deployment, Program, SOON, blocking, eventually, json, limited, programs};

/// Starts `messenger` on that file and answers its process, its lines and its folder.
async fn second(url: String) -> (process::Process, Arc<Log>, std::path::PathBuf) {
    launched(&url, "on", &[]).await
}

async fn launched(
    url: &str,
    migrate: &str,
    words: &'static [&'static str],
) -> (process::Process, Arc<Log>, std::path::PathBuf) {
    let given =
        [("HOST", "127.0.0.1"), ("PORT", "0"), ("ADMIN_PORT", "0"), ("DATABASE_URL", url), ("MIGRATE", migrate)];
    let env: Env = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let dir = process::new_dir("second");
    let log: Arc<Log> = Arc::default();
    let (to, of) = (Arc::clone(&log), dir.clone());
    let started = blocking(move || programs::launch(Program::Messenger, &of, &env, words, &to)).await;
    (started.unwrap(), log, dir)
}

#[tokio::test]
async fn without_migrations_of_its_own_the_program_waits_for_them() {
    limited(async {
        let folder = process::new_dir("waits");
        let file = folder.join("chat.db");
        let url = format!("sqlite:{}", file.display());
        let (mut first, log, dir) = launched(&url, "off", &[]).await;
        let says = |log: &Arc<Log>, words: &'static str| {
            let log = Arc::clone(log);
            blocking(move || log.find(0, SOON, |line| line.contains(words).then_some(())))
        };
        assert!(says(&log, "waiting for the database's schema").await.is_some(), "{:?}", log.since(0));
        assert!(!file.exists(), "it makes none");
        let (mut migrates, done, elsewhere) = launched(&url, "off", &["migrate"]).await;
        let status = blocking(move || migrates.wait(SOON)).await.unwrap();
        assert_eq!(status.code(), Some(0), "{:?}", done.since(0));
        assert!(says(&log, "listening on http://").await.is_some(), "{:?}", log.since(0));
        first.signal(nix::sys::signal::Signal::SIGTERM);
        assert_eq!(blocking(move || first.wait(SOON)).await.unwrap().code(), Some(0));
        for dir in [dir, elsewhere, folder] {
            process::remove_dir(&dir);
        }
    })
    .await;
}

async fn second_is_refused(url: String) {
    is_refused(&url, &[]).await;
}

async fn is_refused(url: &str, words: &'static [&'static str]) {
    let (mut refused, log, dir) = launched(url, "on", words).await;
    let status = blocking(move || refused.ended(SOON)).await.unwrap();
    assert_eq!(status.code(), Some(1));
    let said = log.since(0);
    let about: Vec<_> = said.iter().filter(|line| line.starts_with("messenger: ")).collect();
    assert!(about.len() == 1 && about[0].contains("another process is using it"), "{words:?}: {said:?}");
    process::remove_dir(&dir);
}

#[tokio::test]
async fn a_second_process_is_refused_and_a_successor_waits_for_the_drain() {
    limited(async {
        let d = Deployment::embedded().env("DRAIN_SECONDS", "3").start().await;
        let ann = d.user().await;
        let url = d.env()["DATABASE_URL"].clone();
        second_is_refused(url.clone()).await;
        // Also by another name of the file, and where somebody deleted the lock.
        let file = std::path::PathBuf::from(url.strip_prefix("sqlite:").unwrap());
        let other = file.with_file_name("other.db");
        std::os::unix::fs::symlink(&file, &other).unwrap();
        second_is_refused(format!("sqlite:{}", other.display())).await;
        std::fs::remove_file(&other).unwrap();
        std::fs::hard_link(&file, &other).unwrap();
        let by_another_name = format!("sqlite:{}", other.display());
        second_is_refused(by_another_name.clone()).await;
        // Nor is it changed or copied without the log that has its other name.
        let copy = std::env::temp_dir().join(format!("copy-{}.db", std::process::id()));
        std::fs::copy(&file, &copy).unwrap();
        let copy: &'static str = copy.to_str().unwrap().to_owned().leak();
        let (restore, backup) = (&*vec!["restore", copy].leak(), &*vec!["backup", "/dev/shm/none.db"].leak());
        for words in [&["invite"][..], &["admin", "users", "list"], restore, backup] {
            is_refused(&by_another_name, words).await;
        }
        let lock = file.with_file_name(format!("{}.lock", file.file_name().unwrap().to_str().unwrap()));
        let aside = lock.with_extension("aside");
        std::fs::rename(&lock, &aside).unwrap();
        is_refused(&url, restore).await;
        std::fs::remove_file(copy).unwrap();
        second_is_refused(url.clone()).await;
        assert!(!lock.exists(), "who is refused leaves no lock");
        // Beside the log that belongs to it the file is read and changed as ever.
        let (mut made, log, dir) = launched(&url, "on", &["invite"]).await;
        let status = blocking(move || made.wait(SOON)).await.unwrap();
        assert_eq!(status.code(), Some(0), "{:?}", log.since(0));
        process::remove_dir(&dir);
        std::fs::rename(&aside, &lock).unwrap();
        ann.rest.get("/auth/me").await.ok(200);

        // A socket makes the drain last.
        let socket = ann.connect().await;
        let node = Arc::clone(&d.apis()[0]);
        node.sigterm();
        let (mut next, log, dir) = second(d.env()["DATABASE_URL"].clone()).await;
        let lines = Arc::clone(&log);
        let up = blocking(move || {
            next.says(&lines, 0, Duration::from_secs(20), |line| line.contains("listening on http://").then_some(()))
        });
        assert!(up.await.is_some(), "{:?}", log.since(0));
        assert_eq!(node.wait_exit(SOON).await.code(), Some(0));
        drop(socket);
        process::remove_dir(&dir);
    })
    .await;
}

/// SQLite would go on to write into a file that no name leads to.
#[tokio::test]
async fn nothing_is_stored_in_a_file_that_is_no_longer_in_its_place() {
    limited(async {
        let d = Deployment::embedded().start().await;
        let ann = d.user().await;
        let chat_id = ann.group_id(&[]).await;
        let file = std::path::PathBuf::from(d.env()["DATABASE_URL"].strip_prefix("sqlite:").unwrap());
        let aside = file.with_extension("aside");
        let body = json!({"chat_id": chat_id, "text": "kept"});
        let node = Arc::clone(&d.apis()[0]);
        let ready = |status: u16| {
            let node = Arc::clone(&node);
            async move {
                let probed = async || {
                    let node = Arc::clone(&node);
                    blocking(move || node.probe("/readyz")).await.filter(|found| *found == status)
                };
                eventually("readiness turns", Duration::from_secs(10), probed).await;
            }
        };
        for replaced in [false, true] {
            std::fs::rename(&file, &aside).unwrap();
            if replaced {
                std::fs::copy(&aside, &file).unwrap();
            }
            ann.rest.post("/messages/send", body.clone()).await.problem(503, "unavailable");
            ready(503).await;
            std::fs::rename(&aside, &file).unwrap();
            ann.rest.post("/messages/send", body.clone()).await.ok(201);
            ready(200).await;
        }
        node.kill_9();
        node.start_again().await;
        assert_eq!(ann.history(chat_id).await["items"].as_array().unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_copy_of_the_file_alone_is_whole_after_an_orderly_end() {
    limited(async {
        let d = Deployment::embedded().start().await;
        let ann = d.user().await;
        let chat_id = ann.group_id(&[]).await;
        ann.say(chat_id, "kept").await;
        let node = Arc::clone(&d.apis()[0]);
        node.sigterm();
        assert_eq!(node.wait_exit(SOON).await.code(), Some(0));
        let file = d.env()["DATABASE_URL"].strip_prefix("sqlite:").unwrap().to_owned();
        assert!(!std::path::Path::new(&format!("{file}-wal")).exists());
        let copy = format!("sqlite:{file}.copy");
        std::fs::copy(&file, format!("{file}.copy")).unwrap();
        let other = Deployment::embedded().env("DATABASE_URL", &copy).start().await;
        let body = crate::support::json!({"username": ann.username, "password": ann.password});
        other.rest().post("/auth/login", body).await.ok(200);
    })
    .await;
}
