//! Others' servers, measured with the same sockets in the same run.

pub mod nchan;
pub mod socket_io;

pub use nchan::Nchan;
pub use socket_io::SocketIo;

use crate::clock;
use crate::cpu::Watched;
use crate::fleet::Fleet;
use crate::report::{Row, float};
use crate::scenarios::{Measured, Options, measure};
use crate::sender::{self, Pace, Plan};
use std::net::SocketAddr;
use std::time::Duration;

/// Another server, with subscribers on its channels.
pub struct Peer {
    name: &'static str,
    watched: Watched,
    fleet: Fleet,
    /// Where messages are posted.
    publisher: SocketAddr,
    path: fn(usize) -> String,
    channels: usize,
    /// Subscribers of each channel.
    reach: u64,
    /// The part of the messenger's rate that it is measured at; beyond its strength a rate says
    /// nothing.
    slower: f64,
    /// The servers that end with it.
    _servers: Vec<Box<dyn std::any::Any>>,
}

/// Those that are asked for, each with one channel of `subscribers`.
pub fn fan_out(options: &Options, subscribers: usize) -> Result<Vec<Peer>, String> {
    if !options.peers {
        return Ok(Vec::new());
    }
    Ok(vec![nchan::peer(1, subscribers, false)?, socket_io::peer(1, subscribers)?])
}

/// Measures those that are asked for, each with `channels` of `each` and its messages through
/// Redis. One after the other: all their sockets at once are more than a process may have.
pub fn many_channels(
    options: &Options,
    (channels, each): (usize, usize),
    mut work: impl FnMut(&Peer) -> Result<(), String>,
) -> Result<(), String> {
    if options.peers {
        work(&nchan::peer(channels, each, true)?)?;
        work(&socket_io::peer(channels, each)?)?;
    }
    Ok(())
}

impl Peer {
    /// Messages at the rate at which the messenger is measured, or a part of it.
    pub fn steady(&self, scenario: &str, run: usize, rate: f64, lasts: Duration) -> Result<Row, String> {
        let rate = (rate * self.slower).round();
        // one connection: what it posts one after the other is numbered in this order
        let measured = self.measure(1, Pace::Rate(rate), true, lasts)?;
        Ok(self.row(scenario, &format!("{rate} messages/s"), run, &measured))
    }

    /// As many messages as it takes, `under_way` of them not yet with all at any time.
    pub fn full(&self, scenario: &str, at: &str, run: usize, under_way: u64, lasts: Duration) -> Result<Row, String> {
        let before = self.fleet.events();
        let mut gate = |sent: u64| sent < (self.fleet.events() - before) / self.reach + under_way;
        let measured = self.measure(16, Pace::Full(&mut gate), false, lasts)?;
        Ok(self.row(scenario, at, run, &measured))
    }

    fn measure(&self, connections: usize, pace: Pace<'_>, numbered: bool, lasts: Duration) -> Result<Measured, String> {
        let channels = self.channels as u64;
        let mut request = |out: &mut Vec<u8>, _: usize, n: u64, due: u64| {
            let seq = if numbered { 1 + n / channels } else { 0 };
            let channel = (n % channels) as usize;
            sender::post(out, &(self.path)(channel), "none", &event(seq, due));
        };
        // a fleet remembers the last number: each run begins at 1 again
        self.fleet.forget_numbers();
        measure(&self.watched, &self.fleet, self.reach, || {
            sender::run(Plan { server: self.publisher, connections, pace, lasts, request: &mut request })
                .map_err(|error| format!("{}: {error}", self.name))
        })
    }

    fn row(&self, scenario: &str, at: &str, run: usize, measured: &Measured) -> Row {
        Row::new(scenario, self.name, at, run)
            .with("messages/s", float(measured.sent.answered) / measured.sent.seconds)
            .cpu(&measured.times, measured.tally.events)
            .tally(&measured.tally, measured.expected, measured.seconds)
    }
}

/// An event of the limit's size.
fn event(seq: u64, moment: u64) -> String {
    let stamp = clock::stamp(moment);
    format!(r#"{{"type":"new_message","chat_id":1,"seq":{seq},"message":{{"text":"{stamp}{:.<105}"}}}}"#, "")
}
