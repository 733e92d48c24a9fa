//! G5 over a Redis that comes back with an older truth: a snapshot, or a replica that lagged; and
//! over a server of a cluster that falls silent.

use std::time::Duration;

use super::watch::Watch;
use crate::support::{Deployment, Redis, RedisCluster, SOON, User, eventually, limited};

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
