//! The measurements, by name.

mod connections;
mod fan_out;
mod gateway;
mod growth;
mod herds;
mod latency;
mod search;
mod sends;

use super::cpu::Watched;
use super::report::{Report, float};
use super::sender::{self, Pace, Plan, Sent};
use super::simulation::{Size, simulate};
use super::world::Served;
use super::{clock, fleet::Fleet};
use std::path::PathBuf;
use std::time::Duration;

/// How it is measured.
pub struct Options {
    /// Runs of each measurement.
    pub runs: usize,
    /// How long one lasts.
    pub lasts: Duration,
    /// Whether others' servers are measured too.
    pub peers: bool,
    /// Where curves are drawn.
    pub plots: Option<PathBuf>,
    /// How large a simulated fleet is.
    pub simulation: Size,
}

pub const SIMULATION: &str = "simulation";

type Scenario = fn(&Options, &mut Report) -> Result<(), String>;

/// Name, what it measures, how.
pub const ALL: &[(&str, &str, Scenario)] = &[
    ("a", "CPU per delivery: one chat of 1,000 subscribers, 100 and 200 messages/s", fan_out::steady),
    ("b", "the same at full throttle", fan_out::full),
    ("c", "500 chats of 10 subscribers: 2,000 messages/s, and the highest rate", fan_out::many_chats),
    ("d", "memory per idle connection, 10,000 connections", connections::memory),
    ("e", "CPU per accepted connection", connections::accepted),
    ("f", "durable sends: 32 keep-alive clients, 1,000 chats", sends::many_chats),
    ("g", "sends into one hot chat", sends::one_chat),
    ("h", "commit to socket on another node, 500 messages/s over 100 chats", latency::commit_to_socket),
    ("large", "the delay of small chats beside one of 10,000 sockets", latency::beside_a_large_chat),
    ("i", "history page and chat list, 500 requests/s on 1,000,000 messages in 10,000 chats", latency::reads),
    ("search", "searches, 20 a second, on 1,000,000 messages in 10,000 chats", search::postgres),
    ("search-sqlite", "the same searches of `messenger` on a SQLite file", search::sqlite),
    ("search-insert", "the same as f and g, with and without the index that search asks", sends::indexed),
    ("search-insert-sqlite", "the same of `messenger` on a SQLite file", sends::indexed_sqlite),
    ("growth-subscribers", "deliveries against subscribers of a chat", growth::subscribers),
    ("growth-connections", "memory against connections", growth::connections),
    ("growth-chats", "sends against chats", growth::chats),
    ("moderate", "durable sends at a rate: 500 chats, 500 and 2,000 messages/s", sends::moderate),
    ("idle", "what is asked of Redis and Postgres while nothing happens, up to 40,000 chats followed", gateway::idle),
    ("deploy", "a gateway is drained, and its 9,500 clients come to another one", gateway::deploy),
    ("arrivals", "5,000 connect at once, with limits and statuses on", gateway::arrivals),
    ("outage", "Redis stands still beside sends to 9,500 chats of one reader: until all have all", gateway::outage),
    (
        "subscriptions",
        "10,000 clients subscribe to 3 chats of 1,000, a few at a time, all at once",
        herds::all_subscribe,
    ),
    ("replays", "10,000 come back and have missed 20: sends beside them; replays that nobody reads", herds::all_replay),
    ("redis-commands", "commands to Redis per message", growth::redis_commands),
    (SIMULATION, "a fleet of gateways on simulated time, through faults and a deploy", simulate),
];

/// The body of a message with its moment in it, so that an event of it has `text` characters.
fn message(chat: usize, moment: u64, text: usize) -> String {
    let filling = text.saturating_sub(clock::STAMP);
    format!(r#"{{"chat_id":{chat},"text":"{}{:.<filling$}"}}"#, clock::stamp(moment), "")
}

/// Sends messages through the api: the nth goes to the chat that `chat` names, from the user of
/// its connection.
struct Traffic<'a> {
    world: &'a dyn Served,
    /// The user whose token each connection bears.
    senders: &'a [usize],
    chat: &'a mut dyn FnMut(u64) -> usize,
    pace: Pace<'a>,
    lasts: Duration,
}

impl Traffic<'_> {
    fn run(self) -> Result<Sent, String> {
        let tokens: Vec<String> = self.senders.iter().map(|user| self.world.token(*user)).collect();
        let sent = sender::run(Plan {
            server: self.world.server(),
            connections: tokens.len(),
            pace: self.pace,
            lasts: self.lasts,
            request: &mut |out, connection, n, due| {
                let body = message((self.chat)(n), due, 40);
                sender::post(out, "/messages/send", &tokens[connection], &body);
            },
        })
        .map_err(|error| format!("the senders: {error}\n{}", self.world.complaints()))?;
        if sent.refused > 0 {
            println!("  !! refused: {}", sent.first_refusal);
        }
        Ok(sent)
    }
}

/// The figures of one measured run.
pub struct Measured {
    pub sent: Sent,
    pub tally: super::tally::Tally,
    pub times: super::cpu::Times,
    pub expected: u64,
    pub seconds: f64,
}

/// Measures `traffic` against a fleet of which each message reaches `reach`.
pub fn measure(
    watched: &Watched,
    fleet: &Fleet,
    reach: u64,
    traffic: impl FnOnce() -> Result<Sent, String>,
) -> Result<Measured, String> {
    fleet.check()?;
    fleet.reset();
    let (events, times, begin) = (fleet.events(), watched.now(), clock::now());
    let sent = traffic()?;
    let expected = sent.answered * reach;
    fleet.wait_for(events + expected, Duration::from_secs(3));
    let seconds = float(clock::now() - begin) / 1e9;
    let times = watched.since(&times);
    fleet.check()?;
    Ok(Measured { sent, tally: fleet.tally(), times, expected, seconds })
}
