//! Much to do at once: each script works on a bounded number of users, and all is done soon.

use super::*;
use messenger_testing::over_each;
use std::collections::BTreeSet;

/// Users of one bucket.
fn of_one_bucket(many: i64) -> Vec<i64> {
    (0..many).map(|user| user * 64).collect()
}

async fn scripts(monitor: &mut messenger_testing::Monitor) -> usize {
    monitor.commands().await.iter().filter(|command| command.name == "evalsha").count()
}

/// Each user who is to be registered anew is several commands inside Redis.
#[tokio::test]
async fn a_renewal_into_an_emptied_bucket_is_many_small_scripts() {
    const USERS: i64 = 1_200;
    /// The most that one script registers.
    const REGISTERED: usize = 150;
    let server = Redis::private().await;
    let a = BackEnd::Redis(server.clone()).node("a");
    let users = of_one_bucket(USERS);
    a.arrive(&users).await;
    assert_eq!(a.renew(&users).await, []);
    let mut monitor = server.monitor().await;
    assert_eq!(a.renew(&users).await, []);
    assert_eq!(scripts(&mut monitor).await, 1, "where nothing was lost");

    server.command(&["FLUSHDB"]).await;
    assert_eq!(a.renew(&users).await, []);
    let sent = scripts(&mut monitor).await;
    assert!(sent > users.len() / REGISTERED, "{sent} scripts for {USERS} users");
    assert_eq!(a.count().await, 1_200);
    assert_eq!(surplus(&a, &users).await, []);
    // It knows all of them from then on: first by their names, then by their digest.
    scripts(&mut monitor).await;
    for _ in 0..2 {
        assert_eq!(a.renew(&users).await, []);
        assert_eq!(scripts(&mut monitor).await, 1);
    }
    // A watched server takes longer.
    drop(monitor);
    server.command(&["FLUSHDB"]).await;
    let cost = super::idle::cost(&server, async { assert_eq!(a.renew(&users).await, []) }).await;
    println!("{USERS} users of an emptied bucket: {cost:.0} µs of the server in {sent} scripts");
}

over_each! {
    #[tokio::test]
    redis: super::BackEnd::redis().await,
    cluster: super::BackEnd::cluster().await;
    what_a_sweep_leaves_the_next_takes_at_once
}

/// A gateway that held many died: each pause between two sweeps would delay the word of it.
async fn what_a_sweep_leaves_the_next_takes_at_once(back_end: BackEnd) {
    const USERS: usize = 1_000;
    /// What one sweep of a bucket takes.
    const SWEPT: usize = 150;
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    let users = of_one_bucket(1_000);
    a.arrive(&users).await;
    assert!(b.lead().await.0);
    a.presence.depart(&a.id, &ids(&users), Duration::ZERO).await.whole().unwrap();
    let mut told = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    within("the next beat", async {
        while told.is_empty() {
            ticks.tick().await;
            told.extend(b.presence.lead(&b.id, Own::default()).await.unwrap().transitions);
        }
    })
    .await;
    assert!(told.len() <= SWEPT, "{}", told.len());
    for _ in 0..USERS / SWEPT {
        told.extend(b.presence.lead(&b.id, Own::default()).await.unwrap().transitions);
    }
    let once: BTreeSet<i64> = told.iter().map(|transition| transition.user_id.0).collect();
    assert_eq!((once.len(), told.len()), (USERS, USERS));
    assert_eq!(b.count().await, 0);
}
