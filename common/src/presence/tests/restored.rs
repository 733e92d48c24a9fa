//! A Redis that was away and comes back with what it had: that of its snapshot, or all of it, late;
//! or whose slots move.

use super::*;

/// A bucket has users 1, 65 and so on.
async fn with_a_snapshot() -> (Arc<Redis>, Node, Node) {
    let server = Redis::private().await;
    let back_end = BackEnd::Redis(server.clone());
    let (a, b) = (back_end.node("a"), back_end.node("b"));
    a.arrive(&[1]).await;
    assert_eq!(b.renew(&[]).await, []);
    server.command(&["SAVE"]).await;
    (server, a, b)
}

async fn restore(server: &Arc<Redis>, by: &Node) {
    server.kill().await;
    server.start().await;
    until("it answers again", || async { by.presence.count().await.is_ok() }).await;
}

#[tokio::test]
async fn who_came_after_the_snapshot_is_not_told_online_again() {
    let (server, a, b) = with_a_snapshot().await;
    assert_eq!(a.arrive(&[65]).await, [(65, true)]);
    restore(&server, &a).await;
    assert!(!a.is_online(65).await, "as the snapshot has it");
    assert_eq!(b.sweep().await, []);
    assert_eq!(a.renew(&[1, 65]).await, []);
    assert!(a.is_online(65).await);
    a.depart(&[65]).await;
    assert_eq!(a.sweep_until(&[1], 1).await, [(65, false)]);
}

#[tokio::test]
async fn who_came_after_the_snapshot_and_leaves_at_its_return_is_told_offline_once() {
    let (server, a, _) = with_a_snapshot().await;
    a.arrive(&[65]).await;
    let before = a.presence.contact(UserId(65)).losses;
    restore(&server, &a).await;
    a.depart(&[65]).await;
    assert_eq!(a.presence.contact(UserId(65)).losses, before + 1, "others of the bucket depart anew too");
    assert_eq!(a.sweep_until(&[1], 1).await, [(65, false)]);
    assert_eq!(a.renew(&[1]).await, []);
    assert_eq!(a.everyone(9).await, [1]);
}

#[tokio::test]
async fn who_was_in_grace_at_the_snapshot_and_came_back_since_is_told_nothing() {
    let (server, a, b) = with_a_snapshot().await;
    a.depart(&[1]).await;
    server.command(&["SAVE"]).await;
    assert_eq!(b.arrive(&[1, 65]).await, [(65, true)]);
    assert_eq!(a.sweep().await, []);
    restore(&server, &b).await;
    // The grace of the snapshot is over.
    tokio::time::sleep(GRACE).await;
    assert_eq!(a.sweep().await, []);
    assert_eq!(b.sweep().await, []);
    assert_eq!(b.renew(&[1, 65]).await, []);
    assert_eq!(a.sweep().await, []);
    assert_eq!(b.everyone(9).await, [1, 65]);
}

/// Nobody could say so before: the server took no command.
#[tokio::test]
async fn who_comes_back_while_it_is_away_is_not_told_offline() {
    let server = Redis::private().await;
    let a = BackEnd::Redis(server.clone()).node("a");
    a.arrive(&[1, 2]).await;
    a.depart(&[1]).await;
    assert_eq!(a.sweep().await, []);
    server.freeze();
    tokio::time::sleep(Duration::from_millis(2300)).await;
    server.thaw();
    until("it answers again", || async { a.presence.count().await.is_ok() }).await;
    assert_eq!(a.sweep().await, []);
    assert_eq!(a.arrive(&[1]).await, []);
    assert_eq!(a.renew(&[1, 2]).await, []);
    a.depart(&[2]).await;
    assert_eq!(a.sweep_until(&[1], 1).await, [(2, false)], "nobody else");
}

/// It costs the node two of three renewals, the one before it a late one.
#[tokio::test]
async fn an_absence_of_less_than_half_a_lease_ends_no_lease() {
    let lease = Duration::from_secs(6);
    let server = Redis::private().await;
    let a = Node { id: NodeId("a".to_owned()), presence: redis(vec![server.url()], false, lease) };
    a.arrive(&[1]).await;
    let renewed = tokio::time::Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    while renewed.elapsed() < Duration::from_millis(3_700) {
        ticks.tick().await;
        assert_eq!(a.sweep().await, []);
    }
    server.freeze();
    tokio::time::sleep_until(renewed + lease + Duration::from_millis(200)).await;
    server.thaw();
    until("it answers again", || async { a.presence.count().await.is_ok() }).await;
    assert_eq!(a.sweep().await, []);
    assert_eq!(a.renew(&[1]).await, []);
}

/// While its keys are on their way it may be away.
#[tokio::test]
async fn a_bucket_whose_slot_moves_is_not_begun_anew_on_the_other_server() {
    let cluster = RedisCluster::start(2).await;
    let back_end = BackEnd::Cluster(cluster);
    let BackEnd::Cluster(cluster) = &back_end else { unreachable!() };
    let a = back_end.node("a");
    a.arrive(&[7, 71]).await;
    assert_eq!(a.sweep().await, []);
    let slot =
        redis::from_redis_value::<u16>(cluster.servers[0].command(&["CLUSTER", "KEYSLOT", "{m:test:p:7}"]).await);
    let slot = slot.unwrap();
    let moving = cluster.begin_to_move(slot).await;
    let renewed = a.presence.renew(&a.id, &ids(&[7, 71])).await;
    let swept = a.presence.sweep(&a.id).await.unwrap_or_default();
    assert_eq!((renewed.transitions, swept), (Vec::new(), Vec::new()));
    let [from, to] = [moving.from, moving.to].map(|place| &cluster.servers[place]);
    assert_eq!(to.command(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]).await, ::redis::Value::Int(0));
    let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "100"]).await;
    let keys: Vec<String> = ::redis::from_redis_value(keys).unwrap();
    let port = to.port().to_string();
    let words = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
    from.command(&words.into_iter().chain(keys.iter().map(String::as_str)).collect::<Vec<_>>()).await;
    cluster.end_move(&moving).await;
    until("it answers there", || async { a.presence.renew(&a.id, &ids(&[7, 71, 135])).await.whole().is_ok() }).await;
    assert_eq!(a.everyone(9).await, [7, 71, 135]);
}
