//! What a shard looks after twice a second: heartbeats, silence, expiry, readers that do not read, feeds that nobody wants, and the
//! slow beat at which each feed's head is compared with the log's, should word have been lost. Also revocation and drain.

use super::{Shard, TICK};
use crate::conn::{Conn, State};
use crate::frame;
use crate::repair;
use crate::protocol::CloseCode;
use messenger_common::event::Revocation;
use messenger_common::id::ChatId;
use messenger_common::metrics::GapCause;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A reader of whom nothing moved for this long is closed (G7).
const NOTHING_READ: u64 = 30_000;
/// Each feed's head is checked once in so many ticks (10 s).
const SLOW_BEAT: u32 = 20;
/// A feed that nobody subscribes to is kept for so many ticks (2 s): clients come back.
const LINGER_TICKS: u8 = 4;
/// A ring that nothing was added to is let go of after so many ticks (20 s).
const RING_TICKS: u32 = 40;

impl Shard {
    pub(super) fn tick(self: &Rc<Self>) {
        self.ticks.set(self.ticks.get().wrapping_add(1));
        let conns: Vec<Rc<Conn>> = self.conns.borrow().iter().map(|(_, conn)| Rc::clone(conn)).collect();
        let (now, at) = (self.hub.ctx.clock.now(), Instant::now());
        for conn in conns {
            match conn.state.get() {
                State::Closing(until) if at >= until => conn.die(),
                State::Opening | State::Open if conn.auth.borrow().expires_at <= now => {
                    self.close(&conn, CloseCode::TokenExpired);
                }
                State::Open => self.look_after(&conn),
                State::Opening | State::Closing(_) | State::Dead => {}
            }
        }
        self.renew_status_budget();
        self.look_after_feeds();
        self.hub.log.sweep();
        if self.ticks.get().is_multiple_of(SLOW_BEAT) {
            self.recheck();
        }
    }

    fn look_after(&self, conn: &Rc<Conn>) {
        let now = self.clock.get();
        let limits = &self.hub.limits;
        let millis = |period: Duration| u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
        if conn.queued() > 0 && now.saturating_sub(conn.moved.get()) >= NOTHING_READ {
            self.close(conn, CloseCode::SlowReader);
        } else if now.saturating_sub(conn.last_read.get()) >= millis(limits.idle_timeout) && conn.queued() == 0 {
            self.close(conn, CloseCode::Silent);
        } else if now.saturating_sub(conn.last_ping.get()) >= millis(limits.heartbeat) {
            conn.last_ping.set(now);
            // A queue that is full has its own end.
            self.push(conn, &frame::ping());
        }
    }

    fn look_after_feeds(self: &Rc<Self>) {
        let tick = self.ticks.get();
        let mut unwanted = Vec::new();
        let mut due = Vec::new();
        for (chat, feed) in self.chats.borrow_mut().iter_mut() {
            feed.age(tick, RING_TICKS);
            if feed.subs.is_empty() {
                feed.idle_ticks = feed.idle_ticks.saturating_add(1);
                if feed.idle_ticks > LINGER_TICKS && !feed.filling {
                    unwanted.push(*chat);
                }
            } else if feed.head.is_some() && is_due(*chat, tick) {
                due.push(*chat);
            }
        }
        for chat in unwanted {
            self.chats.borrow_mut().remove(&chat);
            self.hub.drop_chat(chat, self.id);
        }
        for chat in due {
            repair::check_head(self, chat, GapCause::HeadCheck);
        }
    }

    /// Closes the connections whose access ended.
    pub(super) fn revoke(&self, revocation: Revocation) {
        let users = self.users.borrow();
        let Some(local) = users.get(&revocation.user_id) else { return };
        let conns = local.conns.clone();
        drop(users);
        for conn in conns {
            if revocation.session_id.is_none_or(|ended| ended == conn.auth.borrow().session_id) {
                self.close(&conn, CloseCode::from(revocation.reason));
            }
        }
    }

    /// Closes every connection whose access ended, however the word of it was lost.
    pub(super) fn recheck(&self) {
        let conns: Vec<Rc<Conn>> = self.conns.borrow().iter().map(|(_, conn)| Rc::clone(conn)).collect();
        for conn in conns.iter().filter(|conn| conn.is_live()) {
            let revoked = self.hub.ctx.revocations.is_revoked(&conn.auth.borrow());
            if let Some(reason) = revoked {
                self.close(conn, CloseCode::from(reason));
            }
        }
    }

    /// Releases all connections at an even pace (G8); new ones are released at once.
    pub(super) fn drain(self: &Rc<Self>, over: Duration) {
        if self.draining.replace(true) {
            return;
        }
        let conns: Vec<Rc<Conn>> = self.conns.borrow().iter().map(|(_, conn)| Rc::clone(conn)).collect();
        let shard = Rc::clone(self);
        self.spawn("drain", async move {
            let (began, total) = (Instant::now(), conns.len());
            for (at, conn) in conns.into_iter().enumerate() {
                #[expect(clippy::cast_precision_loss, reason = "connections are counted in thousands")]
                let due = over.mul_f64(at as f64 / total as f64);
                if let Some(early) = due.checked_sub(began.elapsed()).filter(|early| *early > TICK / 50) {
                    tokio::time::sleep(early).await;
                }
                shard.release(&conn);
            }
        });
    }

    /// Closes a connection because this node drains, and tells its client when to come back.
    pub(super) fn release(&self, conn: &Rc<Conn>) {
        let delay = messenger_common::random::within(crate::protocol::RECONNECT_AFTER_MS);
        let reason = format!("{{\"reconnect_after_ms\": {delay}}}");
        self.close_with(conn, CloseCode::Draining, Some(&reason));
    }
}

fn is_due(chat: ChatId, tick: u32) -> bool {
    chat.0.rem_euclid(i64::from(SLOW_BEAT)) == i64::from(tick % SLOW_BEAT)
}
