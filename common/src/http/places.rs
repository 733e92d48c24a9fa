//! The places for connections: how many there are within the limit of open files, and how many of
//! them one address may hold, so that none takes them all (G9).
//!
//! A place lasts as long as its socket, whatever the socket speaks: HTTP, later WebSocket.
//! Behind a trusted proxy the address is the one that the proxy names. The proxy's own connections
//! carry everybody's requests and count for nobody; a WebSocket counts for its client, and so does
//! a request for as long as it takes one of those connections.

use super::client_ip::{ClientIp, is_trusted};
use super::shares::{Bounds, Full, Share, Shares};
use crate::error::Error;
use crate::metrics::Metrics;
use ipnet::IpNet;
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Connections that speak HTTP at once (an upgraded one no longer does).
pub(super) const HTTP_CONNECTIONS: usize = 16_384;
/// Behind a proxy a client has this part of an address's connections for its requests.
const REQUESTS_PART: usize = 8;
/// And so many at least: a page asks for its parts at once.
pub(super) const LEAST_REQUESTS: usize = 16;
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
    trusted_proxies: Vec<IpNet>,
    metrics: Metrics,
    /// Of the sockets themselves, whoever they are for.
    sockets: Arc<Shares>,
    /// Of clients: their own sockets, and their WebSockets behind a proxy.
    clients: Arc<Shares>,
    /// Of clients' own sockets, while they speak HTTP.
    speakers: Arc<Shares>,
    /// Of clients behind a proxy.
    requests: Arc<Shares>,
    logged: Mutex<Option<Instant>>,
    logged_full: Mutex<Option<Instant>>,
}

/// A connection's place; dropped with the socket.
pub struct Place {
    places: Arc<Inner>,
    /// None: a trusted proxy's, which counts for no address.
    address: Option<IpAddr>,
    _shares: [Option<Share>; 2],
    /// The proxy's connection that carries this one; None: it is the socket itself.
    carrier: Option<Arc<Place>>,
    /// The client's request that a proxy's connection carries.
    carried: Mutex<Option<Box<Carried>>>,
}

struct Carried {
    _request: Share,
    is_answered: bool,
}

impl Places {
    /// `most`: as [`places_within`]; `per_address`: `MAX_CONNECTIONS_PER_ADDRESS`.
    ///
    /// An IPv6 /48 has half of all places, and half of those for HTTP. One that is a mobile
    /// carrier's has a /64 for each phone, and one that is a single owner's still leaves the others
    /// half.
    pub fn new(most: usize, per_address: usize, trusted_proxies: Vec<IpNet>, metrics: Metrics) -> Self {
        let http = most.min(HTTP_CONNECTIONS);
        metrics.places.set(i64::try_from(most).unwrap_or(i64::MAX));
        metrics.http_places.set(i64::try_from(http).unwrap_or(i64::MAX));
        let unbound = Bounds { all: usize::MAX, address: usize::MAX, site: usize::MAX };
        let (site, http_site) = (per_address.max(most / 2), per_address.max(http / 2));
        let requests = (per_address / REQUESTS_PART).max(LEAST_REQUESTS);
        Self(Arc::new(Inner {
            trusted_proxies,
            metrics,
            sockets: Shares::new(Bounds { all: most, ..unbound }),
            clients: Shares::new(Bounds { address: per_address, site, ..unbound }),
            speakers: Shares::new(Bounds { site: http_site, ..unbound }),
            requests: Shares::new(Bounds { address: requests, site: http_site, ..unbound }),
            logged: Mutex::default(),
            logged_full: Mutex::default(),
        }))
    }

    /// A place for a connection just accepted; a trusted proxy's counts for no address.
    /// `RateLimited` when the address holds all that it may, `Unavailable` when all are taken.
    pub fn admit(&self, peer: IpAddr) -> Result<Place, Error> {
        let peer = peer.to_canonical();
        let address = (!is_trusted(&self.0.trusted_proxies, peer)).then(|| ClientIp(peer).network());
        let socket = self.0.sockets.take(1, None).map_err(|full| self.0.refusal(full))?;
        let client = address.map(|_| self.0.clients.take(1, address)).transpose();
        let client = client.map_err(|full| self.0.refusal(full))?;
        self.0.metrics.places_taken.inc();
        Ok(self.place(address, [Some(socket), client], None))
    }

    /// The place of a client's connection on a socket that was admitted. `RateLimited` when the
    /// client's address holds all that it may.
    pub fn of_client(&self, socket: &Arc<Place>, client: ClientIp) -> Result<Arc<Place>, Error> {
        if socket.address.is_some() {
            return Ok(Arc::clone(socket));
        }
        let address = Some(client.network());
        let share = self.0.clients.take(1, address).map_err(|full| self.0.refusal(full))?;
        Ok(Arc::new(self.place(address, [Some(share), None], Some(Arc::clone(socket)))))
    }

    fn place(&self, address: Option<IpAddr>, shares: [Option<Share>; 2], carrier: Option<Arc<Place>>) -> Place {
        Place { places: Arc::clone(&self.0), address, _shares: shares, carrier, carried: Mutex::default() }
    }

    /// The share of a connection that speaks HTTP. `RateLimited` when its IPv6 /48 has all that it
    /// may.
    pub(super) fn speaks_http(&self, place: &Place) -> Result<Share, Error> {
        self.0.speakers.take(1, place.address).map_err(|full| self.0.refusal(full))
    }

    /// The refusal of a connection beside which as many speak HTTP as may.
    pub(super) fn no_more_http(&self) -> Error {
        self.0.refusal(Full::All)
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }
}

impl Inner {
    fn refusal(&self, full: Full) -> Error {
        if full == Full::All {
            self.metrics.connections_refused.inc();
            if is_due(&self.logged_full) {
                tracing::warn!(
                    "as many connections are open as the limit of open files allows, or as may speak HTTP, \
                     and more are refused"
                );
            }
            return Error::unavailable("the node holds all the connections that it may");
        }
        self.metrics.rate_limited("connections").inc();
        if is_due(&self.logged) {
            tracing::warn!(
                "an address holds MAX_CONNECTIONS_PER_ADDRESS connections, an eighth as many requests behind a proxy, \
                 or an IPv6 /48 half of all, and more are refused; if it is a load balancer's, name it in TRUSTED_PROXIES"
            );
        }
        Error::RateLimited { limit: "connections", retry_after: RETRY_AFTER }
    }
}

impl Place {
    /// Whether a trusted proxy has it.
    pub(super) fn is_proxys(&self) -> bool {
        self.address.is_none()
    }

    /// Counts a request for its client, where a proxy's connection carries it: until its answer is
    /// taken, or the connection ends. `RateLimited` when the client has all that it may.
    pub(super) fn carries(&self, client: ClientIp) -> Result<(), Error> {
        if !self.is_proxys() {
            return Ok(());
        }
        let mut carried = self.carried.lock();
        // A connection carries one at a time.
        *carried = None;
        let request = self.places.requests.take(1, Some(client.network()));
        let request = request.map_err(|full| self.places.refusal(full))?;
        *carried = Some(Box::new(Carried { _request: request, is_answered: false }));
        Ok(())
    }

    /// The answer to the request is ready.
    pub(super) fn answered(&self) {
        if let Some(carried) = &mut *self.carried.lock() {
            carried.is_answered = true;
        }
    }

    /// All that was written so far is with the kernel.
    pub(super) fn flushed(&self) {
        let mut carried = self.carried.lock();
        if carried.as_ref().is_some_and(|carried| carried.is_answered) {
            *carried = None;
        }
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
        if self.carrier.is_none() {
            self.places.metrics.places_taken.dec();
        }
    }
}

#[cfg(test)]
mod tests;
