//! Typing and read marks: beside a chat's sequence, newest wins, at a bounded pace.

use super::Shard;
use crate::conn::State;
use crate::feed::Reader;
use bytes::Bytes;
use messenger_common::event::EventKind;
use messenger_common::id::{ChatId, UserId};
use std::time::Instant;

impl Shard {
    pub(super) fn on_ephemeral(&self, chat: ChatId, user: UserId, kind: EventKind, frame: Bytes) {
        // The oldest may be dropped: the next one says the same.
        self.beside.borrow_mut().add((kind, chat, user), frame);
        self.deliver_beside();
    }

    /// Goes on with what waits, at each tick.
    pub(crate) fn renew_beside_budget(&self) {
        self.beside.borrow_mut().renew();
        self.deliver_beside();
    }

    fn deliver_beside(&self) {
        self.batch.run(|| {
            self.beside.borrow_mut().spend(|(kind, chat, user), frame| self.deliver_one(kind, chat, user, frame));
        });
    }

    /// To those who follow the chat. A user's own typing is no news to them, nor is a read mark to
    /// the connection that set it.
    fn deliver_one(&self, kind: EventKind, chat: ChatId, user: UserId, frame: &Bytes) -> u64 {
        let (mut delivered, now) = (0, Instant::now());
        if let Some(followed) = self.chats.borrow().get(&chat) {
            for reader in followed.feed.listeners() {
                let is_own = reader.user() == user;
                if is_own && (kind != EventKind::MessageRead || reader.conn.is_read_echo(chat, now)) {
                    continue;
                }
                reader.conn.deliver_newest((kind, chat, user), frame);
                delivered += 1;
            }
        }
        self.hub.ctx.metrics.ws_deliveries(kind).inc_by(delivered);
        delivered
    }

    /// A user's own read mark of a chat whose other members do not hear of it, to the connections
    /// that did not set it.
    pub(super) fn deliver_to_reader(&self, chat: ChatId, user: UserId, frame: &Bytes) -> u64 {
        let (users, now) = (self.users.borrow(), Instant::now());
        let mut delivered = 0;
        for conn in users.get(&user).into_iter().flat_map(|local| &local.conns) {
            if conn.state.get() == State::Open && !conn.is_read_echo(chat, now) {
                conn.deliver_newest((EventKind::MessageRead, chat, user), frame);
                delivered += 1;
            }
        }
        delivered
    }
}
