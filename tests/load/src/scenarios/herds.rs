//! A crowd that comes at once: how long its subscriptions wait, what it costs those who send
//! meanwhile, and what is left of replays that nobody read.

use super::{Options, connections, message};
use crate::clock;
use crate::fleet::{Fleet, source};
use crate::report::{Report, Row, float};
use crate::sender::{self, Pace, Plan, Sent};
use crate::socket::{Spec, Step, handshake, text_frame};
use crate::world::World;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

const CROWD: usize = 10_000;
/// Chats that each one of the crowd follows, and the members of each.
const FOLLOWED: usize = 3;
const MEMBERS: usize = 1_000;
/// Connections that are opened together, where they are not all opened at once.
const TOGETHER: usize = 64;
/// Events that a replay brings, of so many characters.
const MISSED: usize = 20;
const CHARACTERS: usize = 2_000;
/// Members of a chat whose events are replayed.
const EACH: usize = 10;
/// Sends a second beside the crowd.
const RATE: f64 = 500.0;
const SENDERS: usize = 32;
/// Sockets that are abandoned together.
const ABANDONED: usize = 200;
/// Seconds after which memory is read for the last time.
const SETTLES: usize = 22;
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// Shorter than an idle connection is kept.
const SEEDED_WITHIN: Duration = Duration::from_secs(30);

/// All subscribe.
pub fn all_subscribe(options: &Options, report: &mut Report) -> Result<(), String> {
    (1..=options.runs).try_for_each(|run| subscriptions(report, run))
}

/// All have missed something.
pub fn all_replay(options: &Options, report: &mut Report) -> Result<(), String> {
    (1..=options.runs).try_for_each(|run| replays(options, report, run))
}

fn hello(world: &World, user: usize) -> Vec<u8> {
    handshake("/ws/chat", &format!("authorization: Bearer {}\r\n", world.token(user)))
}

fn subscribe(chat: usize, after: Option<usize>) -> Vec<u8> {
    let after = after.map(|seq| format!(r#","after_seq":{seq}"#)).unwrap_or_default();
    text_frame(&format!(r#"{{"type":"subscribe_chat","chat_id":{chat}{after}}}"#))
}

/// One who subscribes to these chats, one after the other.
fn follower(world: &World, user: usize, chats: impl Iterator<Item = usize>, after: Option<usize>) -> Spec {
    let asked = chats.map(|chat| subscribe(chat, after));
    let expected = std::iter::once("").chain(std::iter::repeat("\"subscribed\""));
    let mut steps: Vec<Step> = expected.zip(asked).map(|(expect, then)| Step { expect, then }).collect();
    steps.push(Step { expect: "\"subscribed\"", then: Vec::new() });
    Spec { server: world.gateway(), source: source(user), hello: hello(world, user), steps: steps.into() }
}

/// Everyone follows three chats of a thousand.
fn subscriptions(report: &mut Report, run: usize) -> Result<(), String> {
    let groups = CROWD / MEMBERS;
    for (at, at_once) in [("a few at a time", TOGETHER), ("all at once", CROWD)] {
        let world = World::start()?;
        let members = format!(
            "select 1 + (n - 1) / {MEMBERS} + c * {groups}, n from generate_series(1, {CROWD}) n,
             generate_series(0, {}) c",
            FOLLOWED - 1
        );
        world.seed(CROWD, groups * FOLLOWED, &members)?;
        let chats = |user: usize| (0..FOLLOWED).map(move |c| 1 + (user - 1) / MEMBERS + c * groups);
        let crowd = (1..=CROWD).map(|user| follower(&world, user, chats(user), None)).collect();
        let begin = clock::now();
        let fleet = Fleet::open_together(crowd, at_once)?;
        let seconds = float(clock::now() - begin) / 1e9;
        let tally = fleet.tally();
        report.add(
            Row::new("subscriptions", "messenger", format!("{CROWD} clients subscribe to {FOLLOWED} chats, {at}"), run)
                .with("subscriptions/s", float((CROWD * FOLLOWED) as u64) / seconds)
                .with("without the users online", float(tally.without_users))
                .latency("subscription", &tally.subscriptions),
        );
    }
    Ok(())
}

/// Sends to chats in turn.
fn send(world: &World, pace: Pace<'_>, lasts: Duration) -> Result<Sent, String> {
    let (token, chats) = (world.token(CROWD + 1), CROWD / EACH);
    let sent = sender::run(Plan {
        server: world.api(),
        connections: SENDERS,
        pace,
        lasts,
        request: &mut |out, _, n, due| {
            sender::post(out, "/messages/send", &token, &message(1 + n as usize % chats, due, CHARACTERS));
        },
    })
    .map_err(|error| format!("the senders: {error}\n{}", world.complaints()))?;
    if sent.refused > 0 {
        return Err(format!("{} sends refused: {}", sent.refused, sent.first_refusal));
    }
    Ok(sent)
}

/// Everyone comes back and has missed something; then everyone does, and leaves at once.
fn replays(options: &Options, report: &mut Report, run: usize) -> Result<(), String> {
    let world = connections::world(CROWD)?;
    let watched = world.watched();
    let chat = |user: usize| 1 + (user - 1) / EACH;
    let all = (MISSED * CROWD / EACH) as u64;
    send(&world, Pace::Full(&mut |sent| sent < all), SEEDED_WITHIN)?;

    let alone = send(&world, Pace::Rate(RATE), options.lasts)?;
    report.add(Row::new("replays", "messenger", "sends alone", run).latency("send", &alone.latency));

    let crowd: Vec<Spec> =
        (1..=CROWD).map(|user| follower(&world, user, std::iter::once(chat(user)), Some(0))).collect();
    let begin = clock::now();
    let (beside, fleet) = std::thread::scope(|scope| {
        let open = scope.spawn(|| {
            let fleet = Fleet::open_together(crowd, CROWD)?;
            let complete = fleet.wait_for(all * EACH as u64, Duration::from_secs(5));
            Ok::<_, String>((fleet, complete, float(clock::now() - begin) / 1e9))
        });
        let sent = send(&world, Pace::Rate(RATE), options.lasts);
        (sent, open.join())
    });
    let (fleet, complete, seconds) = fleet.map_err(|_| "the crowd's thread panicked")??;
    let tally = fleet.tally();
    report.add(
        Row::new("replays", "messenger", format!("sends beside {CROWD} replays of {MISSED}"), run)
            .latency("send", &beside?.latency)
            .with("all have all after s", if complete { seconds } else { f64::NAN })
            .with("gaps", float(tally.gaps))
            .with("doubles", float(tally.doubles))
            .with("disorder", float(tally.disorder)),
    );
    drop(fleet);

    let mib = || float(watched.resident("gateway")) / 1024.0 / 1024.0;
    let lowest = || {
        (0..SETTLES).fold(mib(), |least, _| {
            connections::settle();
            least.min(mib())
        })
    };
    let before = lowest();
    let mut highest = before;
    for first in (1..=CROWD).step_by(ABANDONED) {
        abandon(&world, (first..first + ABANDONED).map(|user| (user, chat(user))))?;
        highest = highest.max(mib());
    }
    report.add(
        Row::new(
            "replays",
            "messenger",
            format!("{CROWD} replays of {} KiB abandoned", MISSED * CHARACTERS / 1024),
            run,
        )
        .with("MiB before", before)
        .with("MiB at most", highest)
        .with("MiB after", lowest()),
    );
    Ok(())
}

/// Connects, asks for everything, and leaves when the first of it is there.
fn abandon(world: &World, crowd: impl Iterator<Item = (usize, usize)>) -> Result<(), String> {
    let begun = crowd.map(|(user, chat)| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((source(user), 0)).into())?;
        socket.connect(&world.gateway().into())?;
        let mut stream = std::net::TcpStream::from(socket);
        stream.set_read_timeout(Some(ANSWERED_WITHIN))?;
        stream.write_all(&[hello(world, user), subscribe(chat, Some(0))].concat())?;
        Ok::<_, std::io::Error>(stream)
    });
    let streams: Vec<_> = begun.collect::<Result<_, _>>().map_err(|error| format!("one to abandon: {error}"))?;
    for stream in streams {
        let mut first = [0; 1];
        stream.peek(&mut first).map_err(|error| format!("one to abandon: {error}"))?;
    }
    Ok(())
}
