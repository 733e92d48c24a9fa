//! The embedded form's file: one process, whole after an orderly end.

use std::sync::Arc;
use std::time::Duration;

use crate::support::node::Env;
use crate::support::process::{self, Log};
use crate::support::{Deployment, Program, SOON, blocking, limited, programs};

/// Starts `messenger` on that file and answers its process, its lines and its folder.
async fn second(url: String) -> (process::Process, Arc<Log>, std::path::PathBuf) {
    let env: Env = [("HOST", "127.0.0.1"), ("PORT", "0"), ("ADMIN_PORT", "0"), ("DATABASE_URL", &url)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let dir = process::new_dir("second");
    let log: Arc<Log> = Arc::default();
    let (to, of) = (Arc::clone(&log), dir.clone());
    let started = blocking(move || programs::launch(Program::Messenger, &of, &env, &[], &to)).await;
    (started.unwrap(), log, dir)
}

#[tokio::test]
async fn a_second_process_is_refused_and_a_successor_waits_for_the_drain() {
    limited(async {
        let d = Deployment::embedded().env("DRAIN_SECONDS", "3").start().await;
        let ann = d.user().await;
        let (mut refused, log, dir) = second(d.env()["DATABASE_URL"].clone()).await;
        let status = blocking(move || refused.wait(SOON)).await.unwrap();
        assert_eq!(status.code(), Some(1));
        let said = log.since(0);
        let about: Vec<_> = said.iter().filter(|line| line.starts_with("messenger: ")).collect();
        assert!(about.len() == 1 && about[0].contains("another process is using it"), "{said:?}");
        process::remove_dir(&dir);
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
