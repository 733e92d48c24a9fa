//! G5 when the gateway that is to publish a transition dies before it did.

use std::time::{Duration, Instant};

use sqlx::{Connection, Executor, PgConnection};

use super::crowd::{sockets, users};
use super::watch::{Watch, statuses};
use crate::support::{Deployment, SOON, eventually, limited};

const LEASE: Duration = Duration::from_secs(6);
const MARGIN: Duration = Duration::from_secs(5);
const USERS: usize = 240;

/// How many users of one gateway Redis holds for online.
async fn listed(d: &Deployment) -> u64 {
    let count = "local n = 0 for _, key in ipairs(redis.call('KEYS', '*p:*}:online')) do n = n + redis.call('ZCARD', key) end return n";
    let redis::Value::Int(count) = d.redis().command(&["EVAL", count, "0"]).await else { panic!("no count") };
    count.unsigned_abs()
}

#[tokio::test]
async fn the_death_of_the_sweeping_gateway_loses_no_transition() {
    limited(async {
        let builder = Deployment::cluster(1, 3).env("PRESENCE_LEASE_SECONDS", LEASE.as_secs());
        let d = builder.env("PRESENCE_GRACE_SECONDS", 1).start().await;
        let (observers, users) = (users(&d, 3).await, users(&d, USERS).await);
        let chat_id = observers[0].group_id(&observers[1..].iter().chain(&users).collect::<Vec<_>>()).await;
        let mut watches = Vec::new();
        for observer in &observers {
            watches.push(Watch::subscribed(observer.connect_to(2).await, chat_id).await);
        }
        let _here = sockets(&users, 0).await;
        let told = |watch: &Watch, wanted: &[&str]| {
            let seen = watch.seen();
            users.iter().filter(|user| statuses(&seen, user.id) == wanted).count()
        };
        for watch in &watches {
            let online = async || (told(watch, &["online"]) == USERS).then_some(());
            eventually("all told online", SOON, online).await;
        }

        // From here on nobody reads the store, so that what is swept cannot be published.
        let mut database = PgConnection::connect(d.database_url()).await.unwrap();
        database.execute("begin; lock table users in access exclusive mode").await.unwrap();
        d.gateway(0).kill_9();
        let killed = Instant::now();
        // Only one of the two others sweeps, and it dies with what it swept.
        tokio::time::sleep(LEASE - MARGIN / 2).await;
        d.gateway(2).sigstop();
        eventually("the sweep", LEASE + MARGIN, async || (listed(&d).await == 3).then_some(())).await;
        d.gateway(1).kill_9();
        d.gateway(2).sigcont();
        database.execute("rollback").await.unwrap();
        let died = Instant::now();

        for watch in &watches {
            let offline = async || (told(watch, &["online", "offline"]) == USERS).then_some(());
            eventually("all told offline", LEASE * 2 + MARGIN, offline).await;
        }
        let (after, lease) = (died.elapsed(), killed.elapsed());
        // A second publication would come within one more claim.
        let sentinel = d.user().await;
        sentinel.join(chat_id).await;
        let ws = sentinel.connect_to(2).await;
        watches[0].expect_status(&sentinel, "online", SOON).await;
        ws.close().await;
        watches[0].expect_status(&sentinel, "offline", SOON + MARGIN).await;
        for watch in &watches {
            assert_eq!(told(watch, &["online", "offline"]), USERS, "each once");
        }
        println!("G5 the gateway that swept killed -9 before it published: {USERS} offline told to 3 observers once, {after:.1?} after its death ({lease:.1?} after their gateway's)");
    })
    .await;
}
