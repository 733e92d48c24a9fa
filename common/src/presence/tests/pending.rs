//! A transition stays pending until its publication is acknowledged.

use super::*;
use messenger_testing::over_each;
use tokio::time::Instant;

over_each! {
    #[tokio::test]
    redis: super::BackEnd::redis().await,
    cluster: super::BackEnd::cluster().await;
    what_nobody_acknowledged_another_node_publishes_after_a_lease
    a_repeated_arrival_answers_again_what_is_pending
    an_acknowledgement_ends_no_later_decision
}

async fn arrive(node: &Node, user: i64) -> Vec<Transition> {
    node.presence.arrive(&node.id, &ids(&[user])).await.whole().unwrap()
}

/// Sweeps, without acknowledging anything, until something is returned.
async fn sweep_until_some(node: &Node, living: &[(&Node, &[i64])]) -> Vec<Transition> {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    within("a transition", async {
        loop {
            ticks.tick().await;
            for (node, users) in living {
                assert_eq!(node.renew(users).await, []);
            }
            let swept = node.presence.sweep(&node.id).await.unwrap();
            if !swept.is_empty() {
                return swept;
            }
        }
    })
    .await
}

async fn what_nobody_acknowledged_another_node_publishes_after_a_lease(back_end: BackEnd) {
    let (a, b, c) = (back_end.node("a"), back_end.node("b"), back_end.node("c"));
    let begun = Instant::now();
    let told = arrive(&a, 1).await;
    assert_eq!(plain(&told), [(1, true)]);
    a.depart(&[2]).await;
    let again = sweep_until_some(&b, &[(&a, &[1])]).await;
    assert_eq!(again, told, "the same decision");
    assert!(begun.elapsed() >= LEASE, "{:?}", begun.elapsed());
    // The second claim is as long as the first.
    let claimed = Instant::now();
    assert_eq!(sweep_until_some(&c, &[(&a, &[1])]).await, told);
    assert!(claimed.elapsed() >= LEASE - Duration::from_millis(200), "{:?}", claimed.elapsed());
    c.presence.acknowledge(&told).await.unwrap();
    let acknowledged = Instant::now();
    let mut ticks = tokio::time::interval(LEASE / 6);
    while acknowledged.elapsed() < LEASE + LEASE / 2 {
        ticks.tick().await;
        assert_eq!(a.renew(&[1]).await, []);
        assert_eq!(b.sweep().await, []);
    }
}

async fn a_repeated_arrival_answers_again_what_is_pending(back_end: BackEnd) {
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    let told = arrive(&a, 1).await;
    assert_eq!(arrive(&a, 1).await, told, "its answer may have been lost");
    assert_eq!(arrive(&b, 1).await, [], "it is the other's to publish");
    a.presence.acknowledge(&told).await.unwrap();
    assert_eq!(arrive(&a, 1).await, []);
}

async fn an_acknowledgement_ends_no_later_decision(back_end: BackEnd) {
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    let came = arrive(&a, 1).await;
    a.depart(&[1]).await;
    let went = sweep_until_some(&a, &[]).await;
    assert_eq!(plain(&went), [(1, false)]);
    a.presence.acknowledge(&came).await.unwrap();
    assert_eq!(sweep_until_some(&b, &[]).await, went, "only the newest is pending");
}
