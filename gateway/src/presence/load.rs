//! How many connections this gateway and all gateways together hold. Each says so with its claim to
//! the sweeping, and hears of the others.

use messenger_common::lifecycle::Lifecycle;
use messenger_common::metrics::Metrics;
use messenger_common::presence::Fleet;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// See the module.
pub(crate) struct Load {
    metrics: Metrics,
    lifecycle: Lifecycle,
    fleet: watch::Sender<Option<Fleet>>,
    /// Of the connections that were handed over: those that are counted elsewhere by now.
    arrived: AtomicU64,
}

impl Load {
    pub(crate) fn new(metrics: Metrics, lifecycle: Lifecycle) -> Self {
        Self { metrics, lifecycle, fleet: watch::Sender::new(None), arrived: AtomicU64::new(0) }
    }

    /// The connections here.
    pub(crate) fn held(&self) -> u64 {
        u64::try_from(self.metrics.ws_connections.get()).unwrap_or(0)
    }

    /// The connections to tell the others of; none of a node that drains. Those on their way to
    /// another node count here until they have arrived, or the others would think that there is
    /// less to share.
    pub(super) fn told(&self) -> Option<u64> {
        let on_their_way = self.metrics.ws_handed_over.get().saturating_sub(self.arrived.load(Ordering::Relaxed));
        (!self.lifecycle.draining().is_cancelled()).then(|| self.held() + on_their_way)
    }

    /// Those that were handed over have come to where they go.
    pub(crate) fn all_arrived(&self) {
        self.arrived.store(self.metrics.ws_handed_over.get(), Ordering::Relaxed);
    }

    /// What all hold; `None` where that is not known just now.
    pub(super) fn hear(&self, fleet: Option<Fleet>) {
        self.fleet.send_replace(fleet);
    }

    /// What is heard of the others, as often as it is heard.
    pub(crate) fn fleet(&self) -> watch::Receiver<Option<Fleet>> {
        self.fleet.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use messenger_common::config::Program;

    #[test]
    fn connections_on_their_way_are_told_of_until_they_arrived_and_none_while_it_drains() {
        let (metrics, lifecycle) = (Metrics::new(Program::Gateway), Lifecycle::new());
        let load = Load::new(metrics.clone(), lifecycle.clone());
        metrics.ws_connections.set(50);
        metrics.ws_handed_over.inc_by(30);
        assert_eq!((load.held(), load.told()), (50, Some(80)));
        load.all_arrived();
        assert_eq!(load.told(), Some(50));
        lifecycle.begin_drain();
        assert_eq!(load.told(), None);
    }
}
