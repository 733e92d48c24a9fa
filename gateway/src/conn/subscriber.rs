//! A connection as the reader of one chat's feed.

use super::Conn;
use crate::feed::{Push, Reader};
use bytes::Bytes;
use messenger_common::id::{ChatId, Seq, UserId};
use messenger_common::metrics::Held;
use std::rc::Rc;

/// See the module. The gauge of subscriptions falls with it.
pub(crate) struct Subscriber {
    pub(crate) conn: Rc<Conn>,
    user: UserId,
    chat: ChatId,
    _counted: Held,
}

impl Subscriber {
    pub(crate) fn new(conn: &Rc<Conn>, user: UserId, chat: ChatId, counted: Held) -> Self {
        Self { conn: Rc::clone(conn), user, chat, _counted: counted }
    }
}

impl Reader for Subscriber {
    fn user(&self) -> UserId {
        self.user
    }

    fn push(&self, frame: &Bytes) -> Push {
        self.conn.deliver(frame)
    }

    fn fell_behind(&self) {
        self.conn.behind.set(true);
        self.conn.wake();
    }

    fn ended(&self, cursor: Option<Seq>) {
        self.conn.subs.borrow_mut().retain(|(of, _)| *of != self.chat);
        // One that closes writes nothing more: that many close at once must not take long.
        if !self.conn.is_live() {
            return;
        }
        self.conn.forget_newest(self.chat);
        if let Some(cursor) = cursor {
            self.conn.left_off(self.chat, cursor);
        }
    }
}

impl Conn {
    /// Lets its other subscriptions catch up before one that cannot just now.
    pub(crate) fn go_on_with_others(&self, chat: ChatId) {
        self.subs.borrow_mut().sort_by_key(|(of, _)| *of == chat);
    }
}
