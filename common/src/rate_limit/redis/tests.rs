mod leases_over_nodes;

use super::*;
use crate::config::RedisConfig;
use crate::lifecycle::ExitReason;
use messenger_testing::{Redis, RedisCluster, until};
use std::time::Instant;

const LOGINS: Limit = Limit { name: "logins", rate: 10, period: Duration::from_mins(1), burst: 10 };

/// A limiter of one node, ended with the test.
struct Node {
    limiter: RedisLimiter,
    lifecycle: Lifecycle,
}

fn place(config: &RedisConfig) -> Place {
    Place { config: config.clone(), namespace: Namespace::new("test") }
}

impl Node {
    async fn start(config: &RedisConfig) -> Self {
        let lifecycle = Lifecycle::new();
        let limiter = RedisLimiter::start(&place(config), &lifecycle).expect("an address");
        let node = Self { limiter, lifecycle };
        node.connected().await;
        node
    }

    async fn connected(&self) {
        until("the limiter is connected", || async { self.is_connected() }).await;
    }

    fn is_connected(&self) -> bool {
        self.limiter.link.open.load().is_some()
    }

    /// How many of that many tries are allowed.
    async fn allowed(&self, subject: &str, tries: usize) -> usize {
        self.allowed_of(&LOGINS, subject, tries).await
    }

    async fn allowed_of(&self, limit: &Limit, subject: &str, tries: usize) -> usize {
        let mut allowed = 0;
        for _ in 0..tries {
            allowed += usize::from(self.limiter.check(limit, subject).await == Decision::Allowed);
        }
        allowed
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.lifecycle.stop(ExitReason::Done);
    }
}

fn config(server: &Redis) -> RedisConfig {
    RedisConfig::of(vec![server.url().into()], false)
}

#[tokio::test]
async fn a_limit_holds_across_nodes() {
    let server = Redis::private().await;
    let (a, b) = (Node::start(&config(&server)).await, Node::start(&config(&server)).await);
    assert_eq!(a.allowed("1.2.3.4", 6).await + b.allowed("1.2.3.4", 20).await, 10);
    match b.limiter.check(&LOGINS, "1.2.3.4").await {
        Decision::Denied { retry_after } => assert!(retry_after <= Duration::from_secs(6), "{retry_after:?}"),
        Decision::Allowed => panic!("over the limit"),
    }
    assert_eq!(a.allowed("5.6.7.8", 20).await, 10, "subjects do not share");
}

#[tokio::test]
async fn what_is_taken_back_does_not_count() {
    let server = Redis::private().await;
    let (a, b) = (Node::start(&config(&server)).await, Node::start(&config(&server)).await);
    a.limiter.refund(&LOGINS, "1.2.3.4").await;
    let left = server.command(&["EXISTS", "m:test:rl:logins:{1.2.3.4}"]).await;
    assert_eq!(left, redis::Value::Int(0), "nothing to take back");
    for _ in 0..3 {
        assert_eq!(a.allowed("1.2.3.4", 9).await, 9);
        for _ in 0..9 {
            a.limiter.refund(&LOGINS, "1.2.3.4").await;
        }
    }
    let left = server.command(&["PTTL", "m:test:rl:logins:{1.2.3.4}"]).await;
    assert!(matches!(left, redis::Value::Int(1..)), "it is still forgotten in time: {left:?}");
    assert_eq!(b.allowed("1.2.3.4", 20).await, 10);
}

#[tokio::test]
async fn a_crowd_over_two_nodes_that_asks_for_more_does_not_refuse_itself() {
    let server = Redis::private().await;
    let nodes = [Node::start(&config(&server)).await, Node::start(&config(&server)).await];
    for (subject, count) in [("1.2.3.4", 6), ("5.6.7.8", 10)] {
        for node in &nodes {
            assert_eq!(node.allowed(subject, 5).await, 5);
        }
        let exchange = |n: usize| nodes[n % 2].limiter.exchange(&LOGINS, subject, count);
        let answers = futures_util::future::join_all((0..10).map(exchange)).await;
        let allowed = answers.iter().filter(|answer| **answer == Decision::Allowed).count();
        assert_eq!(allowed, 1, "{count} of the ten that are held in place of one each: {answers:?}");
    }
}

#[tokio::test]
async fn what_is_owed_is_waited_for_on_every_node() {
    let server = Redis::private().await;
    let (a, b) = (Node::start(&config(&server)).await, Node::start(&config(&server)).await);
    let requests = Limit { name: "requests", rate: 1, period: Duration::from_secs(1), burst: 10 };
    assert_eq!(a.allowed_of(&requests, "7", 1).await, 1);
    a.limiter.owe(&requests, "7", 6).await;
    assert!((3..=4).contains(&b.allowed_of(&requests, "7", 10).await), "of three that are left");
    b.limiter.owe(&requests, "7", 20).await;
    for node in [&a, &b] {
        let wait = node.limiter.check(&requests, "7").await;
        let Decision::Denied { retry_after } = wait else { panic!("over the limit") };
        assert!(retry_after > Duration::from_secs(15), "{retry_after:?}");
    }
    a.limiter.owe(&requests, "8", 1_000_000).await;
    let wait = b.limiter.check(&requests, "8").await;
    let Decision::Denied { retry_after } = wait else { panic!("over the limit") };
    assert!(retry_after <= Duration::from_secs(71), "never for longer than eight bursts: {retry_after:?}");
}

#[tokio::test]
async fn a_count_is_forgotten_once_it_says_nothing_more() {
    let server = Redis::private().await;
    let node = Node::start(&config(&server)).await;
    node.allowed("1.2.3.4", 1).await;
    let left = server.command(&["PTTL", "m:test:rl:logins:{1.2.3.4}"]).await;
    assert!(matches!(left, redis::Value::Int(1..=6001)), "{left:?}");
    let quick = Limit { period: Duration::from_millis(10), ..LOGINS };
    assert_eq!(node.limiter.check(&quick, "5.6.7.8").await, Decision::Allowed);
    let gone = || async { server.command(&["EXISTS", "m:test:rl:logins:{5.6.7.8}"]).await == redis::Value::Int(0) };
    until("the key is gone", gone).await;
}

#[tokio::test]
async fn a_mute_redis_holds_nobody_up_and_is_asked_again_when_it_speaks() {
    let server = Redis::private().await;
    let (a, b) = (Node::start(&config(&server)).await, Node::start(&config(&server)).await);
    server.freeze();
    let begun = Instant::now();
    assert_eq!(a.allowed("1.2.3.4", 1000).await, 10, "counted here meanwhile");
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(500), "one wait of 100 ms and no more: {took:?}");
    assert!(!a.is_connected());
    server.thaw();
    a.connected().await;
    assert_eq!(a.allowed("9.9.9.9", 4).await + b.allowed("9.9.9.9", 20).await, 10, "counted together again");
}

#[tokio::test]
async fn a_redis_that_went_and_came_back_empty_is_used_again() {
    let server = Redis::private().await;
    let node = Node::start(&config(&server)).await;
    assert_eq!(node.allowed("1.2.3.4", 5).await, 5);
    server.kill().await;
    assert_eq!(node.allowed("1.2.3.4", 20).await, 5, "what was counted here still counts");
    assert!(!node.is_connected());
    server.start().await;
    node.connected().await;
    assert_eq!(node.allowed("5.6.7.8", 20).await, 10);
    assert_eq!(server.command(&["EXISTS", "m:test:rl:logins:{5.6.7.8}"]).await, redis::Value::Int(1));
}

#[tokio::test]
async fn it_starts_while_redis_is_away() {
    let server = Redis::private().await;
    let config = config(&server);
    server.kill().await;
    let lifecycle = Lifecycle::new();
    let node = Node { limiter: RedisLimiter::start(&place(&config), &lifecycle).expect("an address"), lifecycle };
    assert_eq!(node.allowed("1.2.3.4", 20).await, 10);
    server.start().await;
    node.connected().await;
}

#[tokio::test]
async fn a_limit_holds_across_nodes_of_a_cluster() {
    let cluster = RedisCluster::start(3).await;
    let config = RedisConfig::of(cluster.urls().into_iter().map(Into::into).collect(), true);
    let (a, b) = (Node::start(&config).await, Node::start(&config).await);
    for subject in ["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4", "5.5.5.5"] {
        assert_eq!(a.allowed(subject, 6).await + b.allowed(subject, 20).await, 10, "{subject}");
    }
    assert!(a.is_connected() && b.is_connected());
}

#[tokio::test]
async fn a_server_whose_clock_stepped_back_keeps_nobody_out() {
    let server = Redis::private().await;
    let node = Node::start(&config(&server)).await;
    node.allowed("1.2.3.4", 1).await;
    // Counts from before the step lie an hour ahead of the server's time.
    let ahead = "redis.call('INCRBY', KEYS[1], 3600000000)";
    server.command(&["EVAL", ahead, "1", "m:test:rl:logins:{1.2.3.4}"]).await;
    match node.limiter.check(&LOGINS, "1.2.3.4").await {
        Decision::Denied { retry_after } => assert!(retry_after <= Duration::from_secs(6), "{retry_after:?}"),
        Decision::Allowed => {}
    }
}
