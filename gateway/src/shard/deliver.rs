//! Delivery: an event of a chat's sequence, a notice, presence and typing, each to whom it concerns.

use super::{Delivery, Shard};
use crate::conn::{Conn, Push, State};
use crate::feed::{Event, Feed, Offer, Phase};
use crate::repair;
use crate::reads::Piece;
use crate::protocol::Reply;
use bytes::Bytes;
use messenger_common::event::{Effect, EventKind};
use messenger_common::id::{ChatId, Seq, UserId};
use messenger_common::metrics::GapCause;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Publishers race by less than this: an event before its turn waits so long for the one before it, then the log is asked.
const HOLD: Duration = Duration::from_millis(20);
/// A read is answered and told; the telling is not repeated to who was answered within this.
const READ_ECHO: Duration = Duration::from_secs(2);

impl Shard {
    pub(super) fn deliver(self: &Rc<Self>, delivery: Delivery) {
        match delivery {
            Delivery::Log(chat, event) => self.on_event(chat, &event),
            Delivery::ChannelUp(chat) => self.on_channel_up(chat),
            Delivery::Ephemeral { chat_id, user_id, kind, frame } => self.on_ephemeral(chat_id, user_id, kind, &frame),
            Delivery::Notice { user_id, chat_id, seq, kind, frame } => {
                self.on_notice(user_id, chat_id, seq, kind, &frame);
            }
            Delivery::Status(changes) => self.on_statuses(&changes),
        }
    }

    /// Word of a sequenced event, from the bus.
    fn on_event(self: &Rc<Self>, chat: ChatId, event: &Event) {
        let mut chats = self.chats.borrow_mut();
        let Some(feed) = chats.get_mut(&chat) else { return };
        feed.removal_heard(event.seq, event.effect);
        if feed.offer(event) == Offer::Next {
            self.fan_out(chat, feed, event);
            self.go_on(chat, feed);
        }
        if feed.has_gap() {
            repair::fill(self, chat, feed, GapCause::Jump, HOLD);
        }
    }

    /// Delivers what is held and whose turn has come.
    pub(crate) fn go_on(&self, chat: ChatId, feed: &mut Feed) {
        while let Some(event) = feed.next_held() {
            self.fan_out(chat, feed, &event);
        }
    }

    /// A piece of the log. Says whether it moved the feed on.
    pub(crate) fn on_piece(self: &Rc<Self>, chat: ChatId, piece: &Piece) -> bool {
        let mut chats = self.chats.borrow_mut();
        let Some(feed) = chats.get_mut(&chat) else { return true };
        let Some(head) = feed.head else { return true };
        self.in_one_batch(|| {
            if piece.floor > head {
                self.resync(chat, feed, piece.head);
            }
            for event in piece.after(feed.head.unwrap_or(head)) {
                if feed.offer(event) == Offer::Next {
                    self.fan_out(chat, feed, event);
                }
            }
            self.go_on(chat, feed);
        });
        feed.known = feed.known.max(piece.head);
        feed.head != Some(head)
    }

    /// The log no longer has what is missing: said to who missed it, never passed over.
    fn resync(self: &Rc<Self>, chat: ChatId, feed: &mut Feed, head: Seq) {
        feed.skip_to(head);
        let frame = Reply::Resync { chat_id: chat, seq: head }.to_frame(None);
        for (_, sub) in &mut feed.subs {
            if sub.phase != Phase::Live || sub.cursor >= head {
                continue;
            }
            match self.push(&sub.conn, &frame) {
                Push::Taken => sub.cursor = head,
                Push::Full => {
                    sub.phase = Phase::Behind;
                    sub.conn.behind.set(true);
                }
                Push::Gone => {}
            }
        }
        // What was skipped may have been somebody's removal.
        repair::check_members(self, chat);
    }

    /// Delivers an event to all who have had everything before it.
    fn fan_out(&self, chat: ChatId, feed: &mut Feed, event: &Event) {
        feed.keep(event, self.ticks.get());
        if matches!(event.kind, EventKind::MessageEdited | EventKind::MessageDeleted | EventKind::ChatUpdated) {
            self.hub.log.forget(chat);
        }
        let mut delivered = 0;
        for (_, sub) in &mut feed.subs {
            if sub.phase != Phase::Live || sub.cursor >= event.seq {
                continue;
            }
            match self.push(&sub.conn, &event.frame) {
                Push::Taken => {
                    sub.cursor = event.seq;
                    delivered += 1;
                }
                Push::Full => {
                    sub.phase = Phase::Behind;
                    sub.conn.behind.set(true);
                }
                Push::Gone => {}
            }
        }
        if delivered > 0 {
            self.count(event, delivered);
        }
        match event.effect {
            Effect::Left(user) => self.end_subs(chat, feed, event.seq, Some(user)),
            Effect::ChatDeleted => self.end_subs(chat, feed, event.seq, None),
            Effect::None | Effect::Joined(_) => {}
        }
    }

    pub(crate) fn count(&self, event: &Event, delivered: u64) {
        let metrics = &self.hub.metrics;
        metrics.ws_deliveries(event.kind).inc_by(delivered);
        let now = messenger_common::event::micros(self.hub.ctx.clock.now());
        #[expect(clippy::cast_precision_loss, reason = "a latency in microseconds fits")]
        metrics.delivery_latency.observe((now - event.committed_at_micros).max(0) as f64 / 1e6);
    }

    /// The fence (G6): subscriptions of the removed, or of everybody, end with the event that removed them. One that is behind ends when it
    /// comes to that event; one that is pending finds it when it begins.
    fn end_subs(&self, chat: ChatId, feed: &mut Feed, seq: Seq, whose: Option<UserId>) {
        let over: Vec<usize> = feed
            .subs
            .iter()
            .filter(|(_, sub)| sub.phase == Phase::Live && sub.cursor == seq && sub.since < seq)
            .filter(|(_, sub)| whose.is_none_or(|user| user == sub.conn.user_id))
            .map(|(at, _)| at)
            .collect();
        for at in over {
            let sub = feed.subs.remove(at);
            sub.conn.subs.borrow_mut().retain(|(of, _)| *of != chat);
            sub.conn.left_off(chat, &sub);
            self.hub.metrics.ws_subscriptions.dec();
        }
    }

    fn on_channel_up(self: &Rc<Self>, chat: ChatId) {
        let mut chats = self.chats.borrow_mut();
        let Some(feed) = chats.get_mut(&chat) else { return };
        feed.confirmed = true;
        feed.ups = feed.ups.wrapping_add(1);
        // Who no longer waits is gone.
        feed.waiting.drain(..).for_each(|waiting| waiting.send(()).unwrap_or(()));
        if feed.head.is_some() {
            repair::check_feed(self, chat, feed, GapCause::LinkRestored);
        }
    }

    fn on_ephemeral(&self, chat: ChatId, user: UserId, kind: EventKind, frame: &Bytes) {
        let mut told = 0;
        if let Some(feed) = self.chats.borrow().get(&chat) {
            for conn in feed.listeners().filter(|conn| conn.user_id != user) {
                self.push_newest(conn, kind, chat, user, frame);
                told += 1;
            }
        }
        if kind == EventKind::MessageRead
            && let Some(local) = self.users.borrow().get(&user)
        {
            for conn in &local.conns {
                if conn.state.get() == State::Open && !answered_lately(conn, chat) {
                    self.push_newest(conn, kind, chat, user, frame);
                    told += 1;
                }
            }
        }
        self.hub.metrics.ws_deliveries(kind).inc_by(told);
    }

    /// Gives a frame to a connection: at once, or with the batch.
    pub(crate) fn push(&self, conn: &Rc<Conn>, frame: &Bytes) -> Push {
        let now = !self.batching.get();
        let pushed = conn.push(frame, now);
        self.flush_later(conn, now);
        pushed
    }

    /// Has a connection flushed at the end of the batch, where there is one.
    pub(super) fn flush_later(&self, conn: &Rc<Conn>, now: bool) {
        if !now && conn.queued() > 0 && !conn.dirty.replace(true) {
            self.dirty.borrow_mut().push(Rc::clone(conn));
        }
    }
}

/// Whether this connection was answered a read of the chat just now; each answer stands for one telling.
fn answered_lately(conn: &Conn, chat: ChatId) -> bool {
    let mut rare = conn.rare.borrow_mut();
    let Some(rare) = rare.as_mut() else { return false };
    rare.reads.retain(|(_, at)| at.elapsed() < READ_ECHO);
    let answered = rare.reads.iter().position(|(of, _)| *of == chat);
    answered.is_some_and(|at| {
        rare.reads.swap_remove(at);
        true
    })
}

/// Remembers that a read was answered.
pub(crate) fn answered_read(conn: &Conn, chat: ChatId) {
    let mut rare = conn.rare.borrow_mut();
    let reads = &mut rare.get_or_insert_default().reads;
    reads.retain(|(_, at)| at.elapsed() < READ_ECHO);
    reads.push((chat, Instant::now()));
}

/// Takes that back: what was answered is not told.
pub(crate) fn no_read_answered(conn: &Conn, chat: ChatId) {
    if let Some(rare) = conn.rare.borrow_mut().as_mut()
        && let Some(at) = rare.reads.iter().rposition(|(of, _)| *of == chat)
    {
        rare.reads.swap_remove(at);
    }
}
