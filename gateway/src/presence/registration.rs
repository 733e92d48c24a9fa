//! The task that registers: first the lease, then the changes, then what failed.

use super::changes::Change;
use super::departed::Departed;
use super::{Parts, PresenceKeeper, SWEEP, USERS_PER_CALL};
use crate::protocol::EXTRA_GRACE;
use messenger_common::error::Error;
use messenger_common::id::UserId;
use messenger_common::once::OncePerCause;
use messenger_common::presence::Outcome;
use std::collections::HashSet;
use std::time::Instant;
use tokio::time::MissedTickBehavior;

/// The state of the task.
pub(super) struct Registration<'a> {
    keeper: &'a PresenceKeeper,
    parts: &'a Parts,
    /// The users that the back end may believe this node holds.
    registered: HashSet<UserId>,
    departed: Departed,
    logged: OncePerCause,
    /// The turn of what is compared at a renewal.
    turn: usize,
}

impl<'a> Registration<'a> {
    pub(super) fn new(keeper: &'a PresenceKeeper) -> Self {
        let (registered, departed) = (HashSet::new(), Departed::default());
        Self { keeper, parts: &keeper.parts, registered, departed, logged: OncePerCause::default(), turn: 0 }
    }

    pub(super) async fn run(mut self) {
        // A lease that is renewed at a third of its length survives two beats that fail.
        let mut renewals = tokio::time::interval(self.parts.lease / 3);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut retries = tokio::time::interval(SWEEP.min(self.parts.lease / 6));
        retries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // First the lease: whatever cannot be registered must not cost all the others
                // theirs.
                biased;
                _ = renewals.tick() => self.renew().await,
                _ = retries.tick() => self.retry(),
                () = self.keeper.changed.notified() => self.register_some().await,
            }
        }
    }

    async fn renew(&mut self) {
        let here = self.settled_here();
        let renewed = self.parts.presence.renew(&self.parts.node, &here).await;
        // It registers users that are unknown, perhaps also where it failed: whoever leaves from
        // now on departs.
        self.registered.extend(here);
        self.log(&renewed);
        self.parts.announcer.announce(renewed.transitions);
        self.correct().await;
        self.turn = self.turn.wrapping_add(1);
    }

    /// The users that the node holds, but for those who are being registered: `arrive` announces
    /// them, which a `renew` does not while an emptied Redis heals.
    fn settled_here(&self) -> Vec<UserId> {
        let held = self.keeper.held.lock();
        held.here.iter().filter(|user| !held.changed.contains(**user)).copied().collect()
    }

    /// Ends what the back end believes of this node and is not so: the users who left before the
    /// snapshot that it came back from, or within a failover's lag.
    async fn correct(&self) {
        let parts = self.parts;
        let known: Vec<UserId> = self.registered.iter().copied().collect();
        let ended = async {
            let surplus = parts.presence.surplus(&parts.node, &known, self.turn).await?;
            // Of those who left long ago it was reported; of the others perhaps not.
            let (reported, left): (Vec<_>, Vec<_>) =
                surplus.into_iter().partition(|user| self.departed.is_reported(*user, parts.grace));
            if !reported.is_empty() {
                self.log(&parts.presence.forget(&parts.node, &reported).await);
            }
            if !left.is_empty() {
                self.log(&parts.presence.depart(&parts.node, &left, parts.grace).await);
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = ended.await {
            tracing::debug!(%error, "cannot compare presence with what the node holds");
        }
    }

    fn retry(&self) {
        let mut held = self.keeper.held.lock();
        held.changed.retry();
        if held.changed.is_due() {
            self.keeper.changed.notify_one();
        }
    }

    /// Registers up to [`USERS_PER_CALL`] changes; the task is woken again where there are more.
    async fn register_some(&mut self) {
        let changes: Vec<(UserId, bool, Change)> = {
            let mut held = self.keeper.held.lock();
            let some = held.changed.take(USERS_PER_CALL);
            held.in_flight = true;
            some.into_iter().map(|(user, change)| (user, held.here.contains(&user), change)).collect()
        };
        let failed = self.register(&changes).await;
        for (user, here, change) in changes {
            if failed.contains(&user) {
                self.keeper.held.lock().changed.put_back(user, change);
                continue;
            }
            if !here && self.registered.remove(&user) {
                self.departed.insert(user);
            }
            // The receiver may have hung up.
            change.waiting.into_iter().for_each(|waiting| waiting.send(()).unwrap_or(()));
        }
        let mut held = self.keeper.held.lock();
        held.in_flight = false;
        if held.changed.is_empty() {
            self.keeper.settled.notify_waiters();
        } else if held.changed.is_due() {
            self.keeper.changed.notify_one();
        }
    }

    /// Registers these changes. Returns the users for whom that failed.
    async fn register(&mut self, changes: &[(UserId, bool, Change)]) -> HashSet<UserId> {
        let (parts, mut failed) = (self.parts, HashSet::new());
        let arrived: Vec<UserId> = changes.iter().filter(|(_, here, _)| *here).map(|(user, ..)| *user).collect();
        // A user who connected and left before either was registered was never there.
        let leaving = |released: bool| -> Vec<UserId> {
            let gone = changes
                .iter()
                .filter(|(user, here, change)| !here && change.released == released && self.registered.contains(user));
            gone.map(|(user, ..)| *user).collect()
        };
        let graces = [(leaving(false), parts.grace), (leaving(true), parts.grace + EXTRA_GRACE)];
        if !arrived.is_empty() {
            let outcome = parts.presence.arrive(&parts.node, &arrived).await;
            self.log(&outcome);
            parts.announcer.announce(outcome.transitions);
            failed.extend(outcome.failed);
        }
        for (users, grace) in graces.iter().filter(|(users, _)| !users.is_empty()) {
            let outcome = parts.presence.depart(&parts.node, users, *grace).await;
            self.log(&outcome);
            failed.extend(outcome.failed);
        }
        // Registered or not: repeating it does no harm, and whoever leaves from now on departs.
        self.registered.extend(arrived);
        failed
    }

    fn log(&self, outcome: &Outcome) {
        let Some(error) = &outcome.error else { return };
        let (cause, users) = (error.cause(), outcome.failed.len());
        if self.logged.is_news(&cause, Instant::now()) {
            tracing::warn!(error = cause, users, "cannot register presence of some users; retrying");
        } else {
            tracing::debug!(error = cause, users, "cannot register presence of some users; retrying");
        }
    }
}
