//! One node sweeps for all.

use super::*;
use messenger_testing::over_each;
use tokio::time::Instant;

over_each! {
    #[tokio::test]
    redis: super::BackEnd::redis().await,
    cluster: super::BackEnd::cluster().await;
    one_node_sweeps_until_it_asks_no_longer
    a_node_that_cannot_ask_sweeps
    each_that_asks_says_how_many_connections_it_holds
}

async fn one_node_sweeps_until_it_asks_no_longer(back_end: BackEnd) {
    let (a, b, c) = (back_end.node("a"), back_end.node("b"), back_end.node("c"));
    assert_eq!(a.lead().await, (true, Some(0)));
    assert!(!b.lead().await.0);
    b.arrive(&[1, 2, 67]).await;
    assert_eq!(a.lead().await, (true, Some(3)), "it counted");
    assert_eq!(a.lead().await, (true, Some(3)), "and leaves its count");
    let asked = Instant::now();
    assert_eq!(b.lead().await, (false, Some(3)));
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    within("another node's turn", async {
        loop {
            ticks.tick().await;
            if b.lead().await.0 {
                break;
            }
        }
    })
    .await;
    // Soon enough that a short lease does not take it for an outage.
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert_eq!((a.lead().await.0, c.lead().await.0), (false, false));
}

/// The claim's key cannot be read: each node that asks sweeps.
async fn a_node_that_cannot_ask_sweeps(back_end: BackEnd) {
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    b.arrive(&[1, 2]).await;
    assert!(a.lead().await.0);
    let servers = match &back_end {
        BackEnd::Redis(server) => std::slice::from_ref(server),
        BackEnd::Cluster(cluster) => cluster.servers.as_slice(),
        BackEnd::Memory(_) => &[],
    };
    let mut broken = 0;
    for server in servers {
        // The others do not have the key's slot.
        let set = server.try_command(&["SET", "m:test:p:leader", "of another kind"]).await;
        broken += usize::from(set.is_ok());
    }
    assert_eq!(broken, 1);
    b.presence.depart(&b.id, &ids(&[1]), Duration::ZERO).await.whole().unwrap();
    let swept = until_some(&a).await;
    assert_eq!(swept, [(1, false)]);
}

async fn each_that_asks_says_how_many_connections_it_holds(back_end: BackEnd) {
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    let told = async |node: &Node, connections: u64, is_open: bool| {
        let lead = node.presence.lead(&node.id, Own { connections, is_open }).await.unwrap();
        lead.fleet.map(|fleet| (fleet.gateways, fleet.connections, fleet.fewest))
    };
    assert_eq!(told(&a, 10, false).await, None, "no one takes connections");
    // The one that sweeps asks by another script than the one that waits.
    assert_eq!(told(&a, 11, true).await, Some((1, 11, 11)));
    assert_eq!(told(&b, 4, true).await, Some((2, 15, 4)));
    assert_eq!(told(&a, 12, true).await, Some((2, 16, 4)));
    assert_eq!(told(&b, 3, false).await, Some((1, 15, 12)), "it drains: its connections are to be shared");
    assert_eq!(told(&a, 12, true).await, Some((1, 15, 12)));

    let server = match &back_end {
        BackEnd::Redis(server) => server,
        BackEnd::Cluster(cluster) => {
            let mut holds = None;
            for server in &cluster.servers {
                if server.try_command(&["HGET", "m:test:p:leader", "node"]).await.is_ok() {
                    holds = Some(server);
                }
            }
            holds.expect("the server with the claim")
        }
        BackEnd::Memory(_) => unreachable!("it has no claim"),
    };
    for (node, value) in [("future", "7:9999999999999:1"), ("junk", "junk"), ("old", "7:1:1")] {
        server.command(&["HSET", "m:test:p:leader", &format!("c:{node}"), value]).await;
    }
    assert_eq!(told(&a, 12, true).await, Some((1, 15, 12)), "of another clock, or long ago");
    assert_eq!(server.text(&["HLEN", "m:test:p:leader"]).await, "5", "they are forgotten");

    assert_eq!(told(&b, 4, true).await, Some((2, 16, 4)));
    let asked = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    within("a count that is no longer fresh", async {
        while told(&a, 12, true).await != Some((1, 12, 12)) {
            ticks.tick().await;
        }
    })
    .await;
    assert!(asked.elapsed() > Duration::from_millis(1_500), "{:?}", asked.elapsed());
}

async fn until_some(node: &Node) -> Vec<(i64, bool)> {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    within("a transition", async {
        loop {
            ticks.tick().await;
            // The first that does not get the claim's answer may fail.
            let Ok(lead) = node.presence.lead(&node.id, Own::default()).await else { continue };
            if !lead.transitions.is_empty() {
                return node.publish(lead.transitions).await;
            }
        }
    })
    .await
}
