//! A subscription as its feed sees it: a cursor over the chat's log, and the reader that it
//! serves.

use super::Event;
use bytes::Bytes;
use messenger_common::event::Effect;
use messenger_common::id::{Seq, UserId};

/// Whatever can be pushed to: a connection, or a test's vector.
pub trait Reader {
    /// The user whose membership admits it.
    fn user(&self) -> UserId;

    /// Takes a frame if there is room. Never waits.
    fn push(&self, frame: &Bytes) -> Push;

    /// Live events pass it by: [`super::Feed::catch_up`] is due once there is room.
    fn fell_behind(&self);

    /// The subscription is over. `cursor`: the last event that it was given; `None` where it had
    /// not begun, or where that event is of a history that went back.
    fn ended(&self, cursor: Option<Seq>);
}

/// The outcome of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// Written or queued.
    Taken,
    /// The queue is full: nothing of it was taken.
    Full,
    /// The reader is closing or gone: nothing of it was taken.
    Gone,
}

/// Where a subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its channel, rights and head are being looked up; nothing is delivered.
    Pending,
    /// It has had everything up to the feed's head (or is ahead of it).
    Live,
    /// It is catching up from the ring or the log; live events pass it by.
    Behind,
}

/// A subscription.
#[derive(Debug)]
pub struct Sub<C> {
    pub(super) reader: C,
    pub(super) phase: Phase,
    /// The last event that it was given.
    pub(super) cursor: Seq,
    /// The head when its rights were checked: a removal after this ends it.
    pub(super) admitted_at: Seq,
    /// It brings the events after this number only.
    pub(super) starts_after: Seq,
    /// The newest removal of its user that is known and that its cursor has yet to reach: it gets
    /// what is before that and nothing else.
    pub(super) ends_at: Option<Seq>,
    /// The same, where the chat goes on without its user: what is read from the log from now on may
    /// have texts of after that, and is for others.
    pub(super) left_at: Option<Seq>,
    /// Its cursor is of a history that went back: only a resync lets it go on.
    pub(super) is_lost: bool,
}

impl<C: Reader> Sub<C> {
    /// One that knows neither its rights nor its place yet.
    pub(super) fn pending(reader: C) -> Self {
        let (phase, zero) = (Phase::Pending, Seq(0));
        let (cursor, admitted_at, starts_after) = (zero, zero, zero);
        Self { reader, phase, cursor, admitted_at, starts_after, ends_at: None, left_at: None, is_lost: false }
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The last event that it was given.
    pub fn cursor(&self) -> Seq {
        self.cursor
    }

    /// The head when its rights were checked.
    pub fn admitted_at(&self) -> Seq {
        self.admitted_at
    }

    /// It brings the events after this number only.
    pub fn starts_after(&self) -> Seq {
        self.starts_after
    }

    /// Whether its cursor is of a history that went back.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Whether it gets what is not sequenced.
    pub fn listens(&self) -> bool {
        self.phase != Phase::Pending && self.ends_at.is_none()
    }

    /// Whether it is live and has yet to come to `seq`.
    pub(super) fn is_due(&self, seq: Seq) -> bool {
        self.phase == Phase::Live && self.cursor < seq
    }

    /// An event that may remove its user is known, in its turn or before it: what is not sequenced
    /// comes no longer, and the log is read no further where the chat goes on.
    pub(super) fn removal_known(&mut self, event: &Event) {
        if self.phase == Phase::Pending || event.seq <= self.admitted_at || !event.removes(self.reader.user()) {
            return;
        }
        self.ends_at = self.ends_at.max(Some(event.seq));
        if event.effect != Effect::ChatDeleted {
            self.left_at = self.left_at.max(Some(event.seq));
        }
    }

    /// Pushes a frame that leads to `seq`. Without room it falls behind.
    pub(super) fn push(&mut self, frame: &Bytes, seq: Seq) -> Push {
        let pushed = self.reader.push(frame);
        match pushed {
            Push::Taken => self.cursor = seq,
            Push::Full => self.fall_behind(),
            Push::Gone => {}
        }
        pushed
    }

    pub(super) fn fall_behind(&mut self) {
        self.phase = Phase::Behind;
        self.reader.fell_behind();
    }
}
