//! The cost of a connection: d and e.

use super::Options;
use crate::clock;
use crate::cpu::Watched;
use crate::fleet::Fleet;
use crate::peers::{Nchan, SocketIo, nchan, socket_io};
use crate::report::{Report, Row, float};
use crate::sender::{self, Pace, Plan};
use crate::socket::Spec;
use crate::world::World;
use std::net::SocketAddr;
use std::time::Duration;

const CONNECTIONS: usize = 10_000;
/// Members of each chat.
const EACH: usize = 10;
/// The longest text, each of its characters four bytes long.
const CHARACTERS: usize = 4096;
/// Seconds after which memory is read for the last time: beyond what a chat's newest events are
/// kept for.
const SETTLES: usize = 22;

/// A messenger with `connections` users in chats of ten, and one more user who is in all of them.
pub(super) fn world(connections: usize) -> Result<World, String> {
    world_with(connections, &[])
}

/// The same with other settings of the programs.
pub(super) fn world_with(connections: usize, settings: &[(&str, &str)]) -> Result<World, String> {
    let world = World::start_with(settings)?;
    let (chats, sender) = (connections.div_ceil(EACH), connections + 1);
    world.seed(
        sender,
        chats,
        &format!(
            "select 1 + (n - 1) / {EACH}, n from generate_series(1, {connections}) n union all
             select n, {sender} from generate_series(1, {chats}) n"
        ),
    )?;
    Ok(world)
}

pub(super) fn open(world: &World, connections: std::ops::RangeInclusive<usize>) -> Result<Fleet, String> {
    Fleet::open(connections.map(|user| world.subscriber(user, 1 + (user - 1) / EACH)).collect(), false)
}

/// Someone whose connections are measured.
struct Subject<'a> {
    name: &'static str,
    /// Its process, among those watched.
    process: &'static str,
    watched: Watched,
    spec: &'a dyn Fn(usize) -> Spec,
    publisher: SocketAddr,
    /// Makes the request that tells the nth chat something.
    tell: &'a dyn Fn(&mut Vec<u8>, usize, &str),
}

impl Subject<'_> {
    /// Those connections, counted from 1.
    fn open(&self, connections: std::ops::RangeInclusive<usize>) -> Result<Fleet, String> {
        Fleet::open(connections.map(|n| (self.spec)(n)).collect(), false)
    }
}

/// Measures the messenger, new for each run, and others, where they are asked for.
fn each_subject(
    options: &Options,
    mut work: impl FnMut(&Subject<'_>, usize) -> Result<(), String>,
) -> Result<(), String> {
    for run in 1..=options.runs {
        let world = world(CONNECTIONS)?;
        let token = world.token(CONNECTIONS + 1);
        let messenger = Subject {
            name: "messenger",
            process: "gateway",
            watched: world.watched(),
            spec: &|n| world.subscriber(n, 1 + (n - 1) / EACH),
            publisher: world.api(),
            tell: &|out, chat, text| {
                let body = format!(r#"{{"chat_id":{},"text":"{text}"}}"#, chat + 1);
                sender::post(out, "/messages/send", &token, &body);
            },
        };
        work(&messenger, run)?;
        if options.peers {
            let nchan = Nchan::start(false)?;
            work(
                &Subject {
                    name: "nchan",
                    process: "nchan",
                    watched: nchan.watched(),
                    spec: &|n| nchan.subscriber(n, (n - 1) / EACH),
                    publisher: nchan.address(),
                    tell: &|out, chat, text| post(out, &nchan::path(chat), text),
                },
                run,
            )?;
            drop(nchan);
            let socket_io = SocketIo::start()?;
            work(
                &Subject {
                    name: "Socket.IO",
                    process: "socket.io",
                    watched: socket_io.watched(),
                    spec: &|n| socket_io.subscriber(n, (n - 1) / EACH),
                    publisher: socket_io.publisher(),
                    tell: &|out, chat, text| post(out, &socket_io::path(chat), text),
                },
                run,
            )?;
        }
    }
    Ok(())
}

/// Tells others' subscribers something.
fn post(out: &mut Vec<u8>, path: &str, text: &str) {
    sender::post(out, path, "none", &format!(r#"{{"seq":0,"text":"{text}"}}"#));
}

/// d
pub fn memory(options: &Options, report: &mut Report) -> Result<(), String> {
    each_subject(options, |subject, run| {
        // what the first connections of all make it allocate is not a connection's own
        drop(subject.open(1..=100)?);
        settle();
        let baseline = subject.watched.resident(subject.process);
        let kib = || {
            let grown = subject.watched.resident(subject.process).saturating_sub(baseline);
            float(grown) / 1024.0 / float(CONNECTIONS as u64)
        };
        let fleet = subject.open(1..=CONNECTIONS)?;
        settle();
        let idle = kib();
        let (events, chats) = (fleet.events(), (CONNECTIONS / EACH) as u64);
        let filling = "𝄞".repeat(CHARACTERS - clock::STAMP);
        let sent = sender::run(Plan {
            server: subject.publisher,
            connections: 4,
            pace: Pace::Full(&mut |sent| sent < chats),
            lasts: Duration::from_secs(3),
            request: &mut |out, _, n, due| (subject.tell)(out, n as usize, &(clock::stamp(due) + &filling)),
        })
        .map_err(|error| format!("the sender: {error}"))?;
        let expected = events + sent.answered * EACH as u64;
        fleet.wait_for(expected, Duration::from_secs(5));
        settle();
        let soon = kib();
        // what is kept for those who come back is let go when nothing more is said
        let mut after = soon;
        for _ in 0..SETTLES {
            settle();
            after = after.min(kib());
            if after < idle * 1.1 {
                break;
            }
        }
        fleet.check()?;
        report.add(
            Row::new("d", subject.name, format!("{CONNECTIONS} connections"), run)
                .with("KiB/connection idle", idle)
                .with("KiB/connection one second after 16 KiB", soon)
                .with("KiB/connection after 16 KiB", after)
                .with("events", float(fleet.events() - events))
                .with("lost", float(expected.saturating_sub(fleet.events()))),
        );
        Ok(())
    })
}

/// e
pub fn accepted(options: &Options, report: &mut Report) -> Result<(), String> {
    each_subject(options, |subject, run| {
        drop(subject.open(1..=100)?);
        settle();
        let (times, begin) = (subject.watched.now(), clock::now());
        let fleet = subject.open(101..=CONNECTIONS)?;
        let seconds = float(clock::now() - begin) / 1e9;
        let times = subject.watched.since(&times);
        let opened = fleet.size as u64;
        report.add(
            Row::new("e", subject.name, format!("{opened} connections, as fast as they come"), run)
                .cpu(&times, opened)
                .with("connections/s", float(opened) / seconds),
        );
        Ok(())
    })
}

/// Until an allocator that gives back by and by has done so.
pub(super) fn settle() {
    std::thread::sleep(Duration::from_secs(1));
}
