//! Which server an address leads to: itself, or the primary that Sentinels name.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::{AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, RedisResult};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The longest time for one attempt to connect and shake hands.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest wait for a Sentinel; the rest of [`CONNECT_TIMEOUT`] is the primary's.
const ASK_TIMEOUT: Duration = Duration::from_millis(400);

/// A server of `REDIS_URL`.
#[derive(Clone, Debug)]
pub(crate) enum Server {
    /// The one at that address.
    Fixed(Box<ConnectionInfo>),
    /// The one that Sentinels name at the moment.
    Sentinel(Arc<Sentinel>),
}

/// The Sentinels of a primary.
#[derive(Debug)]
pub(crate) struct Sentinel {
    pub(super) sentinels: Vec<ConnectionInfo>,
    pub(super) primary: String,
    /// Transport, credentials and database of the primary; its host is Sentinels' answer.
    pub(super) server: ConnectionInfo,
}

impl Server {
    /// Where it is now. Ends within [`CONNECT_TIMEOUT`].
    pub(crate) async fn find(&self) -> RedisResult<ConnectionInfo> {
        match self {
            Self::Fixed(info) => Ok((**info).clone()),
            Self::Sentinel(sentinel) => sentinel.find().await,
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(info) => info.addr().fmt(f),
            Self::Sentinel(sentinel) => write!(f, "primary {} of Sentinel", sentinel.primary),
        }
    }
}

impl Sentinel {
    /// The primary that most Sentinels name: one that is cut off may still name the one before.
    async fn find(&self) -> RedisResult<ConnectionInfo> {
        let mut asked: FuturesUnordered<_> = self.sentinels.iter().map(|one| self.ask(one)).collect();
        let (mut named, mut failed, mut late): (Vec<((String, u16), usize)>, _, _) = (Vec::new(), None, false);
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(address) => {
                    let place = named.iter().position(|(other, _)| *other == address).unwrap_or_else(|| {
                        named.push((address, 0));
                        named.len() - 1
                    });
                    named[place].1 += 1;
                    if named[place].1 > self.sentinels.len() / 2 {
                        let ((host, port), _) = named.swap_remove(place);
                        return Ok(at(&self.server, host, port));
                    }
                }
                Err(error) => {
                    late |= error.is_timeout();
                    failed = Some(error);
                }
            }
        }
        // A few that are cut off with the old primary may be the first to answer, or the only ones:
        // without a majority a word counts where nobody contradicts it and nobody is merely slow.
        if named.len() > 1 || (late && !named.is_empty()) {
            return Err((ErrorKind::Io, "most Sentinels do not name one primary").into());
        }
        match named.pop() {
            Some(((host, port), _)) => Ok(at(&self.server, host, port)),
            None => Err(failed.unwrap_or_else(|| (ErrorKind::Io, "no Sentinel answers").into())),
        }
    }

    async fn ask(&self, sentinel: &ConnectionInfo) -> RedisResult<(String, u16)> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ASK_TIMEOUT))
            .set_response_timeout(Some(CONNECT_TIMEOUT));
        let asking = async {
            let client = redis::Client::open(sentinel.clone())?;
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            let mut question = redis::cmd("SENTINEL");
            question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.primary);
            question.query_async::<Option<(String, u16)>>(&mut connection).await
        };
        match timeout(ASK_TIMEOUT, asking).await {
            Ok(Ok(Some(address))) => Ok(address),
            Ok(Ok(None)) => Err((ErrorKind::Io, "Sentinel knows no primary of that name", self.primary.clone()).into()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    }
}

/// The same server elsewhere.
pub(crate) fn at(server: &ConnectionInfo, host: String, port: u16) -> ConnectionInfo {
    let addr = match server.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    server.clone().set_addr(addr)
}
