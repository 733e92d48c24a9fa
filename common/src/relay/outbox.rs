//! The relay: tells what stands in the outbox because its publisher died, was refused, or had its hands full.

use super::batch::Chunk;
use super::encode::Telling;
use crate::bus::Bus;
use crate::lifecycle::Lifecycle;
use crate::store::{CLAIM_LEASE, Committed, Store};
use prometheus::IntGauge;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

/// How often the outbox is looked at, and how old an entry must be for its publisher to be given up: one that only lags is left to
/// its work. Together, and with the telling, they stay below the two seconds; so does the lease of a relay that died.
const EVERY: Duration = Duration::from_millis(400);
const AGE: Duration = Duration::from_secs(1);
/// After the bus came back: until the gateways have subscribed anew, notices would reach nobody.
const SETTLE: Duration = Duration::from_millis(700);
/// How many entries are taken at once.
const CLAIM: usize = 500;
/// After a failure, and after how many of them it is passed over; and how often the gauge is set.
const RETRY: Duration = Duration::from_millis(200);
const TRIES: u32 = 5;
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// The relay; any number of processes may run one.
#[derive(Debug)]
pub struct Relay;

impl Relay {
    /// Starts the relay's tasks: publishing what was left, and counting what waits into `pending`.
    pub fn start(bus: Arc<dyn Bus>, store: Arc<dyn Store>, lifecycle: &Lifecycle, pending: IntGauge) {
        lifecycle.spawn("relay", relay(bus, store.clone()));
        lifecycle.spawn("outbox gauge", count(store, pending));
    }
}

async fn relay(bus: Arc<dyn Bus>, store: Arc<dyn Store>) {
    let mut up = bus.up();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut careful = false;
    loop {
        // While the bus is down nothing is claimed: a claim holds others off.
        if settled(&mut up).await.is_err() {
            return;
        }
        let asked = Instant::now();
        match store.outbox_claim(AGE, CLAIM).await {
            Ok(claimed) if claimed.is_empty() => {}
            Ok(claimed) => {
                tracing::info!(outbox.entries = claimed.len(), "telling what was left in the outbox");
                let (bus, store) = (bus.as_ref(), store.as_ref());
                let until = asked + CLAIM_LEASE;
                let mut told = Told { bus, store, up: &mut up, chunk: Chunk::default(), careful, until };
                careful = !told.all(claimed).await;
                // There may be more: a claim is bounded. What is held already comes only once its lease is over.
                continue;
            }
            Err(error) => tracing::debug!(%error, "the outbox cannot be read"),
        }
        ticks.tick().await;
    }
}

/// Waits until the bus is up and, where it was away since this was last asked, has been for long enough.
async fn settled(up: &mut watch::Receiver<bool>) -> Result<(), watch::error::RecvError> {
    while up.has_changed()? || !*up.borrow() {
        up.wait_for(|up| *up).await?;
        tokio::time::sleep(SETTLE).await;
    }
    Ok(())
}

/// A claim that is being told.
struct Told<'a> {
    bus: &'a dyn Bus,
    store: &'a dyn Store,
    up: &'a mut watch::Receiver<bool>,
    chunk: Chunk,
    /// Each entry by itself and tried once: something in an earlier claim was not taken, and shall take nothing else with it.
    careful: bool,
    /// When the claim has run out.
    until: Instant,
}

impl Told<'_> {
    /// Publishes and removes what was claimed; false where the bus did not take all of it. What it did not take is passed over: once
    /// the claim has run out it is free for any relay, and it holds up nothing that is behind it.
    async fn all(&mut self, claimed: Vec<Committed>) -> bool {
        let mut all = true;
        for committed in claimed {
            if Instant::now() > self.until && !self.careful {
                // The rest is anybody's by now. Not of a careful claim, whose first ones may hold up every one.
                break;
            }
            let mut told = true;
            for publication in Telling::of(&committed) {
                if self.chunk.push(publication) {
                    told = self.flush().await;
                }
                if !told {
                    break;
                }
            }
            // Only a whole one leaves the outbox.
            self.chunk.ids.extend(committed.outbox.filter(|_| told));
            if self.careful {
                told &= self.flush().await;
            }
            all &= told;
        }
        self.flush().await && all
    }

    /// Whether the bus took the chunk, at last.
    async fn flush(&mut self) -> bool {
        if self.chunk.is_empty() {
            return true;
        }
        let mut tries = if self.careful { TRIES } else { 1 };
        while self.bus.publish(&self.chunk.publications).await.is_err() {
            if tries == TRIES {
                self.chunk.clear();
                return false;
            }
            tries += 1;
            // A link that claims to be up is given a moment; one that is known to be away is waited for, as long as the claim holds.
            if tokio::time::timeout(RETRY, self.up.wait_for(|up| !up)).await.is_ok_and(|down| down.is_ok()) {
                _ = tokio::time::timeout_at(self.until, settled(self.up)).await;
            }
        }
        if let Err(error) = self.store.outbox_remove(&self.chunk.ids).await {
            tracing::debug!(%error, "outbox entries could not be removed: they will be told again");
        }
        self.chunk.clear();
        true
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
