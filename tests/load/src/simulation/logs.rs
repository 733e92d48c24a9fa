//! The chats' logs, as Postgres keeps them.

use bytes::Bytes;
use messenger_common::event::{Effect, EventKind};
use messenger_common::id::Seq;
use messenger_gateway::feed::{Event, Piece};

/// Events that one query brings at most.
pub const EVENTS_PER_READ: usize = 256;

/// When each event of each chat was committed, in microseconds, and a frame for each number.
pub struct Logs {
    commits: Vec<Vec<u64>>,
    frames: Vec<Bytes>,
}

impl Logs {
    pub fn new(chats: usize) -> Self {
        Self { commits: vec![Vec::new(); chats], frames: Vec::new() }
    }

    pub fn head(&self, chat: u32) -> i64 {
        self.commits[chat as usize].len() as i64
    }

    /// When that event was committed, in nanoseconds.
    pub fn committed(&self, chat: u32, seq: i64) -> Option<u64> {
        let at = usize::try_from(seq - 1).ok()?;
        self.commits[chat as usize].get(at).map(|micros| micros * 1000)
    }

    /// Commits the chat's next event.
    pub fn commit(&mut self, chat: u32, now: u64) -> i64 {
        let commits = &mut self.commits[chat as usize];
        commits.push(now / 1000);
        let head = commits.len();
        while self.frames.len() <= head {
            let seq = self.frames.len() as i64;
            self.frames.push(Bytes::copy_from_slice(&seq.to_be_bytes()));
        }
        head as i64
    }

    pub fn event(&self, chat: u32, seq: i64) -> Event {
        Event {
            seq: Seq(seq),
            kind: EventKind::NewMessage,
            effect: Effect::None,
            committed_at_micros: self.commits[chat as usize][seq as usize - 1] as i64,
            frame: self.frames[seq as usize].clone(),
        }
    }

    /// The log after some number, up to `limit` events.
    pub fn piece(&self, chat: u32, after: i64, limit: usize) -> Piece {
        let head = self.head(chat);
        let events = (after + 1..=head).take(limit).map(|seq| self.event(chat, seq)).collect();
        Piece::new(Seq(after), limit, events, Seq(head), Seq(0))
    }
}

/// The number in an event's frame. Any other frame of a feed is a `resync`.
pub fn number(frame: &Bytes) -> Option<i64> {
    Some(i64::from_be_bytes(frame.as_ref().try_into().ok()?))
}
