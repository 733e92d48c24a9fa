//! A gateway that holds many more connections than the others hands some over: a load balancer
//! moves no socket that stands, so after a node died, or one was added, it evens out nothing.
//!
//! Each gateway says with its claim in Redis how many it holds, and hears what all hold. A client
//! that is handed over is told when to come back, as by a drain. First come a few, to see where the
//! balancer brings them; where that is here again, the next try waits longer.

use crate::hub::Hub;
use crate::inbox::ToShard;
use crate::presence::ARRIVED_AFTER;
use messenger_common::presence::Fleet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// More than so many times the mean is too many.
const FULLER: f64 = 1.25;
/// Fewer above the mean are not worth a reconnection.
const LEAST: u64 = 10;
/// The first hand-over is of one connection in so many, and of [`LEAST`] at least.
const TRIED: u64 = 100;
/// A hand-over helped where one connection in so many of it did not come back.
const HELPED: u64 = 8;
/// For so long there must be too many. Longer than the count of a node that died stays fresh (2 s),
/// whose clients are here already.
const LASTING: Duration = Duration::from_secs(4);
/// Two looks are a second apart at most, or what was seen before says nothing.
const GAP: Duration = Duration::from_secs(2);
/// Connections that all gateways together hand over a second, so that those who get them keep up.
const BY_ALL_A_SECOND: u64 = 1_000;
/// One gateway of very many hands over so many a second at least.
const LEAST_A_SECOND: u64 = 5;
/// It hands over for so long at most before it looks again.
const STEP: Duration = Duration::from_secs(10);
/// The pause after a hand-over whose clients came back here; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_mins(1);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// Hands over what is too much, until the drain begins.
pub(crate) async fn run(hub: Arc<Hub>) {
    let (draining, load) = (hub.lifecycle.draining(), hub.presence.load());
    let (mut fleet, mut balance) = (load.fleet(), Balance::default());
    while let Some(Ok(())) = draining.run_until_cancelled(fleet.changed()).await {
        // Where this gateway is not ready, the others may not be either.
        let known = fleet.borrow_and_update().filter(|_| hub.lifecycle.readiness().is_ready());
        match balance.look(load.held(), known, Instant::now()) {
            Verdict::Wait => {}
            Verdict::HandOver { count, over } => {
                tracing::info!(connections = count, "this gateway holds too many connections: handing some over");
                let (shards, count) = (hub.shard_count(), usize::try_from(count).unwrap_or(usize::MAX));
                for shard in 0..shards {
                    hub.send(shard, ToShard::HandOver((count + shard) / shards, over)).await;
                }
            }
            Verdict::CameBack { again_after, is_first } => {
                let again_after_seconds = again_after.as_secs();
                if is_first {
                    tracing::warn!(
                        again_after_seconds,
                        "connections that were handed over came back here, where the load balancer wants them: \
                         REBALANCE=off leaves them alone"
                    );
                } else {
                    tracing::debug!(again_after_seconds, "connections that were handed over came back here again");
                }
            }
        }
    }
}

/// What to do after a look.
#[derive(Debug, PartialEq)]
enum Verdict {
    Wait,
    /// Hand over so many, evenly over that long.
    HandOver {
        count: u64,
        over: Duration,
    },
    /// The last hand-over did not help.
    CameBack {
        again_after: Duration,
        is_first: bool,
    },
}

/// The decisions of one gateway: no clock, no socket.
#[derive(Debug, Default)]
struct Balance {
    looked: Option<Instant>,
    /// Since when there are too many.
    since: Option<Instant>,
    /// The hand-over whose clients are not back yet.
    step: Option<Step>,
    /// Among so many gateways a hand-over helped.
    helped_among: Option<u64>,
    /// No hand-over until then.
    rests_until: Option<Instant>,
    pause: Duration,
}

/// A hand-over, and what was so before it.
#[derive(Debug)]
struct Step {
    surplus: u64,
    fleet: Fleet,
    count: u64,
    ends: Instant,
}

impl Balance {
    fn look(&mut self, held: u64, fleet: Option<Fleet>, now: Instant) -> Verdict {
        if self.looked.replace(now).is_none_or(|before| now - before > GAP) {
            self.since = None;
        }
        if let Some(step) = self.step.take_if(|step| now >= step.ends) {
            return self.judge(&step, held, fleet, now);
        }
        let Some((fleet, surplus)) = fleet.and_then(|fleet| Some((fleet, surplus(held, fleet)?))) else {
            self.since = None;
            return Verdict::Wait;
        };
        let since = *self.since.get_or_insert(now);
        let is_resting = self.step.is_some() || self.rests_until.is_some_and(|end| now < end);
        if is_resting || now - since < LASTING {
            return Verdict::Wait;
        }
        let a_second = (BY_ALL_A_SECOND / fleet.gateways).max(LEAST_A_SECOND);
        let most =
            if self.helped_among == Some(fleet.gateways) { a_second * STEP.as_secs() } else { LEAST.max(held / TRIED) };
        let count = surplus.min(most);
        let over = Duration::from_millis(count * 1_000 / a_second);
        self.step = Some(Step { surplus, fleet, count, ends: now + over + ARRIVED_AFTER });
        Verdict::HandOver { count, over }
    }

    fn judge(&mut self, step: &Step, held: u64, fleet: Option<Fleet>, now: Instant) -> Verdict {
        (self.since, self.helped_among) = (None, None);
        // Where gateways came or went meanwhile, so did their clients.
        let Some(fleet) = fleet.filter(|fleet| fleet.gateways == step.fleet.gateways) else { return Verdict::Wait };
        let moved = step.count / HELPED;
        let is_less = held.saturating_sub(mean(fleet)) + moved <= step.surplus;
        // A balancer that chooses at random brings some back, and some of the other gateways'.
        let has_more = fleet.fewest >= step.fleet.fewest + moved;
        if is_less || has_more || surplus(held, fleet).is_none() {
            (self.rests_until, self.pause) = (None, Duration::ZERO);
            self.helped_among = Some(fleet.gateways);
            return Verdict::Wait;
        }
        let is_first = self.pause.is_zero();
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.rests_until = Some(now + self.pause);
        Verdict::CameBack { again_after: self.pause, is_first }
    }
}

fn mean(fleet: Fleet) -> u64 {
    fleet.connections.div_ceil(fleet.gateways.max(1))
}

/// How many connections a gateway has too many: it is fuller than the mean, or another one is far
/// from it.
fn surplus(held: u64, fleet: Fleet) -> Option<u64> {
    let mean = mean(fleet);
    let surplus = held.checked_sub(mean)?;
    #[expect(clippy::cast_precision_loss, reason = "connections are counted in thousands")]
    let is_fuller = held as f64 > mean as f64 * FULLER;
    let is_another_empty = fleet.fewest < mean / 2;
    ((is_fuller || is_another_empty) && surplus >= LEAST).then_some(surplus)
}

#[cfg(test)]
mod tests;
