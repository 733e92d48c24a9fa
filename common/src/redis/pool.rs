//! Commands to Redis beside the bus: pooled connections to a single server or a cluster, every
//! wait bounded.

use super::{Server, connect};
use crate::config::RedisConfig;
use crate::error::{Error, Result};
use deadpool::Runtime;
use deadpool::managed::{self, Metrics, Object, RecycleResult};
use futures_util::future::join_all;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, Pipeline, RedisError, RedisResult, ServerError, ServerErrorKind, Value};
use std::fmt;
use std::time::Duration;

/// Most connections.
const CONNECTIONS: usize = 8;

/// A Lua script: called by its digest, sent whole when the server does not know it.
#[derive(Debug)]
pub struct Script {
    text: &'static str,
    digest: String,
}

impl Script {
    /// A script of this text, which begins with its KEYS and ARGV. All its keys must be in one
    /// slot.
    pub fn new(text: &'static str) -> Self {
        Self { text, digest: redis::Script::new(text).get_hash().to_owned() }
    }

    /// A call with these keys. [`ScriptCall::arg`] adds arguments.
    pub fn call(&self, keys: &[&str]) -> ScriptCall<'_> {
        let mut arguments = Cmd::new();
        arguments.arg(keys.len());
        for key in keys {
            arguments.arg(*key);
        }
        ScriptCall { script: self, arguments }
    }
}

/// A script with its keys and arguments.
pub struct ScriptCall<'a> {
    script: &'a Script,
    arguments: Cmd,
}

impl ScriptCall<'_> {
    /// One more of `ARGV`.
    pub fn arg(&mut self, value: impl redis::ToRedisArgs) -> &mut Self {
        self.arguments.arg(value);
        self
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script);
        for argument in self.arguments.args_iter() {
            if let redis::Arg::Simple(bytes) = argument {
                command.arg(bytes);
            }
        }
        command
    }
}

/// A pool of connections to `REDIS_URL`.
pub struct RedisPool {
    inner: Inner,
    timeout: Duration,
}

enum Inner {
    Single(managed::Pool<ToServer>),
    Cluster(managed::Pool<ToCluster>),
}

/// Opens connections to one server.
struct ToServer {
    server: Server,
    timeout: Duration,
}

impl managed::Manager for ToServer {
    type Type = MultiplexedConnection;
    type Error = RedisError;

    async fn create(&self) -> RedisResult<MultiplexedConnection> {
        connect::open(self.server.find().await?, self.timeout).await
    }

    async fn recycle(&self, connection: &mut MultiplexedConnection, _: &Metrics) -> RecycleResult<RedisError> {
        Ok(redis::cmd("PING").query_async::<()>(connection).await?)
    }
}

/// Opens connections to a cluster.
struct ToCluster(ClusterClient);

impl managed::Manager for ToCluster {
    type Type = ClusterConnection;
    type Error = RedisError;

    async fn create(&self) -> RedisResult<ClusterConnection> {
        self.0.get_async_connection().await
    }

    async fn recycle(&self, connection: &mut ClusterConnection, _: &Metrics) -> RecycleResult<RedisError> {
        Ok(redis::cmd("PING").query_async::<()>(connection).await?)
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
        let inner = if config.cluster {
            Inner::Cluster(pool(ToCluster(connect::cluster(config)?), timeout)?)
        } else {
            Inner::Single(pool(ToServer { server: connect::server(config)?, timeout }, timeout)?)
        };
        Ok(Self { inner, timeout })
    }

    /// Runs the scripts in one round trip (in a cluster each by itself, at the same time) and
    /// answers for each, in their order. A script may have run even if its answer, or the whole
    /// call, is an error. `Error::Unavailable` when Redis is away, slow or refuses.
    pub async fn run(&self, calls: &[ScriptCall<'_>]) -> Result<Vec<Result<Value>>> {
        let short: Vec<_> = calls.iter().map(|call| call.command("EVALSHA", &call.script.digest)).collect();
        let mut answers = self.bounded(self.raw(&short)).await?;
        // After a restart or a failover the server knows no scripts: only unknown ones are sent
        // again, whole.
        let unknown: Vec<_> = (0..answers.len()).filter(|&at| is_unknown_script(&answers[at])).collect();
        if !unknown.is_empty() {
            let whole: Vec<_> = unknown.iter().map(|&at| calls[at].command("EVAL", calls[at].script.text)).collect();
            let again = self.bounded(self.raw(&whole)).await?;
            for (at, answer) in unknown.into_iter().zip(again) {
                answers[at] = answer;
            }
        }
        Ok(self::answers(answers))
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
                let mut connection = pool.get().await.map_err(Error::unavailable)?;
                let mut pipeline = Pipeline::with_capacity(commands.len());
                for command in commands {
                    pipeline.add_command(command.clone());
                }
                let answers = connection.req_packed_commands(&pipeline, 0, commands.len()).await;
                if answers.as_ref().map_or(true, |answers| answers.iter().any(is_not_primary)) {
                    // The connection is lost, or its server is no primary: the next call gets
                    // another.
                    drop(Object::take(connection));
                }
                Ok(answers.map_err(Error::unavailable)?.into_iter().map(Ok).collect())
            }
            Inner::Cluster(pool) => {
                let connection = pool.get().await.map_err(Error::unavailable)?;
                // Less than the whole call's time, so that the answers that came are returned
                // within it.
                let share = self.timeout * 3 / 4;
                let each = commands.iter().map(|command| {
                    let mut connection = (*connection).clone();
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
                if answers.iter().any(RedisResult::is_err) {
                    drop(Object::take(connection));
                }
                Ok(answers)
            }
        }
    }
}

fn answers(raw: Vec<RedisResult<Value>>) -> Vec<Result<Value>> {
    raw.into_iter().map(|answer| answer.and_then(Value::extract_error).map_err(Error::unavailable)).collect()
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

/// The answer of a replica, or of a server that is still loading.
fn is_not_primary(answer: &Value) -> bool {
    use ServerErrorKind::{BusyLoading, MasterDown, ReadOnly};
    matches!(answer, Value::ServerError(error) if matches!(error.kind(), Some(BusyLoading | MasterDown | ReadOnly)))
}

impl fmt::Debug for RedisPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisPool")
    }
}
