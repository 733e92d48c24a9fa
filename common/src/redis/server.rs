//! Asks once which kind of server stands behind an address, before anything is built on it.

use super::connect::{self, CONNECT_TIMEOUT};
use super::hello::Hello;
use crate::config::RedisConfig;
use crate::error::{Error, Result};
use redis::aio::ConnectionLike;
use redis::{PushInfo, RedisResult, Value};

/// Whether the first of these addresses leads to a node of a Redis Cluster. `Unavailable` while
/// nobody answers there, and while a replica does: it may be promoted yet. `Internal` for a
/// Sentinel that is not named as one.
pub async fn is_cluster(config: &RedisConfig) -> Result<bool> {
    let node = connect::server(config)?.find().await.map_err(Error::unavailable)?;
    let mut connection = connect::connect(&node, |_: PushInfo| Ok::<(), ()>(())).await.map_err(Error::unavailable)?;
    let hello = redis::cmd("HELLO");
    let asked = tokio::time::timeout(CONNECT_TIMEOUT, connection.req_packed_command(&hello)).await;
    judge(asked.map_err(Error::unavailable)?.and_then(Value::extract_error))
}

fn judge(answer: RedisResult<Value>) -> Result<bool> {
    // A proxy or a user without that right does not say: one server, as ever.
    let Ok(answer) = answer else { return Ok(false) };
    let hello = Hello::read(answer);
    match (hello.mode.as_deref(), hello.role.as_deref()) {
        (Some("sentinel"), _) => Err(Error::internal("leads to a Sentinel: write redis+sentinel://HOST:PORT/PRIMARY")),
        (Some("cluster"), _) => Ok(true),
        (_, Some("replica")) => Err(Error::unavailable("the server is a replica; REDIS_URL must lead to the primary")),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(mode: &str, role: &str) -> Result<bool> {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let version = (text("proto"), Value::Int(3));
        judge(Ok(Value::Map(vec![version, (text("mode"), text(mode)), (text("role"), text(role))])))
    }

    #[test]
    fn the_answer_says_what_the_server_is() {
        assert!(matches!(judged("standalone", "master"), Ok(false)));
        assert!(matches!(judged("cluster", "master"), Ok(true)));
        assert!(matches!(judged("cluster", "replica"), Ok(true)), "the topology names the primaries");
        assert!(matches!(judged("standalone", "replica"), Err(Error::Unavailable(_))));
        assert!(matches!(judged("sentinel", "master"), Err(Error::Internal(_))));
        assert!(matches!(judge(Ok(Value::Okay)), Ok(false)), "a proxy");
    }
}
