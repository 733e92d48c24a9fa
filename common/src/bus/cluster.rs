//! The bus over Redis Cluster's sharded pub/sub: a link to every primary, each topic on the link
//! that serves its slot.
//!
//! Every link probes and repairs itself, as the one of a single server does. This file decides
//! which topic belongs to which link: from `CLUSTER SLOTS`, asked at a slow beat, and at once when
//! a server says that it does not serve what it was asked for.

use super::events::EventQueue;
use super::link::{Kind, Link, LinkError, Shared};
use super::session;
use super::topology::{self, Range};
use super::{Bus, BusEvent, Publication, Topic};
use crate::error::{Error, Result};
use crate::id::NodeId;
use crate::lifecycle::Lifecycle;
use crate::redis::{Namespace, Server, at, connect};
use async_trait::async_trait;
use futures_util::future::join_all;
use parking_lot::Mutex;
use redis::aio::ConnectionLike;
use redis::{ConnectionInfo, PushInfo};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// The pause between questions for the topology while every link is up, and while one is not.
const REFRESH_EVERY: Duration = Duration::from_secs(5);
const REFRESH_SOON: Duration = Duration::from_millis(500);
/// Calls for attention within this time are handled together.
const GATHER: Duration = Duration::from_millis(50);

pub(super) struct ClusterBus {
    seeds: Vec<ConnectionInfo>,
    node: NodeId,
    shared: Shared,
    map: Mutex<Map>,
    up: watch::Sender<bool>,
    events: Mutex<Option<EventQueue>>,
}

/// The topics that the node subscribes to and the links that serve them. One lock, so that a topic
/// is on exactly one link.
#[derive(Default)]
struct Map {
    topics: HashSet<Topic>,
    ranges: Vec<(Range, Arc<Link>)>,
    links: Vec<(Arc<Link>, CancellationToken)>,
}

impl Map {
    /// Whether the same servers serve the same slots already.
    fn serves(&self, ranges: &[Range]) -> bool {
        let same = |(now, (before, _)): (&Range, &(Range, Arc<Link>))| now == before;
        !ranges.is_empty() && ranges.len() == self.ranges.len() && ranges.iter().zip(&self.ranges).all(same)
    }

    fn link(&self, namespace: &Namespace, topic: &Topic) -> Option<&Arc<Link>> {
        let slot = topology::slot(&namespace.name(topic));
        let at = self.ranges.partition_point(|(range, _)| range.last < slot);
        self.ranges.get(at).map(|(_, link)| link)
    }
}

impl ClusterBus {
    pub(super) fn start(
        seeds: Vec<ConnectionInfo>,
        node: &NodeId,
        lifecycle: &Lifecycle,
        shared: Shared,
        queue: EventQueue,
    ) -> Arc<dyn Bus> {
        let bus = Arc::new(Self {
            seeds,
            node: node.clone(),
            shared,
            map: Mutex::default(),
            up: watch::Sender::new(false),
            events: Mutex::new(Some(queue)),
        });
        let keeper = bus.clone();
        lifecycle.spawn("bus cluster", async move { keeper.keep().await });
        bus
    }

    /// Follows the cluster's topology, for ever. The links' tasks live in the set and end with it;
    /// a panic in one of them goes on here, so that it stops the process as it does over a single
    /// server.
    async fn keep(&self) {
        let mut links = JoinSet::new();
        loop {
            if let Some(ranges) = self.ask().await {
                self.apply(&ranges, &mut links);
            } else {
                tracing::warn!("no node of the Redis Cluster knows every slot; asking again");
            }
            let pause = if self.update_up() { REFRESH_EVERY } else { REFRESH_SOON };
            tokio::select! {
                () = self.shared.attention.notified() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(pause) => {}
                Some(ended) = links.join_next() => propagate_panic(ended),
            }
            self.update_up();
        }
    }

    fn update_up(&self) -> bool {
        let up = {
            let map = self.map.lock();
            !map.links.is_empty() && map.links.iter().all(|(link, _)| link.is_up())
        };
        self.up.send_replace(up);
        self.shared.metrics.up.set(i64::from(up));
        up
    }

    /// Asks the links that are up, then the seeds, for the topology.
    async fn ask(&self) -> Option<Vec<Range>> {
        let links: Vec<_> = self.map.lock().links.iter().map(|(link, _)| link.clone()).collect();
        for link in links.iter().filter(|link| link.is_up()) {
            if let Some(connection) = link.connection()
                && let Server::Fixed(info) = &link.server
                && let Some(ranges) = slots(connection, info).await
            {
                return Some(ranges);
            }
        }
        for seed in &self.seeds {
            if let Ok(connection) = connect::connect(seed, |_: PushInfo| Ok::<(), ()>(())).await
                && let Some(ranges) = slots(connection, seed).await
            {
                return Some(ranges);
            }
        }
        None
    }

    /// Makes links to new primaries, ends those to former ones, and moves each topic to the link
    /// that serves it now.
    fn apply(&self, ranges: &[Range], tasks: &mut JoinSet<()>) {
        let mut map = self.map.lock();
        // Each topic's slot would be computed under the lock that publishers and shards take.
        if map.serves(ranges) {
            return;
        }
        let before: Vec<_> =
            map.topics.iter().map(|topic| (topic.clone(), map.link(&self.shared.namespace, topic).cloned())).collect();
        let mut links: Vec<(Arc<Link>, CancellationToken)> = Vec::new();
        let mut served = Vec::with_capacity(ranges.len());
        for range in ranges {
            let info = at(&self.seeds[0], range.host.clone(), range.port);
            let of_node = |link: &Link| matches!(&link.server, Server::Fixed(other) if other.addr() == info.addr());
            if !links.iter().any(|(link, _)| of_node(link)) {
                let own: Vec<_> =
                    ranges.iter().filter(|other| other.host == range.host && other.port == range.port).collect();
                let serves_probe = |link: &Link| own.iter().any(|range| range.holds(topology::slot(&link.probe)));
                let kept = map.links.iter().find(|(link, _)| of_node(link) && serves_probe(link));
                let link = kept.cloned().unwrap_or_else(|| {
                    let link = Link::new(
                        Server::Fixed(Box::new(info.clone())),
                        Kind::Sharded,
                        self.probe(&own),
                        self.shared.clone(),
                    );
                    let (link, ended) = (Arc::new(link), CancellationToken::new());
                    let (running, until) = (link.clone(), ended.clone());
                    tasks.spawn(async move {
                        until.run_until_cancelled(session::keep(running)).await;
                    });
                    (link, ended)
                });
                links.push(link);
            }
            if let Some((link, _)) = links.iter().find(|(link, _)| of_node(link)) {
                served.push((range.clone(), link.clone()));
            }
        }
        for (link, ended) in &map.links {
            if !links.iter().any(|(kept, _)| Arc::ptr_eq(kept, link)) {
                ended.cancel();
            }
        }
        map.links = links;
        map.ranges = served;
        for (topic, link) in before {
            let now = map.link(&self.shared.namespace, &topic);
            if now.map(Arc::as_ptr) != link.as_ref().map(Arc::as_ptr) {
                if let Some(link) = link {
                    link.unsubscribe(std::slice::from_ref(&topic));
                }
                if let Some(link) = now {
                    link.subscribe(&[topic]);
                }
            }
        }
    }

    /// A channel of this node's own in one of these slots.
    fn probe(&self, own: &[&Range]) -> String {
        let served = |name: &String| own.iter().any(|range| range.holds(topology::slot(name)));
        let names = (0_u32..).map(|n| format!("{}{}.{n}", self.shared.namespace, Topic::Node(self.node.clone())));
        // A server with one slot of 16,384 is found after about as many names.
        names.take(1 << 20).find(served).unwrap_or_default()
    }
}

fn propagate_panic(ended: Result<(), JoinError>) {
    // A link that lost its slots was cancelled: that end is in order.
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

async fn slots(mut connection: impl ConnectionLike, of: &ConnectionInfo) -> Option<Vec<Range>> {
    let mut question = redis::cmd("CLUSTER");
    question.arg("SLOTS");
    let answer = tokio::time::timeout(connect::CONNECT_TIMEOUT, connection.req_packed_command(&question)).await;
    topology::read(&answer.ok()?.ok()?, of)
}

#[async_trait]
impl Bus for ClusterBus {
    async fn publish(&self, publications: &[Publication]) -> Result<()> {
        let mut shares: Vec<(Arc<Link>, Vec<&Publication>)> = Vec::new();
        let mut homeless = false;
        {
            let map = self.map.lock();
            for publication in publications {
                let Some(link) = map.link(&self.shared.namespace, &publication.topic) else {
                    homeless = true;
                    self.shared.metrics.published_error.inc();
                    continue;
                };
                match shares.iter_mut().find(|(other, _)| Arc::ptr_eq(other, link)) {
                    Some((_, share)) => share.push(publication),
                    None => shares.push((link.clone(), vec![publication])),
                }
            }
        }
        let sending = shares.iter().map(|(link, share)| async move {
            let result = link.publish(share.iter().copied()).await;
            self.shared.metrics.published(share.len(), &result);
            result
        });
        let result = join_all(sending).await.into_iter().collect::<Result<(), LinkError>>();
        if homeless { Err(Error::unavailable(LinkError::Down)) } else { result.map_err(Error::unavailable) }
    }

    fn subscribe(&self, topics: &[Topic]) {
        let mut map = self.map.lock();
        for topic in topics {
            if map.topics.insert(topic.clone())
                && let Some(link) = map.link(&self.shared.namespace, topic)
            {
                link.subscribe(std::slice::from_ref(topic));
            }
        }
    }

    fn unsubscribe(&self, topics: &[Topic]) {
        let mut map = self.map.lock();
        for topic in topics {
            if map.topics.remove(topic)
                && let Some(link) = map.link(&self.shared.namespace, topic)
            {
                link.unsubscribe(std::slice::from_ref(topic));
            }
        }
    }

    fn take_events(&self) -> Option<mpsc::Receiver<BusEvent>> {
        self.events.lock().take()
    }

    fn up(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    fn carries_some(&self) -> bool {
        self.map.lock().links.iter().any(|(link, _)| link.is_up())
    }

    fn fault(&self) -> Option<String> {
        let map = self.map.lock();
        if map.links.is_empty() {
            return Some("no node of the Redis Cluster knows every slot".to_owned());
        }
        map.links.iter().find_map(|(link, _)| link.fault().map(|fault| format!("{}: {fault}", link.server)))
    }
}
