//! Asks a Redis server for its kind and its settings: at the start, from time to time, and by
//! `doctor`.

use super::address::Server;
use super::connect::{self, CONNECT_TIMEOUT};
use super::hello::Hello;
use super::namespace::Namespace;
use super::pool::RedisPool;
use crate::config::RedisConfig;
use crate::error::{Error, Result};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{FromRedisValue, PushInfo, cmd, from_redis_value};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// The pause between two questions for the eviction policy.
const POLICY_BEAT: Duration = Duration::from_secs(10);
/// The questions of one connection. Then it is opened anew: the primary may be another by then.
const BEATS_PER_LINK: u32 = 6;
/// The longest wait for the answers to writes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// The life of the key that is written, milliseconds.
const KEY_LIVES: u32 = 1000;
/// The policy under which nothing is lost.
const KEEPS: &str = "noeviction";

/// The server's own report. A user without a right, or a proxy, leaves parts out.
#[derive(Debug, Default)]
pub struct RedisFacts {
    /// Its version.
    pub version: Option<String>,
    /// `standalone`, `cluster` or `sentinel`.
    pub mode: Option<String>,
    /// `master` or `replica`.
    pub role: Option<String>,
    /// Its `maxmemory-policy`.
    pub policy: Option<String>,
    /// Its clock.
    pub clock: Option<OffsetDateTime>,
}

impl RedisFacts {
    /// Asks that server.
    pub(crate) async fn of(server: &Server) -> Result<Self> {
        let node = server.find().await.map_err(Error::unavailable)?;
        let mut connection =
            connect::connect(&node, |_: PushInfo| Ok::<(), ()>(())).await.map_err(Error::unavailable)?;
        let hello = ask(&mut connection, "HELLO", &[]).await.map(Hello::read).unwrap_or_default();
        let (seconds, micros): (i64, i64) = ask(&mut connection, "TIME", &[]).await.unwrap_or_default();
        let clock = OffsetDateTime::from_unix_timestamp(seconds).ok().filter(|_| seconds > 0);
        Ok(Self {
            version: hello.version,
            mode: hello.mode,
            role: hello.role,
            policy: policy(&mut connection).await,
            clock: clock.map(|clock| clock + time::Duration::microseconds(micros)),
        })
    }

    /// The policy under which the server drops keys by itself, if it may.
    pub fn evicts(&self) -> Option<&str> {
        self.policy.as_deref().filter(|policy| *policy != KEEPS)
    }
}

/// The servers of `REDIS_URL`; with Sentinels, the primary that they name.
pub(crate) fn servers(config: &RedisConfig) -> Result<Vec<Server>> {
    if config.sentinel.is_some() {
        return Ok(vec![connect::server(config)?]);
    }
    Ok(connect::nodes(config)?.into_iter().map(|node| Server::Fixed(Box::new(node))).collect())
}

/// The eviction policy. `info` has it where `config` is forbidden, as on rented servers.
async fn policy(connection: &mut MultiplexedConnection) -> Option<String> {
    let info: String = ask(connection, "INFO", &["memory"]).await?;
    let line = info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:"))?;
    Some(line.trim().to_owned())
}

/// The answer to a question; `None` where the server does not give it in time.
async fn ask<T: FromRedisValue>(
    connection: &mut MultiplexedConnection,
    command: &str,
    arguments: &[&str],
) -> Option<T> {
    let mut asked = cmd(command);
    asked.arg(arguments);
    let answer = timeout(CONNECT_TIMEOUT, connection.req_packed_command(&asked)).await.ok()?.ok()?;
    from_redis_value(answer.extract_error().ok()?).ok()
}

/// Writes a key of the namespace, which lives for a second, and publishes under the same name.
/// `Unavailable` with the server's word where it refuses.
pub async fn write(config: &RedisConfig, namespace: &Namespace) -> Result<()> {
    let name = namespace.name("doctor");
    let (mut set, mut publish) = (cmd("SET"), cmd(if config.cluster { "SPUBLISH" } else { "PUBLISH" }));
    set.arg(&name).arg("").arg("PX").arg(KEY_LIVES);
    publish.arg(&name).arg("");
    for answer in RedisPool::new(config, WRITE_TIMEOUT)?.each(&[set, publish]).await? {
        answer?;
    }
    Ok(())
}

/// Connections to the servers that answer.
async fn links(config: &RedisConfig) -> Vec<MultiplexedConnection> {
    let mut links = Vec::new();
    for server in servers(config).unwrap_or_default() {
        let Ok(node) = server.find().await else { continue };
        links.extend(connect::connect(&node, |_: PushInfo| Ok::<(), ()>(())).await);
    }
    links
}

/// Warns once when a server begins to drop keys by itself: presence, limits and the answers to
/// repeated requests may vanish then. A server that does not answer is the bus's to report.
pub async fn watch(config: RedisConfig) {
    let mut beat = interval(POLICY_BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known: Option<String> = None;
    let (mut open, mut beats) = (Vec::new(), 0);
    loop {
        beat.tick().await;
        if beats == 0 {
            open = links(&config).await;
        }
        let (mut asked, mut all, mut evicts) = (false, true, None);
        for link in &mut open {
            let policy = policy(link).await;
            asked |= policy.is_some();
            all &= policy.is_some();
            evicts = evicts.or_else(|| policy.filter(|policy| policy != KEEPS));
        }
        // One that does not answer may be back at another address, and so may a primary.
        beats = if asked && all { (beats + 1) % BEATS_PER_LINK } else { 0 };
        if !asked || evicts == known {
            continue;
        }
        if let Some(policy) = &evicts {
            tracing::warn!(
                redis.maxmemory_policy = policy,
                "Redis drops keys by itself when its memory is full: who is online and the limits may be lost; set \
                 `maxmemory-policy noeviction`"
            );
        } else {
            tracing::info!("Redis drops no keys by itself any more");
        }
        known = evicts;
    }
}
