//! How many connections this gateway and all gateways together hold. Each says so with its claim to
//! the sweeping, and hears of the others.

use crate::protocol::RECONNECT_AFTER_MS;
use messenger_common::lifecycle::Lifecycle;
use messenger_common::metrics::Metrics;
use messenger_common::presence::{Fleet, Own};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A client that was handed over is counted elsewhere after so long: the longest delay, and two
/// seconds for the handshake and the count.
pub(crate) const ARRIVED_AFTER: Duration = Duration::from_millis(*RECONNECT_AFTER_MS.end() + 2_000);

/// See the module.
pub(crate) struct Load {
    metrics: Metrics,
    lifecycle: Lifecycle,
    fleet: watch::Sender<Option<Fleet>>,
    /// How many gateways there were when that was last known.
    gateways: AtomicU32,
    /// How many connections were handed over by each look within [`ARRIVED_AFTER`].
    handed_over: Mutex<VecDeque<(Instant, u64)>>,
}

impl Load {
    pub(crate) fn new(metrics: Metrics, lifecycle: Lifecycle) -> Self {
        Self {
            metrics,
            lifecycle,
            fleet: watch::Sender::new(None),
            gateways: AtomicU32::new(1),
            handed_over: Mutex::default(),
        }
    }

    /// The connections here.
    pub(crate) fn held(&self) -> u64 {
        u64::try_from(self.metrics.ws_connections.get()).unwrap_or(0)
    }

    /// This gateway's word to the others. Connections on their way to another one count here until
    /// they have arrived, or the others would think that there is less to share.
    pub(super) fn own(&self, now: Instant) -> Own {
        let total = self.metrics.ws_handed_over.get();
        let mut looks = self.handed_over.lock();
        while looks.front().is_some_and(|(at, _)| now.duration_since(*at) > ARRIVED_AFTER) {
            looks.pop_front();
        }
        looks.push_back((now, total));
        let arrived = looks.front().map_or(total, |(_, by_then)| *by_then);
        Own { connections: self.held() + (total - arrived), is_open: self.lifecycle.readiness().is_ready() }
    }

    /// What all hold; `None` where that is not known just now.
    pub(super) fn set_fleet(&self, fleet: Option<Fleet>) {
        if let Some(fleet) = fleet {
            self.gateways.store(u32::try_from(fleet.gateways).unwrap_or(u32::MAX), Ordering::Relaxed);
        }
        self.fleet.send_replace(fleet);
    }

    /// For how many gateways it pays to gather: all that there are, as far as that is known. One
    /// that drains has no time for it.
    pub(super) fn gateways(&self) -> u32 {
        if self.lifecycle.draining().is_cancelled() { 1 } else { self.gateways.load(Ordering::Relaxed) }
    }

    /// The fleet, as often as it is read.
    pub(crate) fn fleet(&self) -> watch::Receiver<Option<Fleet>> {
        self.fleet.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use messenger_common::config::Program;

    #[test]
    fn connections_on_their_way_count_until_they_arrived_and_a_node_that_drains_is_not_open() {
        let (metrics, lifecycle, now) = (Metrics::new(Program::Gateway), Lifecycle::new(), Instant::now());
        let load = Load::new(metrics.clone(), lifecycle.clone());
        let (second, own) = (Duration::from_secs(1), |connections| Own { connections, is_open: true });
        metrics.ws_handed_over.inc_by(1_000);
        metrics.ws_connections.set(80);
        assert_eq!(load.own(now), own(80), "of long ago nothing is known");
        assert_eq!(load.gateways(), 1);
        load.set_fleet(Some(Fleet { gateways: 3, connections: 240, fewest: 80 }));
        load.set_fleet(None);
        assert_eq!(load.gateways(), 3, "as many as there were");
        metrics.ws_handed_over.inc_by(30);
        metrics.ws_connections.set(50);
        assert_eq!(load.own(now + second), own(80));
        metrics.ws_handed_over.inc_by(5);
        metrics.ws_connections.set(45);
        assert_eq!(load.own(now + 4 * second), own(80));
        assert_eq!(load.own(now + 6 * second), own(50), "the thirty have arrived");
        assert_eq!(load.own(now + 60 * second), own(45));
        lifecycle.begin_drain();
        assert_eq!(load.own(now + 61 * second), Own { connections: 45, is_open: false });
        assert_eq!(load.gateways(), 1, "it gathers for nobody");
    }
}
