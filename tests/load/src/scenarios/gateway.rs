//! What a gateway costs beside its deliveries: while nothing happens, when all come, and when all
//! move to another one.

use super::growth::calls;
use super::{Options, Traffic, connections, measure};
use crate::clock;
use crate::cpu::Part;
use crate::fleet::{Fleet, source};
use crate::report::{Report, Row, float};
use crate::sender::Pace;
use crate::socket::{Spec, Step, handshake, text_frame};
use crate::world::World;
use std::sync::Arc;
use std::time::Duration;

/// Chats that each connection follows.
const FOLLOWED: usize = 4;
/// Until the statistics of what came before are in: Postgres' sessions report within ten seconds.
const SETTLES: Duration = Duration::from_secs(12);
/// Two rounds of what runs every ten seconds.
const WATCHED: Duration = Duration::from_secs(20);
/// The commands that scripts send too.
const OF_SCRIPTS: [&str; 9] = ["hget", "hset", "hlen", "hmget", "time", "zadd", "zcard", "zrangebyscore", "zscore"];

/// `connections` users, each alone in chats of their own.
fn world(connections: usize) -> Result<World, String> {
    let world = World::start()?;
    let chats = connections * FOLLOWED;
    let members = format!("select n, 1 + (n - 1) / {FOLLOWED} from generate_series(1, {chats}) n");
    world.seed(connections, chats, &members)?;
    Ok(world)
}

/// The socket of the nth user, who subscribes to all chats by one command.
fn follower(world: &World, user: usize) -> Spec {
    let first = (user - 1) * FOLLOWED + 1;
    let chats: Vec<String> = (first..first + FOLLOWED).map(|chat| format!(r#"{{"chat_id":{chat}}}"#)).collect();
    let subscribe = text_frame(&format!(r#"{{"type":"subscribe_chats","chats":[{}]}}"#, chats.join(",")));
    let answers = (0..FOLLOWED).map(|_| Step { expect: "\"subscribed\"", then: Vec::new() });
    Spec {
        server: world.gateway(),
        source: source(user),
        hello: handshake("/ws/chat", &format!("authorization: Bearer {}\r\n", world.token(user))),
        steps: std::iter::once(Step { expect: "", then: subscribe }).chain(answers).collect::<Arc<[_]>>(),
    }
}

/// Commands that programs have sent to Redis, without those of their scripts.
fn commands(world: &World) -> f64 {
    let calls = calls(&world.redis_info("commandstats"));
    calls.iter().filter(|(name, _)| !OF_SCRIPTS.contains(&name.as_str())).map(|(_, calls)| calls).sum()
}

/// Transactions of the messenger's database: a query is one.
fn queries(world: &World) -> Result<f64, String> {
    world.number("select xact_commit from pg_stat_database where datname = current_database()")
}

/// What an api and a gateway ask for while nobody says anything.
pub fn idle(options: &Options, report: &mut Report) -> Result<(), String> {
    for connections in [0, 1_000, 10_000] {
        let world = world(connections)?;
        let fleet = Fleet::open((1..=connections).map(|user| follower(&world, user)).collect(), false)?;
        std::thread::sleep(SETTLES);
        let watched = world.watched();
        for run in 1..=options.runs {
            let (times, begin) = (watched.now(), clock::now());
            let (commands_before, queries_before) = (commands(&world), queries(&world)?);
            std::thread::sleep(WATCHED);
            let (sent, asked) = (commands(&world) - commands_before, queries(&world)? - queries_before);
            let times = watched.since(&times);
            let seconds = float(clock::now() - begin) / 1e9;
            fleet.check()?;
            let at = format!("{connections} connections, {} chats followed", connections * FOLLOWED);
            let mut row = Row::new("idle", "messenger", at, run)
                .with("redis commands/s", sent / seconds)
                .with("queries/s", asked / seconds);
            for (name, nanos) in &times {
                row = row.with(format!("{name} % of a core"), float(*nanos) / seconds / 1e7);
            }
            report.add(row);
        }
    }
    Ok(())
}

/// All connect at once, with everything on: limits too, and statuses to the nine others.
pub fn arrivals(options: &Options, report: &mut Report) -> Result<(), String> {
    const ARRIVE: usize = 5_000;
    for run in 1..=options.runs {
        let world = connections::world_with(ARRIVE, &[("RATE_LIMITS", "on")])?;
        let watched = world.watched();
        drop(connections::open(&world, 1..=100)?);
        connections::settle();
        let (times, begin) = (watched.now(), clock::now());
        let fleet = connections::open(&world, 101..=ARRIVE)?;
        let seconds = float(clock::now() - begin) / 1e9;
        // The statuses that arrivals cause are paced.
        connections::settle();
        let times = watched.since(&times);
        fleet.check()?;
        report.add(
            Row::new("arrivals", "messenger", format!("{} connections with limits on", fleet.size), run)
                .cpu(&times, fleet.size as u64)
                .with("connections/s", float(fleet.size as u64) / seconds),
        );
    }
    Ok(())
}

/// A gateway is drained, and all of its clients come to another one as fast as it takes them.
pub fn deploy(options: &Options, report: &mut Report) -> Result<(), String> {
    /// Both of each one's sockets are open at once, and a process may have 20,000.
    const CLIENTS: usize = 9_500;
    const DRAIN: Duration = Duration::from_secs(10);
    for run in 1..=options.runs {
        let seconds = DRAIN.as_secs().to_string();
        let mut world = connections::world_with(CLIENTS, &[("RATE_LIMITS", "on"), ("DRAIN_SECONDS", &seconds)])?;
        let leaving = connections::open(&world, 1..=CLIENTS)?;
        connections::settle();
        let old = world.replace_gateway()?;
        let watched = world.watched().with("old gateway", Part::Alone(old.pid().unwrap_or(0)));
        let (times, begin) = (watched.now(), clock::now());
        old.sigterm();
        let fleet = connections::open(&world, 1..=CLIENTS)?;
        let moved = float(clock::now() - begin) / 1e9;
        leaving.wait_until_over(DRAIN * 2)?;
        let times = watched.since(&times);
        fleet.check()?;
        report.add(
            Row::new("deploy", "messenger", format!("{CLIENTS} connections move to another gateway"), run)
                .cpu(&times, CLIENTS as u64)
                .with("all are back after s", moved)
                .with("all had left after s", float(clock::now() - begin) / 1e9),
        );
    }
    Ok(())
}

/// Redis stands still while messages come to chats of one reader each: every chat's log has to be
/// read by itself.
pub fn outage(options: &Options, report: &mut Report) -> Result<(), String> {
    const CHATS: usize = 9_500;
    const SENDER: usize = CHATS + 1;
    const RATE: f64 = 1_500.0;
    let world = World::start()?;
    let members = format!("select n, u from generate_series(1, {CHATS}) n, lateral (values (n), ({SENDER})) v (u)");
    world.seed(SENDER, CHATS, &members)?;
    let fleet = Fleet::open((1..=CHATS).map(|n| world.subscriber(n, n)).collect(), false)?;
    let senders = [SENDER; 32];
    let mut chat = |n: u64| 1 + n as usize % CHATS;
    for run in 1..=options.runs {
        let (mut late, mut begin) = (0, 0);
        let measured = measure(&world.watched(), &fleet, 1, || {
            let events = fleet.events();
            world.redis.freeze();
            let (pace, lasts) = (Pace::Rate(RATE), options.lasts);
            let sent = Traffic { world: &world, senders: &senders, chat: &mut chat, pace, lasts }.run();
            world.redis.thaw();
            begin = clock::now();
            let sent = sent?;
            late = (events + sent.answered).saturating_sub(fleet.events());
            fleet.wait_for(events + sent.answered, Duration::from_secs(5));
            Ok(sent)
        })?;
        let at = format!("{RATE} messages/s to {CHATS} chats of one reader");
        report.add(
            Row::new("outage", "messenger", at, run)
                .with("not there when Redis is back", float(late))
                .with("until all are s", float(clock::now() - begin) / 1e9)
                .cpu(&measured.times, measured.sent.answered)
                .tally(&measured.tally, measured.expected, measured.seconds),
        );
    }
    Ok(())
}
