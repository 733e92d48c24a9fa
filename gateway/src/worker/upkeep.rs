//! The upkeep of a shard, twice a second: heartbeats, silence, expiry, slow readers, idle feeds,
//! and the slow beat at which each feed's head is compared with the log's. That finds what neither
//! the bus nor the tail of the log shows. Also revocation and drain.

use super::{TICK, Worker};
use crate::conn::{Conn, State, Subscriber};
use crate::feed::{Feed, Repair};
use crate::frame;
use crate::protocol::{CloseCode, RECONNECT_AFTER_MS};
use crate::repair;
use crate::shard::Shard;
use messenger_common::event::Revocation;
use messenger_common::id::{ChatId, UserId};
use messenger_common::metrics::GapCause;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A reader of which nothing moved for this many milliseconds is closed (G7).
const SLOW_READER_MS: u64 = 30_000;
/// A part of the feeds, and every connection's access, is checked once in so many ticks (10 s).
const SLOW_BEAT_TICKS: u32 = 20;
/// In so many parts (10 min for all feeds). Those of a part are asked about in one query.
const PARTS: u32 = 60;

impl Worker {
    pub(super) fn tick(&self) {
        let (shard, tick) = (&self.shard, self.shard.next_tick());
        let (now, instant) = (shard.hub.ctx.clock.now(), Instant::now());
        for conn in self.conns() {
            match conn.state.get() {
                State::Closing(until) if instant >= until => conn.die(),
                State::Opening | State::Open if conn.auth().is_some_and(|auth| auth.expires_at <= now) => {
                    shard.close(&conn, CloseCode::TokenExpired);
                }
                State::Open => self.look_after(&conn),
                State::Opening | State::Closing(_) | State::Dead => {}
            }
        }
        shard.backlog.tell(&shard.hub.ctx.metrics.ws_queued_bytes);
        shard.renew_status_budget();
        shard.renew_beside_budget();
        self.compare_heads(|chat| is_due(chat, tick));
        shard.hub.reads.log.sweep(instant);
        shard.hub.reads.rosters.sweep(instant);
        if tick.is_multiple_of(SLOW_BEAT_TICKS) {
            self.recheck();
        }
    }

    /// The database that answers now may lack the last commits.
    pub(super) fn look_at_the_store(&self) {
        let shard = &self.shard;
        if !shard.has_lost_the_store() {
            return;
        }
        if shard.has_another_history() {
            shard.forget_all_notices();
        } else if shard.id == 0 {
            // A restart loses nothing, and what was delivered is not to come again.
            shard.hub.read_the_epoch();
        }
        self.ask_about(shard.known_chats(), Feed::doubt);
    }

    /// Compares the heads of feeds with the log's.
    pub(super) fn compare_heads(&self, is_due: impl Fn(ChatId) -> bool) {
        self.ask_about(self.shard.age_feeds(is_due), |feed| feed.head_due(GapCause::HeadCheck));
    }

    fn ask_about(&self, chats: Vec<ChatId>, ask: impl Fn(&mut Feed<Subscriber>) -> Option<Repair>) {
        for chat in chats {
            if let Some(due) = self.shard.with_feed(chat, &ask).flatten() {
                repair::start(&self.shard, chat, due);
            }
        }
    }

    fn conns(&self) -> Vec<Rc<Conn>> {
        self.shard.conns.borrow().iter().map(|(_, conn)| Rc::clone(conn)).collect()
    }

    fn look_after(&self, conn: &Rc<Conn>) {
        let now = self.shard.clock.get();
        let limits = &self.shard.hub.ctx.limits;
        if conn.queued() > 0 && now.saturating_sub(conn.moved.get()) >= SLOW_READER_MS {
            self.shard.close(conn, CloseCode::SlowReader);
        } else if now.saturating_sub(conn.seat.last_read()) >= millis(limits.idle_timeout)
            && (conn.queued() == 0 || conn.is_put_off())
        {
            self.shard.close(conn, CloseCode::Silent);
        } else if now >= conn.next_ping.get() {
            conn.next_ping.set(now + millis(limits.heartbeat));
            // A queue that is full has its own end.
            conn.deliver(&frame::ping());
        }
    }

    /// Closes the connections whose access ended.
    pub(super) fn revoke(&self, revocation: Revocation) {
        let conns = self.shard.users.borrow().get(&revocation.user_id).map(|local| local.conns.clone());
        for conn in conns.into_iter().flatten() {
            let session = conn.auth().map(|auth| auth.session_id);
            if revocation.session_id.is_none_or(|ended| session == Some(ended)) {
                self.shard.close(&conn, CloseCode::from(revocation.reason));
            }
        }
    }

    /// Closes a connection whose seat another one of the same user took.
    pub(super) fn displace(&self, user: UserId, conn: u64) {
        let conns = self.shard.users.borrow().get(&user).map(|local| local.conns.clone());
        for conn in conns.into_iter().flatten().filter(|other| other.id == conn) {
            self.shard.close(&conn, CloseCode::TooManyConnections);
        }
    }

    /// Closes every connection whose access ended, in case a revocation was lost.
    pub(super) fn recheck(&self) {
        for conn in self.conns().iter().filter(|conn| conn.is_live()) {
            let revoked = conn.auth().and_then(|auth| self.shard.hub.ctx.revocations.is_revoked(&auth));
            if let Some(reason) = revoked {
                self.shard.close(conn, CloseCode::from(reason));
            }
        }
    }

    /// Releases all connections at an even pace (G8); new ones are released at once.
    pub(super) fn drain(&self, release_over: Duration) {
        if self.shard.draining.replace(true) {
            return;
        }
        let conns = self.conns();
        self.release_evenly("drain", &conns, release_over, |_| true);
    }

    /// Releases some connections, so that others share the load: those that are open longest. A
    /// client that came here a moment ago may have been moved by another node.
    pub(super) fn hand_over(&self, count: usize, release_over: Duration) {
        let mut conns = self.conns();
        conns.retain(|conn| conn.state.get() == State::Open);
        conns.sort_unstable_by_key(|conn| conn.id);
        conns.truncate(count);
        // Where this node is not ready, or drains, they are better off here.
        self.release_evenly("hand-over", &conns, release_over, |shard| shard.hub.lifecycle.readiness().is_ready());
    }

    fn release_evenly(
        &self,
        name: &'static str,
        conns: &[Rc<Conn>],
        over: Duration,
        goes_on: impl Fn(&Shard) -> bool + 'static,
    ) {
        // One that ends by itself meanwhile is held by nothing.
        let conns: Vec<_> = conns.iter().map(Rc::downgrade).collect();
        let shard = Rc::clone(&self.shard);
        self.shard.spawn(name, async move {
            let (began, total) = (Instant::now(), conns.len());
            for (at, conn) in conns.into_iter().enumerate() {
                #[expect(clippy::cast_precision_loss, reason = "connections are counted in thousands")]
                let due = over.mul_f64(at as f64 / total as f64);
                if let Some(early) = due.checked_sub(began.elapsed()).filter(|early| *early > TICK / 50) {
                    tokio::time::sleep(early).await;
                }
                if !goes_on(&shard) {
                    return;
                }
                let Some(conn) = conn.upgrade() else { continue };
                if release(&shard, &conn) && !shard.draining.get() {
                    shard.hub.ctx.metrics.ws_handed_over.inc();
                }
            }
        });
    }
}

pub(super) fn millis(period: Duration) -> u64 {
    u64::try_from(period.as_millis()).unwrap_or(u64::MAX)
}

/// Closes a connection with the moment for its client to come back, to another node. Says whether
/// it was not closing already.
pub(super) fn release(shard: &Shard, conn: &Rc<Conn>) -> bool {
    if !conn.is_live() {
        return false;
    }
    conn.seat.release();
    let delay = messenger_common::random::within(RECONNECT_AFTER_MS);
    let reason = format!("{{\"reconnect_after_ms\": {delay}}}");
    shard.close_with(conn, CloseCode::Draining, Some(&reason));
    true
}

fn is_due(chat: ChatId, tick: u32) -> bool {
    let part = i64::from(tick / SLOW_BEAT_TICKS % PARTS);
    tick.is_multiple_of(SLOW_BEAT_TICKS) && chat.0.rem_euclid(i64::from(PARTS)) == part
}
