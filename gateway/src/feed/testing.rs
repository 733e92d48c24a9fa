//! Events and readers for the unit tests of this room.

use super::{Event, Push, Reader};
use bytes::Bytes;
use messenger_common::event::{Effect, EventKind};
use messenger_common::id::{Seq, UserId};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

pub(super) fn event_of(seq: i64, kind: EventKind) -> Event {
    let frame = Bytes::from(seq.to_string().into_bytes());
    Event { seq: Seq(seq), kind, effect: Effect::None, committed_at_micros: 0, frame }
}

pub(super) fn event(seq: i64) -> Event {
    event_of(seq, EventKind::NewMessage)
}

/// The event by which a user leaves.
pub(super) fn leaving(seq: i64, user: i64) -> Event {
    Event { effect: Effect::Left(UserId(user)), ..event_of(seq, EventKind::MemberLeft) }
}

/// A client's view of a subscription, and how much it takes.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// The frames, as text: a number for an event, `resync N`.
    pub(super) frames: RefCell<Vec<String>>,
    /// Frames that it still takes; `None`: any number.
    pub(super) room: Cell<Option<usize>>,
    pub(super) is_behind: Cell<bool>,
    /// The ends of its subscriptions, and after which event they came.
    pub(super) ended: RefCell<Vec<Option<Seq>>>,
}

/// A client as a feed's reader.
#[derive(Debug)]
pub(super) struct Vector {
    pub(super) user: UserId,
    pub(super) client: Rc<Client>,
}

impl Client {
    pub(super) fn new() -> Rc<Self> {
        Rc::default()
    }

    /// The frames that it read since it was asked last.
    pub(super) fn read(&self) -> Vec<String> {
        self.frames.take()
    }
}

/// A frame as a test writes it: events of tests have no header.
fn as_text(frame: &Bytes) -> String {
    let text = String::from_utf8_lossy(frame);
    match text.find('{') {
        None => text.into_owned(),
        Some(at) => {
            let json: serde_json::Value = serde_json::from_str(&text[at..]).expect("a frame's JSON");
            format!("{} {}", json["type"].as_str().expect("a type"), json["seq"])
        }
    }
}

impl Reader for Vector {
    fn user(&self) -> UserId {
        self.user
    }

    fn push(&self, frame: &Bytes) -> Push {
        match self.client.room.get() {
            Some(0) => return Push::Full,
            room => self.client.room.set(room.map(|room| room - 1)),
        }
        self.client.frames.borrow_mut().push(as_text(frame));
        Push::Taken
    }

    fn fell_behind(&self) {
        self.client.is_behind.set(true);
    }

    fn ended(&self, cursor: Option<Seq>) {
        self.client.ended.borrow_mut().push(cursor);
    }
}
