//! A chat as one shard follows it: the sequence made whole again from hints that may be lost, doubled or out of order (G2).
//!
//! The bus brings events; only `head + 1` goes on. An event further on is held and what is missing is fetched from the log; one at or before
//! the head was had already. Nothing here does I/O: [`crate::shard`] acts on what it is told.

use crate::conn::Conn;
use bytes::Bytes;
use messenger_common::event::{Effect, EventKind};
use messenger_common::id::Seq;
use slab::Slab;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use tokio::sync::oneshot;

/// A sequenced event, framed.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Its place.
    pub(crate) seq: Seq,
    /// What it is.
    pub(crate) kind: EventKind,
    /// What it does to subscriptions.
    pub(crate) effect: Effect,
    /// When it was committed, microseconds since the Unix epoch.
    pub(crate) committed_at_micros: i64,
    /// The WebSocket frame, shared by all subscribers.
    pub(crate) frame: Bytes,
}

/// Where a subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its channel, rights and head are being looked up; nothing is delivered.
    Pending,
    /// It has had everything up to the feed's head (or is ahead of it).
    Live,
    /// It is catching up from the ring or the log; live events pass it by.
    Behind,
}

/// A subscription: a cursor over the chat's log.
#[derive(Debug)]
pub(crate) struct Sub {
    /// Whose.
    pub(crate) conn: Rc<Conn>,
    /// Where it stands.
    pub(crate) phase: Phase,
    /// The last event that it was given.
    pub(crate) cursor: Seq,
    /// The head when its rights were checked: a removal after this ends it.
    pub(crate) since: Seq,
    /// Where it began: what is not after this it does not bring.
    pub(crate) began: Seq,
    /// A removal of its user was heard of that it has yet to come to: it is told nothing any more but what is before that.
    pub(crate) ending: bool,
}

impl Sub {
    /// One that knows neither its rights nor its place yet.
    pub(crate) fn pending(conn: &Rc<Conn>) -> Self {
        let (phase, zero) = (Phase::Pending, Seq(0));
        Self { conn: Rc::clone(conn), phase, cursor: zero, since: zero, began: zero, ending: false }
    }

    /// Whether it is told what is not sequenced.
    pub(crate) fn listens(&self) -> bool {
        self.phase != Phase::Pending && !self.ending
    }
}

/// What became of an event that was offered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It was the next: deliver it, then what [`Feed::next_held`] gives.
    Next,
    /// It was had before.
    Had,
    /// Something before it is missing; it is held.
    Held,
}

/// Whether the log is being asked for a chat's head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Check {
    /// It is not.
    #[default]
    Idle,
    /// It is.
    Asked,
    /// It is, and since then there was a reason to ask anew.
    AskAgain,
}

/// One chat's state in one shard.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    /// The last event that was handed on; unknown until the first subscription read it from the store.
    pub(crate) head: Option<Seq>,
    /// The subscriptions.
    pub(crate) subs: Slab<Sub>,
    /// Events that came before their time, at most [`Feed::HELD`].
    held: BTreeMap<Seq, Event>,
    /// The newest events up to the head, consecutive, for those who fall behind or come back.
    ring: VecDeque<Event>,
    ring_bytes: usize,
    /// A number that the log is known to have reached.
    pub(crate) known: Seq,
    /// Whether a fill is under way.
    pub(crate) filling: bool,
    /// Whether the log is being asked for the head.
    pub(crate) check: Check,
    /// How often the bus told that the channel is heard: what was read before the last time may lack an event.
    pub(crate) ups: u32,
    /// Whether the bus has confirmed the channel to this shard.
    pub(crate) confirmed: bool,
    /// Who waits for that.
    pub(crate) waiting: Vec<oneshot::Sender<()>>,
    /// Ticks since which nobody subscribes.
    pub(crate) idle_ticks: u8,
    /// When the ring was last added to, in ticks of the shard.
    ring_tick: u32,
}

impl Feed {
    /// Events held at most; more are dropped and come from the log.
    const HELD: usize = 256;
    /// Events in the ring at most.
    const RING: usize = 64;
    /// Bytes in the ring at most.
    const RING_BYTES: usize = 64 * 1024;

    /// A feed that knows nothing yet; `confirmed`: whether its channel is heard.
    pub(crate) fn new(confirmed: bool) -> Self {
        Self { confirmed, ..Self::default() }
    }

    /// The connections that hear what is not sequenced.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = &Rc<Conn>> {
        self.subs.iter().filter(|(_, sub)| sub.listens()).map(|(_, sub)| &sub.conn)
    }

    /// Word of a removal, of one user or of all, in its turn or before it.
    pub(crate) fn removal_heard(&mut self, seq: Seq, effect: Effect) {
        let whose = match effect {
            Effect::Left(user) => Some(user),
            Effect::ChatDeleted => None,
            Effect::None | Effect::Joined(_) => return,
        };
        for (_, sub) in &mut self.subs {
            if sub.phase != Phase::Pending && seq > sub.since && whose.is_none_or(|user| user == sub.conn.user_id) {
                sub.ending = true;
            }
        }
    }

    /// Takes word of an event.
    pub(crate) fn offer(&mut self, event: &Event) -> Offer {
        self.known = self.known.max(event.seq);
        match self.head {
            Some(head) if event.seq <= head => Offer::Had,
            Some(head) if event.seq == head.next() => {
                self.head = Some(event.seq);
                Offer::Next
            }
            _ => {
                if self.held.len() < Self::HELD {
                    self.held.insert(event.seq, event.clone());
                }
                Offer::Held
            }
        }
    }

    /// The next event, if it is among those held.
    pub(crate) fn next_held(&mut self) -> Option<Event> {
        let head = self.head?;
        while let Some(entry) = self.held.first_entry() {
            if *entry.key() > head.next() {
                return None;
            }
            let event = entry.remove();
            if event.seq == head.next() {
                self.head = Some(event.seq);
                return Some(event);
            }
        }
        None
    }

    /// Whether something after the head is known to be missing here.
    pub(crate) fn has_gap(&self) -> bool {
        self.head.is_some_and(|head| self.known > head)
    }

    /// The store says that the log has reached `head`. The first to know sets where the feed begins.
    pub(crate) fn reached(&mut self, head: Seq) {
        self.known = self.known.max(head);
        self.head.get_or_insert(head);
    }

    /// Gives up what the log no longer keeps: goes on from `head`.
    pub(crate) fn skip_to(&mut self, head: Seq) {
        self.head = Some(head);
        self.clear_ring();
    }

    /// Keeps a delivered event for who falls behind. An edit or a deletion makes what the ring holds untrue: a replay bears the
    /// message's text of now, so older events come from the log.
    pub(crate) fn keep(&mut self, event: &Event, tick: u32) {
        if event.kind.rewrites_history() {
            self.clear_ring();
        }
        self.ring_tick = tick;
        self.ring_bytes += event.frame.len();
        self.ring.push_back(event.clone());
        while self.ring.len() > Self::RING || self.ring_bytes > Self::RING_BYTES {
            let Some(oldest) = self.ring.pop_front() else { break };
            self.ring_bytes -= oldest.frame.len();
        }
    }

    /// The event after a cursor, if the ring has it.
    pub(crate) fn in_ring(&self, cursor: Seq) -> Option<&Event> {
        let first = self.ring.front()?.seq;
        let at = usize::try_from(cursor.next().0 - first.0).ok()?;
        self.ring.get(at)
    }

    /// Lets go of a ring that nothing was added to for `ticks`.
    pub(crate) fn age(&mut self, tick: u32, ticks: u32) {
        if !self.ring.is_empty() && tick.wrapping_sub(self.ring_tick) > ticks {
            self.clear_ring();
            self.ring.shrink_to_fit();
        }
    }

    fn clear_ring(&mut self) {
        self.ring.clear();
        self.ring_bytes = 0;
    }
}

#[cfg(test)]
mod tests;
