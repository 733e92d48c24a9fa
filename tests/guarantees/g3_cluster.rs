//! G3 on a Redis Cluster: primaries die under load, and their replicas take over.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::figures::{backplane_shows, links_show, outbox_empties, ready_for};
use super::load::Load;
use crate::support::{Deployment, RedisCluster, eventually, limited};

/// Two seconds until the others notice, their vote, the promotion; on a busy machine.
const PROMOTED_WITHIN: Duration = Duration::from_secs(30);
/// "As fast as ever", on a machine that is busy with other tests.
const FAST: Duration = Duration::from_secs(1);
/// A server that is away for less leaves the nodes ready.
const AWAY_FOR_LONG: Duration = Duration::from_secs(5);

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

/// All nodes miss a server of the cluster alike: to take them all from the load balancer would
/// take the whole service away while a replica is promoted.
#[tokio::test]
async fn a_server_of_the_cluster_that_is_away_for_a_moment_leaves_the_nodes_ready() {
    limited(async {
        // No server finds the cluster down within the time of this test.
        let cluster = RedisCluster::with_node_timeout(3, 60_000).await;
        let d = Deployment::cluster(1, 1).env("REDIS_URL", cluster.urls().join(",")).start().await;
        let away = &cluster.servers[1];
        for killed in [false, true] {
            let gone = Instant::now();
            if killed {
                away.kill().await;
            } else {
                away.freeze();
            }
            let how = if killed { "killed" } else { "frozen" };
            let nodes = d.nodes();
            let watched = join_all(nodes.iter().map(|node| ready_for(node, gone)));
            let (ready, shown) = tokio::join!(watched, async {
                links_show(&nodes, false).await;
                gone.elapsed()
            });
            println!("one server of three {how}: shown after {shown:.1?}, not ready after {ready:.1?}");
            assert!(ready.iter().all(|ready| *ready >= AWAY_FOR_LONG), "not ready after {ready:?} already");
            if !killed {
                away.thaw();
                backplane_shows(&d.nodes(), true).await;
            }
        }
    })
    .await;
}
