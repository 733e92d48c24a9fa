//! G5 over a Redis that comes back with an older truth or none: emptied, a snapshot, a replica that
//! lagged; and over a server of a cluster that falls silent.

use std::sync::Arc;
use std::time::Duration;

use super::watch::Watch;
use crate::support::{Deployment, Redis, RedisCluster, SOON, User, Ws, eventually, limited};

/// Buckets of presence: users whose ids differ by it share one, which their node renews for both.
const BUCKETS: i64 = 64;
const LEASE: Duration = Duration::from_secs(3);

/// Two users of one bucket.
async fn of_one_bucket(d: &Deployment) -> (User, User) {
    let first = d.user().await;
    loop {
        let user = d.user().await;
        if (user.id - first.id) % BUCKETS == 0 {
            return (first, user);
        }
    }
}

async fn is_online(asking: &User, user: &User) -> bool {
    asking.rest.get(&format!("/users/{}", user.id)).await.ok(200)["online"] == true
}

#[tokio::test]
async fn a_redis_restored_from_a_snapshot_has_no_ghosts() {
    limited(async {
        let redis = Redis::private().await;
        let builder = Deployment::cluster(1, 1).redis(&redis);
        let d = builder.env("PRESENCE_LEASE_SECONDS", 3).env("PRESENCE_GRACE_SECONDS", 1).start().await;
        let (staying, leaving) = of_one_bucket(&d).await;
        let chat_id = staying.group_id(&[&leaving]).await;
        let watch = Watch::subscribed(staying.connect_to(0).await, chat_id).await;
        let ws = leaving.connect_to(0).await;
        watch.expect_status(&leaving, "online", SOON).await;
        redis.command(&["SAVE"]).await;
        ws.close().await;
        watch.expect_status(&leaving, "offline", SOON).await;
        // Another one comes and goes: what was reported before is past by then.
        let other = d.user().await;
        other.join(chat_id).await;
        let ws = other.connect_to(0).await;
        watch.expect_status(&other, "online", SOON).await;
        ws.close().await;
        watch.expect_status(&other, "offline", SOON).await;
        redis.kill().await;
        redis.start().await;
        let truth =
            async || (!is_online(&staying, &leaving).await && is_online(&staying, &staying).await).then_some(());
        // The snapshot's word may be read before the first beat; after one lease it must be true.
        eventually("the truth", LEASE + SOON, truth).await;
        let ghosts = usize::from(truth().await.is_none());
        leaving.connect_to(0).await;
        watch
            .until("the next online", SOON, |seen| {
                let told = super::watch::statuses(seen, leaving.id);
                (told.len() > 2).then_some(told)
            })
            .await;
        let told = watch.statuses(&leaving);
        println!("G5 Redis killed and restored from its snapshot: {ghosts} ghosts, told {told:?}");
        assert_eq!(told, ["online", "offline", "online"], "each transition once");
    })
    .await;
}

/// Someone who watches on another gateway than those who come and go.
struct Observed {
    d: Deployment,
    redis: Arc<Redis>,
    chat_id: i64,
    watch: Watch,
    /// How long a user counts as online after the last connection.
    grace: Duration,
}

impl Observed {
    async fn start(grace_seconds: u64) -> Self {
        let grace = Duration::from_secs(grace_seconds);
        let redis = Redis::private().await;
        let builder = Deployment::cluster(1, 2).redis(&redis).env("PRESENCE_LEASE_SECONDS", LEASE.as_secs());
        let d = builder.env("PRESENCE_GRACE_SECONDS", grace_seconds).start().await;
        let observer = d.user().await;
        let chat_id = observer.group_id(&[]).await;
        let watch = Watch::subscribed(observer.connect_to(1).await, chat_id).await;
        Self { d, redis, chat_id, watch, grace }
    }

    /// A user who is online by the first gateway, which holds nobody else.
    async fn came(&self) -> (User, Ws) {
        let user = self.d.user().await;
        user.join(self.chat_id).await;
        let ws = user.connect_to(0).await;
        self.watch.expect_status(&user, "online", SOON).await;
        (user, ws)
    }

    /// The user's last connection goes, and Redis hears of it: the grace runs, and nobody was told.
    async fn leaves(&self, user: &User, ws: Ws) {
        ws.close().await;
        let keys = format!("*:p:{}}}:grace", user.id % BUCKETS);
        let ends = "local key = redis.call('KEYS', ARGV[1])[1] return key and redis.call('ZSCORE', key, ARGV[2])";
        eventually("in grace", SOON, async || {
            let ends = self.redis.command(&["EVAL", ends, "0", &keys, &user.id.to_string()]).await;
            (ends != redis::Value::Nil).then_some(())
        })
        .await;
        assert_eq!(self.watch.statuses(user), ["online"], "the grace is over");
    }

    async fn expect_offline(&self, user: &User, what: &str) {
        let told = self.watch.expect_status(user, "offline", 2 * LEASE + SOON).await;
        assert!(!is_online(user, user).await);
        println!("G5 {what}: told offline, {}", told.frame["last_seen_at"]);
    }
}

#[tokio::test]
async fn who_is_in_grace_when_redis_loses_its_data_is_told_offline() {
    limited(async {
        let o = Observed::start(2).await;
        let (user, ws) = o.came().await;
        o.leaves(&user, ws).await;
        o.redis.command(&["FLUSHALL"]).await;
        o.expect_offline(&user, "Redis flushed while a user was in grace").await;
        assert_eq!(o.watch.statuses(&user), ["online", "offline"]);

        let (user, ws) = o.came().await;
        o.leaves(&user, ws).await;
        o.redis.kill().await;
        o.redis.start().await;
        o.expect_offline(&user, "Redis restarted empty while a user was in grace").await;

        let (user, ws) = o.came().await;
        o.leaves(&user, ws).await;
        o.redis.kill().await;
        tokio::time::sleep(LEASE + LEASE / 2).await;
        o.redis.start().await;
        o.expect_offline(&user, "Redis back empty after more than a lease").await;
    })
    .await;
}

#[tokio::test]
async fn who_left_while_redis_was_away_is_told_offline() {
    limited(async {
        let o = Observed::start(1).await;
        let (user, ws) = o.came().await;
        o.redis.kill().await;
        ws.close().await;
        tokio::time::sleep(LEASE + LEASE / 2).await;
        o.redis.start().await;
        o.expect_offline(&user, "the only user of a bucket left while Redis was away, back empty").await;
    })
    .await;
}

#[tokio::test]
async fn whom_a_snapshot_brings_back_untold_is_told_offline() {
    limited(async {
        let o = Observed::start(2).await;
        // The snapshot has the user online, or not yet.
        for saved_first in [false, true] {
            if saved_first {
                o.redis.command(&["SAVE"]).await;
            }
            let (user, ws) = o.came().await;
            if !saved_first {
                o.redis.command(&["SAVE"]).await;
            }
            o.leaves(&user, ws).await;
            o.redis.kill().await;
            // Longer than the grace: nobody swept meanwhile.
            tokio::time::sleep(2 * o.grace).await;
            o.redis.start().await;
            o.expect_offline(&user, "Redis restored from a snapshot of before").await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_of_the_cluster_that_falls_silent_is_missed_until_its_replica_takes_over() {
    limited(async {
        let mut cluster = RedisCluster::start(3).await;
        cluster.add_replica(0).await;
        let d = Deployment::cluster(1, 1).env("REDIS_URL", cluster.urls()[..3].join(",")).start().await;
        let mut users = Vec::new();
        for _ in 0..12 {
            let user = d.user().await;
            let ws = user.connect_to(0).await;
            users.push((user, ws));
        }
        cluster.servers[0].freeze();
        let replica = &cluster.servers[3];
        eventually("the replica takes over", Duration::from_secs(30), async || {
            replica.text(&["INFO", "replication"]).await.contains("role:master").then_some(())
        })
        .await;
        let promoted = std::time::Instant::now();
        let asking = d.user().await;
        let count = async || {
            let answer = asking.rest.get("/ws/online-users?limit=1").await;
            (answer.status == 200).then(|| answer.json["count"].as_u64())?
        };
        eventually("the list", SOON, async || (count().await? == 12).then_some(())).await;
        println!("G5 one server of a cluster frozen: the list {:.1?} after its replica took over", promoted.elapsed());
        for n in 13..=24 {
            let user = d.user().await;
            let ws = user.connect_to(0).await;
            users.push((user, ws));
            eventually("one more", SOON, async || (count().await? == n).then_some(())).await;
        }
    })
    .await;
}
