//! The connection to a cluster, one for all: it carries any number of commands at once.
//!
//! A server that falls silent (frozen, or its packets are lost) keeps its connections open, so the
//! library goes on asking it, also when its replica has taken over. A connection is never given up
//! for that: the other servers answer through it. Another one is made beside it, and takes its
//! place once those answer who did not.

use super::refusal_as_value;
use crate::error::{Error, Result};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, try_join_all};
use parking_lot::Mutex;
use redis::aio::ConnectionLike;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{Arg, Cmd, RedisResult, Value};
use std::time::{Duration, Instant};

/// The pause between attempts to make another connection.
const RETRIED_EVERY: Duration = Duration::from_secs(1);
/// A connection through which nobody answered for so long is given up.
const SILENT_FOR: Duration = Duration::from_secs(3);
/// Commands without an answer whose keys another connection is tried with.
const TRIED_WITH: usize = 64;
const TRIED_FOR: Duration = Duration::from_secs(1);

/// A connection that is being made. It goes on when it is polled, and the library's own part goes
/// on in between: the call that began it may be over.
type Connecting = Shared<BoxFuture<'static, RedisResult<ClusterConnection>>>;

/// See the module.
pub(super) struct Cluster {
    client: ClusterClient,
    state: Mutex<State>,
}

struct State {
    open: Option<ClusterConnection>,
    next: Option<Connecting>,
    /// When the last one was begun.
    begun: Instant,
    /// When a call failed wholly, and none was answered in part since.
    silent_since: Option<Instant>,
}

impl Cluster {
    pub(super) fn new(client: ClusterClient) -> Self {
        let state = State { open: None, next: None, begun: Instant::now(), silent_since: None };
        Self { client, state: Mutex::new(state) }
    }

    /// The connection, made where there is none. The caller sets a time-out.
    pub(super) async fn get(&self) -> Result<ClusterConnection> {
        let making = {
            let mut state = self.state.lock();
            state.take_next();
            if let Some(open) = &state.open {
                return Ok(open.clone());
            }
            state.next.get_or_insert_with(|| self.make(Vec::new())).clone()
        };
        let made = making.await.map_err(Error::unavailable)?;
        let mut state = self.state.lock();
        state.silent_since = None;
        Ok(state.open.get_or_insert(made).clone())
    }

    /// Records the answers to commands.
    pub(super) fn record_answers(&self, commands: &[Cmd], answers: &[RedisResult<Value>]) {
        let mut state = self.state.lock();
        let now = Instant::now();
        if answers.iter().any(Result::is_ok) {
            state.silent_since = None;
        }
        let failed = commands.iter().zip(answers).filter(|(_, answer)| answer.is_err());
        let tried: Vec<Cmd> = failed.filter_map(|(command, _)| read_of(command)).take(TRIED_WITH).collect();
        if tried.is_empty() {
            return;
        }
        if answers.iter().all(Result::is_err) && now - *state.silent_since.get_or_insert(now) > SILENT_FOR {
            state.open = None;
        } else if state.next.is_none() && now - state.begun > RETRIED_EVERY {
            state.begun = now;
            state.next = Some(self.make(tried));
            state.take_next();
        }
    }

    /// A connection through which these commands are answered.
    fn make(&self, tried: Vec<Cmd>) -> Connecting {
        let client = self.client.clone();
        let making = async move {
            let connection = client.get_async_connection().await?;
            let answered = tried.iter().map(|command| {
                let mut connection = connection.clone();
                // A refusal is an answer.
                async move { refusal_as_value(connection.req_packed_command(command).await) }
            });
            match tokio::time::timeout(TRIED_FOR, try_join_all(answered)).await {
                Ok(answered) => answered.map(|_| connection),
                Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
            }
        };
        making.boxed().shared()
    }
}

impl State {
    /// Looks at the connection in the making, and takes it once it is there.
    fn take_next(&mut self) {
        let Some(made) = self.next.clone().and_then(FutureExt::now_or_never) else { return };
        self.next = None;
        match made {
            Ok(connection) => self.open = Some(connection),
            Err(error) => tracing::debug!(%error, "another connection to the Redis Cluster reaches no more of it"),
        }
    }
}

/// A read of the command's first key: of a script it stands behind the script and their number.
fn read_of(command: &Cmd) -> Option<Cmd> {
    let mut words = command.args_iter().filter_map(|word| match word {
        Arg::Simple(word) => Some(word),
        _ => None,
    });
    let key = if words.next()?.starts_with(b"EVAL") { words.nth(2) } else { words.next() };
    let mut read = redis::cmd("GET");
    read.arg(key?);
    Some(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commands_key_is_read() {
        let read = |command: &Cmd| read_of(command).map(|read| read.get_packed_command());
        let of = |key: &str| Some(redis::cmd("GET").arg(key).get_packed_command());
        assert_eq!(read(redis::cmd("ZCARD").arg("{a}:online")), of("{a}:online"));
        assert_eq!(read(redis::cmd("EVALSHA").arg("0f").arg(1).arg("{a}").arg("b")), of("{a}"));
        assert_eq!(read(&redis::cmd("PING")), None);
    }
}
