//! Frames of which only the newest matters, for a reader that is behind: status and read marks
//! wait aside, typing is dropped. Notices that wait go first.

use super::Conn;
use crate::feed::Push;
use crate::newest::NewestByKey;
use bytes::Bytes;
use messenger_common::event::EventKind;
use messenger_common::id::{ChatId, UserId};

/// Frames kept for one connection; beyond it the oldest is dropped.
const FRAMES_ASIDE: usize = 256;

/// The subject of such a frame.
pub(crate) type Subject = (EventKind, ChatId, UserId);

/// The frames that wait aside.
#[derive(Debug)]
pub(super) struct Newest(NewestByKey<Subject, Bytes>);

impl Default for Newest {
    fn default() -> Self {
        Self(NewestByKey::new(FRAMES_ASIDE))
    }
}

impl Conn {
    /// Takes a frame of which only the newest of its subject matters. Behind what waits, it waits
    /// aside; [`FRAMES_ASIDE`] bounds that.
    pub(crate) fn push_newest(&self, subject: Subject, frame: &Bytes, now: bool) {
        // A waiting frame of the same subject is older, whichever way this frame goes.
        if let Some(extras) = self.extras.borrow_mut().as_mut() {
            extras.newest.0.remove(&subject);
        }
        if self.has_room() && self.push(frame, now) != Push::Full {
            return;
        }
        if subject.0 != EventKind::Typing {
            self.with_extras(|extras| extras.newest.0.insert(subject, frame.clone()));
        }
    }

    /// Drops what waits aside of a chat whose subscription is over: nothing of it comes behind
    /// that.
    pub(super) fn forget_newest(&self, chat: ChatId) {
        if let Some(extras) = self.extras.borrow_mut().as_mut() {
            extras.newest.0.retain(|(_, of, _)| *of != chat);
        }
    }

    /// Moves what waits aside into the queue, as far as there is room.
    pub(super) fn flush_newest(&self) {
        let mut extras = self.extras.borrow_mut();
        let Some(extras) = extras.as_mut() else { return };
        while let Some((subject, frame)) = extras.newest.0.pop() {
            if self.push(&frame, true) == Push::Full {
                extras.newest.0.unpop(subject, frame);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::testing::{Pair, frame};
    use crate::frame;

    const CHAT: ChatId = ChatId(1);

    fn status(user: i64) -> Subject {
        (EventKind::UserStatus, CHAT, UserId(user))
    }

    #[tokio::test]
    async fn behind_a_full_queue_the_newest_of_each_subject_waits_aside() {
        let pair = Pair::new(64).await;
        pair.conn.push(&frame(&"x".repeat(60)), false);
        for (user, text) in [(1, "old"), (2, "two"), (1, "new")] {
            pair.conn.push_newest(status(user), &frame(text), true);
        }
        pair.conn.push_newest((EventKind::Typing, CHAT, UserId(3)), &frame("typing"), true);
        assert!(pair.conn.flush());
        let expected = [frame::text("x".repeat(60).as_bytes()), frame("two"), frame("new")].concat();
        assert_eq!(pair.read(expected.len()).await, expected, "typing was dropped");
    }

    #[tokio::test]
    async fn a_newer_frame_that_goes_at_once_leaves_no_older_one_behind() {
        let pair = Pair::new(64).await;
        pair.conn.push(&frame(&"x".repeat(60)), false);
        pair.conn.push_newest(status(1), &frame("old"), true);
        pair.conn.with_extras(|extras| assert_eq!(extras.newest.0.len(), 1));
        pair.conn.flush();
        pair.conn.push_newest(status(1), &frame("new"), true);
        pair.conn.with_extras(|extras| assert!(extras.newest.0.is_empty()));
    }

    #[tokio::test]
    async fn what_waits_aside_of_a_chat_goes_with_its_subscription() {
        let pair = Pair::new(64).await;
        let read = |chat| (EventKind::MessageRead, ChatId(chat), UserId(1));
        pair.conn.push(&frame(&"x".repeat(60)), false);
        for chat in [1, 2] {
            pair.conn.push_newest(read(chat), &frame(&format!("read {chat}")), true);
        }
        pair.conn.forget_newest(ChatId(1));
        assert!(pair.conn.flush());
        let expected = [frame::text("x".repeat(60).as_bytes()), frame("read 2")].concat();
        assert_eq!(pair.read(expected.len()).await, expected);
    }
}
