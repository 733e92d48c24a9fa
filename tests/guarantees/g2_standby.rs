//! G2 over the promotion of a real standby that lacks the last commits: `resync` to those who had
//! them, no sequence with a hole, and no token of a lost registration that becomes another's.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::postgres::Postgres;
use crate::support::{Deployment, Proxy, SOON, User, Ws, eventually, limited};

/// From the promotion to the first commit: pools that notice, retry, connect.
const WRITABLE_WITHIN: Duration = Duration::from_secs(15);

async fn number(server: &Postgres, database: &str, query: &str) -> i64 {
    let mut link = PgConnection::connect(&server.url(database)).await.unwrap();
    let number = sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&mut link).await.unwrap();
    link.close().await.unwrap();
    number
}

async fn run(server: &Postgres, statement: &str) {
    let mut link = PgConnection::connect(&server.url("postgres")).await.unwrap();
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut link).await.unwrap();
    link.close().await.unwrap();
}

/// Waits until the standby has the chat up to `head`, and has it receive no more.
async fn cut_off(standby: &Postgres, database: &str, chat_id: i64, head: i64) {
    let query = format!("select seq from chats where id = {chat_id}");
    eventually("the standby follows", SOON, async || (number(standby, database, &query).await == head).then_some(()))
        .await;
    run(standby, "alter system set primary_conninfo = ''").await;
    run(standby, "select pg_reload_conf()").await;
    eventually("the standby receives nothing", SOON, async || {
        (number(standby, database, "select count(*) from pg_stat_wal_receiver").await == 0).then_some(())
    })
    .await;
}

/// The chat's messages up to `last`, as (number, text).
async fn read_until(ws: &mut Ws, chat_id: i64, last: &Value) -> Vec<(i64, String)> {
    let mut messages = Vec::new();
    loop {
        let message = ws.expect_in("new_message", chat_id).await["message"].clone();
        messages.push((message["seq"].as_i64().unwrap(), message["text"].as_str().unwrap().to_owned()));
        if message == *last {
            return messages;
        }
    }
}

/// The user's message, as soon as the database takes writes again.
async fn first_message(ann: &User, chat_id: i64, text: &str) -> Value {
    let body = json!({"chat_id": chat_id, "text": text, "client_message_id": "the first after the failover"});
    eventually("a commit", WRITABLE_WITHIN, async || {
        let answer = ann.rest.post("/messages/send", body.clone()).await;
        assert!(matches!(answer.status, 200 | 201 | 503), "{answer:?}");
        (answer.status < 300).then_some(answer.json)
    })
    .await
}

#[tokio::test]
async fn a_promoted_standby_that_lacks_commits_leaves_no_hole() {
    limited(async {
        let primary = Postgres::private().await;
        let url = primary.new_database().await;
        let database = url.rsplit('/').next().unwrap();
        let standby = primary.standby().await;
        let proxy = Proxy::to(&format!("127.0.0.1:{}", primary.port()));
        let d = Deployment::cluster(1, 2)
            .postgres(&primary)
            .env("DATABASE_URL", format!("postgresql://postgres@{}/{database}", proxy.address()))
            .start()
            .await;
        let (ann, bob) = (d.user().await, d.user().await);
        let chat_id = ann.group_id(&[&bob]).await;
        let mut live = [bob.connect_to(0).await, bob.connect_to(1).await];
        let mut epoch = Value::Null;
        for ws in &mut live {
            epoch = ws.subscribe(chat_id).await["epoch"].clone();
        }
        for n in 1..=5 {
            ann.say(chat_id, &format!("kept {n}")).await;
        }
        cut_off(&standby, database, chat_id, 5).await;
        let mut lost = Value::Null;
        for n in 6..=9 {
            lost = ann.say(chat_id, &format!("lost {n}")).await;
        }
        let carl = d.user_named("carl").await;
        for ws in &mut live {
            assert_eq!(read_until(ws, chat_id, &lost).await.len(), 9);
        }

        primary.crash().await;
        run(&standby, "select pg_promote()").await;
        let promoted = Instant::now();
        proxy.lead_to(&format!("127.0.0.1:{}", standby.port()));
        let first = first_message(&ann, chat_id, "new 6").await;
        println!("G2 a standby that lacks 4 commits is promoted: the first commit after {:.1?}", promoted.elapsed());
        assert_eq!(first["seq"], 6, "numbers are given anew");
        // One who comes back with a number of the lost history, before anybody noticed.
        let mut back = bob.connect_to(1).await;
        let again = json!({"type": "subscribe_chat", "chat_id": chat_id, "after_seq": 9, "epoch": epoch});
        for n in 7..=15 {
            ann.say(chat_id, &format!("new {n}")).await;
        }
        let subscribed = back.command(again).await;
        assert_eq!((&subscribed["resync"], &subscribed["seq"]), (&true.into(), &15.into()), "{subscribed}");
        let mut resynced = Vec::new();
        for ws in &mut live {
            let is_it = |frame: &Value| frame["type"] == "resync" && frame["chat_id"] == chat_id;
            resynced.push(ws.expect_where("a resync", SOON, is_it).await["seq"].as_i64().unwrap());
        }
        println!("G2 the last resync {:.1?} after the promotion", promoted.elapsed());
        let last = ann.say(chat_id, "new 16").await;
        resynced.push(15);
        for (ws, after) in live.iter_mut().chain([&mut back]).zip(resynced) {
            let wanted: Vec<_> = (after + 1..=16).map(|seq| (seq, format!("new {seq}"))).collect();
            assert_eq!(read_until(ws, chat_id, &last).await, wanted, "consecutive after the resync at {after}");
        }
        // The lost registration's number may be given to another; its token speaks for nobody.
        let dora = d.user_named("dora").await;
        assert_eq!(carl.rest.get("/auth/me").await.status, 401);
        assert_eq!(dora.rest.get("/auth/me").await.status, 200);
    })
    .await;
}
