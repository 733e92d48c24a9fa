//! The relay: publishes what its publisher left in the outbox, because it died, the bus refused,
//! or a queue was full.

use super::batch::Batch;
use super::encode::Telling;
use crate::bus::Bus;
use crate::lifecycle::Lifecycle;
use crate::store::{CLAIM_LEASE, Committed, Store};
use prometheus::IntGauge;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

/// The pause between reads of the outbox, and the least age of an entry: a publisher that only
/// lags keeps its entries. Both together, and the publishing, stay below the two seconds of G3. So
/// does the lease of a relay that died.
const APIS: Pace = Pace { every: Duration::from_millis(400), age: Duration::from_secs(1) };
/// A gateway finds entries only where no api is left to take them.
const GATEWAYS: Pace = Pace { every: Duration::from_millis(250), age: Duration::from_millis(1450) };
/// The pause after the bus came back: until the gateways have subscribed again, notices would
/// reach nobody.
const SETTLE: Duration = Duration::from_millis(700);
/// Entries of one claim.
const ENTRIES_PER_CLAIM: usize = 500;
/// The pause after a failure, and the attempts before the relay skips a batch.
const PUBLISH_RETRY_PAUSE: Duration = Duration::from_millis(200);
const PUBLISH_TRIES: u32 = 5;
/// The pause between settings of the gauge.
const COUNT_EVERY: Duration = Duration::from_secs(5);

#[derive(Clone, Copy)]
struct Pace {
    every: Duration,
    age: Duration,
}

/// The relay; any number of processes may run one.
#[derive(Debug)]
pub struct Relay;

impl Relay {
    /// Starts the relay's tasks: publishing what was left, and counting what waits into `pending`.
    pub fn start(bus: Arc<dyn Bus>, store: Arc<dyn Store>, lifecycle: &Lifecycle, pending: IntGauge) {
        lifecycle.spawn("relay", relay(bus, store.clone(), APIS));
        lifecycle.spawn("outbox gauge", count(store, pending));
    }

    /// Starts publishing what no api has taken in its time: all of them may be dead.
    pub fn stand_in(bus: Arc<dyn Bus>, store: Arc<dyn Store>, lifecycle: &Lifecycle) {
        lifecycle.spawn("relay", relay(bus, store, GATEWAYS));
    }
}

async fn relay(bus: Arc<dyn Bus>, store: Arc<dyn Store>, pace: Pace) {
    let mut up = bus.up();
    let mut ticks = tokio::time::interval(pace.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut careful = false;
    loop {
        // While the bus is down nothing is claimed: a claim holds others off.
        if settled(&mut up).await.is_err() {
            return;
        }
        let asked = Instant::now();
        match store.outbox_claim(pace.age, ENTRIES_PER_CLAIM).await {
            Ok(claimed) if claimed.is_empty() => {}
            Ok(claimed) => {
                tracing::info!(outbox.entries = claimed.len(), "publishing what was left in the outbox");
                let (bus, store) = (bus.as_ref(), store.as_ref());
                let until = asked + CLAIM_LEASE;
                let mut claim = Claim { bus, store, up: &mut up, batch: Batch::default(), careful, until };
                careful = !claim.publish(claimed).await;
                // There may be more, because a claim is bounded. Entries under another lease come
                // once it ends.
                continue;
            }
            Err(error) => tracing::debug!(%error, "the outbox cannot be read"),
        }
        ticks.tick().await;
    }
}

/// Waits until the bus is up. If it was away since the last call, waits until it has been up for a
/// while.
async fn settled(up: &mut watch::Receiver<bool>) -> Result<(), watch::error::RecvError> {
    while up.has_changed()? || !*up.borrow() {
        up.wait_for(|up| *up).await?;
        tokio::time::sleep(SETTLE).await;
    }
    Ok(())
}

/// A claim of entries, while they are published.
struct Claim<'a> {
    bus: &'a dyn Bus,
    store: &'a dyn Store,
    up: &'a mut watch::Receiver<bool>,
    batch: Batch,
    /// Publish each entry by itself, once: the bus refused something of an earlier claim, which
    /// must not take other entries with it.
    careful: bool,
    /// When the claim ends.
    until: Instant,
}

impl Claim<'_> {
    /// Publishes and removes the entries. False where the bus did not take all of them. Those it
    /// did not take are skipped: they hold up nothing behind them, and any relay may claim them
    /// once this claim ends.
    async fn publish(&mut self, claimed: Vec<Committed>) -> bool {
        let mut all = true;
        for committed in claimed {
            if Instant::now() > self.until && !self.careful {
                // Another relay may claim the rest by now. A careful claim goes on: its first
                // entries may hold up every claim.
                break;
            }
            let mut published = true;
            for publication in Telling::of(&committed) {
                if self.batch.push(publication) {
                    published = self.flush().await;
                }
                if !published {
                    break;
                }
            }
            // An entry leaves the outbox only whole.
            self.batch.ids.extend(committed.outbox.filter(|_| published));
            if self.careful {
                published &= self.flush().await;
            }
            all &= published;
        }
        self.flush().await && all
    }

    /// Whether the bus took the batch in the end.
    async fn flush(&mut self) -> bool {
        if self.batch.is_empty() {
            return true;
        }
        let mut tries = if self.careful { PUBLISH_TRIES } else { 1 };
        while self.bus.publish(&self.batch.publications).await.is_err() {
            if tries == PUBLISH_TRIES {
                self.batch.clear();
                return false;
            }
            tries += 1;
            // A link that says it is up gets a moment. One that is down is waited for as long as
            // the claim holds.
            if tokio::time::timeout(PUBLISH_RETRY_PAUSE, self.up.wait_for(|up| !up))
                .await
                .is_ok_and(|down| down.is_ok())
            {
                _ = tokio::time::timeout_at(self.until, settled(self.up)).await;
            }
        }
        if let Err(error) = self.store.outbox_remove(&self.batch.ids).await {
            tracing::debug!(%error, "outbox entries could not be removed: they will be published again");
        }
        self.batch.clear();
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
