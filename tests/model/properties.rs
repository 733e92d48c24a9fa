//! The properties that must hold, the model as stateright sees it, and how a run is counted and
//! printed.

use std::collections::HashMap;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Property, UniformChooser};

use super::actions::Action;
use super::scenario::{Flaw, Protocol, Rule, Scenario};
use super::state::{Breach, Relay, Stage, State};

/// G2: consecutive numbers, each once, over reconnections too; a resync never leads back.
pub(super) const CONSECUTIVE: &str = "each client reads consecutive numbers, each once";
/// Contract section 3, `resync`: only where the log no longer reaches back, or for a cursor beyond
/// its head.
pub(super) const RESYNC_WITH_CAUSE: &str = "a resync is told only for what the log has not got";
/// G1: nothing is published that is not committed.
pub(super) const COMMITTED: &str = "nothing is delivered that is not committed";
/// G6: nothing after the removal's own number.
pub(super) const FENCED: &str = "nothing is delivered after one's own removal";
/// The other side of G6: a member's subscription goes on.
pub(super) const ENDED_WITH_CAUSE: &str = "a subscription ends only by a removal after its admission";
/// G2 and G3: with no fault any more, and nothing left to do, nothing is missing. That nothing is
/// left to do some day is what [`check_that_progress_ends`] checks.
pub(super) const COMPLETE: &str = "when faults stop, all members reach the head and the outbox is empty";

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        State::first(&self.scenario)
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.breach.is_none() {
            self.environment(state, actions);
            self.faults(state, actions);
            self.progress(state, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        self.apply(&mut next, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(CONSECUTIVE, |_, s: &State| {
                !matches!(s.breach, Some(Breach::NotConsecutive { .. } | Breach::ResyncBackwards { .. }))
            }),
            Property::always(RESYNC_WITH_CAUSE, |_, s: &State| {
                !matches!(s.breach, Some(Breach::NeedlessResync { .. }))
            }),
            Property::always(COMMITTED, |_, s: &State| !matches!(s.breach, Some(Breach::Uncommitted(_)))),
            Property::always(FENCED, |_, s: &State| !matches!(s.breach, Some(Breach::AfterRemoval(_)))),
            Property::always(ENDED_WITH_CAUSE, |_, s: &State| !matches!(s.breach, Some(Breach::UnjustEnd))),
            Property::always(COMPLETE, |protocol: &Protocol, s: &State| {
                s.breach.is_some() || is_complete(s) || protocol.has_progress(s)
            }),
        ]
    }
}

impl Protocol {
    fn has_progress(&self, s: &State) -> bool {
        let mut steps = Vec::new();
        self.progress(s, &mut steps);
        !steps.is_empty()
    }
}

/// Every member is connected, live and at the head; who is no member has no subscription; nothing
/// waits.
fn is_complete(s: &State) -> bool {
    let head = s.db.head;
    s.db.outbox.is_empty()
        && s.relay == Relay::Idle
        && s.clients.iter().enumerate().all(|(c, client)| {
            let stage = client.subscription.stage;
            client.gateway.is_some()
                && client.frames.is_empty()
                && if s.db.is_member(c, head) {
                    stage == Stage::Live && client.seen == Some(head)
                } else {
                    stage == Stage::Ended
                }
        })
}

/// Visits all that the scenario can do and panics with a trace where a property fails; also if a
/// rule in `uses` was never applied, because then the scenario did not check it.
pub(super) fn check(scenario: Scenario, uses: &[Rule]) {
    check_with(scenario, &[], uses);
}

/// Like [`check`], for a protocol that is broken on purpose in something that another rule makes
/// good.
pub(super) fn check_with(scenario: Scenario, flaws: &'static [Flaw], uses: &[Rule]) {
    let name = scenario.name;
    let begun = Instant::now();
    let checker = Protocol::new(scenario, flaws).checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!(
        "{name}: {} states, {} steps, depth {}, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        begun.elapsed().as_secs_f32(),
    );
    if let Some((property, path)) = checker.discoveries().into_iter().next() {
        panic!("{name}: not so: {property}\n{}", trace(path.into_vec()));
    }
    assert!(checker.is_done(), "{name}: not all states were visited");
    for &rule in uses {
        assert!(checker.model().has_used(rule), "{name}: never came to {rule:?}");
    }
}

/// Follows random runs from beginning to end, for a scenario that is too large to be visited
/// whole: `states` of them, the same ones for the same seed.
pub(super) fn wander(scenario: Scenario, seed: u64, states: usize) {
    let name = scenario.name;
    let begun = Instant::now();
    let checker = Protocol::new(scenario, &[])
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(states)
        .spawn_simulation(seed, UniformChooser)
        .join();
    println!(
        "{name}: random runs from seed {seed}, not exhaustive: {} states, longest run {}, {:.1} s",
        checker.state_count(),
        checker.max_depth(),
        begun.elapsed().as_secs_f32(),
    );
    if let Some((property, path)) = checker.discoveries().into_iter().next() {
        panic!("{name}, seed {seed}: not so: {property}\n{}", trace(path.into_vec()));
    }
}

/// Looks for a run of the broken protocol that breaks `property`, prints it, and panics if there
/// is none.
pub(super) fn refute(scenario: &Scenario, flaws: &'static [Flaw], property: &'static str) {
    let name = scenario.name;
    let begun = Instant::now();
    let mut shortest = None;
    let mut states = 0;
    let mut depth = usize::MAX;
    // The checker finishes a block of states after a find: ask for a shorter one until there is
    // none.
    loop {
        let checker = Protocol::new(scenario.clone(), flaws)
            .checker()
            .finish_when(HasDiscoveries::AnyOf([property].into()))
            .target_max_depth(depth)
            .spawn_bfs()
            .join();
        states += checker.unique_state_count();
        let Some(path) = checker.discovery(property) else {
            break;
        };
        let path = path.into_vec();
        depth = path.len();
        shortest = Some(path);
    }
    let Some(path) = shortest else {
        panic!("{name} {flaws:?}: no run breaks \"{property}\"");
    };
    println!(
        "{name} {flaws:?}: after {states} states and {:.1} s, it is not so any more that {property}\n{}",
        begun.elapsed().as_secs_f32(),
        trace(path),
    );
}

/// One line a step.
fn trace(path: Vec<(State, Option<Action>)>) -> String {
    path.into_iter()
        .enumerate()
        .map(|(step, (state, action))| match action {
            Some(action) => format!("  {:>2}. {action}\n", step + 1),
            None => format!("  then: {state}\n  breach: {:?}\n", state.breach),
        })
        .collect()
}

/// Checks that the programs cannot go round in circles: no run comes to a state that it was in
/// before. The budget and the log only ever shrink and grow, so a circle could be of progress
/// alone, and without one every run in which faults stop ends in a quiescent state.
pub(super) fn check_that_progress_ends(scenario: Scenario) {
    let name = scenario.name;
    let protocol = Protocol::new(scenario, &[]);
    let begun = Instant::now();
    // true: on the present path; false: left for good.
    let mut open: HashMap<State, bool> = HashMap::new();
    let mut path: Vec<(State, Vec<State>)> = Vec::new();
    for first in protocol.init_states() {
        open.insert(first.clone(), true);
        let nexts = protocol.next_states(&first);
        path.push((first, nexts));
    }
    while let Some((state, nexts)) = path.last_mut() {
        let Some(next) = nexts.pop() else {
            open.insert(state.clone(), false);
            path.pop();
            continue;
        };
        match open.get(&next) {
            Some(true) => panic!("{name}: comes back to\n  {next}"),
            Some(false) => {}
            None => {
                open.insert(next.clone(), true);
                let nexts = protocol.next_states(&next);
                path.push((next, nexts));
            }
        }
    }
    println!("{name}: {} states, no circle, {:.1} s", open.len(), begun.elapsed().as_secs_f32());
}
