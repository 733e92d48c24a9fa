//! Connections that were lost while nobody used them.

use super::*;
use messenger_testing::{Proxy, Redis};

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
