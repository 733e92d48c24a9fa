//! How cost grows.

use super::{Options, Traffic, connections, fan_out, measure, sends};
use crate::plot::Plot;
use crate::report::{Report, Row, float};
use crate::sender::Pace;

/// Deliveries a second and their cost against the subscribers of one chat, each message sent when
/// the last has come to nearly all.
pub fn subscribers(options: &Options, report: &mut Report) -> Result<(), String> {
    for subscribers in [10, 30, 100, 300, 1_000, 3_000, 10_000, 15_000] {
        let (world, fleet, senders) = fan_out::one_chat(subscribers, 32)?;
        let before = fleet.events();
        let mut gate = |sent: u64| sent < (fleet.events() - before) / subscribers as u64 + 48;
        let lasts = options.lasts;
        let measured = measure(&world.watched(), &fleet, subscribers as u64, || {
            Traffic { world: &world, senders: &senders, chat: &mut |_| 1, pace: Pace::Full(&mut gate), lasts }.run()
        })?;
        report.add(
            Row::new("growth-subscribers", "messenger", subscribers.to_string(), 1)
                .cpu(&measured.times, measured.tally.events)
                .tally(&measured.tally, measured.expected, measured.seconds),
        );
    }
    let plot =
        |file, title, up, figure| draw(options, report, "growth-subscribers", figure, file, title, "subscribers", up);
    plot("deliveries", "Deliveries a second", "deliveries/s", "deliveries/s")?;
    plot("delivery-cpu", "CPU of gateway and Redis a delivery", "µs", "gateway+redis cpu µs")
}

/// Memory against connections, all of one gateway.
pub fn connections(options: &Options, report: &mut Report) -> Result<(), String> {
    const STEPS: [usize; 6] = [1_000, 2_000, 4_000, 8_000, 12_000, 15_000];
    let world = connections::world(STEPS[STEPS.len() - 1])?;
    drop(connections::open(&world, 1..=100)?);
    connections::settle();
    let watched = world.watched();
    let baseline = watched.resident("gateway");
    let mut fleets = Vec::new();
    let mut open = 0;
    for step in STEPS {
        fleets.push(connections::open(&world, open + 1..=step)?);
        open = step;
        connections::settle();
        let memory = watched.resident("gateway").saturating_sub(baseline);
        report.add(
            Row::new("growth-connections", "messenger", step.to_string(), 1)
                .with("MiB", float(memory) / 1024.0 / 1024.0)
                .with("KiB/connection", float(memory) / 1024.0 / float(step as u64)),
        );
    }
    let title = "Memory of a gateway's idle connections";
    draw(options, report, "growth-connections", "MiB", "memory", title, "connections", "MiB")
}

/// Sends a second against the chats that they go to.
pub fn chats(options: &Options, report: &mut Report) -> Result<(), String> {
    for chats in [1, 10, 100, 1_000, 10_000] {
        let world = sends::world(chats)?;
        let row = sends::full(&world, chats, options, "growth-chats", 1)?;
        let mut again = Row::new("growth-chats", "messenger", chats.to_string(), 1);
        for name in ["sends/s", "send p50 ms", "send p99 ms", "all cpu µs"] {
            again = again.with(name, row.figure(name).unwrap_or(0.0));
        }
        report.add(again);
    }
    draw(options, report, "growth-chats", "sends/s", "sends", "Durable sends a second", "chats", "sends/s")
}

/// Draws a figure of a scenario's rows, where curves are wanted.
#[expect(clippy::too_many_arguments, reason = "the words of a picture")]
fn draw(
    options: &Options,
    report: &Report,
    scenario: &str,
    figure: &str,
    file: &str,
    title: &str,
    across: &str,
    up: &str,
) -> Result<(), String> {
    let Some(folder) = &options.plots else { return Ok(()) };
    let points = report.curve(scenario, figure);
    let Some(svg) = (Plot { title, across, up, points: &points }).svg() else { return Ok(()) };
    let path = folder.join(file).with_extension("svg");
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, svg));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

/// The commands that a message costs in Redis, at several rates: sends that commit together are
/// published together.
pub fn redis_commands(options: &Options, report: &mut Report) -> Result<(), String> {
    let world = sends::world(1_000)?;
    let senders: Vec<usize> = (1..=32).collect();
    let field = |info: &str, name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|value| value.trim().parse::<f64>().ok()).unwrap_or(0.0)
    };
    for rate in [100.0, 1_000.0, 4_000.0] {
        let (before, commands) = (world.redis_info("stats"), world.redis_info("commandstats"));
        let sent = Traffic {
            world: &world,
            senders: &senders,
            chat: &mut |n| 1 + n as usize % 1_000,
            pace: Pace::Rate(rate),
            lasts: options.lasts,
        }
        .run()?;
        std::thread::sleep(std::time::Duration::from_millis(500));
        let (after, commands_after) = (world.redis_info("stats"), world.redis_info("commandstats"));
        let messages = float(sent.answered.max(1));
        let mut row = Row::new("redis-commands", "messenger", format!("{rate} messages/s"), 1)
            .with("messages", messages)
            .with(
                "commands/message",
                (field(&after, "total_commands_processed") - field(&before, "total_commands_processed")) / messages,
            )
            .with(
                "bytes in/message",
                (field(&after, "total_net_input_bytes") - field(&before, "total_net_input_bytes")) / messages,
            );
        for (name, calls) in calls(&commands_after) {
            let earlier =
                self::calls(&commands).into_iter().find(|(of, _)| *of == name).map_or(0.0, |(_, calls)| calls);
            if calls > earlier {
                row = row.with(format!("{name}/message"), (calls - earlier) / messages);
            }
        }
        report.add(row);
    }
    Ok(())
}

/// Calls of each command so far.
pub(super) fn calls(info: &str) -> Vec<(String, f64)> {
    let line = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    };
    info.lines().filter_map(line).collect()
}
