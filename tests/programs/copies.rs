//! `messenger backup` and `messenger restore`: copies of the embedded form's file.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;
use sqlx::ConnectOptions;

use crate::support::node::{Env, Node};
use crate::support::process::{self, Log};
use crate::support::{Deployment, Program, SOON, User, Way, Ws, blocking, eventually, json, limited, programs};

/// Runs a sub-command to its end over that database: its exit code, and the line that it wrote.
async fn run(program: Program, url: &str, arguments: &[&str]) -> (i32, String) {
    let env: Env = [("DATABASE_URL", url), ("SECRET_KEY", crate::support::deployment::SECRET_KEY)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    blocking(move || {
        let (dir, log) = (process::new_dir("copies"), Arc::<Log>::default());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut process = programs::launch(program, &dir, &env, &arguments, &log).unwrap();
        let status = process.ended(SOON).unwrap();
        process::remove_dir(&dir);
        let lines = log.since(0);
        assert_eq!(lines.len(), 1, "one line: {lines:?}");
        (status.code().unwrap(), lines[0].clone())
    })
    .await
}

/// A deployment's database, and what is done to it.
struct File {
    url: String,
    path: PathBuf,
}

impl File {
    fn of(d: &Deployment) -> Self {
        let url = d.env()["DATABASE_URL"].clone();
        let path = url.strip_prefix("sqlite:").unwrap().into();
        Self { url, path }
    }

    fn beside(&self, name: &str) -> String {
        self.path.with_file_name(name).to_str().unwrap().to_owned()
    }

    async fn does(&self, arguments: &[&str]) -> String {
        let (code, line) = run(Program::Messenger, &self.url, arguments).await;
        assert_eq!(code, 0, "{line}");
        line
    }

    /// Asserts that the command fails with one line that has these words.
    async fn refuses(&self, arguments: &[&str], words: &str) {
        let (code, line) = run(Program::Messenger, &self.url, arguments).await;
        assert!(code == 1 && line.starts_with("messenger: ") && line.contains(words), "{code}: {line}");
    }
}

async fn stop(node: &Arc<Node>) {
    node.sigterm();
    assert_eq!(node.wait_exit(SOON).await.code(), Some(0));
}

async fn start(node: &Arc<Node>) {
    node.start_again().await;
    let node = Arc::clone(node);
    blocking(move || node.wait_ready()).await.unwrap();
}

fn contains(path: &Path, text: &str) -> bool {
    std::fs::read(path).unwrap().windows(text.len()).any(|part| part == text.as_bytes())
}

/// The numbers of the chat's log, from its beginning.
async fn numbers(user: &User, chat_id: i64) -> Vec<i64> {
    let mut ws = user.connect().await;
    let answer = ws.subscribe_after(chat_id, 0).await;
    let mut all = Vec::new();
    for _ in 0..answer["recovered"].as_i64().unwrap() {
        all.push(ws.expect_in("new_message", chat_id).await["seq"].as_i64().unwrap());
    }
    all
}

#[tokio::test]
async fn a_backup_under_writes_has_all_that_was_answered_before_it() {
    limited(async {
        let d = Deployment::embedded().start().await;
        let ann = d.user().await;
        let chat_id = ann.group_id(&[]).await;
        let gone = ann.say(chat_id, "a word that is taken back").await;
        ann.rest.delete(&format!("/messages/delete/{}", gone["id"])).await.ok(204);
        let file = File::of(&d);
        let copy = file.beside("copy.db");

        let (done, rest) = (Arc::new(AtomicBool::new(false)), ann.rest.clone());
        let before = 20;
        for n in 0..before {
            ann.say(chat_id, &format!("before {n}")).await;
        }
        let stop_writing = Arc::clone(&done);
        let writer = tokio::spawn(async move {
            let mut sent = 0;
            while !stop_writing.load(Ordering::Relaxed) {
                rest.post("/messages/send", json!({"chat_id": chat_id, "text": "meanwhile"})).await.ok(201);
                sent += 1;
            }
            sent
        });
        file.does(&["backup", &copy]).await;
        done.store(true, Ordering::Relaxed);
        assert!(writer.await.unwrap() > 0, "it was written to meanwhile");
        assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!contains(Path::new(&copy), "a word that is taken back"));
        let beside = std::fs::read_dir(file.path.parent().unwrap()).unwrap();
        let drafts = beside.filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_str().unwrap().starts_with("copy.db.")
        });
        assert_eq!(drafts.count(), 0, "nothing else is left");

        // The copy serves by itself once it is restored.
        let other = File { url: format!("sqlite:{}", file.beside("other.db")), path: file.beside("other.db").into() };
        other.does(&["restore", &copy]).await;
        let second = Deployment::embedded().env("DATABASE_URL", &other.url).start().await;
        let body = json!({"username": ann.username, "password": ann.password});
        let tokens = second.rest().post("/auth/login", body).await.ok(200);
        let mut ws = Ws::open(&second.gateway(0).ws_url(), Way::Path, tokens["access_token"].as_str().unwrap()).await;
        ws.expect_welcome().await;
        let answer = ws.subscribe_after(chat_id, 2).await;
        assert!(answer["recovered"].as_i64().unwrap() >= before, "{answer}");
        for n in 0..before {
            let event = ws.expect_in("new_message", chat_id).await;
            assert_eq!(
                (event["seq"].as_i64(), event["message"]["text"].as_str()),
                (Some(n + 3), Some(format!("before {n}").as_str()))
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_backup_replaces_nothing_unless_it_is_asked_to() {
    limited(async {
        let d = Deployment::embedded().start().await;
        let ann = d.user().await;
        let (file, chat_id) = (File::of(&d), ann.group_id(&[]).await);
        let copy = file.beside("copy.db");
        std::fs::write(&copy, "precious").unwrap();
        file.refuses(&["backup", &copy], "exists already").await;
        assert_eq!(std::fs::read(&copy).unwrap(), b"precious");
        file.refuses(&["backup", file.path.to_str().unwrap(), "--replace"], "is the database itself").await;
        file.refuses(&["backup", file.path.parent().unwrap().to_str().unwrap(), "--replace"], "is a folder").await;
        file.refuses(&["backup", &file.beside("none/copy.db")], "or name another file").await;
        file.does(&["backup", &copy, "--replace"]).await;
        assert!(contains(Path::new(&copy), "SQLite format 3"));
        ann.say(chat_id, "it goes on").await;

        let none = File { url: format!("sqlite:{}", file.beside("none.db")), path: file.beside("none.db").into() };
        none.refuses(&["backup", &file.beside("empty.db")], "cannot be copied").await;
        assert!(!Path::new(&file.beside("empty.db")).exists() && !none.path.exists());
    })
    .await;
}

#[tokio::test]
async fn a_restored_history_is_told_by_its_epoch_and_nobodys_token_lives_on() {
    limited(async {
        let d = Deployment::embedded().start().await;
        let (ann, file) = (d.user().await, File::of(&d));
        let chat_id = ann.group_id(&[]).await;
        ann.say(chat_id, "kept").await;
        let logged_out = ann.second_session().await;
        let copy = file.beside("copy.db");
        file.does(&["backup", &copy]).await;
        // After the copy: what the restored history does not have.
        logged_out.rest.post_nothing("/auth/logout").await.ok(204);
        ann.say(chat_id, "lost").await;
        let epoch = ann.connect().await.subscribe(chat_id).await["epoch"].clone();
        file.refuses(&["restore", &copy], "another process is using it").await;
        assert_eq!(ann.history(chat_id).await["seq"], 2);

        let node = Arc::clone(&d.apis()[0]);
        stop(&node).await;
        let said = file.does(&["restore", &copy]).await;
        let kept = said.rsplit(' ').next().unwrap();
        assert!(contains(Path::new(kept), "lost"), "{said}");
        assert_eq!(std::fs::metadata(&file.path).unwrap().permissions().mode() & 0o777, 0o600);
        start(&node).await;

        for user in [&ann, &logged_out] {
            user.rest.get("/auth/me").await.problem(401, "token_invalid");
            let body = json!({"refresh_token": user.refresh});
            let refreshed = d.rest().post("/auth/refresh", body).await;
            assert_eq!(refreshed.status, 401, "{}", refreshed.body);
        }
        let mut again = ann;
        let tokens = again.login().await.ok(200);
        again.take_tokens(&tokens);
        assert_eq!(numbers(&again, chat_id).await, [1]);
        again.say(chat_id, "anew").await;
        let mut ws = again.connect().await;
        let command = json!({"type": "subscribe_chat", "chat_id": chat_id, "after_seq": 2, "epoch": epoch});
        let answer = ws.command(command).await;
        assert_eq!((&answer["resync"], &answer["seq"]), (&json!(true), &json!(2)), "{answer}");
        assert_ne!(answer["epoch"], epoch);
    })
    .await;
}

#[tokio::test]
async fn a_restore_refuses_what_is_no_messengers_and_leaves_all_as_it_is() {
    limited(async {
        let d = Deployment::embedded().start().await;
        let (ann, file) = (d.user().await, File::of(&d));
        stop(&d.apis()[0]).await;
        let before = std::fs::read(&file.path).unwrap();
        let (empty, words, foreign) = (file.beside("empty"), file.beside("words"), file.beside("foreign.db"));
        std::fs::write(&empty, "").unwrap();
        std::fs::write(&words, "a letter, and no database at all\n".repeat(100)).unwrap();
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&foreign).create_if_missing(true);
        let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
        sqlx::raw_sql("create table users (id integer primary key)").execute(&mut other).await.unwrap();
        sqlx::Connection::close(other).await.unwrap();
        let foreign_before = std::fs::read(&foreign).unwrap();
        file.refuses(&["restore", &empty], "no database of a messenger").await;
        file.refuses(&["restore", &words], "not a database").await;
        file.refuses(&["restore", &foreign], "no database of a messenger").await;
        file.refuses(&["restore", &file.beside("missing")], "cannot be copied").await;
        file.refuses(&["restore", file.path.to_str().unwrap()], "is the database itself").await;
        file.refuses(&["restore", file.path.parent().unwrap().to_str().unwrap()], "is a folder").await;
        assert_eq!(std::fs::read(&file.path).unwrap(), before);
        assert_eq!(std::fs::read(&foreign).unwrap(), foreign_before);
        let names = std::fs::read_dir(file.path.parent().unwrap()).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["empty", "foreign.db", "messenger.db", "messenger.db.lock", "words"]);
        start(&d.apis()[0]).await;
        ann.rest.get("/auth/me").await.ok(200);
    })
    .await;
}

/// The last commits stand in the write-ahead log alone.
#[tokio::test]
async fn after_a_crash_a_backup_is_whole_and_a_restore_leaves_no_log_behind() {
    limited(async {
        let d = Deployment::embedded().start().await;
        let (ann, file) = (d.user().await, File::of(&d));
        let chat_id = ann.group_id(&[]).await;
        let (first, second) = (file.beside("first.db"), file.beside("second.db"));
        ann.say(chat_id, "one").await;
        file.does(&["backup", &first]).await;
        ann.say(chat_id, "two").await;
        let node = Arc::clone(&d.apis()[0]);
        node.kill_9();
        file.does(&["backup", &second]).await;
        assert!(contains(Path::new(&second), "two"));

        start(&node).await;
        ann.say(chat_id, "three").await;
        node.kill_9();
        let log = PathBuf::from(file.beside("messenger.db-wal"));
        assert!(std::fs::metadata(&log).unwrap().len() > 0);
        let said = file.does(&["restore", &first]).await;
        assert!(!log.exists() && !Path::new(&file.beside("messenger.db-shm")).exists());
        start(&node).await;
        let mut again = ann;
        let tokens = again.login().await.ok(200);
        again.take_tokens(&tokens);
        assert_eq!(numbers(&again, chat_id).await, [1]);

        // The earlier file is whole too, its log beside it.
        stop(&node).await;
        let kept = PathBuf::from(said.rsplit(' ').next().unwrap());
        let third = File { url: format!("sqlite:{}", kept.display()), path: kept };
        let copy = file.beside("third.db");
        third.does(&["backup", &copy]).await;
        file.does(&["restore", &copy]).await;
        start(&node).await;
        let tokens = again.login().await.ok(200);
        again.take_tokens(&tokens);
        assert_eq!(numbers(&again, chat_id).await, [1, 2, 3]);
    })
    .await;
}

/// A service manager ends one that takes too long.
#[tokio::test]
async fn a_backup_that_a_signal_ends_leaves_nothing() {
    limited(async {
        let d = Deployment::embedded().start().await;
        let file = File::of(&d);
        stop(&d.apis()[0]).await;
        // A writer that holds the whole file makes the backup wait.
        let writer = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(&file.path)
            .locking_mode(sqlx::sqlite::SqliteLockingMode::Exclusive);
        let mut writer = writer.connect().await.unwrap();
        sqlx::query("begin exclusive").execute(&mut writer).await.unwrap();
        let (folder, elsewhere) = (process::new_dir("interrupted"), process::new_dir("elsewhere"));
        let copy = folder.join("copy.db");
        let names = |folder: &Path| {
            let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
            names.collect::<Vec<_>>()
        };
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let (log, env) = (Arc::<Log>::default(), Env::from([("DATABASE_URL".to_owned(), file.url.clone())]));
            let (to, of, copy) = (Arc::clone(&log), elsewhere.clone(), copy.to_str().unwrap().to_owned());
            let launched = blocking(move || programs::launch(Program::Messenger, &of, &env, &["backup", &copy], &to));
            let mut backup = launched.await.unwrap();
            eventually("a draft", SOON, async || (!names(&folder).is_empty()).then_some(())).await;
            backup.signal(signal);
            let status = blocking(move || backup.ended(SOON));
            assert_eq!(status.await.unwrap().code(), Some(1), "{:?}", log.since(0));
            assert!(log.since(0).iter().any(|line| line.contains("a signal ended it")), "{:?}", log.since(0));
            assert!(names(&folder).is_empty(), "{:?}", names(&folder));
        }
        process::remove_dir(&folder);
        process::remove_dir(&elsewhere);
    })
    .await;
}

#[tokio::test]
async fn the_commands_are_the_embedded_forms_alone() {
    limited(async {
        let (code, line) = run(Program::Messenger, "postgres://nobody@127.0.0.1:1/none", &["backup", "x.db"]).await;
        assert_ne!(code, 0);
        assert!(line.starts_with("messenger: "), "{line}");
        let (code, line) = run(Program::Api, "postgres://nobody@127.0.0.1:1/none", &["backup", "x.db"]).await;
        assert!(code == 2 && line.contains("command line"), "{code}: {line}");
    })
    .await;
}
