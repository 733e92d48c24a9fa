//! The door of a port: which connections come in, and which are refused in words.

use super::places::{HTTP_CONNECTIONS, Place, Places, RETRY_AFTER};
use super::shares::{Bounds, Share, Shares};
use crate::error::Error;
use crate::metrics::Metrics;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Connections to the admin port at once: few ask there, and they do not take what is reserved for
/// it.
const ADMIN_CONNECTIONS: usize = 64;
/// Those of one address: a probe gets through beside whoever holds all that he may.
const ADMIN_CONNECTIONS_PER_ADDRESS: usize = 16;
/// The wait for connections that end, of all that come meanwhile. A herd that comes back after a
/// restart is through in less; behind connections that stay, the others are refused at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lets connections in.
pub(super) struct Door {
    permits: Arc<Semaphore>,
    /// Since when none was free at once.
    full_since: Option<Instant>,
    side: Side,
}

enum Side {
    Public(Places),
    Admin(Arc<Shares>),
}

/// A connection that came in. It speaks HTTP until this is dropped.
pub(super) struct Entered {
    /// None: the admin port's.
    pub place: Option<Arc<Place>>,
    metrics: Option<Metrics>,
    _permit: OwnedSemaphorePermit,
    _share: Share,
}

impl Door {
    pub(super) fn public(places: Places) -> Self {
        Self::of(HTTP_CONNECTIONS, Side::Public(places))
    }

    pub(super) fn admin() -> Self {
        let bounds = Bounds { all: usize::MAX, address: ADMIN_CONNECTIONS_PER_ADDRESS, site: usize::MAX };
        Self::of(ADMIN_CONNECTIONS, Side::Admin(Shares::new(bounds)))
    }

    fn of(most: usize, side: Side) -> Self {
        Self { permits: Arc::new(Semaphore::new(most)), full_since: None, side }
    }

    /// `RateLimited` where the peer's address has all that it may, `Unavailable` where all have.
    pub(super) async fn enter(&mut self, peer: IpAddr) -> Result<Entered, Error> {
        let (place, share) = match &self.side {
            Side::Public(places) => {
                let place = places.admit(peer)?;
                let share = places.speaks_http(&place)?;
                (Some(Arc::new(place)), share)
            }
            Side::Admin(shares) => {
                let taken = shares.take(1, Some(peer.to_canonical()));
                let refused = |_| Error::RateLimited { limit: "connections", retry_after: RETRY_AFTER };
                (None, taken.map_err(refused)?)
            }
        };
        let permit = self.permit().await;
        let metrics = match &self.side {
            Side::Public(places) => Some(places.metrics().clone()),
            Side::Admin(_) => None,
        };
        let Some(permit) = permit else {
            return Err(match &self.side {
                Side::Public(places) => places.no_more_http(),
                Side::Admin(_) => Error::unavailable("the admin port has all the connections that it may"),
            });
        };
        if let Some(metrics) = &metrics {
            metrics.http_places_taken.inc();
        }
        Ok(Entered { place, metrics, _permit: permit, _share: share })
    }

    async fn permit(&mut self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            self.full_since = None;
            return Some(permit);
        }
        let until = *self.full_since.get_or_insert_with(Instant::now) + PATIENCE;
        tokio::time::timeout_at(until, Arc::clone(&self.permits).acquire_owned()).await.ok().and_then(Result::ok)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(metrics) = &self.metrics {
            metrics.http_places_taken.dec();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Program;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_is_refused_in_words() {
        let metrics = Metrics::new(Program::Api);
        let trusted = vec!["10.0.0.0/8".parse().expect("a network")];
        let mut door = Door::of(2, Side::Public(Places::new(100, 100, trusted, metrics.clone())));
        let proxy = IpAddr::from([10, 0, 0, 1]);
        let mut entered = vec![door.enter(proxy).await.expect("room"), door.enter(proxy).await.expect("room")];
        assert_eq!(metrics.http_places_taken.get(), 2);
        for waits in [true, false, false] {
            let began = Instant::now();
            let refused = door.enter(proxy).await.err().expect("no room");
            assert!(matches!(refused, Error::Unavailable(_)));
            assert_eq!(began.elapsed() >= PATIENCE, waits, "one waits for all");
        }
        assert_eq!((metrics.connections_refused.get(), metrics.places_taken.get()), (3, 2));
        // One that became a WebSocket keeps its place, and speaks no more HTTP.
        let place = entered.pop().expect("entered").place.clone();
        entered.push(door.enter(proxy).await.expect("room again"));
        assert_eq!(metrics.places_taken.get(), 3);
        let leaves = tokio::spawn({
            let first = entered.remove(0);
            async move {
                tokio::time::sleep(PATIENCE / 2).await;
                drop(first);
            }
        });
        entered.push(door.enter(proxy).await.expect("it waits for who leaves"));
        leaves.await.expect("no panic");
        // All are taken still: what is left of the second is waited for, and no more.
        let began = Instant::now();
        assert!(door.enter(proxy).await.is_err() && began.elapsed() < PATIENCE);
        drop((place, entered));
        assert_eq!((metrics.http_places_taken.get(), metrics.places_taken.get()), (0, 0));
    }

    #[tokio::test]
    async fn an_address_has_few_connections_to_the_admin_port() {
        let mut door = Door::admin();
        let began = Instant::now();
        let mut entered = Vec::new();
        for _ in 0..20 {
            entered.extend(door.enter(IpAddr::from([192, 0, 2, 1])).await.ok());
        }
        assert_eq!(entered.len(), ADMIN_CONNECTIONS_PER_ADDRESS);
        assert!(door.enter(IpAddr::from([192, 0, 2, 2])).await.is_ok() && began.elapsed() < PATIENCE);
    }
}
