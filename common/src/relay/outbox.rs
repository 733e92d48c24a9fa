//! The relay: tells what stands in the outbox because its publisher died, was refused, or had its hands full. And the log's pruning.

use super::encode::encode;
use crate::bus::{Bus, Tasks};
use crate::store::{Committed, Store};
use prometheus::IntGauge;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// How often the outbox is looked at, and how old an entry must be for its publisher to be given up.
const EVERY: Duration = Duration::from_millis(500);
const AGE: Duration = Duration::from_millis(500);
/// How many entries are taken at once.
const CLAIM: usize = 500;
/// About how many publications are told at once.
const PUBLICATIONS: usize = 1_000;
/// After a failure; and how often the gauge is set.
const RETRY: Duration = Duration::from_millis(200);
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// How much of the log is pruned at once, the pause between, and the pause once nothing is left to prune.
const PRUNE: usize = 1_000;
const PRUNE_PAUSE: Duration = Duration::from_millis(200);
const PRUNE_EVERY: Duration = Duration::from_mins(1);

/// The relay; any number of processes may run one.
#[derive(Debug)]
pub struct Relay;

impl Relay {
    /// Starts the relay's tasks: telling, counting into `pending`, and pruning the log to `retention`.
    pub fn start(bus: Arc<dyn Bus>, store: Arc<dyn Store>, tasks: &Tasks, pending: IntGauge, retention: Duration) {
        tasks.spawn("relay", relay(bus, store.clone()));
        tasks.spawn("outbox gauge", count(store.clone(), pending));
        tasks.spawn("log pruning", prune(store, retention));
    }
}

async fn relay(bus: Arc<dyn Bus>, store: Arc<dyn Store>) {
    let mut up = bus.up();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // While the bus is down nothing is claimed: a claim holds others off for seconds.
        if up.wait_for(|up| *up).await.is_err() {
            return;
        }
        match store.outbox_claim(AGE, CLAIM).await {
            Ok(claimed) if claimed.is_empty() => {}
            Ok(claimed) => {
                tracing::info!(outbox.entries = claimed.len(), "telling what was left in the outbox");
                let full = claimed.len() == CLAIM;
                tell(bus.as_ref(), store.as_ref(), &mut up, claimed).await;
                if full {
                    continue;
                }
            }
            Err(error) => tracing::debug!(%error, "the outbox cannot be read"),
        }
        ticks.tick().await;
    }
}

/// Publishes and removes what was claimed, however long it takes: nobody else may for the time of the claim.
async fn tell(bus: &dyn Bus, store: &dyn Store, up: &mut watch::Receiver<bool>, claimed: Vec<Committed>) {
    let mut publications = Vec::new();
    let mut ids = Vec::new();
    let mut rest = claimed.into_iter().peekable();
    while let Some(committed) = rest.next() {
        encode(&committed, &mut publications);
        ids.extend(committed.outbox);
        if publications.len() < PUBLICATIONS && rest.peek().is_some() {
            continue;
        }
        while bus.publish(&publications).await.is_err() {
            // At once when the link comes back; a link that claims to be up is given a moment.
            let came_back = async {
                if up.wait_for(|up| !up).await.is_ok() {
                    drop(up.wait_for(|up| *up).await);
                }
            };
            _ = tokio::time::timeout(RETRY, came_back).await;
        }
        if let Err(error) = store.outbox_remove(&ids).await {
            tracing::debug!(%error, "outbox entries could not be removed: they will be told again");
        }
        publications.clear();
        ids.clear();
    }
}

async fn count(store: Arc<dyn Store>, pending: IntGauge) {
    let mut ticks = tokio::time::interval(COUNT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Ok(entries) = store.outbox_pending().await {
            pending.set(entries);
        }
    }
}

async fn prune(store: Arc<dyn Store>, retention: Duration) {
    loop {
        let pause = match store.prune(retention, PRUNE).await {
            Ok(pruned) if pruned > 0 => {
                tracing::debug!(log.entries = pruned, "pruned the log");
                PRUNE_PAUSE
            }
            Ok(_) => PRUNE_EVERY,
            Err(error) => {
                tracing::debug!(%error, "the log could not be pruned");
                PRUNE_EVERY
            }
        };
        tokio::time::sleep(pause).await;
    }
}
