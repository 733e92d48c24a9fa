//! The door by which `benches/` reach what is measured and is nobody else's business: framing, a chat's cursor, a connection's way out.

use crate::conn::{Conn, Counted, NewConn, Push, State};
use crate::feed::{Event, Feed, Offer};
use crate::frame;
use bytes::Bytes;
use messenger_common::config::Program;
use messenger_common::event::{Effect, EventKind};
use messenger_common::id::Seq;
use messenger_common::metrics::Metrics;
use std::net::TcpStream;
use std::rc::Rc;

/// The frame of an event, made once a node.
pub fn frame(json: &[u8]) -> Bytes {
    frame::text(json)
}

/// Reads a client's frame where it stands; says where the next begins.
pub fn read_frame(bytes: &mut [u8]) -> Option<usize> {
    frame::parse(bytes, 65_536).ok().flatten().map(|(_, end)| end)
}

/// A chat as a shard follows it, without subscribers.
#[derive(Debug)]
pub struct Cursor {
    feed: Feed,
    seq: Seq,
    frame: Bytes,
}

impl Cursor {
    /// At the beginning of a chat, all of whose events have this frame.
    pub fn new(frame: Bytes) -> Self {
        let mut feed = Feed::new(true);
        feed.reached(Seq(0));
        Self { feed, seq: Seq(0), frame }
    }

    fn event(&mut self) -> Event {
        self.seq = self.seq.next();
        let frame = self.frame.clone();
        Event { seq: self.seq, kind: EventKind::NewMessage, effect: Effect::None, committed_at_micros: 0, frame }
    }

    /// Takes the next event and keeps it for who falls behind; says whether it was its turn.
    pub fn in_order(&mut self) -> bool {
        let event = self.event();
        let taken = self.feed.offer(&event) == Offer::Next;
        self.feed.keep(&event, 0);
        taken
    }

    /// Takes the next two events in the wrong order; says whether both have had their turn.
    pub fn swapped(&mut self) -> bool {
        let (early, late) = (self.event(), self.event());
        self.feed.offer(&late);
        self.feed.offer(&early);
        self.feed.keep(&early, 0);
        let held = self.feed.next_held();
        held.is_some_and(|held| {
            self.feed.keep(&held, 0);
            held.seq == self.seq
        })
    }
}

/// Open connections of one shard.
#[derive(Debug)]
pub struct Crowd {
    conns: Vec<Rc<Conn>>,
    runtime: tokio::runtime::Runtime,
}

impl Crowd {
    /// Takes over connected sockets. An error is an event loop that the system refused.
    pub fn new(streams: Vec<TcpStream>) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let metrics = Metrics::new(Program::Gateway);
        let mut conns = Vec::with_capacity(streams.len());
        for (id, stream) in (0..).zip(streams) {
            stream.set_nonblocking(true)?;
            let stream = runtime.block_on(async {
                let stream = tokio::net::TcpStream::from_std(stream)?;
                stream.writable().await.map(|()| stream)
            })?;
            let conn = Conn::new(NewConn {
                id,
                auth: crate::handshake::nobody(),
                stream,
                clock: Rc::default(),
                most_queued: 1 << 20,
                counted: Counted::new(&metrics),
            });
            conn.state.set(State::Open);
            conns.push(conn);
        }
        Ok(Self { conns, runtime })
    }

    /// Gives a frame to each, as fan-out does; says how many took it. What a socket does not take is queued.
    pub fn tell(&self, frame: &Bytes) -> usize {
        self.conns.iter().filter(|conn| conn.push(frame, true) == Push::Taken).count()
    }

    /// Learns which sockets have room again and writes what is queued.
    pub fn flush(&self) {
        self.runtime.block_on(tokio::task::yield_now());
        self.conns.iter().for_each(|conn| conn.flush_or_wake());
    }
}
