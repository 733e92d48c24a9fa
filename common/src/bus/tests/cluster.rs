//! Faults of the bus that only a Redis Cluster has.

use super::*;
use crate::bus::topology::slot;
use std::sync::atomic::AtomicBool;

fn cluster(back_end: &BackEnd) -> &RedisCluster {
    match back_end {
        BackEnd::Cluster(cluster) => cluster,
        _ => panic!("a cluster"),
    }
}

async fn all_heard(sender: &Node, receiver: &mut Node, topics: &[Topic], text: &str) {
    let mut missing: BTreeSet<_> = topics.iter().cloned().collect();
    for topic in topics {
        sender.publish_when_up(topic, text).await;
    }
    while !missing.is_empty() {
        if let BusEvent::Message { topic, payload } = receiver.next().await
            && payload == text.as_bytes()
        {
            missing.remove(&topic);
        }
    }
}

/// Trap 7, first half: the crate subscribes all slots of a lost node in one command, which is
/// refused and ignored.
#[tokio::test]
async fn trap_7_after_a_lost_link_every_slot_is_subscribed_anew() {
    let back_end = BackEnd::cluster().await;
    let (mut one, two) = (back_end.node().await, back_end.node().await);
    let topics: Vec<_> = (0..120).map(chat).collect();
    one.subscribe(&topics).await;
    for server in 0..3 {
        let mut affected = Vec::new();
        for topic in &topics {
            if cluster(&back_end).server_of(slot(&place(Vec::new(), true).namespace.name(topic))).await == server {
                affected.push(topic.clone());
            }
        }
        assert!(affected.len() > 10, "spread over the servers");
        cluster(&back_end).servers[server].command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        one.told_subscribed(&affected).await;
        all_heard(&two, &mut one, &topics, &format!("round {server}")).await;
    }
}

/// Trap 7, second half: a slot that moves away unsubscribes its channels without being asked.
#[tokio::test]
async fn trap_7_a_slot_that_moves_is_followed() {
    let back_end = BackEnd::cluster().await;
    let (mut one, two) = (back_end.node().await, back_end.node().await);
    let topics: Vec<_> = (0..30).map(chat).collect();
    one.subscribe(&topics).await;
    for topic in &topics[..5] {
        cluster(&back_end).move_slot(slot(&place(Vec::new(), true).namespace.name(topic))).await;
        one.told_subscribed(std::slice::from_ref(topic)).await;
    }
    all_heard(&two, &mut one, &topics, "moved").await;
    // And subscribed where they belong from the start.
    let mut late = back_end.node().await;
    late.subscribe(&topics).await;
    all_heard(&two, &mut late, &topics, "late").await;
}

#[tokio::test]
async fn a_frozen_server_of_the_cluster_is_noticed_and_its_return_too() {
    let back_end = BackEnd::cluster().await;
    let (mut one, two) = (back_end.node().await, back_end.node().await);
    let topics: Vec<_> = (0..60).map(chat).collect();
    one.subscribe(&topics).await;
    cluster(&back_end).servers[1].freeze();
    one.wait_up(false).await;
    two.wait_up(false).await;
    one.bus.subscribe(&[chat(1000)]);
    cluster(&back_end).servers[1].thaw();
    one.wait_up(true).await;
    two.wait_up(true).await;
    let all: Vec<_> = topics.iter().cloned().chain([chat(1000)]).collect();
    all_heard(&two, &mut one, &all, "warm again").await;
}

#[tokio::test]
async fn a_cluster_whose_first_seed_is_away_is_joined_by_another() {
    let back_end = BackEnd::cluster().await;
    let dead = Redis::private().await.url();
    let urls: Vec<_> = [dead].into_iter().chain(cluster(&back_end).urls()).map(Into::into).collect();
    let tasks = TestTasks::new();
    let node = NodeId::from_random(number());
    let metrics = BusMetrics::unregistered();
    let bus = RedisBus::connect(&place(urls, true), &node, &tasks.tasks, metrics, number).unwrap();
    assert!(bus.publish(&[publication(&chat(1), "too soon")]).await.is_err());
    within("it is up", bus.up().wait_for(|up| *up)).await.unwrap();
    bus.publish(&[publication(&chat(1), "x"), publication(&chat(2), "y")]).await.unwrap();
}

#[tokio::test]
async fn a_primary_that_dies_is_followed_to_its_replica() {
    let mut cluster = RedisCluster::start(3).await;
    cluster.add_replica(1).await;
    let primary = cluster.servers[1].clone();
    let back_end = BackEnd::Cluster(cluster);
    let (mut one, two) = (back_end.node().await, back_end.node().await);
    let topics: Vec<_> = (0..60).map(chat).collect();
    one.subscribe(&topics).await;
    primary.kill().await;
    one.wait_up(false).await;
    two.wait_up(false).await;
    one.bus.subscribe(&[chat(1000)]);
    one.bus.unsubscribe(&[chat(0)]);
    one.wait_up(true).await;
    two.wait_up(true).await;
    let all: Vec<_> = topics[1..].iter().cloned().chain([chat(1000)]).collect();
    all_heard(&two, &mut one, &all, "from the replica").await;
}

#[tokio::test]
async fn a_link_of_the_cluster_that_panics_stops_the_process() {
    let back_end = BackEnd::cluster().await;
    let urls: Vec<_> = cluster(&back_end).urls().into_iter().map(Into::into).collect();
    let tasks = TestTasks::new();
    let faulty = Arc::new(AtomicBool::new(false));
    let random = {
        let faulty = faulty.clone();
        move || {
            assert!(!faulty.load(Ordering::Relaxed), "on purpose");
            number()
        }
    };
    let (node, metrics) = (NodeId::from_random(number()), BusMetrics::unregistered());
    let bus = RedisBus::connect(&place(urls, true), &node, &tasks.tasks, metrics, random).unwrap();
    within("it is up", bus.up().wait_for(|up| *up)).await.unwrap();
    faulty.store(true, Ordering::Relaxed);
    cluster(&back_end).servers[1].kill().await;
    within("the process stops", tasks.tasks.stopping().cancelled()).await;
}
