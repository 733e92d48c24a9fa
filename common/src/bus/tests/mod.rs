//! The obligations of every back end of the bus, over each of them; and faults that only a server
//! has.

mod cluster;
mod contract;
mod link;

use super::memory::MemoryHub;
use super::redis::RedisBus;
use super::testing::TestTasks;
use super::{Bus, BusEvent, BusMetrics, Publication, Topic};
use crate::id::{ChatId, NodeId};
use crate::redis::{Namespace, Place};
use bytes::Bytes;
use messenger_testing::{Redis, RedisCluster, until, within};
use secrecy::SecretString;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// A back end that nodes can be made of.
enum BackEnd {
    Memory(Arc<MemoryHub>),
    Redis(Arc<Redis>),
    Cluster(RedisCluster),
}

fn place(urls: Vec<SecretString>, cluster: bool) -> Place {
    Place { config: crate::config::RedisConfig::of(urls, cluster), namespace: Namespace::new("test") }
}

/// One node's end of the bus.
struct Node {
    bus: Arc<dyn Bus>,
    events: mpsc::Receiver<BusEvent>,
    metrics: BusMetrics,
    _tasks: TestTasks,
}

/// Different at each call: enough for jitter, nonces and names.
fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl BackEnd {
    async fn redis() -> Self {
        Self::Redis(Redis::private().await)
    }

    async fn cluster() -> Self {
        Self::Cluster(RedisCluster::start(3).await)
    }

    async fn node(&self) -> Node {
        self.node_with_queue(16_384).await
    }

    async fn node_with_queue(&self, capacity: usize) -> Node {
        let tasks = TestTasks::new();
        let metrics = BusMetrics::unregistered();
        let id = NodeId::from_random(number());
        let (urls, cluster): (Vec<SecretString>, _) = match self {
            Self::Memory(hub) => {
                let bus = hub.join_with_queue(&tasks.tasks, metrics.clone(), capacity);
                let events = bus.take_events().unwrap();
                return Node { bus, events, metrics, _tasks: tasks };
            }
            Self::Redis(server) => (vec![server.url().into()], false),
            Self::Cluster(cluster) => (cluster.urls().into_iter().map(Into::into).collect(), true),
        };
        let connected =
            RedisBus::connect_with_queue(&place(urls, cluster), &id, &tasks.tasks, metrics.clone(), number, capacity);
        let bus = connected.unwrap();
        let events = bus.take_events().unwrap();
        let node = Node { bus, events, metrics, _tasks: tasks };
        node.wait_up(true).await;
        node
    }
}

impl Node {
    async fn wait_up(&self, wanted: bool) {
        let mut up = self.bus.up();
        let what = if wanted { "the bus is up" } else { "the bus is down" };
        within(what, up.wait_for(|up| *up == wanted)).await.unwrap();
    }

    async fn next(&mut self) -> BusEvent {
        within("an event", self.events.recv()).await.expect("the bus lives")
    }

    /// Subscribes and waits for the word of it; nothing else may come meanwhile.
    async fn subscribe(&mut self, topics: &[Topic]) {
        self.bus.subscribe(topics);
        self.told_subscribed(topics).await;
    }

    /// Waits until all of these were told, whatever else comes.
    async fn told_subscribed(&mut self, topics: &[Topic]) {
        let mut missing: BTreeSet<_> = topics.iter().cloned().collect();
        while !missing.is_empty() {
            if let BusEvent::Subscribed(topic) = self.next().await {
                missing.remove(&topic);
            }
        }
    }

    async fn publish(&self, topic: &Topic, text: &str) {
        self.bus.publish(&[publication(topic, text)]).await.unwrap();
    }

    /// The messages up to and without the one with that text.
    async fn messages_until(&mut self, last: &str) -> Vec<(Topic, String)> {
        let mut messages = Vec::new();
        loop {
            if let BusEvent::Message { topic, payload } = self.next().await {
                let text = String::from_utf8(payload.to_vec()).unwrap();
                if text == last {
                    return messages;
                }
                messages.push((topic, text));
            }
        }
    }

    /// Publishes until it works, as the relay would.
    async fn publish_when_up(&self, topic: &Topic, text: &str) {
        until("it is published", || async { self.bus.publish(&[publication(topic, text)]).await.is_ok() }).await;
    }
}

fn chat(id: i64) -> Topic {
    Topic::Chat(ChatId(id))
}

fn publication(topic: &Topic, text: &str) -> Publication {
    Publication { topic: topic.clone(), payload: Bytes::copy_from_slice(text.as_bytes()) }
}
