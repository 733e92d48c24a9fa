//! A small fleet loses nothing, and one that does not look for what it lost does.

use super::costs::SECOND;
use super::faults::{DEATH, DEPLOY, FAILOVER, QUIET, STEADY};
use super::server::Work;
use super::world::World;
use super::{Plan, Size, float};

fn small(seed: u64) -> Plan {
    let (connections, gateways, apis, primaries, cores) = (2_000, 10, 2, 1, 4);
    Plan::of(Size { connections, gateways, apis, primaries, cores, seed, arrive: 30, part: 20, replace: None })
}

fn run(plan: Plan) -> World {
    let mut world = World::new(plan);
    world.run(|_, _| {});
    world
}

fn faults(world: &World) -> u64 {
    world.phases.iter().map(|phase| phase.gaps + phase.doubles + phase.disorder + phase.resync).sum()
}

#[test]
fn a_fleet_loses_nothing_whatever_fails() {
    let worlds = [1, 3].map(|primaries| run(Plan { primaries, ..small(1) }));
    worlds.iter().for_each(loses_nothing);
    let publish = |world: &World| {
        let primaries = &world.redis.primaries;
        primaries.iter().filter(|primary| primary.by_work[Work::Messages as usize] > 0).count()
    };
    assert_eq!(worlds.each_ref().map(publish), [1, 3]);
}

fn loses_nothing(world: &World) {
    assert_eq!((faults(world), world.missing()), (0, 0));
    assert!(world.clients.iter().all(|client| client.open), "all are back");
    let messages: u64 = world.phases.iter().map(|phase| phase.messages).sum();
    let deliveries: u64 = world.phases.iter().map(|phase| phase.deliveries).sum();
    println!("{messages} messages, {deliveries} deliveries");
    // A client that had yet to come when a message was sent begins behind it.
    assert!(deliveries > messages * 4 && deliveries <= messages * 5);
    let named = |name| world.phases.iter().find(|phase| phase.name == name).expect("it was run");
    assert!(named(DEATH).replayed > 0 && named(DEPLOY).replayed > 0, "what was missed came when they were back");
}

#[test]
fn a_seed_gives_the_same_figures() {
    let figures = |seed| {
        let world = run(Plan { phases: &[STEADY, FAILOVER, QUIET], ..small(seed) });
        let rows: Vec<String> = world.phases.iter().map(|phase| format!("{:?}", phase.row(&world))).collect();
        rows
    };
    assert_eq!(figures(7), figures(7));
    assert_ne!(figures(7), figures(8));
}

#[test]
fn a_fleet_that_compares_nothing_is_seen_to_lose_events() {
    // Apis publish again before some gateways have subscribed again. Nobody sends for long after
    // that, or the next message of a chat would show what it lacks.
    let (message_every, senders) = (float(5 * SECOND), 10);
    let plan = Plan { phases: &[FAILOVER, QUIET], lasts: SECOND, message_every, senders, ..small(1) };
    assert_eq!(run(plan.clone()).missing(), 0);
    let broken = run(Plan { compares_nothing: true, ..plan });
    println!("{} events are lost", broken.missing());
    assert!(broken.missing() > 0, "the check finds nothing");
}
