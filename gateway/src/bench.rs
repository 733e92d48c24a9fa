//! The door by which `benches/` reach what is measured and is nobody else's business: framing, a
//! chat's cursor, a connection's way out.

use crate::conn::{Backlog, Conn, NewConn, State};
use crate::feed::{Event, Feed, Push, Reader};
use crate::frame;
use bytes::Bytes;
use messenger_common::config::{Limits, Program};
use messenger_common::event::{Effect, EventKind};
use messenger_common::id::{ChatId, Seq, UserId};
use messenger_common::metrics::{Held, Metrics};
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

/// Nobody: the cursor is measured without its readers.
#[derive(Debug)]
struct Nobody;

impl Reader for Nobody {
    fn user(&self) -> UserId {
        UserId(0)
    }
    fn push(&self, _: &Bytes) -> Push {
        Push::Gone
    }
    fn fell_behind(&self) {}
    fn ended(&self, _: Option<Seq>) {}
}

/// A chat as a shard follows it, without subscribers.
#[derive(Debug)]
pub struct Cursor {
    feed: Feed<Nobody>,
    seq: Seq,
    frame: Bytes,
}

impl Cursor {
    /// At the beginning of a chat, all of whose events have this frame.
    pub fn new(frame: Bytes) -> Self {
        let mut feed = Feed::new(ChatId(1), true);
        feed.reached(Seq(0));
        Self { feed, seq: Seq(0), frame }
    }

    fn event(&mut self) -> Event {
        self.seq = self.seq.next();
        let frame = self.frame.clone();
        Event { seq: self.seq, kind: EventKind::NewMessage, effect: Effect::None, committed_at_micros: 0, frame }
    }

    /// Takes an event; counts those that are handed on.
    fn take(&mut self, event: &Event) -> usize {
        let mut handed = 0;
        let due = self.feed.on_event(event, 0, &mut |_: &Event, _| handed += 1);
        // The gap of two that are swapped closes by itself.
        debug_assert!(due.is_none() || handed == 0);
        handed
    }

    /// Takes the next event and keeps it for who falls behind; says whether it was its turn.
    pub fn in_order(&mut self) -> bool {
        let event = self.event();
        self.take(&event) == 1
    }

    /// Takes the next two events in the wrong order; says whether both have had their turn.
    pub fn swapped(&mut self) -> bool {
        let (early, late) = (self.event(), self.event());
        self.take(&late) == 0 && self.take(&early) == 2
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
        let (mut conns, backlog) =
            (Vec::with_capacity(streams.len()), Rc::new(Backlog::of_shard(&Limits::default(), 1)));
        for (id, stream) in (0..).zip(streams) {
            stream.set_nonblocking(true)?;
            let stream = runtime.block_on(async {
                let stream = tokio::net::TcpStream::from_std(stream)?;
                stream.writable().await.map(|()| stream)
            })?;
            let conn = Conn::new(NewConn {
                shard: 0,
                id,
                auth: None,
                stream,
                clock: Rc::default(),
                batch: Rc::default(),
                backlog: Rc::clone(&backlog),
                counted: Held::new(&metrics.ws_connections),
                place: None,
            });
            conn.state.set(State::Open);
            conns.push(conn);
        }
        Ok(Self { conns, runtime })
    }

    /// Gives a frame to each, as fan-out does, and counts those that took it. For a socket that
    /// does not take it, it is queued.
    pub fn publish(&self, frame: &Bytes) -> usize {
        self.conns.iter().filter(|conn| conn.push(frame, true) == Push::Taken).count()
    }

    /// Learns which sockets have room again and writes what is queued.
    pub fn flush(&self) {
        self.runtime.block_on(tokio::task::yield_now());
        self.conns.iter().for_each(|conn| conn.flush_or_wake());
    }
}
