//! Commands to Redis beside the bus: pooled connections to a single server or a cluster, every
//! wait bounded.

mod cluster;

use self::cluster::Cluster;
use super::script::{self, ScriptCall};
use super::{Server, connect};
use crate::config::RedisConfig;
use crate::error::{Error, Result};
use deadpool::Runtime;
use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use futures_util::future::join_all;
use parking_lot::Mutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Pipeline, PushInfo, PushKind, RedisError, RedisResult, ServerError, ServerErrorKind, Value};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Most connections.
const CONNECTIONS: usize = 8;
/// A connection that was unused for longer is asked before it is used: a balancer may have
/// forgotten it.
const TRUSTED_IDLE: Duration = Duration::from_secs(30);
/// The share of a call's time that this may take: a new connection is opened and used in the rest.
const ASKED_WITHIN: u32 = 4;
/// How long a refusal of scripts with keys of several slots is remembered.
const SPREAD_FOR: Duration = Duration::from_mins(10);

/// A pool of connections to `REDIS_URL`.
pub struct RedisPool {
    inner: Inner,
    timeout: Duration,
    /// When a single address turned out to lead to several servers, by a proxy before them.
    spread: Mutex<Option<Instant>>,
}

enum Inner {
    Single(managed::Pool<ToServer>),
    Cluster(Box<Cluster>),
}

/// Opens connections to one server.
struct ToServer {
    server: Server,
    trusted_idle: Duration,
    asked_within: Duration,
    /// When one was found lost. Those that were unused for long before are lost with it.
    found_lost: Mutex<Option<Instant>>,
}

/// A connection to one server. It says by itself that it was lost, so one in use is not asked
/// before: that question would be half of what an idle node asks.
struct ToOne {
    connection: MultiplexedConnection,
    lost: Arc<AtomicBool>,
    /// Whether its last command has no answer, as after a time-out, or failed.
    unfit: bool,
}

impl managed::Manager for ToServer {
    type Type = ToOne;
    type Error = RedisError;

    async fn create(&self) -> RedisResult<ToOne> {
        let lost = Arc::<AtomicBool>::default();
        let notices = lost.clone();
        let on_push = move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                notices.store(true, Ordering::Relaxed);
            }
            Ok::<(), ()>(())
        };
        let server = self.server.find().await?;
        // The library's future is large and runs seldom: boxed, it does not grow each call's.
        let connection = Box::pin(connect::connect(&server, on_push)).await?;
        Ok(ToOne { connection, lost, unfit: false })
    }

    async fn recycle(&self, connection: &mut ToOne, metrics: &Metrics) -> RecycleResult<RedisError> {
        let lost = || RecycleError::message("the connection is lost");
        if connection.unfit || connection.lost.load(Ordering::Relaxed) {
            return Err(lost());
        }
        if metrics.last_used() < self.trusted_idle {
            return Ok(());
        }
        let last_used = metrics.recycled.unwrap_or(metrics.created);
        if self.found_lost.lock().is_some_and(|found| found > last_used) {
            return Err(lost());
        }
        let ping = redis::cmd("PING");
        let answered = tokio::time::timeout(self.asked_within, connection.connection.req_packed_command(&ping)).await;
        if !matches!(answered, Ok(Ok(_))) {
            *self.found_lost.lock() = Some(Instant::now());
            return Err(lost());
        }
        Ok(())
    }
}

/// Every wait of the pool ends within `timeout`.
fn pool<M: managed::Manager>(manager: M, timeout: Duration) -> Result<managed::Pool<M>> {
    let builder = managed::Pool::builder(manager).max_size(CONNECTIONS).runtime(Runtime::Tokio1);
    let builder = builder.wait_timeout(Some(timeout)).create_timeout(Some(timeout));
    builder.recycle_timeout(Some(timeout)).build().map_err(Error::internal)
}

impl RedisPool {
    /// A pool that connects when it is first used. Every call ends within `timeout`. An address
    /// that cannot be read is an error.
    pub fn new(config: &RedisConfig, timeout: Duration) -> Result<Self> {
        Self::trusting(config, timeout, TRUSTED_IDLE)
    }

    /// One that asks a connection before it is used where it was unused for that long.
    fn trusting(config: &RedisConfig, timeout: Duration, trusted_idle: Duration) -> Result<Self> {
        let inner = if config.cluster {
            Inner::Cluster(Box::new(Cluster::new(connect::cluster(config)?)))
        } else {
            let (server, asked_within) = (connect::server(config)?, timeout / ASKED_WITHIN);
            let manager = ToServer { server, trusted_idle, asked_within, found_lost: Mutex::default() };
            Inner::Single(pool(manager, timeout)?)
        };
        Ok(Self { inner, timeout, spread: Mutex::default() })
    }

    /// Whether all keys are on one server, and any of them may be a script's. One that refused
    /// that is none for a while.
    pub fn is_one_server(&self) -> bool {
        let is_spread = || self.spread.lock().is_some_and(|found| found.elapsed() < SPREAD_FOR);
        matches!(self.inner, Inner::Single(_)) && !is_spread()
    }

    /// Runs the scripts in one round trip and answers for each, in their order. On one server,
    /// neighbouring calls of a script are one command; in a cluster, and where that command is
    /// refused, each goes by itself, at the same time. A script may have run even if its answer, or
    /// the whole call, is an error. `Error::Unavailable` when Redis is away, slow or refuses.
    pub async fn run(&self, calls: &[ScriptCall<'_>]) -> Result<Vec<Result<Value>>> {
        let groups = script::groups(calls, self.is_one_server());
        let first = self.run_groups(&groups).await?;
        let is_apart = |group: &script::Group<'_>, answer: &RedisResult<Value>| group.len() > 1 && is_refused(answer);
        let refused: Vec<_> = groups.iter().zip(&first).filter(|(group, answer)| is_apart(group, answer)).collect();
        let alone: Vec<_> = refused.iter().flat_map(|(group, _)| group.each()).collect();
        let mut alone =
            if alone.is_empty() { Vec::new() } else { self.run_alone(&alone, refused[0].1).await }.into_iter();
        let mut split = Vec::with_capacity(calls.len());
        for (group, answer) in groups.iter().zip(first) {
            if is_apart(group, &answer) {
                split.extend(alone.by_ref().take(group.len()));
            } else {
                split.extend(group.split(answer));
            }
        }
        Ok(answers(split))
    }

    /// Runs by themselves calls that were refused together. That they are not refused now shows
    /// what was wrong.
    async fn run_alone(&self, calls: &[script::Group<'_>], refusal: &RedisResult<Value>) -> Vec<RedisResult<Value>> {
        match self.run_groups(calls).await {
            Ok(answers) => {
                if answers.iter().any(|answer| !matches!(answer, Err(_) | Ok(Value::ServerError(_)))) {
                    self.found_spread(refusal.as_ref().ok().cloned().unwrap_or(Value::Nil));
                }
                answers
            }
            // The others have their answers.
            Err(error) => {
                let failed = || Err((redis::ErrorKind::Io, "no answer", error.cause()).into());
                calls.iter().map(|_| failed()).collect()
            }
        }
    }

    /// Runs a script with keys of several slots. `None` where that is refused.
    pub async fn run_across(&self, call: ScriptCall<'_>) -> Result<Option<Value>> {
        let calls = [call];
        let answers = self.run_groups(&script::groups(&calls, true)).await?;
        match answers.into_iter().next() {
            Some(answer) if !is_refused(&answer) => answer.map(Some).map_err(Error::unavailable),
            Some(refusal) => {
                self.found_spread(refusal.unwrap_or(Value::Nil));
                Ok(None)
            }
            None => Err(Error::unavailable("no answer")),
        }
    }

    /// Whatever a proxy calls it: a refusal of keys of several slots is no fault of the keys.
    fn found_spread(&self, refusal: Value) {
        let is_news = self.is_one_server();
        *self.spread.lock() = Some(Instant::now());
        if is_news && let Err(error) = refusal.extract_error() {
            tracing::info!(%error, "Redis refuses a script with keys of several slots: each bucket is asked by itself");
        }
    }

    async fn run_groups(&self, groups: &[script::Group<'_>]) -> Result<Vec<RedisResult<Value>>> {
        let short: Vec<_> = groups.iter().map(script::Group::by_digest).collect();
        let mut answers = self.bounded(self.raw(&short)).await?;
        // After a restart or a failover the server knows no scripts: only unknown ones are sent
        // again, whole.
        let unknown: Vec<_> = (0..answers.len()).filter(|&at| is_unknown_script(&answers[at])).collect();
        if !unknown.is_empty() {
            let whole: Vec<_> = unknown.iter().map(|&at| groups[at].whole()).collect();
            let again = self.bounded(self.raw(&whole)).await?;
            for (at, answer) in unknown.into_iter().zip(again) {
                answers[at] = answer;
            }
        }
        Ok(answers)
    }

    /// Runs the commands in one round trip (in a cluster each by itself, at the same time) and
    /// answers in their order.
    pub async fn commands(&self, commands: &[Cmd]) -> Result<Vec<Value>> {
        self.each(commands).await?.into_iter().collect()
    }

    /// The same, with an answer or a fault for each.
    pub async fn each(&self, commands: &[Cmd]) -> Result<Vec<Result<Value>>> {
        Ok(answers(self.bounded(self.raw(commands)).await?))
    }

    async fn bounded<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(answers) => answers,
            Err(elapsed) => Err(Error::unavailable(elapsed)),
        }
    }

    /// The answers: the refusal of a command is a value, its other failures are errors.
    async fn raw(&self, commands: &[Cmd]) -> Result<Vec<RedisResult<Value>>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        match &self.inner {
            Inner::Single(pool) => {
                let mut link = pool.get().await.map_err(Error::unavailable)?;
                let mut pipeline = Pipeline::with_capacity(commands.len());
                for command in commands {
                    pipeline.add_command(command.clone());
                }
                // Until it has answered: a call that is given up gives its connection up.
                link.unfit = true;
                let answers = link.connection.req_packed_commands(&pipeline, 0, commands.len()).await;
                let answers = answers.map_err(Error::unavailable)?;
                // If its server is no primary, the next call finds another.
                link.unfit = answers.iter().any(is_not_primary);
                Ok(answers.into_iter().map(Ok).collect())
            }
            Inner::Cluster(cluster) => {
                let connection = cluster.get().await?;
                // Less than the whole call's time, so that the answers that came are returned
                // within it.
                let share = self.timeout * 3 / 4;
                let each = commands.iter().map(|command| {
                    let mut connection = connection.clone();
                    // Each by itself: if one server of the cluster is frozen, the others' answers
                    // count.
                    async move {
                        match tokio::time::timeout(share, connection.req_packed_command(command)).await {
                            Ok(answer) => refusal_as_value(answer),
                            Err(_) => Err((redis::ErrorKind::Io, "no answer in time").into()),
                        }
                    }
                });
                let answers = join_all(each).await;
                cluster.record_answers(commands, &answers);
                Ok(answers)
            }
        }
    }
}

/// A refusal is an error. A list may have some in it: they are its reader's.
fn answers(raw: Vec<RedisResult<Value>>) -> Vec<Result<Value>> {
    let checked = raw.into_iter().map(|answer| match answer {
        Ok(refusal @ Value::ServerError(_)) => refusal.extract_error(),
        answer => answer,
    });
    checked.map(|answer| answer.map_err(Error::unavailable)).collect()
}

/// A refusal is an error of a cluster's connection, but a value of a single server's pipeline.
fn refusal_as_value(answer: RedisResult<Value>) -> RedisResult<Value> {
    match answer {
        Err(error) => ServerError::try_from(error).map(Value::ServerError),
        answered => answered,
    }
}

fn is_unknown_script(answer: &RedisResult<Value>) -> bool {
    matches!(answer, Ok(Value::ServerError(error)) if error.kind() == Some(ServerErrorKind::NoScript))
}

/// Whether a server that could have run the script refused it, for a reason that another form of
/// the call may not have.
fn is_refused(answer: &RedisResult<Value>) -> bool {
    const OF_ANY_CALL: [&str; 6] = ["BUSY", "NOAUTH", "NOPERM", "WRONGPASS", "CLUSTERDOWN", "OOM"];
    let Ok(refusal @ Value::ServerError(error)) = answer else { return false };
    !is_not_primary(refusal) && !OF_ANY_CALL.contains(&error.code())
}

/// The answer of a replica, or of a server that is still loading.
fn is_not_primary(answer: &Value) -> bool {
    use ServerErrorKind::{BusyLoading, MasterDown, ReadOnly};
    match answer {
        Value::ServerError(error) => matches!(error.kind(), Some(BusyLoading | MasterDown | ReadOnly)),
        // Of several calls.
        Value::Array(answers) => answers.iter().any(is_not_primary),
        _ => false,
    }
}

impl fmt::Debug for RedisPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisPool")
    }
}

#[cfg(test)]
mod tests;
