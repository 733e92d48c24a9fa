//! The words of new messages are merged into Postgres' index beside the sends.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::programs::metrics::total;
use crate::support::{Deployment, PgBouncer, Postgres, eventually, json, limited};

const HANDBOOK: &str = include_str!("../../docs/OPERATIONS.md");
/// A call of the function that merges, in the server's log.
const MERGE: &str = "select messenger_merge_words";
/// A beat of a node's watch over its database.
const BEAT: &str = "current_setting('transaction_read_only') = 'on'";

/// A server that logs all statements and vacuums nothing by itself.
async fn server() -> Arc<Postgres> {
    let server = Postgres::private().await;
    let mut link = PgConnection::connect(&server.url("postgres")).await.unwrap();
    for setting in ["autovacuum = off", "log_statement = 'all'"] {
        link.execute(AssertSqlSafe(format!("alter system set {setting}"))).await.unwrap();
    }
    link.execute("select pg_reload_conf()").await.unwrap();
    server
}

async fn messages_that_wait(link: &mut PgConnection) -> i64 {
    sqlx::query_scalar("select pending_tuples from pgstatginindex('messages_found')").fetch_one(link).await.unwrap()
}

/// Lines of the server's log with these words.
fn logged(server: &Postgres, words: &str) -> usize {
    server.log().iter().filter(|line| line.contains(words)).count()
}

/// Whichever node sends, in whichever way it reaches its database; and none asks while nothing is
/// sent.
#[tokio::test]
async fn words_are_merged_within_seconds_and_not_asked_for_when_idle() {
    limited(async {
        let server = server().await;
        for is_pooled in [false, true] {
            let direct = server.new_database().await;
            let pooler = PgBouncer::before(server.port(), 8, &[]).await;
            let url = if is_pooled { pooler.url(&direct) } else { direct.clone() };
            let d = Deployment::cluster(2, 1).postgres(&server).env("DATABASE_URL", url).start().await;
            let mut link = PgConnection::connect(&direct).await.unwrap();
            link.execute("create extension pgstattuple").await.unwrap();
            let ann = d.user().await;
            let chat_id = ann.group_id(&[]).await;
            let mut ws = ann.connect().await;
            for way in ["api", "gateway"] {
                for n in 0..20 {
                    if way == "api" {
                        ann.say(chat_id, &format!("word{n} of many")).await;
                    } else {
                        let send =
                            json!({"type": "send_message", "chat_id": chat_id, "text": format!("word{n} of more")});
                        assert_eq!(ws.command(send).await["type"], "message_sent");
                    }
                }
                let merged = async || (messages_that_wait(&mut link).await == 0).then_some(());
                eventually("the words that wait are merged", Duration::from_secs(20), merged).await;
            }
            // All nodes have noticed once a node's watch was there three more times.
            let beats = async |more: usize| {
                let before = logged(&server, BEAT);
                let beaten = async || (logged(&server, BEAT) >= before + more).then_some(());
                eventually("the nodes watch their database", Duration::from_secs(30), beaten).await;
            };
            beats(12).await;
            let asked = logged(&server, MERGE);
            assert!(asked > 0);
            beats(6).await;
            assert_eq!(logged(&server, MERGE), asked, "nothing was written, and it was asked for");
        }
    })
    .await;
}

/// A role that owns no index may not merge: its nodes say so once, and send.
#[tokio::test]
async fn a_node_that_may_not_merge_says_so_once() {
    limited(async {
        let server = server().await;
        let direct = server.new_database().await;
        drop(Deployment::cluster(1, 0).postgres(&server).env("DATABASE_URL", &direct).start().await);
        let mut link = PgConnection::connect(&direct).await.unwrap();
        link.execute("create role guest login").await.unwrap();
        // As the handbook has them.
        let grants = HANDBOOK.split("```sql\n").find(|part| part.starts_with("grant ")).expect("the grants");
        let grants = grants.split("```").next().unwrap_or_default().replace("messenger_app", "guest");
        link.execute(AssertSqlSafe(grants)).await.unwrap();
        let begun = server.log().len();
        let of_guest = direct.replace("postgres@", "guest@");
        let d = Deployment::cluster(1, 0).postgres(&server).env("DATABASE_URL", of_guest).env("MIGRATE", "off");
        let d = d.start().await;
        let ann = d.user().await;
        let chat_id = ann.group_id(&[]).await;
        ann.say(chat_id, "word").await;
        let tried = async || (logged(&server, MERGE) > 1).then_some(());
        eventually("it was tried twice", Duration::from_secs(60), tried).await;
        ann.say(chat_id, "another word").await;
        let said = d.api(0).log().since(0).iter().filter(|line| line.contains("cannot be merged")).count();
        assert_eq!(said, 1, "{}", d.tail(20));
        let failures = total(std::slice::from_ref(d.api(0)), "messenger_word_merge_failures_total", &[]).await;
        assert!(failures >= 2.0, "{failures}");
        let errors: Vec<_> = server.log().into_iter().skip(begun).filter(|line| line.contains("ERROR:")).collect();
        assert!(errors.is_empty(), "{errors:?}");
    })
    .await;
}
