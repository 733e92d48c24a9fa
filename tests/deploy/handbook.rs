//! `docs/OPERATIONS.md`: its commands are run in the order of the page, on real servers, and their
//! promises are looked at. Commands that are not run say so, and why, in the paragraph before.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::python::document;
use super::{root, shipped};
use crate::support::deployment::SECRET_KEY;
use crate::support::{Deployment, Postgres, Program, Redis, SOON, blocking, json, limited, process, until};

const OLD: &str = "the-old-password";
const NEW: &str = "the-new-password";

/// Commands of the page, with the heading that they stand under.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) under: String,
    pub(super) commands: String,
    /// Why they are not run here, if so.
    spared: Option<String>,
}

/// The blocks of a page.
pub(super) fn blocks(page: &str) -> Vec<Block> {
    let (mut found, mut under, mut before) = (Vec::new(), "", "");
    for paragraph in page.split("\n\n") {
        if let Some(commands) = paragraph.strip_prefix("```sh\n") {
            let commands = commands.trim_end().strip_suffix("\n```").expect("a block without blank lines");
            let spared = before.strip_prefix("Not run here: ").map(str::to_owned);
            found.push(Block { under: under.to_owned(), commands: commands.to_owned(), spared });
        } else if paragraph.starts_with('#') {
            under = paragraph.trim_start_matches('#').trim();
        }
        before = paragraph;
    }
    assert_eq!(page.matches("```sh\n").count(), found.len(), "a block that is no paragraph of its own");
    found
}

/// Commands that are about the file of one process.
const FILE: &str = "The file";
/// Sections that no machine of ours can run, by heading.
const SPARED: [&str; 8] = [
    "One process with systemd and Caddy",
    "One process with systemd and Caddy",
    "Compose",
    "Kubernetes",
    "Kubernetes",
    "Postgres",
    "The password of Redis",
    "The password of Redis",
];

#[test]
fn commands_that_are_not_run_say_why() {
    let page = shipped("docs/OPERATIONS.md");
    let found = blocks(&page);
    // Marked as another language, a command would be run by nobody. `programs::merging` runs the
    // rights that an owner grants.
    let grants = page.matches("```sql\ngrant ").count();
    assert_eq!((page.matches("```").count(), grants), (2 * (found.len() + grants), 1), "a block that is not sh");
    assert!(found.len() > 15, "{found:#?}");
    let spared: Vec<_> = found.iter().filter(|block| block.spared.is_some()).map(|block| &block.under[..]).collect();
    assert_eq!(spared, SPARED, "one more that nobody runs: can it be run?");
    assert_eq!(page.matches("Not run here: ").count(), SPARED.len(), "an excuse before nothing");
}

#[test]
fn blocks_are_found_with_their_heading_and_their_excuse() {
    let page = "# A\n\n## B\n\nText.\n\n```sh\none\ntwo\n```\n\nNot run here: too far.\n\n```sh\nthree\n```\n";
    let found = blocks(page);
    assert_eq!((found[0].under.as_str(), found[0].commands.as_str()), ("B", "one\ntwo"));
    assert!(found[0].spared.is_none());
    assert_eq!(found[1].spared.as_deref(), Some("too far."));
}

/// What the Prometheus operator gets is what Prometheus is tested with.
#[tokio::test]
async fn the_operators_rules_are_the_alerts() {
    let page = shipped("docs/OPERATIONS.md");
    let block = blocks(&page).into_iter().find(|block| block.commands.contains("PrometheusRule")).unwrap();
    let (made, _) = block.commands.split_once(" | kubectl").unwrap();
    let mut shell = Command::new("bash");
    shell.args(["-euc", made]).current_dir(root());
    let rule = document(&blocking(|| process::run(shell)).await.unwrap()).await;
    assert_eq!(rule["kind"], "PrometheusRule");
    assert_eq!(rule["spec"], document(&shipped("deploy/prometheus/alerts.yml")).await);
}

/// Runs the commands as an operator would, with these variables.
pub(super) async fn run(
    block: &Block,
    dir: &Path,
    env: &BTreeMap<String, String>,
    addresses: &[(&str, String)],
) -> String {
    let mut commands = block.commands.clone();
    for (shipped, own) in addresses {
        commands = commands.replace(shipped, own);
    }
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &commands]).current_dir(dir).envs(env);
    let said = blocking(|| process::run(shell)).await;
    said.unwrap_or_else(|error| panic!("under {}: {error}", block.under))
}

/// The programs, and those of this folder, before the machine's own.
pub(super) async fn path_with(bin: &Path) -> String {
    let programs = blocking(|| Program::Messenger.path()).await.unwrap();
    let folders = [programs.parent().unwrap(), bin].map(|folder| folder.display().to_string());
    format!("{}:{}", folders.join(":"), std::env::var("PATH").unwrap_or_default())
}

#[tokio::test]
async fn every_command_does_what_the_page_says() {
    limited(async {
        let (postgres, dir) = (Postgres::private().await, process::new_dir("handbook"));
        let redis = Redis::with_options(&["--requirepass", OLD]).await;
        let address = |password: &str| format!("redis://default:{password}@{}", redis.address());
        let cluster =
            Deployment::cluster(1, 2).postgres(&postgres).redis(&redis).env("REDIS_URL", address(OLD)).start().await;
        let (ann, bob) = (cluster.user().await, cluster.user().await);
        let chat = ann.group_id(&[&bob]).await;
        ann.say(chat, "worth a backup").await;
        let mut socket = bob.connect_to(1).await;
        let before = socket.subscribe(chat).await;

        let admin = |url: String| url.trim_start_matches("http://").to_owned();
        let addresses = [
            ("127.0.0.1:9000", admin(cluster.api(0).admin_url())),
            ("127.0.0.1:9001", admin(cluster.gateway(1).admin_url())),
        ];
        let of_server = |database| format!("{}/{database}", cluster.database_url().rsplit_once('/').unwrap().0);
        let copy = of_server("messenger_restored");
        let mut env: BTreeMap<String, String> = [
            ("DATABASE_URL", cluster.database_url().to_owned()),
            ("SERVER_URL", of_server("postgres")),
            ("RESTORED_URL", copy.clone()),
            ("REDIS_URL", address(OLD)),
            ("OLD_PASSWORD", OLD.to_owned()),
            ("NEW_PASSWORD", NEW.to_owned()),
            ("MESSENGER_PASSWORD", "of-the-user".to_owned()),
            ("PID", cluster.gateway(0).pid().unwrap().to_string()),
            ("SECRET_KEY", SECRET_KEY.to_owned()),
            ("PATH", path_with(postgres.bin()).await),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();

        let page = shipped("docs/OPERATIONS.md");
        for block in blocks(&page) {
            if block.spared.is_some() || block.under == FILE {
                continue;
            }
            let said = run(&block, &dir, &env, &addresses).await;
            println!("run: {}: {}\n{said}", block.under, block.commands);
            if block.commands.contains(">$NEW_PASSWORD") {
                // Both hold now: the nodes are renewed one after the other, without a stop.
                for node in cluster.nodes() {
                    node.set_env("REDIS_URL", &address(NEW));
                    node.restart().await;
                }
                env.insert("REDIS_URL".to_owned(), address(NEW));
                env.insert("PID".to_owned(), cluster.gateway(0).pid().unwrap().to_string());
            }
        }

        // The gateway that was hot drained and ended.
        let status = cluster.gateway(0).wait_exit(SOON).await;
        assert_eq!(status.code(), Some(0), "{}", cluster.gateway(0).tail(20));
        // The old password is nobody's; the nodes live on under the new one.
        let old = redis::Client::open(address(OLD)).unwrap().get_connection();
        assert!(old.is_err(), "the old password still opens Redis");
        // Everybody was logged out, and the history that went back has another epoch.
        until("the sessions ended", || async { ann.rest.get("/auth/me").await.status == 401 }).await;
        let ann_again = ann.second_session().await;
        let mut socket = ann_again.connect_to(1).await;
        let after = socket.subscribe(chat).await;
        assert_ne!(before["epoch"], after["epoch"]);
        ann_again.say(chat, "after everything").await;
        socket.expect("new_message").await;

        // The dump is a messenger: the same people and texts, and the history of a copy.
        let restored = Deployment::cluster(1, 1).postgres(&postgres).env("DATABASE_URL", copy).start().await;
        let login = json!({"username": ann.username, "password": ann.password});
        let tokens = restored.rest().post("/auth/login", login).await.ok(200);
        let rest = restored.rest().with_bearer(tokens["access_token"].as_str().unwrap());
        let history = rest.get(&format!("/messages/chat/{chat}")).await.ok(200);
        assert_eq!(history["items"][0]["text"], "worth a backup");
        assert_eq!(history["items"].as_array().unwrap().len(), 1);
        assert_eq!(restored.rest().with_bearer(&ann.access).get("/auth/me").await.status, 401);
        process::remove_dir(&dir);
    })
    .await;
}

#[tokio::test]
async fn the_file_is_backed_up_and_restored() {
    limited(async {
        let messenger = Deployment::embedded().start().await;
        let (ann, dir) = (messenger.user().await, process::new_dir("handbook"));
        let chat = ann.group_id(&[]).await;
        ann.say(chat, "worth a backup").await;
        let env = BTreeMap::from([
            ("DATABASE_URL".to_owned(), messenger.env()["DATABASE_URL"].clone()),
            ("PATH".to_owned(), path_with(&dir).await),
        ]);
        let page = shipped("docs/OPERATIONS.md");
        let found: Vec<_> = blocks(&page).into_iter().filter(|block| block.under == FILE).collect();
        let [backup, restore] = &found[..] else { panic!("{found:#?}") };
        run(backup, &dir, &env, &[]).await;
        ann.say(chat, "of after the backup").await;
        let node = messenger.api(0);
        node.sigterm();
        node.wait_exit(SOON).await;
        run(restore, &dir, &env, &[]).await;
        node.start_again().await;
        let again = ann.second_session().await;
        let texts = again.history(chat).await;
        let texts: Vec<_> = texts["items"].as_array().unwrap().iter().map(|message| &message["text"]).collect();
        assert_eq!(texts, ["worth a backup"]);
        assert_eq!(ann.rest.get("/auth/me").await.status, 401, "everybody logs in again");
        process::remove_dir(&dir);
    })
    .await;
}
