//! Much to do at once: each script works on a bounded number of users, and all is done soon.

use super::*;

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
    // What is watched takes longer.
    drop(monitor);
    server.command(&["FLUSHDB"]).await;
    let cost = super::idle::cost(&server, async { assert_eq!(a.renew(&users).await, []) }).await;
    println!("{USERS} users of an emptied bucket: {cost:.0} µs of the server in {sent} scripts");
}
