//! A node that heard nothing for a while reads what was published meanwhile.

use super::*;
use messenger_testing::over_each;

over_each! {
    #[tokio::test]
    memory: super::BackEnd::memory(),
    redis: super::BackEnd::redis().await,
    cluster: super::BackEnd::cluster().await;
    of_each_user_the_newest_publication_is_remembered
    what_is_not_acknowledged_was_not_published
}

const LONG: Duration = Duration::from_mins(1);

async fn published(node: &Node, within: Duration) -> HashMap<i64, Vec<bool>> {
    by_user(&plain(&node.presence.published(within).await.unwrap()))
}

async fn of_each_user_the_newest_publication_is_remembered(back_end: BackEnd) {
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    let came = a.presence.arrive(&a.id, &ids(&[1, 2, 66])).await.whole().unwrap();
    a.publish(came.clone()).await;
    a.depart(&[2]).await;
    assert_eq!(a.sweep_until(&[1, 66], 1).await, [(2, false)]);
    let expected = HashMap::from([(1, vec![true]), (2, vec![false]), (66, vec![true])]);
    assert_eq!(published(&b, LONG).await, expected);
    let read = b.presence.published(LONG).await.unwrap();
    let of_one = |all: &[Transition]| all.iter().find(|transition| transition.user_id.0 == 1).map(|one| one.decided_at);
    assert_eq!(of_one(&read), of_one(&came), "the same decision");
    // It is read by its age: of the arrivals none is as young as this.
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    within("older than asked", async {
        while !published(&b, Duration::from_millis(40)).await.is_empty() {
            ticks.tick().await;
        }
    })
    .await;
    assert_eq!(published(&b, LONG).await, expected);
}

async fn what_is_not_acknowledged_was_not_published(back_end: BackEnd) {
    let a = back_end.node("a");
    let came = a.presence.arrive(&a.id, &ids(&[1, 2])).await.whole().unwrap();
    assert_eq!(published(&a, LONG).await, HashMap::new());
    a.publish(came.into_iter().filter(|transition| transition.user_id.0 == 2).collect()).await;
    assert_eq!(published(&a, LONG).await, HashMap::from([(2, vec![true])]));
}

/// Decided before Redis lost its data, announced after.
#[tokio::test]
async fn what_was_announced_after_a_loss_is_remembered() {
    let server = messenger_testing::Redis::private().await;
    let back_end = BackEnd::Redis(server.clone());
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    let came = a.presence.arrive(&a.id, &ids(&[1, 2])).await.whole().unwrap();
    server.command(&["FLUSHALL"]).await;
    // A later decision stands about 2: that one is to be announced.
    let later = b.presence.arrive(&b.id, &ids(&[2])).await.whole().unwrap();
    a.publish(came.clone()).await;
    assert_eq!(published(&b, LONG).await, HashMap::from([(1, vec![true])]));
    assert!(b.presence.published(LONG).await.unwrap().iter().all(|one| came.contains(one)), "the same decision");
    b.publish(later.clone()).await;
    let read = b.presence.published(LONG).await.unwrap();
    assert!(read.iter().any(|one| later.contains(one)) && read.len() == 2, "{read:?}");
}
