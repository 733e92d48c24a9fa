//! A gateway that holds many more connections than the others hands some over: a load balancer
//! moves no socket that stands, so after a node died, or one was added, it evens out nothing.
//!
//! Each gateway says with its claim in Redis how many it holds, and hears what all hold. A client
//! that is handed over is told when to come back, as by a drain. Where the balancer brings it to
//! the same node again, the next try waits longer.

use crate::hub::Hub;
use crate::inbox::ToShard;
use crate::protocol::RECONNECT_AFTER_MS;
use messenger_common::presence::Fleet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// More than so many times the mean is too many.
const FULLER: f64 = 1.25;
/// Fewer above the mean are not worth a reconnection.
const LEAST: u64 = 10;
/// For so long there must be too many. Longer than the count of a node that died stays fresh (2 s),
/// whose clients are here already.
const LASTING: Duration = Duration::from_secs(4);
/// Connections that all gateways together hand over a second, so that those who get them keep up.
const BY_ALL_A_SECOND: u64 = 1_000;
/// One gateway of very many hands over so many a second at least.
const LEAST_A_SECOND: u64 = 5;
/// It hands over for so long at most before it looks again.
const STEP: Duration = Duration::from_secs(10);
/// After so long all clients are back: the longest delay, and two seconds for the handshake and for
/// the counts.
const BACK: Duration = Duration::from_millis(*RECONNECT_AFTER_MS.end() + 2_000);
/// The pause after a hand-over whose clients came back here; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_mins(1);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// Hands over what is too much, until the drain begins.
pub(crate) async fn run(hub: Arc<Hub>) {
    let (draining, load) = (hub.lifecycle.draining(), hub.presence.load());
    let (mut fleet, mut balance) = (load.fleet(), Balance::default());
    while let Some(Ok(())) = draining.run_until_cancelled(fleet.changed()).await {
        let known = *fleet.borrow_and_update();
        match balance.look(load.held(), known, Instant::now()) {
            Verdict::Wait => {}
            Verdict::HandOver { count, over } => {
                tracing::info!(connections = count, "this gateway holds too many connections: handing some over");
                let (shards, count) = (hub.shard_count(), usize::try_from(count).unwrap_or(usize::MAX));
                for shard in 0..shards {
                    hub.send(shard, ToShard::HandOver((count + shard) / shards, over)).await;
                }
            }
            Verdict::Settled => load.all_arrived(),
            Verdict::CameBack { again_after, is_first } => {
                load.all_arrived();
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
    /// The last hand-over is over; it helped.
    Settled,
    /// The last hand-over is over, and this gateway is as full as before.
    CameBack {
        again_after: Duration,
        is_first: bool,
    },
}

/// The decisions of one gateway: no clock, no socket.
#[derive(Debug, Default)]
struct Balance {
    /// Since when there are too many.
    since: Option<Instant>,
    /// The hand-over whose clients are not back yet.
    step: Option<Step>,
    /// No hand-over until then.
    rests_until: Option<Instant>,
    pause: Duration,
}

#[derive(Debug)]
struct Step {
    /// Connections before it.
    held: u64,
    count: u64,
    ends: Instant,
}

impl Balance {
    fn look(&mut self, held: u64, fleet: Option<Fleet>, now: Instant) -> Verdict {
        if let Some(step) = self.step.take_if(|step| now >= step.ends) {
            return self.judge(&step, held, now);
        }
        let Some(surplus) = fleet.and_then(|fleet| surplus(held, fleet)) else {
            self.since = None;
            return Verdict::Wait;
        };
        let since = *self.since.get_or_insert(now);
        let is_resting = self.step.is_some() || self.rests_until.is_some_and(|end| now < end);
        if is_resting || now - since < LASTING {
            return Verdict::Wait;
        }
        let a_second = fleet.map_or(1, |fleet| BY_ALL_A_SECOND / fleet.gateways).max(LEAST_A_SECOND);
        let count = surplus.min(a_second * STEP.as_secs());
        let over = Duration::from_millis(count * 1_000 / a_second);
        self.step = Some(Step { held, count, ends: now + over + BACK });
        Verdict::HandOver { count, over }
    }

    fn judge(&mut self, step: &Step, held: u64, now: Instant) -> Verdict {
        self.since = None;
        // A balancer that chooses at random brings some back.
        if held + step.count / 4 <= step.held {
            (self.rests_until, self.pause) = (None, Duration::ZERO);
            return Verdict::Settled;
        }
        let is_first = self.pause.is_zero();
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.rests_until = Some(now + self.pause);
        Verdict::CameBack { again_after: self.pause, is_first }
    }
}

/// How many connections a gateway has too many.
fn surplus(held: u64, fleet: Fleet) -> Option<u64> {
    let mean = fleet.connections.div_ceil(fleet.gateways.max(1));
    let surplus = held.checked_sub(mean)?;
    #[expect(clippy::cast_precision_loss, reason = "connections are counted in thousands")]
    let is_fuller = held as f64 > mean as f64 * FULLER;
    (is_fuller && surplus >= LEAST).then_some(surplus)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(connections: &[u64]) -> Fleet {
        Fleet { gateways: connections.len() as u64, connections: connections.iter().sum() }
    }

    /// Looks twice a second until it does something, for a minute at most.
    fn until_it_acts(balance: &mut Balance, now: &mut Instant, held: u64, others: &[u64]) -> Verdict {
        let all: Vec<u64> = std::iter::once(held).chain(others.iter().copied()).collect();
        for _ in 0..120 {
            let verdict = balance.look(held, Some(fleet(&all)), *now);
            if verdict != Verdict::Wait {
                return verdict;
            }
            *now += Duration::from_millis(500);
        }
        Verdict::Wait
    }

    #[test]
    fn too_many_is_a_quarter_above_the_mean_and_ten_at_least() {
        for (held, others, expected) in [
            (100, vec![0], Some(50)),
            (50, vec![50, 0], Some(16)),
            (62, vec![38], None),
            (63, vec![37], Some(13)),
            (20, vec![0], Some(10)),
            (19, vec![0], None),
            (100, vec![100], None),
            (0, vec![100], None),
            (1_000_000, vec![], None),
            (11_000, vec![10_000; 9], None),
            (100_000, vec![0; 99], Some(99_000)),
        ] {
            let all: Vec<u64> = std::iter::once(held).chain(others.iter().copied()).collect();
            assert_eq!(surplus(held, fleet(&all)), expected, "{held} beside {others:?}");
        }
        assert_eq!(surplus(50, Fleet { gateways: 0, connections: 0 }), Some(50), "no division by zero");
    }

    #[test]
    fn it_hands_over_once_that_lasted_and_rests_until_all_are_back() {
        let (mut balance, begun) = (Balance::default(), Instant::now());
        let mut now = begun;
        let verdict = until_it_acts(&mut balance, &mut now, 100, &[0]);
        assert_eq!(verdict, Verdict::HandOver { count: 50, over: Duration::from_millis(100) });
        assert_eq!(now - begun, LASTING);
        // While they are on their way, the other one has none of them yet.
        let handed_over = now;
        assert_eq!(until_it_acts(&mut balance, &mut now, 50, &[0]), Verdict::Settled);
        assert_eq!(now - handed_over, Duration::from_millis(5_500), "a look every half second");
        assert_eq!(until_it_acts(&mut balance, &mut now, 50, &[50]), Verdict::Wait);
    }

    #[test]
    fn what_is_not_known_or_does_not_last_is_not_acted_on() {
        let (mut balance, mut now) = (Balance::default(), Instant::now());
        for look in 0..100 {
            let known = if look % 7 == 6 { None } else { Some(fleet(&[100, 0])) };
            assert_eq!(balance.look(100, known, now), Verdict::Wait, "{look}");
            now += Duration::from_millis(500);
        }
        for look in 0..100 {
            let others = if look % 7 == 6 { 100 } else { 0 };
            assert_eq!(balance.look(100, Some(fleet(&[100, others])), now), Verdict::Wait, "{look}");
            now += Duration::from_millis(500);
        }
    }

    #[test]
    fn all_gateways_together_hand_over_a_thousand_a_second() {
        let (mut balance, mut now) = (Balance::default(), Instant::now());
        let mut others = vec![20_000; 49];
        others.extend([0; 50]);
        let verdict = until_it_acts(&mut balance, &mut now, 20_000, &others);
        assert_eq!(verdict, Verdict::HandOver { count: 100, over: Duration::from_secs(10) });
        let mut balance = Balance::default();
        let verdict = until_it_acts(&mut balance, &mut now, 10_000, &[0; 999]);
        assert_eq!(verdict, Verdict::HandOver { count: 50, over: Duration::from_secs(10) });
    }

    #[test]
    fn where_the_balancer_brings_them_back_it_tries_ever_more_rarely() {
        let (mut balance, mut now) = (Balance::default(), Instant::now());
        let mut pauses = Vec::new();
        for round in 0..9 {
            let verdict = loop {
                let verdict = until_it_acts(&mut balance, &mut now, 100, &[0]);
                if verdict != Verdict::Wait {
                    break verdict;
                }
            };
            assert!(matches!(verdict, Verdict::HandOver { .. }), "{verdict:?}");
            let Verdict::CameBack { again_after, is_first } = until_it_acts(&mut balance, &mut now, 100, &[0]) else {
                panic!("round {round}");
            };
            assert_eq!(is_first, round == 0);
            pauses.push(again_after.as_secs() / 60);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        // One that helps begins anew.
        while until_it_acts(&mut balance, &mut now, 100, &[0]) == Verdict::Wait {}
        assert_eq!(until_it_acts(&mut balance, &mut now, 60, &[40]), Verdict::Settled);
        assert_eq!(balance.pause, Duration::ZERO);
    }
}
