//! A chat as one shard follows it: the sequence made whole again from hints that may be lost,
//! doubled or out of order (G2), and the subscriptions that read it, each at its own pace (G7) and
//! within its own rights (G6).
//!
//! The bus brings events; only `head + 1` goes on. An event further on is held, and what is
//! missing comes from the log. One at or before the head was here already. Nothing here does I/O
//! or knows the time: a feed says which [`Repair`] is due, a reader is whatever takes a frame.
//! `tests/model` checks these rules, and runs them side by side with this code.

mod catch_up;
mod deliver;
mod event;
mod history;
mod piece;
mod repair;
mod ring;
mod subscription;
#[cfg(test)]
mod testing;

pub use catch_up::{Admission, Begun, Step};
pub use deliver::{Handed, Progress};
pub use event::Event;
pub use history::Known;
pub use piece::{Next, Piece};
pub use repair::{HOLD, Repair};
pub use subscription::{Phase, Push, Reader, Sub};

use messenger_common::id::{ChatId, Seq};
use repair::HeadQuery;
use ring::Ring;
use slab::Slab;
use std::collections::BTreeMap;

/// Events held at most; more are dropped and come from the log.
const HELD: usize = 256;
/// No event is held up longer than so many ticks (3 s) because the store does not answer: a gateway
/// that alone has lost the store goes on by the bus.
const DOUBT_TICKS: u32 = 6;

/// The outcome of an event that was offered.
#[derive(Debug, PartialEq, Eq)]
enum Offer {
    /// It was the next: hand it on, then what [`Feed::next_held`] gives.
    Next,
    /// It was here before.
    Had,
    /// Something before it is missing, or it may be of another history than the head; it is held.
    Held,
}

/// One chat's state in one shard.
#[derive(Debug)]
pub struct Feed<C> {
    chat: ChatId,
    /// The last event that was handed on; unknown until the first subscription read it from the
    /// store.
    head: Option<Seq>,
    subs: Slab<Sub<C>>,
    /// Events that came before their time, at most [`HELD`].
    held: BTreeMap<Seq, Event>,
    ring: Ring,
    /// The commit of the event at the head, if it is known: another history has another.
    head_committed_at: Option<i64>,
    /// How often the history was found to have gone back.
    histories: u32,
    /// A number that the log is known to have reached.
    log_reached: Seq,
    /// Whether a gap is being repaired.
    filling: bool,
    head_query: HeadQuery,
    /// The history may have gone back: until the store has answered so often, nothing is handed on.
    doubted: u8,
    /// The tick at which an event was held up for that.
    held_up: Option<u32>,
    /// How often the bus has confirmed the channel: what was read before the last time may lack an
    /// event.
    confirmations: u32,
    channel_up: bool,
}

impl<C: Reader> Feed<C> {
    /// A feed that knows nothing yet. `channel_up`: whether the bus delivers its channel already.
    pub fn new(chat: ChatId, channel_up: bool) -> Self {
        Self {
            chat,
            head: None,
            subs: Slab::new(),
            held: BTreeMap::new(),
            ring: Ring::default(),
            head_committed_at: None,
            histories: 0,
            log_reached: Seq(0),
            filling: false,
            head_query: HeadQuery::Idle,
            doubted: 0,
            held_up: None,
            confirmations: 0,
            channel_up,
        }
    }

    /// The last event that was handed on.
    pub fn head(&self) -> Option<Seq> {
        self.head
    }

    /// Registers a subscription that knows neither its rights nor its place yet. Returns its key.
    pub fn subscribe(&mut self, reader: C) -> usize {
        self.subs.insert(Sub::pending(reader))
    }

    /// The subscription of that key.
    pub fn sub(&self, key: usize) -> Option<&Sub<C>> {
        self.subs.get(key)
    }

    /// Ends a subscription. Says whether there was one.
    pub fn end(&mut self, key: usize) -> bool {
        let Some(sub) = self.subs.try_remove(key) else { return false };
        sub.reader.ended((sub.phase != Phase::Pending && !sub.is_lost).then_some(sub.cursor));
        true
    }

    /// Whether nobody subscribes.
    pub fn is_empty(&self) -> bool {
        self.subs.is_empty()
    }

    /// The readers of what is not sequenced.
    pub fn listeners(&self) -> impl Iterator<Item = &C> {
        self.subs.iter().filter(|(_, sub)| sub.listens()).map(|(_, sub)| &sub.reader)
    }

    /// The store says that the log has reached `head`. The first to know sets where the feed
    /// begins.
    pub fn reached(&mut self, head: Seq) {
        self.log_reached = self.log_reached.max(head);
        self.head.get_or_insert(head);
    }

    /// Lets go of the newest events where there was none for `ticks`. Says whether an event was
    /// held up too long: [`Self::go_on`] is due, though the store has yet to answer.
    pub fn age(&mut self, tick: u32, ticks: u32) -> bool {
        self.ring.age(tick, ticks);
        let is_late = self.held_up.is_some_and(|since| tick.wrapping_sub(since) >= DOUBT_TICKS);
        if is_late {
            self.end_doubt();
        }
        is_late
    }

    /// Takes an event, whichever way it came.
    fn offer(&mut self, event: &Event) -> Offer {
        self.log_reached = self.log_reached.max(event.seq);
        match self.head {
            Some(head) if event.seq <= head => Offer::Had,
            Some(head) if event.seq == head.next() && self.doubted == 0 => {
                self.advance(event);
                Offer::Next
            }
            _ => {
                if self.held.len() < HELD {
                    self.held.insert(event.seq, event.clone());
                }
                Offer::Held
            }
        }
    }

    fn advance(&mut self, event: &Event) {
        self.head = Some(event.seq);
        self.head_committed_at = Some(event.committed_at_micros);
    }

    /// The next event, if it is among those held.
    fn next_held(&mut self) -> Option<Event> {
        let head = self.head.filter(|_| self.doubted == 0)?;
        while let Some(entry) = self.held.first_entry() {
            if *entry.key() > head.next() {
                return None;
            }
            let event = entry.remove();
            if event.seq == head.next() {
                self.advance(&event);
                return Some(event);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
