//! The users who are connected here: their connections over all shards, and their channels.

use super::{Hub, bits, forget_absent};
use crate::conn::Seat;
use crate::inbox::ToShard;
use crate::protocol::EXTRA_GRACE;
use messenger_common::bus::Topic;
use messenger_common::event::Revocation;
use messenger_common::id::UserId;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Waiting for longer than this for its channel, a connection may have opened without it.
const SOON: Duration = Duration::from_millis(900);

/// The time of which a user's notices may be missing.
pub(super) enum Unheard {
    /// Since a connection opened before its user's channel was heard.
    Since(Instant),
    /// The channel was heard before: since the bus was away.
    WhileAway,
}

pub(super) struct LocalUser {
    /// When the first connection came.
    since: Instant,
    /// Those of closing connections too, until these have gone.
    seats: Vec<Arc<Seat>>,
    confirmed: bool,
    waiting: Vec<oneshot::Sender<()>>,
    /// When the last connection ended that was released.
    released: Option<Instant>,
}

impl LocalUser {
    /// Makes room for one connection more: the one that was silent the longest leaves its seat.
    fn displace(&self, most: usize) -> Option<Arc<Seat>> {
        let taken = || self.seats.iter().filter(|seat| seat.is_taken());
        if taken().count() < most {
            return None;
        }
        let silent = taken().min_by_key(|seat| (seat.last_read(), seat.conn))?;
        silent.leave();
        Some(Arc::clone(silent))
    }

    fn new(now: Instant) -> Self {
        Self { since: now, seats: Vec::new(), confirmed: false, waiting: Vec::new(), released: None }
    }

    fn leave(&mut self, seat: &Arc<Seat>, released: bool, now: Instant) {
        self.seats.retain(|other| !Arc::ptr_eq(other, seat));
        if released {
            self.released = Some(now);
        }
    }

    /// Whether a client of the user may be on its way to another node.
    fn is_expected(&self, now: Instant) -> bool {
        self.released.is_some_and(|at| now < at + EXTRA_GRACE)
    }

    /// The channel is delivered from here on. Returns where notices may be missing.
    pub(super) fn confirm(&mut self, now: Instant) -> Option<Unheard> {
        // A receiver that hung up opened without the channel.
        let mut unheard = self.waiting.is_empty() || now.duration_since(self.since) > SOON;
        for waiting in self.waiting.drain(..) {
            unheard |= waiting.send(()).is_err();
        }
        if std::mem::replace(&mut self.confirmed, true) {
            return Some(Unheard::WhileAway);
        }
        unheard.then_some(Unheard::Since(self.since))
    }
}

/// A connection was counted; what to wait for before its `welcome`.
pub(crate) struct Connected {
    /// The user's registration as online, where this is the node's first connection of the user.
    pub(crate) presence: Option<oneshot::Receiver<()>>,
    /// The user's channel, where the bus does not deliver it yet.
    pub(crate) channel: Option<oneshot::Receiver<()>>,
    /// A connection of the same user, to be closed since this one is over the limit.
    pub(crate) displaced: Option<Arc<Seat>>,
}

impl Hub {
    /// Counts a connection of the user.
    pub(crate) fn user_connected(&self, user: UserId, seat: &Arc<Seat>) -> Connected {
        let mut users = self.users.lock();
        let local = users.entry(user).or_insert_with(|| LocalUser::new(Instant::now()));
        let is_first = local.seats.is_empty();
        let displaced = local.displace(self.ctx.limits.max_connections_per_user);
        local.seats.push(Arc::clone(seat));
        if is_first {
            self.bus.subscribe(&[Topic::User(user)]);
        }
        let channel = (!local.confirmed).then(|| {
            let (confirmed, wait) = oneshot::channel();
            forget_absent(&mut local.waiting);
            local.waiting.push(confirmed);
            wait
        });
        // Registered under the lock, so that this and another shard's last disconnect keep their
        // order.
        let presence = is_first.then(|| self.presence.user_connected(user));
        Connected { presence, channel, displaced }
    }

    /// A connection of the user ended. `released`: its client was told to come back, to another
    /// node.
    pub(crate) fn user_disconnected(&self, user: UserId, seat: &Arc<Seat>, released: bool) {
        let mut users = self.users.lock();
        let Some(local) = users.get_mut(&user) else { return };
        local.leave(seat, released, Instant::now());
        if local.seats.is_empty() {
            let is_expected = local.is_expected(Instant::now());
            users.remove(&user);
            self.bus.unsubscribe(&[Topic::User(user)]);
            self.presence.user_disconnected(user, is_expected);
        }
    }

    pub(super) fn is_connected(&self, user: UserId) -> bool {
        self.users.lock().contains_key(&user)
    }

    /// The shards that hold a connection of the user, as bits.
    pub(super) fn user_shards(&self, user: UserId) -> u64 {
        let users = self.users.lock();
        users.get(&user).map_or(0, |local| local.seats.iter().fold(0, |bits, seat| bits | 1 << seat.shard))
    }

    /// Sends the end of access to the shards that hold the user.
    pub(crate) async fn revoke(&self, revocation: Revocation) {
        for shard in bits(self.user_shards(revocation.user_id)) {
            self.send(shard, ToShard::Revoke(revocation)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_was_released_is_expected_though_another_one_leaves_after_it() {
        let (now, seat) = (Instant::now(), |conn| Arc::new(Seat::new(0, conn, 0)));
        let (first, second) = (seat(1), seat(2));
        let mut local = LocalUser::new(now);
        local.seats.extend([Arc::clone(&first), Arc::clone(&second)]);
        local.leave(&first, true, now);
        let soon = now + Duration::from_secs(1);
        local.leave(&second, false, soon);
        assert!(local.seats.is_empty() && local.is_expected(soon));
        assert!(!local.is_expected(now + EXTRA_GRACE), "it would be back by now");
        let mut local = LocalUser::new(now);
        local.leave(&first, false, now);
        assert!(!local.is_expected(now));
    }
}
