//! The protocol that is checked is the protocol that runs: one random schedule drives the model
//! and the gateway's own feeds, with vectors as readers, and after each step both must say the
//! same: heads, cursors, phases, what each client was given and has yet to read.
//!
//! The model decides what happens and when. Whatever happens to a gateway's feed or to a
//! subscription happens to the real feed too, by the calls that `gateway::shard`, `repair` and
//! `subscription` make. Where the two differ, on purpose:
//!
//! - The model asks the log for the head and for what is missing in one read; the gateway asks the
//!   head alone where it suspects nothing more. Here each answer of the model's read is both
//!   answers. So *which* read a feed asks for is not compared, only that it never leaves a gap
//!   without a repair under way; unit tests hold the decisions.
//! - To go on after lost events a subscription reads its rights anew, in the gateway by a read of
//!   its own. Here it gets the answer that the model's read of the log brought along.
//! - A replay of the gateway goes on from the log to the ring in one step; so the model takes its
//!   next step at once there.
//! - The former subscription's read is dropped by the model. The gateway looks whether it fits:
//!   only what does not fit is given to it.
//! - The model keeps as many events as the gateway does ([`SCENARIO`]'s ring and held numbers hold
//!   all that a run has).

mod both;

use super::scenario::{Budget, Rule, Scenario};
use both::Lockstep;
use std::fmt::Write;
use std::time::Instant;

/// All at once, as for the model's own random runs; but nothing is too small for the gateway's
/// bounds.
const SCENARIO: Scenario = Scenario {
    name: "lockstep",
    events: 4,
    gateways: 2,
    clients: 2,
    starts: &[Some(0), None, Some(6)],
    send_queue: 2,
    inbound_queue: 4,
    relay_takes_all: true,
    checks_first_confirmation: false,
    ring: 8,
    pending_limit: 8,
    shares_reads: true,
    page: 2,
    leaves_idle_channel: true,
    head_sweep: true,
    budget: Budget {
        writer_crashes: 1,
        relay_crashes: 1,
        dead_links: 2,
        cuts: 2,
        restarts: 1,
        gateway_crashes: 1,
        failed_reads: 1,
        lost_publishes: 1,
        failovers: 0,
        prunes: 3,
        membership_changes: 3,
    },
};
const SCHEDULES: u64 = 16_000;
const STEPS: usize = 400;

/// Numbers of a seed (splitmix64).
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((number ^ (number >> 31)) % bound as u64).unwrap()
    }
}

/// Runs one schedule; the rules that it came to are added to `used`.
fn run(seed: u64, used: &mut [(Rule, bool)]) -> usize {
    let mut numbers = Numbers(seed);
    let mut both = Lockstep::new(numbers.below(64));
    // Few or many disturbances, or the runs would all come to the same end early.
    let calm = 1 + numbers.below(12);
    both.model.left.prunes = u8::try_from(numbers.below(4)).unwrap();
    let mut taken = Vec::new();
    while taken.len() < STEPS {
        let (disturbances, progress) = (both.disturbances(), both.progress());
        let is_calm = disturbances.is_empty() || numbers.below(calm + 1) > 0;
        let actions = if is_calm && !progress.is_empty() { progress } else { disturbances };
        if actions.is_empty() {
            break;
        }
        let action = actions[numbers.below(actions.len())];
        taken.push(action);
        both.take(action);
        if let Some(difference) = both.difference() {
            let mut steps = String::new();
            for (at, action) in taken.iter().enumerate() {
                writeln!(steps, "  {:>3}. {action}", at + 1).unwrap();
            }
            panic!("LOCKSTEP_SEED={seed}: {difference}\n{steps}  then: {}", both.model);
        }
    }
    for (rule, used) in used {
        *used |= both.protocol.has_used(*rule);
    }
    taken.len()
}

/// `LOCKSTEP_SEED` runs one schedule again.
#[test]
fn the_protocol_that_is_checked_is_the_protocol_that_runs() {
    let begun = Instant::now();
    let mut used = [
        Rule::DuplicateDropped,
        Rule::HeldOutOfOrder,
        Rule::PageFull,
        Rule::HeadJumped,
        Rule::ResyncTold,
        Rule::CaughtUpFromLog,
        Rule::CaughtUpFromRing,
        Rule::SendQueueFull,
        Rule::ConfirmedTwice,
        Rule::Refused,
        Rule::LeftoverDropped,
        Rule::FencedLive,
        Rule::FencedInReplay,
        Rule::FencedBefore,
        Rule::OldLeaveReplayed,
        Rule::CameBack,
        Rule::CursorAheadOfFeed,
    ]
    .map(|rule| (rule, false));
    if let Ok(seed) = std::env::var("LOCKSTEP_SEED") {
        run(seed.parse().unwrap(), &mut used);
        return;
    }
    let steps: usize = (0..SCHEDULES).map(|seed| run(seed, &mut used)).sum();
    println!("lockstep: {SCHEDULES} schedules, {steps} steps, {:.1} s", begun.elapsed().as_secs_f32());
    let missed: Vec<Rule> = used.into_iter().filter(|(_, used)| !used).map(|(rule, _)| rule).collect();
    assert_eq!(missed, [], "no schedule came to these");
}
