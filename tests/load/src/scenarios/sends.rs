//! Durable sends: f and g, and beside them what `pgbench` gets out of the same server.

use super::{Options, Traffic, measure};
use crate::clock;
use crate::embedded::Embedded;
use crate::fleet::Fleet;
use crate::pgbench;
use crate::report::{Report, Row, float};
use crate::sender::{Pace, Sent};
use crate::world::{Served, World};
use std::time::Duration;

const CLIENTS: usize = 32;

/// Users 1 to 32, all in chats 1 to `chats`.
pub(super) fn world(chats: usize) -> Result<World, String> {
    let world = World::start()?;
    let members = format!("select c, u from generate_series(1, {chats}) c, generate_series(1, {CLIENTS}) u");
    world.seed(CLIENTS, chats, &members)?;
    Ok(world)
}

/// Sends as fast as they are answered.
pub(super) fn full(
    world: &dyn Served,
    chats: usize,
    options: &Options,
    scenario: &str,
    run: usize,
) -> Result<Row, String> {
    let watched = world.watched();
    let senders: Vec<usize> = (1..=CLIENTS).collect();
    let (times, begin) = (watched.now(), clock::now());
    let sent = Traffic {
        world,
        senders: &senders,
        chat: &mut spread(chats),
        pace: Pace::Full(&mut |_| true),
        lasts: options.lasts,
    }
    .run()?;
    let times = watched.since(&times);
    let seconds = float(clock::now() - begin) / 1e9;
    let row = Row::new(scenario, "messenger", format!("{CLIENTS} clients, {chats} chats"), run);
    Ok(figures(row, &sent, seconds).cpu(&times, sent.answered))
}

/// Chats in an order that is even and not in turn.
fn spread(chats: usize) -> impl FnMut(u64) -> usize {
    move |n| 1 + (n.wrapping_mul(7_919) % chats as u64) as usize
}

fn figures(row: Row, sent: &Sent, seconds: f64) -> Row {
    row.with("sends/s", float(sent.answered) / seconds)
        .with("refused", float(sent.refused))
        .latency("send", &sent.latency)
}

/// Sends at a rate, where latency can be told from the queue in front of a full server.
fn at_rate(world: &dyn Served, chats: usize, rate: f64, lasts: Duration, row: Row) -> Result<Row, String> {
    let senders: Vec<usize> = (1..=CLIENTS).collect();
    let watched = world.watched();
    let times = watched.now();
    let (chat, pace) = (&mut spread(chats), Pace::Rate(rate));
    let sent = Traffic { world, senders: &senders, chat, pace, lasts }.run()?;
    let times = watched.since(&times);
    Ok(figures(row, &sent, sent.seconds).cpu(&times, sent.answered))
}

/// Sends at a rate, where few of them commit together; beside them the least that Postgres takes
/// for one at that rate.
pub fn moderate(options: &Options, report: &mut Report) -> Result<(), String> {
    const CHATS: usize = 500;
    let world = world(CHATS)?;
    let bench = pgbench::Bench::new(&world, CHATS)?;
    for run in 1..=options.runs {
        for rate in [500.0, 2_000.0] {
            let row = Row::new("moderate", "messenger", format!("{rate} messages/s, {CHATS} chats"), run);
            report.add(at_rate(&world, CHATS, rate, options.lasts, row)?);
            for way in pgbench::Way::ALL {
                report.add(bench.run_at(&world, "moderate", (way, rate), run, CLIENTS, options.lasts)?);
            }
        }
    }
    Ok(())
}

/// f
pub fn many_chats(options: &Options, report: &mut Report) -> Result<(), String> {
    const CHATS: usize = 1_000;
    let world = world(CHATS)?;
    let bench = pgbench::Bench::new(&world, CHATS)?;
    for run in 1..=options.runs {
        let row = full(&world, CHATS, options, "f", run)?;
        let half = (row.figure("sends/s").unwrap_or(0.0) / 2.0).round().max(1.0);
        report.add(row);
        let row = Row::new("f", "messenger", "half that rate", run);
        report.add(at_rate(&world, CHATS, half, options.lasts, row)?);
        for way in pgbench::Way::ALL {
            report.add(bench.run(&world, "f", way, run, CLIENTS, options.lasts)?);
        }
    }
    Ok(())
}

/// What the index of words costs a send: at full throttle into many chats and into one, and where
/// latency can be told.
pub fn indexed(options: &Options, report: &mut Report) -> Result<(), String> {
    beside_words("search-insert", [1_000.0, 3_000.0], options, report, &|chats, is_indexed| {
        let world = world(chats)?;
        if !is_indexed {
            world.sql("drop index messages_found".to_owned())?;
        }
        Ok(Box::new(world))
    })
}

/// The same of `messenger` on a SQLite file.
pub fn indexed_sqlite(options: &Options, report: &mut Report) -> Result<(), String> {
    beside_words("search-insert-sqlite", [500.0, 1_000.0], options, report, &|chats, is_indexed| {
        let world = Embedded::start()?;
        let members = (1..=chats).flat_map(|chat| (1..=CLIENTS).map(move |user| (chat, user)));
        world.seed(CLIENTS, chats, &members.collect::<Vec<_>>())?;
        if !is_indexed {
            world.sql(
                "drop table message_words;
                 create view message_words (rowid, words, chat) as select 0, '', '' where false;
                 create trigger words_are_not_kept instead of insert on message_words begin select 1; end;"
                    .to_owned(),
            )?;
        }
        Ok(Box::new(world))
    })
}

type Start<'a> = &'a dyn Fn(usize, bool) -> Result<Box<dyn Served>, String>;

fn beside_words(
    scenario: &str,
    rates: [f64; 2],
    options: &Options,
    report: &mut Report,
    start: Start<'_>,
) -> Result<(), String> {
    const CHATS: usize = 1_000;
    for run in 1..=options.runs {
        for (index, is_indexed) in [("with the index", true), ("without", false)] {
            for chats in [CHATS, 1] {
                let world = start(chats, is_indexed)?;
                let row = full(&*world, chats, options, scenario, run)?;
                report.add(row.at(&format!("{chats} chats, {index}")));
                for rate in rates.into_iter().filter(|_| chats > 1) {
                    let row = Row::new(scenario, "messenger", format!("{rate} messages/s, {index}"), run);
                    report.add(at_rate(&*world, chats, rate, options.lasts, row)?);
                }
            }
        }
    }
    Ok(())
}

/// g
pub fn one_chat(options: &Options, report: &mut Report) -> Result<(), String> {
    let world = world(1)?;
    // one who sees that the numbers are in order and without a gap
    let fleet = Fleet::open(vec![world.subscriber(1, 1)], false)?;
    let bench = pgbench::Bench::new(&world, 1)?;
    let senders: Vec<usize> = (1..=CLIENTS).collect();
    for run in 1..=options.runs {
        let measured = measure(&world.watched(), &fleet, 1, || {
            let (pace, lasts) = (Pace::Full(&mut |_| true), options.lasts);
            Traffic { world: &world, senders: &senders, chat: &mut |_| 1, pace, lasts }.run()
        })?;
        let row = Row::new("g", "messenger", format!("{CLIENTS} clients, one chat"), run);
        report.add(
            figures(row, &measured.sent, measured.sent.seconds).cpu(&measured.times, measured.sent.answered).tally(
                &measured.tally,
                measured.expected,
                measured.seconds,
            ),
        );
        for way in pgbench::Way::ALL {
            report.add(bench.run(&world, "g", way, run, CLIENTS, options.lasts)?);
        }
    }
    Ok(())
}
