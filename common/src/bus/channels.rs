//! Channels of the server, subscribed and unsubscribed in batches.

use super::link::{Kind, refusal};
use redis::Pipeline;
use redis::aio::{ConnectionLike, MultiplexedConnection};

/// Which way channels change.
#[derive(Clone, Copy)]
pub(super) enum Direction {
    Subscribe,
    Unsubscribe,
}

/// Subscribes or unsubscribes, waits for every confirmation, and answers the channels that were
/// refused.
pub(super) async fn change(
    connection: &mut MultiplexedConnection,
    kind: Kind,
    direction: Direction,
    channels: Vec<String>,
) -> redis::RedisResult<Vec<String>> {
    if channels.is_empty() {
        return Ok(channels);
    }
    match (kind, direction) {
        (Kind::Plain, Direction::Subscribe) => connection.subscribe(channels).await.map(|()| Vec::new()),
        (Kind::Plain, Direction::Unsubscribe) => connection.unsubscribe(channels).await.map(|()| Vec::new()),
        (Kind::Sharded, Direction::Subscribe) => one_by_one(connection, "SSUBSCRIBE", channels).await,
        // A node that no longer serves the slot has nothing to unsubscribe.
        (Kind::Sharded, Direction::Unsubscribe) => {
            one_by_one(connection, "SUNSUBSCRIBE", channels).await.map(|_| Vec::new())
        }
    }
}

/// A command a channel, all in one round trip: a command with channels of two slots would be
/// refused whole.
async fn one_by_one(
    connection: &mut MultiplexedConnection,
    command: &str,
    channels: Vec<String>,
) -> redis::RedisResult<Vec<String>> {
    let mut pipeline = Pipeline::with_capacity(channels.len());
    for channel in &channels {
        pipeline.cmd(command).arg(channel);
    }
    let answers = connection.req_packed_commands(&pipeline, 0, channels.len()).await?;
    let refused = channels.into_iter().zip(answers).filter_map(|(channel, answer)| {
        let error = refusal(answer)?;
        tracing::debug!(bus.channel = channel, %error, "{command} was refused");
        Some(channel)
    });
    Ok(refused.collect())
}
