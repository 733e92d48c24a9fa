//! The places for connections: how many there are within the limit of open files, and how many of
//! them one address may hold, so that none takes them all (G9).
//!
//! A place lasts as long as its socket, whatever the socket speaks: HTTP, later WebSocket.
//! Behind a trusted proxy the address is the one that the proxy names, and only a WebSocket
//! counts for it: the proxy's own connections carry everybody's requests.

use super::client_ip::{ClientIp, is_trusted};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::service::network;
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

/// Descriptors that are not the public port's: the admin port's, those to Redis, files. Those of
/// the database's pool and of the shards' threads come to them.
const RESERVED: u64 = 128;
/// Of one runtime: to wait for sockets, to be woken, for signals.
const RESERVED_A_SHARD: u64 = 4;

/// The places that the public port has where the process may open `files` descriptors, with a pool
/// of `pool` connections and so many shards. The admin port answers though all of them are taken.
pub fn places_within(files: u64, pool: u32, shards: usize) -> usize {
    let shards = RESERVED_A_SHARD.saturating_mul(u64::try_from(shards).unwrap_or(u64::MAX));
    let reserved = (RESERVED + u64::from(pool)).saturating_add(shards).min(files / 3);
    usize::try_from(files - reserved).unwrap_or(usize::MAX)
}

/// Counts the connections, and those of each address.
#[derive(Clone)]
pub struct Places(Arc<Inner>);

struct Inner {
    most: usize,
    per_address: usize,
    per_site: usize,
    trusted_proxies: Vec<IpNet>,
    metrics: Metrics,
    taken: Mutex<Taken>,
    logged: Mutex<Option<Instant>>,
    logged_full: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
    /// Of IPv6 alone: an IPv4 site is an address.
    by_site: HashMap<IpAddr, usize>,
}

impl Taken {
    fn take(&mut self, address: IpAddr) {
        *self.by_address.entry(address).or_default() += 1;
        if address.is_ipv6() {
            *self.by_site.entry(network::site(address)).or_default() += 1;
        }
    }

    fn give_back(&mut self, address: IpAddr) {
        give_back(&mut self.by_address, address);
        give_back(&mut self.by_site, network::site(address));
    }
}

fn give_back(counts: &mut HashMap<IpAddr, usize>, of: IpAddr) {
    if let Entry::Occupied(mut count) = counts.entry(of) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

/// A connection's place; dropped with the socket.
pub struct Place {
    places: Arc<Inner>,
    /// None: a trusted proxy's, which counts for no address.
    address: Option<IpAddr>,
    /// The proxy's connection that carries this one; None: it is the socket itself.
    carrier: Option<Arc<Place>>,
}

impl Places {
    /// `most`: as [`places_within`]; `per_address`: `MAX_CONNECTIONS_PER_ADDRESS`.
    ///
    /// An IPv6 /48 has half of all places. One that is a mobile carrier's has a /64 for each phone,
    /// and one that is a single owner's still leaves the others half.
    pub fn new(most: usize, per_address: usize, trusted_proxies: Vec<IpNet>, metrics: Metrics) -> Self {
        metrics.places.set(i64::try_from(most).unwrap_or(i64::MAX));
        Self(Arc::new(Inner {
            most,
            per_address,
            per_site: per_address.max(most / 2),
            trusted_proxies,
            metrics,
            taken: Mutex::default(),
            logged: Mutex::default(),
            logged_full: Mutex::default(),
        }))
    }

    /// A place for a connection just accepted; a trusted proxy's counts for no address.
    /// `RateLimited` when the address holds all that it may, `Unavailable` when all are taken.
    pub fn admit(&self, peer: IpAddr) -> Result<Place, Error> {
        let peer = peer.to_canonical();
        let address = (!is_trusted(&self.0.trusted_proxies, peer)).then(|| ClientIp(peer).network());
        let mut taken = self.0.taken.lock();
        if taken.all >= self.0.most {
            drop(taken);
            if is_due(&self.0.logged_full) {
                tracing::warn!("as many connections are open as the limit of open files allows, and more are refused");
            }
            return Err(Error::unavailable("the node holds all the connections that it may"));
        }
        self.count(&mut taken, address)?;
        taken.all += 1;
        drop(taken);
        self.0.metrics.places_taken.inc();
        Ok(Place { places: Arc::clone(&self.0), address, carrier: None })
    }

    /// The place of a client's connection on a socket that was admitted. `RateLimited` when the
    /// client's address holds all that it may.
    pub fn of_client(&self, socket: &Arc<Place>, client: ClientIp) -> Result<Arc<Place>, Error> {
        if socket.address.is_some() {
            return Ok(Arc::clone(socket));
        }
        let address = Some(client.network());
        self.count(&mut self.0.taken.lock(), address)?;
        Ok(Arc::new(Place { places: Arc::clone(&self.0), address, carrier: Some(Arc::clone(socket)) }))
    }

    fn count(&self, taken: &mut Taken, address: Option<IpAddr>) -> Result<(), Error> {
        let Some(address) = address else { return Ok(()) };
        let of_address = taken.by_address.get(&address).copied().unwrap_or_default();
        let of_site = taken.by_site.get(&network::site(address)).copied().unwrap_or_default();
        if of_address < self.0.per_address && of_site < self.0.per_site {
            taken.take(address);
            return Ok(());
        }
        self.0.metrics.rate_limited("connections").inc();
        if is_due(&self.0.logged) {
            tracing::warn!(
                "an address holds MAX_CONNECTIONS_PER_ADDRESS connections, or an IPv6 /48 half of all, \
                 and more are refused; if it is a load balancer's, name it in TRUSTED_PROXIES"
            );
        }
        Err(Error::RateLimited { limit: "connections", retry_after: RETRY_AFTER })
    }
}

fn is_due(logged: &Mutex<Option<Instant>>) -> bool {
    let mut logged = logged.lock();
    let is_due = logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL);
    if is_due {
        *logged = Some(Instant::now());
    }
    is_due
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        if self.carrier.is_none() {
            taken.all -= 1;
            self.places.metrics.places_taken.dec();
        }
        if let Some(address) = self.address {
            taken.give_back(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(ip: &str) -> IpAddr {
        ip.parse().expect("an address")
    }

    fn places(most: usize, per_address: usize) -> Places {
        let trusted = vec!["10.0.0.0/8".parse().expect("a network")];
        Places::new(most, per_address, trusted, Metrics::new(crate::config::Program::Api))
    }

    #[test]
    fn an_address_holds_so_many_and_no_more() {
        let places = places(100, 2);
        let (first, second) = (places.admit(ip("1.2.3.4")), places.admit(ip("1.2.3.4")));
        assert!(first.is_ok() && second.is_ok());
        assert!(places.admit(ip("1.2.3.4")).is_err(), "the third");
        assert!(places.admit(ip("1.2.3.5")).is_ok(), "of another address");
        drop(first);
        assert!(places.admit(ip("1.2.3.4")).is_ok(), "one was given back");
    }

    #[test]
    fn one_ipv6_subscriber_is_one_address() {
        let places = places(100, 1);
        let held = places.admit(ip("2001:db8::1"));
        assert!(held.is_ok() && places.admit(ip("2001:db8::2")).is_err());
        assert!(places.admit(ip("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn one_ipv6_site_has_half_of_all_connections() {
        let places = places(101, 1);
        let subscriber = |n: u16| ip(&format!("2001:db8:1:{n:x}::1"));
        let mut held: Vec<_> = (0..50).map(|n| places.admit(subscriber(n)).expect("a place")).collect();
        assert!(places.admit(subscriber(50)).is_err(), "the fifty-first of the site");
        assert!(places.admit(ip("2001:db8:2:50::1")).is_ok(), "another site");
        held.pop();
        assert!(places.admit(subscriber(50)).is_ok(), "one was given back");
        let proxys = Arc::new(places.admit(ip("10.0.0.1")).expect("a place"));
        held.push(places.admit(subscriber(50)).expect("a place"));
        assert!(places.of_client(&proxys, ClientIp(subscriber(51))).is_err(), "behind the proxy too");
        drop((held, proxys));
        assert!(places.0.taken.lock().by_site.is_empty(), "a site without connections costs nothing");
    }

    #[test]
    fn one_ipv6_site_has_the_connections_of_one_address_at_least() {
        let places = places(4, 3);
        let held: Vec<_> = (0..3).map(|_| places.admit(ip("2001:db8:1::1")).expect("a place")).collect();
        assert!(places.admit(ip("2001:db8:1:1::1")).is_err(), "its neighbour");
        assert!(places.admit(ip("1.2.3.4")).is_ok(), "another address");
        drop(held);
    }

    #[test]
    fn a_trusted_proxy_counts_for_no_address_and_its_clients_do() {
        let places = places(100, 1);
        let proxys: Vec<_> = (0..3).map(|_| Arc::new(places.admit(ip("::ffff:10.0.0.1")).expect("a place"))).collect();
        let held = places.admit(ip("1.2.3.4"));
        assert!(held.is_ok() && places.admit(ip("1.2.3.4")).is_err());
        assert!(places.of_client(&proxys[0], ClientIp(ip("1.2.3.4"))).is_err(), "the same address behind the proxy");
        let other = places.of_client(&proxys[0], ClientIp(ip("1.2.3.5"))).expect("a place");
        drop(proxys);
        assert_eq!(places.0.metrics.places_taken.get(), 2, "the proxy's connection lasts as long as what it carries");
        drop((other, held));
        assert_eq!(places.0.metrics.places_taken.get(), 0);
        assert!(places.0.taken.lock().by_address.is_empty(), "an address without connections costs nothing");
    }

    #[test]
    fn all_together_are_no_more_than_there_are() {
        let places = places(2, 100);
        let proxys = places.admit(ip("10.0.0.1")).expect("a place");
        let held = Arc::new(places.admit(ip("1.2.3.4")).expect("a place"));
        assert!(Arc::ptr_eq(&held, &places.of_client(&held, ClientIp(ip("1.2.3.4"))).expect("the same")));
        assert!(matches!(places.admit(ip("1.2.3.5")), Err(Error::Unavailable(_))));
        assert!(matches!(places.admit(ip("10.0.0.1")), Err(Error::Unavailable(_))));
        drop(proxys);
        assert!(places.admit(ip("1.2.3.5")).is_ok());
    }

    #[test]
    fn a_reserve_is_left_of_any_limit() {
        assert_eq!(places_within(65_536, 10, 0), 65_536 - 138);
        assert_eq!(places_within(1024, 10, 2), 1024 - 146);
        assert_eq!(places_within(128, 10, 2), 86);
        assert_eq!(places_within(0, 10, 2), 0);
    }
}
