//! `admin`: the host's work on accounts, beside the programs.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::user::id;
use crate::support::{Deployment, Program, User, Value, blocking, json, limited, process};

both_forms!(
    accounts_are_listed_and_shown,
    a_deactivated_users_sockets_close_at_once_and_come_again_when_activated,
    groups_of_a_deactivated_owner_are_passed_on,
    another_password_ends_all_sessions,
    sessions_end_one_by_one_or_all,
    a_deleted_account_is_nobody,
    what_does_not_fit_is_named,
);

/// Two seconds by the clock of a busy machine: the promise is one.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Runs `admin` with the deployment's configuration.
async fn outcome(d: &Deployment, words: &[&str]) -> Output {
    let program = if d.is_cluster() { Program::Api } else { Program::Messenger };
    let env = d.env().clone();
    let words: Vec<String> = ["admin"].iter().chain(words).map(|word| (*word).to_owned()).collect();
    run(program, env.into_iter().collect(), words).await
}

async fn run(program: Program, env: Vec<(String, String)>, words: Vec<String>) -> Output {
    blocking(move || {
        let dir = process::new_dir("admin");
        let mut command = Command::new(program.path().unwrap());
        let output = command.args(words).current_dir(&dir).env_clear().env("HOME", &dir).envs(env).output();
        process::remove_dir(&dir);
        output.unwrap()
    })
    .await
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The answer as JSON.
async fn admin(d: &Deployment, words: &[&str]) -> Value {
    let words: Vec<_> = words.iter().chain(&["--json"]).copied().collect();
    let done = outcome(d, &words).await;
    assert_eq!(done.status.code(), Some(0), "{words:?}: {}", text(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

/// The line of one that fails.
async fn refused(d: &Deployment, words: &[&str]) -> String {
    let done = outcome(d, words).await;
    assert_eq!(done.status.code(), Some(1), "{words:?}: {}", text(&done.stdout));
    assert_eq!(text(&done.stdout), "");
    let lines = text(&done.stderr);
    lines.lines().last().unwrap().to_owned()
}

async fn accounts_are_listed_and_shown(d: &Deployment) {
    let (ann, bob) = (d.user_named("admlist_a").await, d.user_named("admlist_b").await);
    let page = admin(d, &["users", "list", "--q", "ADMLIST_", "--limit", "1"]).await;
    assert_eq!(page["items"][0]["username"], ann.username);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = admin(d, &["users", "list", "--q", "admlist_", "--limit", "1", "--cursor", cursor]).await;
    assert_eq!((id(&rest["items"][0]), &rest["next_cursor"]), (bob.id, &json!(null)));
    let lines = outcome(d, &["users", "list", "--q", "admlist_", "--limit", "1"]).await;
    let lines = text(&lines.stdout);
    assert!(lines.contains(&format!("{}\t{}\t", ann.id, ann.username)), "{lines}");
    assert!(lines.ends_with(&format!("there are more: --cursor {cursor}\n")), "{lines}");
    ann.second_session().await;
    let by_id = format!("id:{}", ann.id);
    for name in [ann.username.as_str(), &ann.username.to_uppercase(), &by_id] {
        let shown = admin(d, &["users", "show", name]).await;
        assert_eq!((id(&shown), shown["sessions"].as_array().unwrap().len()), (ann.id, 2));
        let email = shown["email"].as_str().unwrap();
        assert_eq!(id(&admin(d, &["users", "show", email]).await), ann.id);
        assert!(!shown.to_string().contains("argon2"));
    }
    let shown = text(&outcome(d, &["users", "show", &ann.username]).await.stdout);
    assert!(shown.contains("\tactive\t") && shown.contains("\nsession "), "{shown}");
}

async fn a_deactivated_users_sockets_close_at_once_and_come_again_when_activated(d: &Deployment) {
    let user = d.user().await;
    let mut sockets = Vec::new();
    for gateway in 0..2 {
        let mut ws = user.connect_to(gateway).await;
        ws.round_trip().await;
        sockets.push(ws);
    }
    for _ in 0..2 {
        assert_eq!(admin(d, &["users", "deactivate", &user.username]).await["is_active"], false);
    }
    for mut ws in sockets {
        assert_eq!(ws.expect_close(AT_ONCE).await.0, 4503);
    }
    crate::rest::ends_within_a_second(&user.rest).await;
    user.login().await.problem(403, "account_disabled");
    let listed = admin(d, &["users", "list", "--q", &user.username]).await;
    assert_eq!(listed["items"][0]["is_active"], false);
    for _ in 0..2 {
        assert_eq!(admin(d, &["users", "activate", &user.username]).await["is_active"], true);
    }
    user.login().await.ok(200);
}

async fn groups_of_a_deactivated_owner_are_passed_on(d: &Deployment) {
    let (ann, bob) = (d.user().await, d.user().await);
    let chat = ann.group_id(&[&bob]).await;
    let mut ws = bob.connect().await;
    ws.subscribe(chat).await;
    admin(d, &["users", "deactivate", &ann.username]).await;
    // What `admin` leaves in the outbox, a relay publishes.
    let event = ws.expect("member_updated").await;
    assert_eq!((&event["user_id"], &event["role"]), (&json!(bob.id), &json!("owner")));
    assert_eq!(bob.chat(chat).await["role"], "owner");
}

async fn another_password_ends_all_sessions(d: &Deployment) {
    let user = d.user().await;
    let mut ws = user.connect().await;
    ws.round_trip().await;
    let done = outcome(d, &["users", "reset-password", &user.username]).await;
    let password = text(&done.stdout).trim().to_owned();
    assert_eq!(password.len(), 20, "{}", text(&done.stderr));
    assert_eq!(ws.expect_close(AT_ONCE).await.0, 4502);
    user.login().await.problem(401, "bad_credentials");
    let body = json!({"username": user.username, "password": password});
    d.rest().post("/auth/login", body).await.ok(200);
    let again = admin(d, &["users", "reset-password", &user.username]).await;
    assert_eq!(id(&again), user.id);
    assert_ne!(again["password"], password);
    admin(d, &["users", "deactivate", &user.username]).await;
    let line = refused(d, &["users", "reset-password", &user.username]).await;
    assert!(line.contains("activate the account first"), "{line}");
}

async fn sessions_end_one_by_one_or_all(d: &Deployment) {
    let user = d.user().await;
    let other = user.second_session().await;
    let (mut ending, mut staying) = (other.connect().await, user.connect().await);
    for ws in [&mut ending, &mut staying] {
        ws.round_trip().await;
    }
    let session = admin(d, &["users", "show", &user.username]).await["sessions"][0]["id"].to_string();
    let ended = admin(d, &["sessions", "end", &user.username, "--session", &session]).await;
    assert_eq!(ended["ended"].as_array().unwrap().len(), 1);
    assert_eq!(ending.expect_close(AT_ONCE).await.0, 4502);
    staying.round_trip().await;
    let line = refused(d, &["sessions", "end", &user.username, "--session", &session]).await;
    assert!(line.contains("no session of that user that goes on"), "{line}");
    assert_eq!(admin(d, &["sessions", "end", &user.username]).await["ended"].as_array().unwrap().len(), 1);
    assert_eq!(staying.expect_close(AT_ONCE).await.0, 4502);
    assert_eq!(admin(d, &["sessions", "end", &user.username]).await["ended"], json!([]));
    user.login().await.ok(200);
}

async fn a_deleted_account_is_nobody(d: &Deployment) {
    let (ann, bob): (User, User) = (d.user().await, d.user().await);
    let chat = bob.group_id(&[&ann]).await;
    ann.say(chat, "still there").await;
    let mut ws = ann.connect().await;
    ws.round_trip().await;
    let gone = admin(d, &["users", "delete", &ann.username]).await;
    let name = format!("deleted-{}", ann.id);
    assert_eq!((&gone["username"], &gone["is_active"]), (&json!(name), &json!(false)));
    assert!(!gone.to_string().contains(&ann.username), "{gone}");
    assert_eq!(ws.expect_close(AT_ONCE).await.0, 4503);
    ann.login().await.problem(401, "bad_credentials");
    let body = json!({"username": name, "password": ann.password});
    d.rest().post("/auth/login", body).await.problem(401, "bad_credentials");
    let message = &bob.history(chat).await["items"][0];
    assert_eq!((&message["text"], &message["author_username"]), (&json!("still there"), &json!(name)));
    assert_eq!(id(&admin(d, &["users", "delete", &name]).await), ann.id, "again is no fault");
    assert!(refused(d, &["users", "show", &ann.username]).await.contains("no such user"));
}

async fn what_does_not_fit_is_named(d: &Deployment) {
    for words in [
        &["users", "show", "nobody-of-this-name"][..],
        &["users", "deactivate", "id:0"],
        &["users", "delete", "id:x"],
        &["sessions", "end", "nobody@example.org"],
        &["users", "show", ""],
    ] {
        let line = refused(d, words).await;
        assert!(line.contains("no such user"), "{line}");
    }
    for (words, word) in [
        (&["users", "list", "--limit", "0"][..], "limit"),
        (&["users", "list", "--limit", "101"], "limit"),
        (&["users", "list", "--cursor", "x"], "cursor"),
        (&["invite", "--max-uses", "-1"], "--max-uses must be"),
    ] {
        assert!(refused(d, words).await.contains(word));
    }
    for words in [&[][..], &["users"], &["users", "show"], &["users", "rename", "x"], &["sessions"]] {
        let done = outcome(d, words).await;
        assert_eq!((done.status.code(), text(&done.stdout)), (Some(2), String::new()), "{words:?}");
    }
    assert_eq!(admin(d, &["invite"]).await["code"].as_str().unwrap().len(), 22);
}

/// Neither makes a database of a name that was mistyped, nor brings one up against `MIGRATE=off`.
#[tokio::test]
async fn a_file_is_neither_made_nor_migrated_against_the_configuration() {
    limited(async {
        let dir = process::new_dir("admin_file");
        let file = dir.join("chat.db");
        let work = |file: &Path, migrate: &str, words: &str| {
            let env = [("DATABASE_URL", format!("sqlite:{}", file.display())), ("MIGRATE", migrate.to_owned())];
            let env = env.map(|(name, value)| (name.to_owned(), value)).to_vec();
            run(Program::Messenger, env, words.split(' ').map(str::to_owned).collect())
        };
        for words in ["admin users list", "invite", "admin invite"] {
            for migrate in ["off", "on"] {
                let done = work(&file, migrate, words).await;
                assert_eq!(done.status.code(), Some(1), "{words}");
                assert!(text(&done.stderr).contains("there is no "), "{words}: {}", text(&done.stderr));
                assert!(!file.exists(), "{words} makes no database");
            }
        }
        // An empty database of ours, as a start that was cut short leaves it.
        std::fs::write(&file, "").unwrap();
        for words in ["admin users list", "invite"] {
            let done = work(&file, "off", words).await;
            assert_eq!(done.status.code(), Some(1), "{words}");
            assert!(text(&done.stderr).contains("run `migrate`"), "{}", text(&done.stderr));
        }
        assert_eq!(work(&file, "off", "migrate --check").await.status.code(), Some(1), "it is as it was");
        assert_eq!(work(&file, "on", "migrate").await.status.code(), Some(0));
        for words in ["admin users list", "invite"] {
            let done = work(&file, "off", words).await;
            assert_eq!(done.status.code(), Some(0), "{words}: {}", text(&done.stderr));
        }
        process::remove_dir(&dir);
    })
    .await;
}

#[tokio::test]
async fn gateways_have_no_such_command() {
    limited(async {
        let done = run(Program::Gateway, Vec::new(), vec!["admin".into(), "users".into(), "list".into()]).await;
        assert_eq!(done.status.code(), Some(2));
    })
    .await;
}
