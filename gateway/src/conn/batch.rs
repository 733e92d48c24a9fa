//! Frames that a shard delivers in one turn leave in one `writev` a connection, and a large fan-out
//! leaves in slices: whoever else is served by the thread waits for one slice, not for all of it.
//!
//! Only the writes are put off, which are nearly all of the cost. Each frame is in its connection's
//! queue at once, so cursors, order and bounds are those of a fan-out in one piece.

use super::Conn;
use crate::conn::newest::Subject;
use crate::feed::Push;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Connections that are written to at once of those that get one event, and those of the others
/// that each later turn of the shard writes to. A write takes 3 to 10 µs.
const SLICE: usize = 512;
/// Where slices do not keep up with what comes, all that was put off is written after this long:
/// more would only wait in the queues.
const LATEST: Duration = Duration::from_millis(250);

/// Where a connection stands that has frames queued by a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Due {
    /// Its frames are written, or it waits for its socket.
    #[default]
    No,
    /// They leave with the batch that is open.
    WithBatch,
    /// They leave in one of the next turns.
    Later,
}

/// A connection's part in that.
#[derive(Debug, Default)]
pub(super) struct Turn {
    due: Cell<Due>,
    /// Whether it has a place among those that are written to later.
    is_placed: Cell<bool>,
}

/// A shard's batch: whether one is open, and the connections that it has queued frames for.
#[derive(Debug)]
pub(crate) struct Batch {
    open: Cell<bool>,
    slice: usize,
    /// Connections that are still written to at once by the fan-out under way.
    left: Cell<usize>,
    with_batch: RefCell<Vec<Rc<Conn>>>,
    /// The first comes first. A connection that was written to meanwhile may still be in it, once.
    later: RefCell<VecDeque<Rc<Conn>>>,
    /// Since when there was always one in it.
    since: Cell<Option<Instant>>,
    owes: Notify,
}

impl Default for Batch {
    fn default() -> Self {
        Self::in_slices_of(SLICE)
    }
}

impl Batch {
    fn in_slices_of(slice: usize) -> Self {
        Self {
            open: Cell::new(false),
            slice,
            left: Cell::new(slice),
            with_batch: RefCell::default(),
            later: RefCell::default(),
            since: Cell::new(None),
            owes: Notify::new(),
        }
    }

    /// Makes deliveries one batch. Inside another one they become part of it.
    pub(crate) fn run(&self, deliver: impl FnOnce()) {
        let outer = self.open.replace(true);
        if !outer {
            self.begin_fan_out();
        }
        deliver();
        if !outer {
            self.open.set(false);
            for conn in self.with_batch.borrow_mut().drain(..) {
                conn.turn.due.set(Due::No);
                conn.flush_or_wake();
            }
        }
    }

    /// Another event follows.
    pub(crate) fn begin_fan_out(&self) {
        self.left.set(self.slice);
    }

    /// Waits until a slice is to be written.
    pub(crate) async fn owes(&self) {
        self.owes.notified().await;
    }

    /// Whether some is put off.
    pub(crate) fn is_owing(&self) -> bool {
        self.since.get().is_some()
    }

    /// Writes a slice of what was put off.
    pub(crate) fn write_slice(&self) {
        let is_late = self.since.get().is_some_and(|since| since.elapsed() > LATEST);
        let mut written = 0;
        while is_late || written < self.slice {
            let next = self.later.borrow_mut().pop_front();
            let Some(conn) = next else { break };
            conn.turn.is_placed.set(false);
            if conn.turn.due.get() == Due::Later {
                conn.turn.due.set(Due::No);
                conn.flush_or_wake();
                written += 1;
            }
        }
        if self.later.borrow().is_empty() {
            self.since.set(None);
        } else {
            self.owes.notify_one();
        }
    }

    /// Lets go of connections that are not written to any more.
    pub(crate) fn forget(&self) {
        self.later.take();
    }

    /// Whether a connection that is given a frame now is still written to at once.
    fn is_within_slice(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }

    fn flush_later(&self, conn: &Rc<Conn>) {
        if conn.turn.due.get() != Due::No {
            return;
        }
        conn.turn.due.set(Due::Later);
        if !conn.turn.is_placed.replace(true) {
            self.later.borrow_mut().push_back(Rc::clone(conn));
        }
        if self.since.get().is_none() {
            self.since.set(Some(Instant::now()));
            self.owes.notify_one();
        }
    }
}

impl Conn {
    /// Takes a frame: written at once, with the batch where one is open, or in a later turn where
    /// many get it. No frame overtakes a notice that waits.
    pub(crate) fn deliver(self: &Rc<Self>, frame: &Bytes) -> Push {
        self.deliver_by(|now| if self.has_notices() { Push::Full } else { self.push(frame, now) })
    }

    /// The same for a frame of which only the newest of its subject matters.
    pub(crate) fn deliver_newest(self: &Rc<Self>, subject: Subject, frame: &Bytes) {
        self.deliver_by(|now| self.push_newest(subject, frame, now));
    }

    fn deliver_by<T>(self: &Rc<Self>, push: impl FnOnce(bool) -> T) -> T {
        let (soon, open) = (self.batch.is_within_slice(), self.batch.open.get());
        // Its task writes when the socket takes more.
        let is_blocked = self.queued() > 0 && self.turn.due.get() == Due::No;
        let pushed = push(soon && !open);
        match self.turn.due.get() {
            _ if self.queued() == 0 || (is_blocked && !soon) => {}
            _ if !soon => self.batch.flush_later(self),
            Due::No | Due::Later if open => {
                self.turn.due.set(Due::WithBatch);
                self.batch.with_batch.borrow_mut().push(Rc::clone(self));
            }
            // A smaller fan-out overtakes the slices, and takes along what waits before it.
            Due::Later => {
                self.turn.due.set(Due::No);
                self.flush_or_wake();
            }
            Due::No | Due::WithBatch => {}
        }
        pushed
    }

    /// Whether what is queued waits for its turn, and not for the socket.
    pub(crate) fn is_put_off(&self) -> bool {
        self.turn.due.get() != Due::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::testing::{Pair, frame};

    #[tokio::test]
    async fn a_batch_within_a_batch_leaves_with_the_outer_one() {
        let pair = Pair::new(1024).await;
        pair.batch.run(|| {
            pair.batch.run(|| assert_eq!(pair.conn.deliver(&frame("one")), Push::Taken));
            assert_eq!(pair.conn.queued(), frame("one").len());
            pair.conn.deliver(&frame("two"));
        });
        assert_eq!(pair.conn.queued(), 0);
        pair.conn.deliver(&frame("three"));
        let expected = [frame("one"), frame("two"), frame("three")].concat();
        assert_eq!(pair.read(expected.len()).await, expected);
    }

    /// Connections of one shard that writes to two at once.
    async fn crowd<const N: usize>() -> (Rc<Batch>, [Pair; N]) {
        let batch = Rc::new(Batch::in_slices_of(2));
        let mut pairs = Vec::new();
        for _ in 0..N {
            pairs.push(Pair::of(Rc::clone(&batch), 1024).await);
        }
        (batch, pairs.try_into().ok().unwrap())
    }

    fn tell(batch: &Batch, pairs: &[Pair], text: &str) {
        batch.begin_fan_out();
        for pair in pairs {
            assert_eq!(pair.conn.deliver(&frame(text)), Push::Taken);
        }
    }

    async fn owed(batch: &Batch) {
        tokio::time::timeout(Duration::from_secs(5), batch.owes()).await.expect("a slice is owed");
    }

    fn waiting<const N: usize>(pairs: &[Pair; N]) -> [bool; N] {
        std::array::from_fn(|n| pairs[n].conn.queued() > 0)
    }

    #[tokio::test]
    async fn a_large_fan_out_leaves_in_slices() {
        for in_one_batch in [false, true] {
            let (batch, pairs) = crowd::<5>().await;
            let deliver = || tell(&batch, &pairs, "one");
            if in_one_batch {
                batch.run(deliver);
            } else {
                deliver();
            }
            assert_eq!(waiting(&pairs), [false, false, true, true, true]);
            owed(&batch).await;
            batch.write_slice();
            assert_eq!(waiting(&pairs), [false, false, false, false, true]);
            owed(&batch).await;
            batch.write_slice();
            assert_eq!(waiting(&pairs), [false; 5]);
            for pair in &pairs {
                assert_eq!(pair.read(frame("one").len()).await, frame("one"));
            }
        }
    }

    #[tokio::test]
    async fn a_small_fan_out_overtakes_the_slices_and_no_frame_overtakes_another() {
        for in_one_batch in [false, true] {
            let (batch, pairs) = crowd::<6>().await;
            let deliver = || {
                tell(&batch, &pairs, "large");
                tell(&batch, &pairs[2..3], "small");
            };
            if in_one_batch {
                batch.run(deliver);
            } else {
                deliver();
            }
            assert_eq!(waiting(&pairs), [false, false, false, true, true, true]);
            // Its place among those that wait costs no other one its turn.
            batch.write_slice();
            assert_eq!(waiting(&pairs), [false, false, false, false, false, true]);
            batch.write_slice();
            tell(&batch, &pairs, "last");
            while waiting(&pairs).contains(&true) {
                owed(&batch).await;
                batch.write_slice();
            }
            assert!(!batch.is_owing());
            let all = [frame("large"), frame("small"), frame("last")].concat();
            assert_eq!(pairs[2].read(all.len()).await, all);
            let all = [frame("large"), frame("last")].concat();
            assert_eq!(pairs[5].read(all.len()).await, all);
        }
    }

    #[tokio::test]
    async fn who_is_written_to_by_smaller_fan_outs_takes_one_place_among_those_who_wait() {
        let (batch, pairs) = crowd::<4>().await;
        for _ in 0..100 {
            tell(&batch, &pairs, "large");
            tell(&batch, &pairs[2..], "small");
        }
        assert!(batch.later.borrow().len() <= 2);
    }

    #[tokio::test]
    async fn all_is_written_once_slices_are_late() {
        let (batch, pairs) = crowd::<6>().await;
        tell(&batch, &pairs, "large");
        batch.since.set(Instant::now().checked_sub(LATEST * 2));
        batch.write_slice();
        assert_eq!(waiting(&pairs), [false; 6]);
        assert!(!batch.is_owing());
    }

    #[tokio::test]
    async fn a_close_takes_along_what_was_put_off() {
        let (batch, pairs) = crowd::<3>().await;
        tell(&batch, &pairs, "large");
        let conn = &pairs[2].conn;
        conn.close(crate::protocol::CloseCode::Draining, None, Instant::now() + LATEST);
        conn.flush();
        let all = [frame("large"), crate::frame::close(1012, crate::protocol::CloseCode::Draining.reason())].concat();
        assert_eq!(pairs[2].read(all.len()).await, all);
    }
}
