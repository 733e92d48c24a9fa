//! G5 over a Redis that comes back with an older truth: a snapshot, or a replica that lagged.

use std::time::Duration;

use super::watch::Watch;
use crate::support::{Deployment, Redis, SOON, User, eventually, limited};

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
