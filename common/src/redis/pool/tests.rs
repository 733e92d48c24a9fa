//! Connections that were lost while nobody used them, and servers of a cluster that fall silent.

use super::*;
use messenger_testing::{Proxy, Redis, RedisCluster, until};

/// A balancer drops what was idle for minutes, and says nothing of it.
#[tokio::test]
async fn connections_that_were_forgotten_while_unused_cost_no_call() {
    let server = Redis::private().await;
    let proxy = Proxy::to(&server.address());
    let config = RedisConfig::of(vec![format!("redis://{}", proxy.address()).into()], false);
    let idle = Duration::from_millis(300);
    let pool = RedisPool::trusting(&config, Duration::from_secs(1), idle).unwrap();
    let ask = || async { pool.each(&[redis::cmd("PING")]).await };
    // All of them, at once.
    assert!(join_all((0..CONNECTIONS).map(|_| ask())).await.iter().all(Result::is_ok));
    proxy.forget();
    tokio::time::sleep(idle).await;
    for _ in 0..2 {
        let begun = Instant::now();
        let answers = join_all((0..CONNECTIONS).map(|_| ask())).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    }
}

/// Keys of all servers of a cluster.
fn keys() -> Vec<String> {
    (0..64).map(|key| format!("{{{key}}}")).collect()
}

/// The keys that are answered for.
async fn answered(pool: &RedisPool) -> Vec<bool> {
    let asked: Vec<Cmd> = keys().iter().map(|key| redis::cmd("EXISTS").arg(key).to_owned()).collect();
    let answers = pool.each(&asked).await;
    answers.map_or_else(|_| vec![false; asked.len()], |answers| answers.iter().map(Result::is_ok).collect())
}

/// The keys that are not the first server's.
async fn elsewhere(cluster: &RedisCluster) -> Vec<bool> {
    let mut elsewhere = Vec::new();
    for key in keys() {
        let slot: u16 =
            redis::from_redis_value(cluster.servers[1].command(&["CLUSTER", "KEYSLOT", &key]).await).unwrap();
        elsewhere.push(cluster.server_of(slot).await != 0);
    }
    elsewhere
}

fn of_cluster(cluster: &RedisCluster) -> RedisPool {
    let config = RedisConfig::of(cluster.urls().into_iter().map(Into::into).collect(), true);
    RedisPool::new(&config, Duration::from_secs(1)).unwrap()
}

#[tokio::test]
async fn a_silent_server_of_a_cluster_costs_only_its_own_keys() {
    let cluster = RedisCluster::with_node_timeout(3, 60_000).await;
    let elsewhere = elsewhere(&cluster).await;
    let pool = of_cluster(&cluster);
    assert!(answered(&pool).await.iter().all(|answered| *answered));
    cluster.servers[0].freeze();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        assert_eq!(answered(&pool).await, elsewhere, "after {:?}", begun.elapsed());
    }
    // And a process that starts now, whose first address is the silent server's.
    let (late, begun) = (of_cluster(&cluster), Instant::now());
    until("it is connected", || async { answered(&late).await == elsewhere }).await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    cluster.servers[0].thaw();
    until("all are answered for", || async { answered(&pool).await.iter().all(|answered| *answered) }).await;
}

#[tokio::test]
async fn where_a_replica_takes_over_from_a_silent_server_all_keys_are_answered_for() {
    let mut cluster = RedisCluster::start(3).await;
    cluster.add_replica(0).await;
    let pool = of_cluster(&cluster);
    assert!(answered(&pool).await.iter().all(|answered| *answered));
    cluster.servers[0].freeze();
    until("the replica takes over", || async {
        let _ = answered(&pool).await;
        cluster.servers[3].text(&["INFO", "replication"]).await.contains("role:master")
    })
    .await;
    let promoted = Instant::now();
    until("all are answered for", || async { answered(&pool).await.iter().all(|answered| *answered) }).await;
    println!("all keys are answered for {:.1?} after the promotion", promoted.elapsed());
    assert!(promoted.elapsed() < Duration::from_secs(5), "{:?}", promoted.elapsed());
}
