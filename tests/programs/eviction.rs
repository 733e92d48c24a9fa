//! A Redis that drops keys by itself, under a running program.

use std::sync::Arc;

use crate::support::{Deployment, Node, Redis, SOON, eventually, limited};

/// A node says so once, and notices a change of the policy while it runs.
#[tokio::test]
async fn a_redis_that_evicts_is_warned_of_once() {
    limited(async {
        let redis = Redis::with_options(&["--maxmemory-policy", "allkeys-lru"]).await;
        let cluster = Deployment::cluster(1, 1).redis(&redis).start().await;
        let said = |node: &Arc<Node>, word: &str| node.log().since(0).iter().filter(|line| line.contains(word)).count();
        for node in cluster.nodes() {
            eventually("the warning", SOON, async || (said(&node, "noeviction") == 1).then_some(())).await;
        }
        redis.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
        for node in cluster.nodes() {
            eventually("the all-clear", SOON, async || (said(&node, "no keys by itself any more") == 1).then_some(()))
                .await;
            assert_eq!(said(&node, "set `maxmemory-policy noeviction`"), 1, "once");
        }
    })
    .await;
}
