//! G3 on a Redis Cluster: primaries die under load, and their replicas take over.

use std::time::{Duration, Instant};

use super::figures::{backplane_shows, outbox_empties};
use super::load::Load;
use crate::support::{Deployment, RedisCluster, eventually, limited};

/// Two seconds until the others notice, their vote, the promotion; on a busy machine.
const PROMOTED_WITHIN: Duration = Duration::from_secs(30);
/// "As fast as ever", on a machine that is busy with other tests.
const FAST: Duration = Duration::from_secs(1);

#[tokio::test]
async fn primaries_of_six_servers_die_in_turn_under_load() {
    limited(async {
        let mut cluster = RedisCluster::start(3).await;
        for primary in 0..3 {
            cluster.add_replica(primary).await;
        }
        let d = Deployment::cluster(2, 2).env("REDIS_URL", cluster.urls().join(",")).start().await;
        let mut load = Load::start(&d).await;
        load.fault_begins();
        let mut slowest = Duration::ZERO;
        for primary in 0..2 {
            let (dying, replica) = (&cluster.servers[primary], &cluster.servers[primary + 3]);
            dying.kill().await;
            let died = Instant::now();
            eventually("the replica is promoted, and the cluster whole", PROMOTED_WITHIN, async || {
                let promoted = replica.text(&["INFO", "replication"]).await.contains("role:master");
                let whole = replica.text(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok");
                (promoted && whole).then_some(())
            })
            .await;
            slowest = slowest.max(died.elapsed());
            load.go_on(50).await;
        }
        load.fault_is_over();
        backplane_shows(&d.nodes(), true).await;
        let tally = load.finish("two primaries of a Redis Cluster of six killed in turn").await;
        println!("the slower promotion took {slowest:.1?}");
        tally.check();
        assert_eq!(tally.refused.len() + tally.unanswered, 0, "no writer notices: {tally}");
        assert!(tally.slowest_send() < FAST, "writes succeed as fast as ever: {tally}");
        outbox_empties(d.apis()).await;
    })
    .await;
}
