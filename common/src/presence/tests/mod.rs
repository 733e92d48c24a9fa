//! The obligations of every back end of presence, over each of them; and what only Redis can do to
//! one.

mod bounded;
mod contract;
mod digest;
mod emptied;
mod idle;
mod leader;
mod lost_keys;
mod pending;
mod published;
mod restored;
mod spread;

use super::memory::MemoryPresence;
use super::redis::RedisPresence;
use super::{Own, Presence, Transition};
use crate::clock::Clock;
use crate::id::{NodeId, UserId};
use crate::redis::pool::RedisPool;
use messenger_testing::{Redis, RedisCluster, until, within};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

const LEASE: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_millis(600);

/// A back end, as several processes share it.
enum BackEnd {
    Memory(Arc<MemoryPresence>),
    Redis(Arc<Redis>),
    Cluster(RedisCluster),
}

impl BackEnd {
    fn memory() -> Self {
        Self::Memory(Arc::new(MemoryPresence::new(&Clock::system(), LEASE)))
    }

    async fn redis() -> Self {
        Self::Redis(Redis::private().await)
    }

    async fn cluster() -> Self {
        Self::Cluster(RedisCluster::start(3).await)
    }

    /// One more process.
    fn node(&self, name: &str) -> Node {
        let presence: Arc<dyn Presence> = match self {
            Self::Memory(presence) => presence.clone(),
            Self::Redis(server) => redis(vec![server.url()], false, LEASE),
            Self::Cluster(cluster) => redis(cluster.urls(), true, LEASE),
        };
        Node { id: NodeId(name.to_owned()), presence }
    }
}

fn redis(urls: Vec<String>, cluster: bool, lease: Duration) -> Arc<dyn Presence> {
    let urls: Vec<_> = urls.into_iter().map(Into::into).collect();
    let pool = RedisPool::new(&crate::config::RedisConfig::of(urls, cluster), Duration::from_secs(1)).unwrap();
    Arc::new(RedisPresence::new(Arc::new(pool), &crate::redis::Namespace::new("test"), lease))
}

#[derive(Clone)]
struct Node {
    id: NodeId,
    presence: Arc<dyn Presence>,
}

impl Node {
    async fn arrive(&self, users: &[i64]) -> Vec<(i64, bool)> {
        self.publish(self.presence.arrive(&self.id, &ids(users)).await.whole().unwrap()).await
    }

    /// Acknowledges transitions, as after their publication.
    async fn publish(&self, transitions: Vec<Transition>) -> Vec<(i64, bool)> {
        self.presence.acknowledge(&transitions).await.unwrap();
        plain(&transitions)
    }

    async fn depart(&self, users: &[i64]) {
        self.presence.depart(&self.id, &ids(users), GRACE).await.whole().unwrap();
    }

    async fn renew(&self, users: &[i64]) -> Vec<(i64, bool)> {
        self.publish(self.presence.renew(&self.id, &ids(users)).await.whole().unwrap()).await
    }

    async fn sweep(&self) -> Vec<(i64, bool)> {
        self.publish(self.presence.sweep(&self.id).await.unwrap()).await
    }

    /// Whether the node sweeps, and the number of users online.
    async fn lead(&self) -> (bool, Option<u64>) {
        let lead = self.presence.lead(&self.id, Own::default()).await.unwrap();
        self.publish(lead.transitions).await;
        (lead.sweeps, lead.online)
    }

    async fn is_online(&self, user: i64) -> bool {
        self.presence.online(&[UserId(user)]).await.unwrap()[0].is_some()
    }

    async fn count(&self) -> u64 {
        self.presence.count().await.unwrap()
    }

    /// Everyone, by pages of that size.
    async fn everyone(&self, limit: usize) -> Vec<i64> {
        let (mut everyone, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = self.presence.list(after.as_deref(), limit).await.unwrap();
            assert!(page.items.len() <= limit);
            everyone.extend(page.items.iter().map(|online| online.user_id.0));
            match page.next_cursor {
                Some(next) => after = Some(next),
                None => return everyone,
            }
        }
    }

    /// Sweeps, and renews for `users` as a living node does, until the transitions of this many
    /// users were told.
    async fn sweep_until(&self, users: &[i64], many: usize) -> Vec<(i64, bool)> {
        let mut told = Vec::new();
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        within("all transitions", async {
            while told.len() < many {
                ticks.tick().await;
                if !users.is_empty() {
                    told.extend(self.renew(users).await);
                }
                told.extend(self.sweep().await);
            }
        })
        .await;
        told
    }
}

/// All that is surplus.
async fn surplus(node: &Node, users: &[i64]) -> Vec<UserId> {
    node.presence.surplus(&node.id, &ids(users)).await.unwrap()
}

fn ids(users: &[i64]) -> Vec<UserId> {
    users.iter().copied().map(UserId).collect()
}

fn plain(transitions: &[Transition]) -> Vec<(i64, bool)> {
    transitions.iter().map(|transition| (transition.user_id.0, transition.online)).collect()
}

/// The transitions published of each user, in order.
fn by_user(told: &[(i64, bool)]) -> HashMap<i64, Vec<bool>> {
    let mut all: HashMap<i64, Vec<bool>> = HashMap::new();
    for (user, online) in told {
        all.entry(*user).or_default().push(*online);
    }
    all
}
