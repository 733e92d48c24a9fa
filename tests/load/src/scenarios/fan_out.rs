//! Fan-out: a, b and c.

use super::{Measured, Options, Traffic, measure};
use crate::bare::Bare;
use crate::clock;
use crate::cpu::{Part, Watched};
use crate::fleet::Fleet;
use crate::report::{Report, Row, float};
use crate::sender::Pace;
use crate::world::World;
use messenger_common::bus::Topic;
use messenger_common::event::{EventBody, LogEvent};
use messenger_common::id::{ChatId, MessageId, Seq, UserId};
use messenger_common::model::Message;
use std::time::Duration;
use time::OffsetDateTime;

const SUBSCRIBERS: usize = 1_000;
/// Messages on their way at full throttle: several wait for each socket, and none is so late that
/// it comes from the log.
const UNDER_WAY: u64 = 48;
/// The same over all chats of c.
const UNDER_WAY_IN_GROUPS: u64 = 4_000;

/// One chat, its subscribers users 1 to `subscribers`, its senders the next.
pub(super) fn one_chat(subscribers: usize, senders: usize) -> Result<(World, Fleet, Vec<usize>), String> {
    let world = World::start()?;
    let users = subscribers + senders;
    world.seed(users, 1, &format!("select 1, generate_series(1, {users})"))?;
    let fleet = Fleet::open((1..=subscribers).map(|user| world.subscriber(user, 1)).collect(), false)?;
    Ok((world, fleet, (subscribers + 1..=users).collect()))
}

fn bare(subscribers: usize) -> Result<(Bare, Fleet, Watched), String> {
    let mut bare = Bare::start()?;
    let fleet = bare.open(subscribers)?;
    let watched = Watched::default().with("writer", Part::Alone(bare.pid()));
    Ok((bare, fleet, watched))
}

fn row(scenario: &str, at: &str, run: usize, measured: &Measured) -> Row {
    Row::new(scenario, "messenger", at, run)
        .with("messages/s", float(measured.sent.answered) / measured.sent.seconds)
        .cpu(&measured.times, measured.tally.events)
        .tally(&measured.tally, measured.expected, measured.seconds)
        .latency("send", &measured.sent.latency)
}

/// a
pub fn steady(options: &Options, report: &mut Report) -> Result<(), String> {
    let (world, fleet, senders) = one_chat(SUBSCRIBERS, 8)?;
    let (mut bare, bare_fleet, bare_watched) = bare(SUBSCRIBERS)?;
    let peers = crate::peers::fan_out(options, SUBSCRIBERS)?;
    for rate in [100.0, 200.0] {
        let at = format!("{rate} messages/s");
        for run in 1..=options.runs {
            let measured = measure(&world.watched(), &fleet, SUBSCRIBERS as u64, || {
                let (pace, lasts) = (Pace::Rate(rate), options.lasts);
                Traffic { world: &world, senders: &senders, chat: &mut |_| 1, pace, lasts }.run()
            })?;
            report.add(row("a", &at, run, &measured));
            report.add(bare_row("a", &at, run, &bare_watched, &bare_fleet, || {
                bare.ask(&format!("write {rate} {} {SUBSCRIBERS}", options.lasts.as_secs_f64()))
            })?);
            for peer in &peers {
                report.add(peer.steady("a", run, rate, options.lasts)?);
            }
        }
    }
    Ok(())
}

fn bare_row(
    scenario: &str,
    at: &str,
    run: usize,
    watched: &Watched,
    fleet: &Fleet,
    write: impl FnOnce() -> Result<u64, String>,
) -> Result<Row, String> {
    fleet.check()?;
    fleet.forget_numbers();
    fleet.reset();
    let (events, times, begin) = (fleet.events(), watched.now(), clock::now());
    let expected = write()?;
    // its work is done, and what it wrote is read in a moment; the writer waits for its next word
    // meanwhile
    let times = watched.since(&times);
    fleet.wait_for(events + expected, Duration::from_secs(2));
    let seconds = float(clock::now() - begin) / 1e9;
    let tally = fleet.tally();
    Ok(Row::new(scenario, "bare write", at, run).cpu(&times, tally.events).tally(&tally, expected, seconds))
}

/// b
pub fn full(options: &Options, report: &mut Report) -> Result<(), String> {
    let (world, fleet, senders) = one_chat(SUBSCRIBERS, 32)?;
    let (mut bare, bare_fleet, bare_watched) = bare(SUBSCRIBERS)?;
    let peers = crate::peers::fan_out(options, SUBSCRIBERS)?;
    let at = "full throttle";
    for run in 1..=options.runs {
        let before = fleet.events();
        let mut gate = |sent: u64| sent < (fleet.events() - before) / SUBSCRIBERS as u64 + UNDER_WAY;
        let measured = measure(&world.watched(), &fleet, SUBSCRIBERS as u64, || {
            let (pace, lasts) = (Pace::Full(&mut gate), options.lasts);
            Traffic { world: &world, senders: &senders, chat: &mut |_| 1, pace, lasts }.run()
        })?;
        report.add(row("b", at, run, &measured));
        report.add(bare_row("b", at, run, &bare_watched, &bare_fleet, || {
            bare.ask(&format!("flood {}", options.lasts.as_secs_f64()))
        })?);
        for peer in &peers {
            report.add(peer.full("b", at, run, UNDER_WAY, options.lasts)?);
        }
    }
    Ok(())
}

/// Chats of c, and the subscribers of each.
const CHATS: usize = 500;
const EACH: usize = 10;

/// A messenger with the chats of c and their subscribers, and users who are in all of them.
fn groups() -> Result<(World, Fleet, Vec<usize>), String> {
    let world = World::start()?;
    let (subscribers, senders) = (CHATS * EACH, 64);
    world.seed(
        subscribers + senders,
        CHATS,
        &format!(
            "select 1 + (n - 1) / {EACH}, n from generate_series(1, {subscribers}) n union all
             select c, u from generate_series(1, {CHATS}) c, generate_series({subscribers} + 1, {subscribers} + {senders}) u"
        ),
    )?;
    let specs = (1..=subscribers).map(|user| world.subscriber(user, 1 + (user - 1) / EACH)).collect();
    let fleet = Fleet::open(specs, false)?;
    Ok((world, fleet, (subscribers + 1..=subscribers + senders).collect()))
}

/// c
pub fn many_chats(options: &Options, report: &mut Report) -> Result<(), String> {
    let (world, fleet, senders) = groups()?;
    let (mut bare, bare_fleet, bare_watched) = bare(CHATS * EACH)?;
    let mut chat = |n: u64| 1 + n as usize % CHATS;
    for run in 1..=options.runs {
        let measured = measure(&world.watched(), &fleet, EACH as u64, || {
            let (pace, lasts) = (Pace::Rate(2_000.0), options.lasts);
            Traffic { world: &world, senders: &senders, chat: &mut chat, pace, lasts }.run()
        })?;
        report.add(row("c", "2000 messages/s", run, &measured));
        report.add(bare_row("c", "2000 messages/s", run, &bare_watched, &bare_fleet, || {
            bare.ask(&format!("write 2000 {} {EACH}", options.lasts.as_secs_f64()))
        })?);
        let before = fleet.events();
        let mut gate = |sent: u64| sent < (fleet.events() - before) / EACH as u64 + UNDER_WAY_IN_GROUPS;
        let measured = measure(&world.watched(), &fleet, EACH as u64, || {
            let (pace, lasts) = (Pace::Full(&mut gate), options.lasts);
            Traffic { world: &world, senders: &senders, chat: &mut chat, pace, lasts }.run()
        })?;
        report.add(row("c", "highest rate", run, &measured));
        report.add(backlog(&world, &fleet, &senders, &mut chat, run, options.lasts)?);
    }
    drop((fleet, bare_fleet));
    let (world, fleet, _) = groups()?;
    let mut published = 0;
    for run in 1..=options.runs {
        report.add(through_redis(&world, &fleet, &mut published, run, options.lasts)?);
    }
    drop((world, fleet));
    crate::peers::many_channels(options, (CHATS, EACH), |peer| {
        for run in 1..=options.runs {
            report.add(peer.steady("c", run, 2_000.0, options.lasts)?);
            report.add(peer.full("c", "highest rate", run, UNDER_WAY_IN_GROUPS, options.lasts)?);
        }
        Ok(())
    })
}

/// The limit of gateway and Redis where nothing is stored, as others do it: events as an api would
/// publish them, sixteen at a time, as fast as they are delivered. The messages do not exist: the
/// chats are of no use afterwards but for more of them.
fn through_redis(
    world: &World,
    fleet: &Fleet,
    published: &mut u64,
    run: usize,
    lasts: Duration,
) -> Result<Row, String> {
    let fault = |error: redis::RedisError| format!("redis: {error}");
    let mut redis = redis::Client::open(world.redis.url()).and_then(|client| client.get_connection()).map_err(fault)?;
    fleet.check()?;
    fleet.reset();
    let (watched, events, first) = (world.watched(), fleet.events(), *published);
    let (times, begin) = (watched.now(), clock::now());
    while clock::now() < begin + clock::nanos(lasts) {
        if *published - first > (fleet.events() - events) / EACH as u64 + UNDER_WAY_IN_GROUPS {
            std::thread::sleep(Duration::from_micros(100));
            continue;
        }
        let mut pipeline = redis::pipe();
        for _ in 0..16 {
            let (chat, seq) = (1 + published.rem_euclid(CHATS as u64), 1 + *published / CHATS as u64);
            let event = stored(chat.cast_signed(), seq.cast_signed());
            let topic = world.namespace.name(Topic::Chat(event.chat_id));
            pipeline.publish(topic, &event.to_envelope().encode()[..]).ignore();
            *published += 1;
        }
        pipeline.query::<()>(&mut redis).map_err(fault)?;
    }
    let expected = (*published - first) * EACH as u64;
    fleet.wait_for(events + expected, Duration::from_secs(3));
    let seconds = float(clock::now() - begin) / 1e9;
    let times = watched.since(&times);
    fleet.check()?;
    let tally = fleet.tally();
    Ok(Row::new("c", "messenger", "published to Redis", run)
        .with("messages/s", float(expected / EACH as u64) / seconds)
        .cpu(&times, tally.events)
        .tally(&tally, expected, seconds))
}

/// An event of a message as the api would tell it, but that there is no such message.
fn stored(chat: i64, seq: i64) -> LogEvent {
    let now = OffsetDateTime::now_utc();
    let message = Message {
        id: MessageId(seq * 1_000 + chat),
        chat_id: ChatId(chat),
        author_id: UserId(5_001),
        author_username: "user5001".to_owned(),
        author_display_name: None,
        text: format!("{}{:.<21}", clock::stamp(clock::now()), ""),
        created_at: now,
        is_edited: false,
        edited_at: None,
        is_deleted: false,
        seq: Seq(seq),
        client_message_id: None,
        reply_to_id: None,
        reactions: Vec::new(),
        mentions: Vec::new(),
    };
    LogEvent { chat_id: ChatId(chat), seq: Seq(seq), committed_at: now, body: EventBody::NewMessage { message } }
}

/// The limit of gateway and Redis alone, with events that the api has committed and published like
/// all others: the gateway stands still while it does, and then has them all at once.
fn backlog(
    world: &World,
    fleet: &Fleet,
    senders: &[usize],
    chat: &mut dyn FnMut(u64) -> usize,
    run: usize,
    lasts: Duration,
) -> Result<Row, String> {
    /// Within what Redis keeps for a subscriber that does not read.
    const MESSAGES: u64 = 15_000;
    fleet.reset();
    world.freeze_gateway();
    let mut gate = |sent: u64| sent < MESSAGES;
    let sent = Traffic { world, senders, chat, pace: Pace::Full(&mut gate), lasts }.run();
    let (watched, events) = (world.watched(), fleet.events());
    let (times, begin) = (watched.now(), clock::now());
    world.thaw_gateway();
    let expected = sent?.answered * EACH as u64;
    fleet.wait_for(events + expected, Duration::from_secs(5));
    let seconds = float(clock::now() - begin) / 1e9;
    let times = watched.since(&times);
    fleet.check()?;
    let tally = fleet.tally();
    Ok(Row::new("c", "messenger", "a backlog", run)
        .with("messages", float(expected / EACH as u64))
        .cpu(&times, tally.events)
        .with("deliveries/s", float(tally.events) / seconds)
        .order(&tally, expected))
}
