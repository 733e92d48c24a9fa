//! The caller's address, behind any number of trusted proxies.

use crate::service::network;
use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;
use ipnet::IpNet;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The other end of the socket. The accept loop puts it on each request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// The caller's address: the peer's, or the last one in `X-Forwarded-For` that no trusted proxy
/// has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientIp(pub IpAddr);

impl ClientIp {
    /// Reads it off a request.
    pub fn of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let mut client = peer.to_canonical();
        if !is_trusted(trusted, client) {
            return Self(client);
        }
        // From the nearest hop outwards. Addresses beyond the first untrusted hop cannot be
        // trusted.
        let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
        for hop in lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b',')) {
            let Some(address) = std::str::from_utf8(hop).ok().and_then(address) else { break };
            client = address.to_canonical();
            if !is_trusted(trusted, client) {
                break;
            }
        }
        Self(client)
    }

    /// The address that the accept loop and the layers put on a request; unspecified outside of
    /// them.
    pub fn on(extensions: &http::Extensions) -> Self {
        extensions.get::<Self>().copied().unwrap_or(Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }

    /// The unit that a limit counts: an IPv4 address, or the /64 that one IPv6 subscriber has.
    pub fn network(self) -> IpAddr {
        network::subscriber(self.0)
    }
}

/// Whether a trusted proxy has that address, in its canonical form.
pub(super) fn is_trusted(trusted: &[IpNet], address: IpAddr) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// An address as proxies write it: with or without a port, IPv6 with or without brackets.
fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

impl<S: Send + Sync> FromRequestParts<S> for ClientIp {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::on(&parts.extensions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().expect("a header"));
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().expect("a network")).collect();
        ClientIp::of(peer.parse().expect("an address"), &headers, &trusted).0.to_string()
    }

    #[test]
    fn nobody_is_believed_who_is_not_trusted() {
        assert_eq!(client("1.2.3.4", &["9.9.9.9"], &[]), "1.2.3.4");
        assert_eq!(client("1.2.3.4", &["9.9.9.9"], &["10.0.0.0/8"]), "1.2.3.4");
    }

    #[test]
    fn the_last_hop_that_is_not_trusted_is_the_client() {
        let trusted = &["10.0.0.0/8"];
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 9.9.9.9"], trusted), "9.9.9.9");
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "9.9.9.9, 10.0.0.2"], trusted), "9.9.9.9");
        assert_eq!(client("::ffff:10.0.0.1", &["9.9.9.9:55"], trusted), "9.9.9.9");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:443"], trusted), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["2001:db8::1"], trusted), "2001:db8::1");
    }

    #[test]
    fn rubbish_ends_the_search() {
        assert_eq!(client("10.0.0.1", &["9.9.9.9, rubbish, 10.0.0.3"], &["10.0.0.0/8"]), "10.0.0.3");
        assert_eq!(client("10.0.0.1", &[""], &["10.0.0.0/8"]), "10.0.0.1");
    }
}
