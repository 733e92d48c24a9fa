//! The places for connections: how many one address may hold, so that none takes them all (G9).
//!
//! A place lasts as long as its socket, whatever the socket speaks: HTTP, later WebSocket.
//! Behind a trusted proxy the address is the one that the proxy names, and only a WebSocket
//! holds a place: the proxy's own connections carry everybody's requests.

use super::client_ip::{ClientIp, is_trusted};
use crate::error::Error;
use crate::metrics::Metrics;
use ipnet::IpNet;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The advice to a client whose address holds all its connections.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(10);
/// A refusal is logged once in this time: a flood of connections is not a flood of lines.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// Counts the connections of each address.
#[derive(Clone)]
pub struct Places(Arc<Inner>);

struct Inner {
    per_address: usize,
    trusted_proxies: Vec<IpNet>,
    metrics: Metrics,
    taken: Mutex<HashMap<IpAddr, usize>>,
    logged: Mutex<Option<Instant>>,
}

/// A connection's place; dropped with the socket.
pub struct Place {
    places: Arc<Inner>,
    address: IpAddr,
}

impl Places {
    /// `per_address`: `MAX_CONNECTIONS_PER_ADDRESS`.
    pub fn new(per_address: usize, trusted_proxies: Vec<IpNet>, metrics: Metrics) -> Self {
        Self(Arc::new(Inner {
            per_address,
            trusted_proxies,
            metrics,
            taken: Mutex::default(),
            logged: Mutex::default(),
        }))
    }

    /// A place for a connection just accepted; none is needed for a trusted proxy's. `RateLimited`
    /// when the address holds all that it may.
    pub fn admit(&self, peer: IpAddr) -> Result<Option<Place>, Error> {
        let peer = peer.to_canonical();
        if is_trusted(&self.0.trusted_proxies, peer) {
            return Ok(None);
        }
        self.take(ClientIp(peer)).map(Some)
    }

    /// A place for one more connection of that client. `RateLimited` when its address holds all
    /// that it may.
    pub fn take(&self, client: ClientIp) -> Result<Place, Error> {
        let address = client.network();
        let mut taken = self.0.taken.lock();
        let count = taken.entry(address).or_default();
        if *count < self.0.per_address {
            *count += 1;
            return Ok(Place { places: Arc::clone(&self.0), address });
        }
        drop(taken);
        self.0.metrics.rate_limited("connections").inc();
        self.log();
        Err(Error::RateLimited { limit: "connections", retry_after: RETRY_AFTER })
    }

    fn log(&self) {
        let mut logged = self.0.logged.lock();
        if logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            *logged = Some(Instant::now());
            tracing::warn!(
                "an address holds MAX_CONNECTIONS_PER_ADDRESS connections, and more are refused; \
                 if it is a load balancer's, name it in TRUSTED_PROXIES"
            );
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.places.taken.lock().entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ip: &str) -> ClientIp {
        ClientIp(ip.parse().expect("an address"))
    }

    fn places(per_address: usize) -> Places {
        let trusted = vec!["10.0.0.0/8".parse().expect("a network")];
        Places::new(per_address, trusted, Metrics::new(crate::config::Program::Api))
    }

    #[test]
    fn an_address_holds_so_many_and_no_more() {
        let places = places(2);
        let (first, second) = (places.take(of("1.2.3.4")), places.take(of("1.2.3.4")));
        assert!(first.is_ok() && second.is_ok());
        assert!(places.take(of("1.2.3.4")).is_err(), "the third");
        assert!(places.take(of("1.2.3.5")).is_ok(), "of another address");
        drop(first);
        assert!(places.take(of("1.2.3.4")).is_ok(), "one was given back");
    }

    #[test]
    fn one_ipv6_subscriber_is_one_address() {
        let places = places(1);
        let held = places.take(of("2001:db8::1"));
        assert!(held.is_ok() && places.take(of("2001:db8::2")).is_err());
        assert!(places.take(of("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn a_trusted_proxy_needs_no_place_and_its_clients_do() {
        let places = places(1);
        let proxy = "::ffff:10.0.0.1".parse().expect("an address");
        assert!((0..3).all(|_| matches!(places.admit(proxy), Ok(None))));
        let peer = "1.2.3.4".parse().expect("an address");
        let held = places.admit(peer);
        assert!(matches!(held, Ok(Some(_))) && places.admit(peer).is_err());
        assert!(places.take(of("1.2.3.4")).is_err(), "the same address behind the proxy");
    }

    #[test]
    fn an_address_without_connections_costs_nothing() {
        let places = places(1);
        drop(places.take(of("1.2.3.4")));
        assert!(places.0.taken.lock().is_empty());
    }
}
