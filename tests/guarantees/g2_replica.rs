//! Reads from a streaming replica (`DATABASE_READ_URL`): nobody is shown less than they have seen,
//! and nobody reads what they were removed from, whatever becomes of the replica.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::programs::metrics::total;
use crate::support::proxy::Mode;
use crate::support::{Deployment, Postgres, Proxy, SOON, User, eventually, limited};

/// The contract's longest answer.
const LONGEST: Duration = Duration::from_secs(2);
const UP: &str = "messenger_db_replica_up";

struct Replicated {
    d: Deployment,
    database: String,
    replica: Arc<Postgres>,
    proxy: Proxy,
}

impl Replicated {
    async fn start() -> Self {
        let primary = Postgres::private().await;
        let url = primary.new_database().await;
        let database = url.rsplit('/').next().unwrap().to_owned();
        let replica = primary.standby().await;
        let proxy = Proxy::to(&format!("127.0.0.1:{}", replica.port()));
        let read = format!("postgresql://postgres@{}/{database}", proxy.address());
        let builder = Deployment::cluster(2, 1).postgres(&primary).env("DATABASE_URL", url);
        let d = builder.env("DATABASE_READ_URL", read).start().await;
        let this = Self { d, database, replica, proxy };
        this.is_up(true).await;
        this
    }

    /// Waits until both apis use the replica, or neither does.
    async fn is_up(&self, up: bool) {
        let wanted = if up { 2.0 } else { 0.0 };
        eventually("the apis know", SOON, async || {
            let sum = total(self.d.apis(), UP, &[]).await;
            ((sum - wanted).abs() < 0.5).then_some(())
        })
        .await;
    }

    async fn sql(&self, statement: &str) {
        let mut link = PgConnection::connect(&self.replica.url(&self.database)).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut link).await.unwrap();
        link.close().await.unwrap();
    }

    /// How often the replica has read messages.
    async fn reads(&self) -> i64 {
        let mut link = PgConnection::connect(&self.replica.url(&self.database)).await.unwrap();
        let reads = "select coalesce(idx_scan, 0) + seq_scan from pg_stat_user_tables where relname = 'messages'";
        let reads = sqlx::query_scalar(reads).fetch_one(&mut link).await.unwrap();
        link.close().await.unwrap();
        reads
    }
}

fn on(user: &User, n: usize) -> crate::support::Rest {
    user.rest.on(n)
}

/// Changes what others see through one api, and reads it through the other at once.
async fn seen_at_once(d: &Deployment, rounds: usize) {
    let (ann, ben) = (d.user().await, d.user().await);
    let mut slowest = Duration::ZERO;
    for n in 0..rounds {
        let chat_id = ann.group_id(&[&ben]).await;
        let sent = ann.say(chat_id, &format!("text {n}")).await;
        let begun = Instant::now();
        let history = on(&ben, n + 1).get(&format!("/messages/chat/{chat_id}")).await.ok(200);
        slowest = slowest.max(begun.elapsed());
        assert_eq!((&history["items"][0], &history["seq"]), (&sent, &sent["seq"]), "round {n}");
        let chats = on(&ben, n).get("/chats/?limit=1").await.ok(200);
        assert_eq!(chats["items"][0]["last_message"]["id"], sent["id"], "round {n}");
        let members = on(&ben, n + 1).get(&format!("/chats/{chat_id}/members")).await.ok(200);
        assert_eq!(members["items"].as_array().unwrap().len(), 2);
        // Removed: from now on nothing of the chat, by whichever api.
        ann.rest.delete(&format!("/chats/{chat_id}/members/{}", ben.id)).await.ok(204);
        let refused = on(&ben, n + 1).get(&format!("/messages/chat/{chat_id}")).await;
        assert_eq!((refused.status, &refused.json["code"]), (403, &"not_a_member".into()), "round {n}");
        let listed = on(&ben, n).get("/chats/?limit=100").await.ok(200);
        assert!(listed["items"].as_array().unwrap().iter().all(|chat| chat["id"] != chat_id), "round {n}");
        let newcomer = d.user().await;
        let found = on(&ann, n + 1).get(&format!("/users?q={}", newcomer.username)).await.ok(200);
        assert_eq!(found["items"][0]["id"], newcomer.id, "round {n}");
    }
    println!("a history read right after its newest message: {slowest:?} at most");
    assert!(slowest < LONGEST);
}

#[tokio::test]
async fn a_replica_answers_and_shows_what_was_just_written() {
    limited(async {
        let it = Replicated::start().await;
        let before = it.reads().await;
        seen_at_once(&it.d, 20).await;
        // Statistics come a moment after.
        let reads = eventually("the replica was read", SOON, async || {
            let reads = it.reads().await - before;
            (reads > 0).then_some(reads)
        })
        .await;
        println!("the replica read messages {reads} times");
        it.is_up(true).await;
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_stands_still_shows_nothing_old() {
    limited(async {
        let it = Replicated::start().await;
        it.sql("select pg_wal_replay_pause()").await;
        seen_at_once(&it.d, 6).await;
        it.is_up(false).await;
        seen_at_once(&it.d, 3).await;
        assert!(total(it.d.apis(), "messenger_db_replica_lag_bytes", &[]).await > 0.0);
        it.sql("select pg_wal_replay_resume()").await;
        it.is_up(true).await;
        seen_at_once(&it.d, 3).await;
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_dies_or_goes_mute_is_passed_over_and_used_again() {
    limited(async {
        let it = Replicated::start().await;
        it.proxy.set(Mode::Stall);
        seen_at_once(&it.d, 6).await;
        it.is_up(false).await;
        it.proxy.set(Mode::Forward);
        it.proxy.cut();
        it.is_up(true).await;
        it.replica.crash().await;
        seen_at_once(&it.d, 6).await;
        it.is_up(false).await;
        it.replica.start().await;
        it.is_up(true).await;
        seen_at_once(&it.d, 3).await;
    })
    .await;
}

#[tokio::test]
async fn a_promoted_replica_is_another_database() {
    limited(async {
        let it = Replicated::start().await;
        let (ann, ben) = (it.d.user().await, it.d.user().await);
        let chat_id = ann.group_id(&[&ben]).await;
        let sent = ann.say(chat_id, "of the primary").await;
        it.sql("select pg_promote()").await;
        it.sql("update messages set text = 'of another history'").await;
        for n in 0..20 {
            let history = on(&ben, n).get(&format!("/messages/chat/{chat_id}")).await.ok(200);
            assert_eq!(history["items"][0], sent);
        }
        it.is_up(false).await;
        seen_at_once(&it.d, 3).await;
    })
    .await;
}

#[tokio::test]
async fn a_replica_of_another_server_is_never_used() {
    limited(async {
        let other = Postgres::private().await;
        let url = other.new_database().await;
        let standby = other.standby().await;
        let read = standby.url(url.rsplit('/').next().unwrap());
        let primary = Postgres::private().await;
        let own = primary.new_database().await;
        let builder = Deployment::cluster(1, 1).postgres(&primary).env("DATABASE_URL", own);
        let d = builder.env("DATABASE_READ_URL", read).start().await;
        let mark = "the primary answers the reads of the replica";
        eventually("it is named", SOON, async || d.api(0).tail(200).contains(mark).then_some(())).await;
        let (ann, ben) = (d.user().await, d.user().await);
        let chat_id = ann.group_id(&[&ben]).await;
        let sent = ann.say(chat_id, "text").await;
        assert_eq!(ben.history(chat_id).await["items"][0], sent);
        assert!(total(d.apis(), UP, &[]).await < 0.5);
    })
    .await;
}
