//! From `REDIS_URL` to connections: TCP without delay, kept alive, every wait bounded.

pub(crate) use super::address::CONNECT_TIMEOUT;
use super::address::{Sentinel, Server};
use crate::config::{Authorities, RedisConfig};
use crate::error::{Error, Result};
use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, TlsCertificates,
};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;

/// A link without traffic is probed after so long, so that a balancer between does not forget it,
/// and one that was forgotten is lost soon.
const KEPT_ALIVE: Duration = Duration::from_secs(30);
const PROBED_EVERY: Duration = Duration::from_secs(5);

/// The longest wait for one server of a cluster: its connection is made in two steps of two such
/// waits each, and a server that is silent must not cost those who ask the others their time.
const CLUSTER_TIMEOUT: Duration = Duration::from_millis(300);

/// The addresses of `REDIS_URL`; the error names no part of them, for they may hold a password.
pub(crate) fn nodes(config: &RedisConfig) -> Result<Vec<ConnectionInfo>> {
    if config.nodes.is_empty() {
        return Err(Error::internal("REDIS_URL names no node"));
    }
    config.nodes.iter().map(|url| node(url, config.authorities.as_ref())).collect()
}

/// The one server of `REDIS_URL`, where it is no cluster.
pub(crate) fn server(config: &RedisConfig) -> Result<Server> {
    let mut nodes = nodes(config)?;
    Ok(match &config.sentinel {
        None => Server::Fixed(Box::new(nodes.swap_remove(0))),
        Some(sentinel) => {
            let server = node(&sentinel.server, config.authorities.as_ref())?;
            Server::Sentinel(Arc::new(Sentinel { sentinels: nodes, primary: sentinel.name.clone(), server }))
        }
    })
}

/// A client of the cluster: its nodes get the same settings as the first ones. A command that is
/// redirected has no time-out: each caller sets one.
pub(crate) fn cluster(config: &RedisConfig) -> Result<ClusterClient> {
    let builder = ClusterClient::builder(nodes(config)?).tcp_settings(tcp(TcpSettings::default()));
    let builder = match &config.authorities {
        Some(authorities) if uses_tls(config) => builder.certs(certificates(authorities)),
        _ => builder,
    };
    let builder = builder.connection_timeout(CLUSTER_TIMEOUT).response_timeout(CLUSTER_TIMEOUT);
    builder.overall_response_timeout(None).build().map_err(Error::internal)
}

fn uses_tls(config: &RedisConfig) -> bool {
    config.nodes.iter().any(|url| url.expose_secret().starts_with("rediss:"))
}

fn certificates(authorities: &Authorities) -> TlsCertificates {
    TlsCertificates { client_tls: None, root_cert: Some(authorities.pem().to_vec()) }
}

fn node(url: &SecretString, authorities: Option<&Authorities>) -> Result<ConnectionInfo> {
    let mut info = url
        .expose_secret()
        .into_connection_info()
        .map_err(|_| Error::internal("REDIS_URL is no redis:// or rediss:// address"))?;
    if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        // rustls does not choose a provider when a build has more than one. An earlier choice
        // stays.
        drop(rustls::crypto::ring::default_provider().install_default());
        if let Some(authorities) = authorities {
            let client = redis::Client::build_with_tls(info, certificates(authorities)).map_err(Error::internal)?;
            info = client.get_connection_info().clone();
        }
    }
    let tcp = tcp(info.tcp_settings().clone());
    Ok(info.set_tcp_settings(tcp))
}

/// Small messages must not wait for Nagle's algorithm: the crate's default leaves it on.
fn tcp(settings: TcpSettings) -> TcpSettings {
    settings.set_nodelay(true).set_keepalive(TcpKeepalive::new().with_time(KEPT_ALIVE).with_interval(PROBED_EVERY))
}

/// The same node in RESP3, which pushes publications beside the answers.
pub(crate) fn with_pushes(info: &ConnectionInfo) -> ConnectionInfo {
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    info.clone().set_redis_settings(settings)
}

/// A connection whose commands each end within `timeout`. The library's future is large and runs
/// seldom: boxed, it does not grow each future that may connect.
pub(crate) async fn open(info: ConnectionInfo, timeout: Duration) -> redis::RedisResult<MultiplexedConnection> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_TIMEOUT)).set_response_timeout(Some(timeout));
    let client = redis::Client::open(info)?;
    Box::pin(client.get_multiplexed_async_connection_with_config(&config)).await
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

    fn of(urls: &[&str]) -> RedisConfig {
        RedisConfig::of(urls.iter().map(|url| (*url).into()).collect(), false)
    }

    #[test]
    fn a_connection_does_not_wait_to_fill_packets() {
        // Trap 6: `TcpSettings` leaves Nagle's algorithm on.
        let nodes = nodes(&of(&["redis://127.0.0.1:1", "rediss://user:secret@localhost:2/0"])).unwrap();
        assert!(nodes.iter().all(|node| node.tcp_settings().nodelay()));
        assert!(nodes.iter().all(|node| with_pushes(node).tcp_settings().nodelay()));
        assert!(nodes.iter().all(|node| with_pushes(node).tcp_settings().keepalive().is_some()));
    }

    #[test]
    fn a_faulty_address_is_refused_without_naming_its_password() {
        let error = nodes(&of(&["http://user:hunter2@localhost"])).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        assert!(nodes(&of(&[])).is_err());
    }
}
