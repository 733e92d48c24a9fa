//! From `REDIS_URL` to connections: TCP without delay, kept alive, every wait bounded.

use crate::error::{Error, Result};
use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

/// The longest time for one attempt to connect and shake hands.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Reads `REDIS_URL`'s nodes; the error names no part of them, for they may hold a password.
pub(crate) fn nodes(urls: &[SecretString]) -> Result<Vec<ConnectionInfo>> {
    if urls.is_empty() {
        return Err(Error::internal("REDIS_URL names no node"));
    }
    urls.iter().map(node).collect()
}

fn node(url: &SecretString) -> Result<ConnectionInfo> {
    let info = url
        .expose_secret()
        .into_connection_info()
        .map_err(|_| Error::internal("REDIS_URL is no redis:// or rediss:// address"))?;
    if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        // rustls does not choose a provider when a build has more than one. An earlier choice
        // stays.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
    // Small messages must not wait for Nagle's algorithm: the crate's default leaves it on.
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    Ok(info.set_tcp_settings(tcp))
}

/// The same node in RESP3, which pushes publications beside the answers.
pub(crate) fn with_pushes(info: &ConnectionInfo) -> ConnectionInfo {
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    info.clone().set_redis_settings(settings)
}

/// Connects and shakes hands within [`CONNECT_TIMEOUT`]. Commands have no time-out: each caller
/// sets one.
pub(crate) async fn connect(
    info: &ConnectionInfo,
    pushes: impl AsyncPushSender,
) -> redis::RedisResult<MultiplexedConnection> {
    let client = redis::Client::open(with_pushes(info))?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(None)
        .set_push_sender(pushes);
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_does_not_wait_to_fill_packets() {
        // Trap 6: `TcpSettings` leaves Nagle's algorithm on.
        let nodes = nodes(&["redis://127.0.0.1:1".into(), "rediss://user:secret@localhost:2/0".into()]).unwrap();
        assert!(nodes.iter().all(|node| node.tcp_settings().nodelay()));
        assert!(nodes.iter().all(|node| with_pushes(node).tcp_settings().nodelay()));
    }

    #[test]
    fn a_faulty_address_is_refused_without_naming_its_password() {
        let error = nodes(&["http://user:hunter2@localhost".into()]).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        assert!(nodes(&[]).is_err());
    }
}
