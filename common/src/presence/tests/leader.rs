//! One node sweeps for all.

use super::*;
use messenger_testing::over_each;
use tokio::time::Instant;

over_each! {
    #[tokio::test]
    redis: super::BackEnd::redis().await,
    cluster: super::BackEnd::cluster().await;
    one_node_sweeps_until_it_asks_no_longer
}

async fn leads(node: &Node, counted: Option<u64>) -> (bool, Option<u64>) {
    let lead = node.presence.lead(&node.id, counted).await.unwrap();
    (lead.sweeps, lead.online)
}

async fn one_node_sweeps_until_it_asks_no_longer(back_end: BackEnd) {
    let (a, b, c) = (back_end.node("a"), back_end.node("b"), back_end.node("c"));
    assert_eq!(leads(&a, None).await, (true, None));
    assert_eq!(leads(&b, Some(7)).await, (false, None), "it does not count");
    assert_eq!(leads(&a, Some(3)).await, (true, Some(3)));
    let asked = Instant::now();
    assert_eq!(leads(&b, None).await, (false, Some(3)));
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    within("another node's turn", async {
        loop {
            ticks.tick().await;
            if leads(&b, None).await.0 {
                break;
            }
        }
    })
    .await;
    // Soon enough that a short lease does not take it for an outage.
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert_eq!((leads(&a, None).await.0, leads(&c, None).await.0), (false, false));
}
