//! Frames that a shard delivers in one turn leave in one `writev` a connection.

use super::Conn;
use crate::conn::newest::Subject;
use crate::feed::Push;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A shard's batch: whether one is open, and the connections that it has queued frames for.
#[derive(Default)]
pub(crate) struct Batch {
    open: Cell<bool>,
    dirty: RefCell<Vec<Rc<Conn>>>,
}

impl Batch {
    /// Makes deliveries one batch. Inside another one they become part of it.
    pub(crate) fn run(&self, deliver: impl FnOnce()) {
        let outer = self.open.replace(true);
        deliver();
        if !outer {
            self.open.set(false);
            self.flush();
        }
    }

    fn flush(&self) {
        for conn in self.dirty.borrow_mut().drain(..) {
            conn.dirty.set(false);
            conn.flush_or_wake();
        }
    }
}

impl Conn {
    /// Takes a frame: written at once, or with the batch where one is open.
    pub(crate) fn deliver(self: &Rc<Self>, frame: &Bytes) -> Push {
        let now = !self.batch.open.get();
        let pushed = self.push(frame, now);
        self.flush_later(now);
        pushed
    }

    /// The same for a frame of which only the newest of its subject matters.
    pub(crate) fn deliver_newest(self: &Rc<Self>, subject: Subject, frame: &Bytes) {
        let now = !self.batch.open.get();
        self.push_newest(subject, frame, now);
        self.flush_later(now);
    }

    fn flush_later(self: &Rc<Self>, now: bool) {
        if !now && self.queued() > 0 && !self.dirty.replace(true) {
            self.batch.dirty.borrow_mut().push(Rc::clone(self));
        }
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
}
