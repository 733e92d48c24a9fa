//! Notices that wait beside a connection's full queue. Each comes once, and no other frame
//! overtakes one, so a long replay does not hold them up for long.

use super::Conn;
use crate::feed::Push;
use bytes::Bytes;
use messenger_common::id::{ChatId, Seq};
use std::collections::VecDeque;
use std::rc::Rc;

/// The notices that wait. As many bytes of them as the queue takes, once more.
#[derive(Debug, Default)]
pub(super) struct Aside {
    notices: VecDeque<Bytes>,
    bytes: usize,
}

impl Aside {
    fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.notices.push_back(frame);
    }

    fn pop(&mut self) -> Option<Bytes> {
        let frame = self.notices.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }

    fn unpop(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.notices.push_front(frame);
    }
}

/// Frames that may wait where so many bytes may: a short one takes more memory than its bytes.
pub(super) fn frames_within(bytes: usize) -> usize {
    (bytes / 64).max(16)
}

impl Conn {
    /// Whether there is room enough to go on with what was held back.
    pub(crate) fn has_room(&self) -> bool {
        self.is_half_empty() && !self.has_notices()
    }

    fn is_half_empty(&self) -> bool {
        let most = self.queued.most();
        self.queued() <= most / 2 && self.queue.borrow().len() <= frames_within(most) / 2
    }

    /// Takes a notice, into the queue or aside. `Full`: no more may wait, and this one is lost to
    /// the connection.
    pub(crate) fn deliver_notice(self: &Rc<Self>, frame: &Bytes) -> Push {
        match self.deliver(frame) {
            Push::Full => self.keep(frame.len(), |extras| extras.aside.push(frame.clone())),
            pushed => pushed,
        }
    }

    /// Keeps a notice until the subscription to its chat knows where it begins. `Full` as above.
    pub(crate) fn hold_notice(&self, chat: ChatId, seq: Seq, frame: &Bytes) -> Push {
        self.keep(frame.len(), |extras| extras.handover.hold(chat, seq, frame.clone()))
    }

    fn keep(&self, bytes: usize, keep: impl FnOnce(&mut super::Extras)) -> Push {
        // Nothing brings a notice again, so what others hold takes no place from it.
        let most = self.queued.most_alone();
        self.with_extras(|extras| {
            let (count, waiting) = extras.handover.held();
            let (count, waiting) = (count + extras.aside.notices.len(), waiting + extras.aside.bytes);
            if count >= frames_within(most) || waiting > 0 && waiting + bytes > most {
                return Push::Full;
            }
            keep(extras);
            Push::Taken
        })
    }

    pub(super) fn has_notices(&self) -> bool {
        self.extras.borrow().as_ref().is_some_and(|extras| !extras.aside.notices.is_empty())
    }

    /// Moves the notices that wait aside into the queue, once half of it is empty; many leave by
    /// one write then. Says whether it moved any. While one waits, the queue is not empty, so that
    /// it is written and this is called again.
    pub(super) fn queue_notices(&self) -> bool {
        let mut moved = false;
        while self.is_half_empty() {
            let Some(frame) = self.next_notice() else { break };
            if self.push(&frame, false) == Push::Full {
                self.with_extras(|extras| extras.aside.unpop(frame));
                break;
            }
            moved = true;
        }
        moved
    }

    /// Moves all of them, full or not: what comes behind them must not overtake them.
    pub(super) fn take_notices_along(&self) {
        while let Some(frame) = self.next_notice() {
            self.enqueue(frame);
        }
    }

    fn next_notice(&self) -> Option<Bytes> {
        self.extras.borrow_mut().as_mut()?.aside.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::testing::{Pair, frame};
    use messenger_common::event::EventKind;
    use messenger_common::id::UserId;

    /// Of a queue of 64 bytes.
    fn filling() -> Bytes {
        frame(&"x".repeat(60))
    }

    #[tokio::test]
    async fn behind_a_full_queue_notices_wait_in_order_and_before_what_is_newest() {
        let pair = Pair::new(64).await;
        pair.conn.push(&filling(), false);
        let status = (EventKind::UserStatus, ChatId(1), UserId(1));
        pair.conn.push_newest(status, &frame("status"), false);
        for text in ["one", "two", "three"] {
            assert_eq!(pair.conn.deliver_notice(&frame(text)), Push::Taken);
        }
        assert!(!pair.conn.has_room());
        pair.conn.flush();
        let all = [filling(), frame("one"), frame("two"), frame("three"), frame("status")].concat();
        assert_eq!(pair.read(all.len()).await, all);
        assert!(pair.conn.has_room());
    }

    #[tokio::test]
    async fn no_notice_and_no_answer_overtakes_a_notice() {
        let pair = Pair::new(64).await;
        pair.conn.push(&frame(&"x".repeat(50)), false);
        for text in ["a longer one", "b"] {
            assert_eq!(pair.conn.deliver_notice(&frame(text)), Push::Taken);
        }
        pair.conn.answer(frame("answer"));
        let all = [frame(&"x".repeat(50)), frame("a longer one"), frame("b"), frame("answer")].concat();
        assert_eq!(pair.read(all.len()).await, all);
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes_and_in_frames_with_what_is_on_hold() {
        let pair = Pair::new(64).await;
        pair.conn.push(&filling(), false);
        let long = frame(&"y".repeat(28));
        assert_eq!(pair.conn.deliver_notice(&long), Push::Taken);
        assert_eq!(pair.conn.hold_notice(ChatId(1), Seq(1), &long), Push::Taken);
        assert_eq!(pair.conn.deliver_notice(&long), Push::Full);
        assert_eq!(pair.conn.hold_notice(ChatId(1), Seq(2), &long), Push::Full);
        assert_eq!(pair.conn.take_notices(ChatId(1)), [(Seq(1), long)]);
        let short = Bytes::from_static(b"z");
        let taken = (0..20).take_while(|_| pair.conn.deliver_notice(&short) == Push::Taken).count();
        assert_eq!(taken, 15, "sixteen frames with the long one");
    }
}
