//! Limits counted in Redis, so that they hold across nodes.
//!
//! This process counts each check too. A subject over the limit here is over it everywhere, so a
//! flood costs Redis nothing. A subject far from its limit has a lease, and Redis is asked for one
//! check in ten. While Redis is away or slow, the count of this process decides, at once and
//! without a gap.

use super::leases::{self, Leases, Spent};
use super::memory::MemoryLimiter;
use super::{DEEPEST, Decision, Limit, Price, RateLimiter, interval};
use crate::config::RedisConfig;
use crate::error::Result;
use crate::lifecycle::Lifecycle;
use crate::redis::connect::{self, CONNECT_TIMEOUT};
use crate::redis::{self as redis_room, Namespace, Place};
use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{FromRedisValue, RedisResult};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// No request waits longer for its count.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(100);
/// The pause between attempts to connect.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Counts in Redis; see the module.
pub struct RedisLimiter {
    link: Arc<Link>,
    here: MemoryLimiter,
    leases: Leases,
    script: redis::Script,
    refund: redis::Script,
    namespace: Namespace,
}

/// The connection, while there is one that answers.
struct Link {
    open: ArcSwapOption<Connection>,
    broken: Notify,
}

#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

enum Server {
    Single(redis_room::Server),
    Cluster(Box<ClusterClient>),
}

impl RedisLimiter {
    /// Starts connecting, and counts in this process until connected. An address that cannot be
    /// read is `Internal`.
    pub fn start(place: &Place, lifecycle: &Lifecycle) -> Result<Self> {
        let server = Server::new(&place.config)?;
        let link = Arc::new(Link { open: ArcSwapOption::empty(), broken: Notify::new() });
        let kept = link.clone();
        lifecycle.spawn("rate limits' link", async move { kept.keep(&server).await });
        let script = redis::Script::new(include_str!("gcra.lua"));
        let refund = redis::Script::new(include_str!("refund.lua"));
        Ok(Self {
            link,
            here: MemoryLimiter::new(),
            leases: Leases::new(),
            script,
            refund,
            namespace: place.namespace.clone(),
        })
    }

    /// That price after what was spent: the time to wait, and how much of the burst is used.
    async fn ask(
        &self,
        connection: &Connection,
        limit: &Limit,
        subject: &str,
        spent: Spent,
        price: Price,
    ) -> RedisResult<(u64, u64)> {
        let burst = u64::from(limit.burst.max(1));
        let furthest = if limit.period <= leases::LONGEST_PERIOD { burst * u64::from(DEEPEST) } else { burst };
        let mut call = self.script.key(self.key(limit, subject));
        call.arg(micros(limit)).arg(burst).arg(furthest).arg(spent.count).arg(spent.ahead_micros);
        call.arg(price.held).arg(price.count);
        invoke(connection, &call).await
    }

    fn key(&self, limit: &Limit, subject: &str) -> String {
        format!("{}rl:{}:{{{subject}}}", self.namespace, limit.name)
    }

    /// The answer of a call, in time; a connection that does not give one is dropped.
    async fn within<T>(&self, connection: &Arc<Connection>, call: impl Future<Output = RedisResult<T>>) -> Option<T> {
        match tokio::time::timeout(ANSWER_TIMEOUT, call).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => self.link.give_up(connection, &error.to_string()),
            Err(_) => self.link.give_up(connection, "no answer in time"),
        }
        None
    }
}

fn micros(limit: &Limit) -> u64 {
    u64::try_from(interval(limit).as_micros()).unwrap_or(u64::MAX)
}

async fn invoke<T: FromRedisValue>(connection: &Connection, call: &redis::ScriptInvocation<'_>) -> RedisResult<T> {
    match connection.clone() {
        Connection::Single(mut connection) => call.invoke_async(&mut connection).await,
        Connection::Cluster(mut connection) => call.invoke_async(&mut connection).await,
    }
}

#[async_trait]
impl RateLimiter for RedisLimiter {
    async fn check(&self, limit: &Limit, subject: &str) -> Decision {
        let now = self.here.now();
        let here = self.here.count_at(limit, subject, Price::ONE, now);
        if here != Decision::Allowed {
            return here;
        }
        let Some(connection) = self.link.open.load_full() else { return here };
        let Err(spent) = self.leases.spend(limit, subject, now) else { return here };
        // A report without an answer is lost: to repeat one that arrived would count it twice.
        match self.within(&connection, self.ask(&connection, limit, subject, spent, Price::ONE)).await {
            Some((0, used)) => {
                self.leases.grant(limit, subject, now, used);
                Decision::Allowed
            }
            Some((micros, _)) => Decision::Denied { retry_after: Duration::from_micros(micros) },
            None => here,
        }
    }

    /// Redis decides alone: the count of this process may stand higher for a moment, and a flood
    /// was refused before.
    async fn exchange(&self, limit: &Limit, subject: &str, count: u32) -> Decision {
        let here = self.here.count_at(limit, subject, Price { held: 1, count }, self.here.now());
        let Some(connection) = self.link.open.load_full() else { return here };
        let held = u32::from(!self.leases.refund(limit, subject));
        let asked = self.ask(&connection, limit, subject, Spent::default(), Price { held, count });
        match self.within(&connection, asked).await {
            Some((0, _)) => Decision::Allowed,
            Some((micros, _)) => {
                if here == Decision::Allowed {
                    self.here.take_back(limit, subject, count);
                }
                Decision::Denied { retry_after: Duration::from_micros(micros) }
            }
            None => here,
        }
    }

    /// As a report of what this node allowed.
    async fn owe(&self, limit: &Limit, subject: &str, count: u32) {
        self.here.owe_at(limit, subject, count, self.here.now());
        let Some(connection) = self.link.open.load_full() else { return };
        let ahead_micros = i64::try_from(micros(limit).saturating_mul(count.into())).unwrap_or(i64::MAX);
        let asked = self.ask(&connection, limit, subject, Spent { count, ahead_micros }, Price { held: 0, count: 0 });
        self.within(&connection, asked).await;
    }

    async fn refund(&self, limit: &Limit, subject: &str) {
        self.here.take_back(limit, subject, 1);
        if self.leases.refund(limit, subject) {
            return;
        }
        let Some(connection) = self.link.open.load_full() else { return };
        let mut call = self.refund.key(self.key(limit, subject));
        call.arg(micros(limit));
        // A refund that is lost costs one try of many.
        self.within::<u64>(&connection, invoke(&connection, &call)).await;
    }
}

impl Link {
    /// Keeps a connection open: a new one after each that was given up, tried every second.
    async fn keep(&self, server: &Server) {
        loop {
            match server.connect().await {
                Ok(connection) => {
                    self.open.store(Some(Arc::new(connection)));
                    tracing::debug!("rate limits are counted in Redis");
                    self.broken.notified().await;
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot connect to Redis; this process counts the rate limits alone");
                }
            }
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
    }

    /// Drops a connection that failed, unless another check did before.
    fn give_up(&self, failed: &Arc<Connection>, why: &str) {
        let before = self.open.rcu(|open| open.clone().filter(|open| !Arc::ptr_eq(open, failed)));
        if before.is_some_and(|before| Arc::ptr_eq(&before, failed)) {
            tracing::warn!(error = why, "lost Redis; this process counts the rate limits alone");
            self.broken.notify_one();
        }
    }
}

impl Server {
    fn new(config: &RedisConfig) -> Result<Self> {
        if config.cluster {
            return connect::cluster(config).map(|client| Self::Cluster(Box::new(client)));
        }
        connect::server(config).map(Self::Single)
    }

    /// A connection that has answered. Each step of it ends in time: those to a cluster, of which a
    /// server is silent, may take more than a second together.
    async fn connect(&self) -> RedisResult<Connection> {
        match self {
            Self::Single(server) => {
                let mut connection = connect::open(server.find().await?, CONNECT_TIMEOUT).await?;
                redis::cmd("PING").query_async::<()>(&mut connection).await?;
                Ok(Connection::Single(connection))
            }
            Self::Cluster(client) => client.get_async_connection().await.map(Connection::Cluster),
        }
    }
}

#[cfg(test)]
mod tests;
