//! The task that registers: first the lease, then the changes, then what failed.

use super::changes::Change;
use super::{Parts, PresenceKeeper, SWEEP, USERS_PER_CALL};
use crate::protocol::EXTRA_GRACE;
use messenger_common::id::UserId;
use messenger_common::once::OncePerCause;
use messenger_common::presence::Outcome;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// The state of the task.
pub(super) struct Registration<'a> {
    keeper: &'a PresenceKeeper,
    parts: &'a Parts,
    /// The users that the back end may believe this node holds; and its losses when it was told
    /// of them.
    registered: HashMap<UserId, u64>,
    logged: OncePerCause,
}

impl<'a> Registration<'a> {
    pub(super) fn new(keeper: &'a PresenceKeeper) -> Self {
        Self { keeper, parts: &keeper.parts, registered: HashMap::new(), logged: OncePerCause::default() }
    }

    pub(super) async fn run(mut self) {
        // A lease that is renewed at a third of its length survives two beats that fail. One that
        // failed is soon tried again.
        let mut renewals = tokio::time::interval(self.parts.lease / 3);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut retries = tokio::time::interval(SWEEP.min(self.parts.lease / 6));
        retries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // First the lease: whatever cannot be registered must not cost all the others
                // theirs.
                biased;
                _ = renewals.tick() => {
                    if !self.renew().await {
                        renewals.reset_after(retries.period());
                    }
                }
                _ = retries.tick() => self.retry(),
                () = self.keeper.changed.notified() => self.register_some().await,
            }
        }
    }

    /// Renews the lease. False where that failed for a user.
    async fn renew(&mut self) -> bool {
        let here = self.settled_here();
        let known = self.with_losses(&here);
        let renewed = self.parts.presence.renew(&self.parts.node, &here).await;
        // It registers users that are unknown, perhaps also where it failed: whoever leaves from
        // now on departs.
        self.mark_registered(known, &renewed.failed.iter().copied().collect());
        self.log(&renewed);
        self.parts.announcer.announce(renewed.transitions);
        self.correct().await;
        renewed.error.is_none()
    }

    /// The back end was told of these users, but for those for whom that failed.
    fn mark_registered(&mut self, users: Vec<(UserId, u64)>, failed: &HashSet<UserId>) {
        for (user, losses) in users {
            let known = self.registered.entry(user).or_insert(losses);
            if !failed.contains(&user) {
                *known = losses;
            }
        }
    }

    fn with_losses(&self, users: &[UserId]) -> Vec<(UserId, u64)> {
        users.iter().map(|user| (*user, self.parts.presence.contact(*user).losses)).collect()
    }

    /// The users that the node holds, but for those who are being registered: `arrive` announces
    /// them, which a `renew` does not while an emptied Redis heals.
    fn settled_here(&self) -> Vec<UserId> {
        let held = self.keeper.held.lock();
        held.here.iter().filter(|user| !held.changed.contains(**user)).copied().collect()
    }

    /// Ends wrong beliefs of the back end about this node: users who left after the snapshot that
    /// it came back from, or within a failover's lag. Users who left shortly before it lost its
    /// data depart anew.
    async fn correct(&self) {
        let parts = self.parts;
        let known: Vec<UserId> = self.registered.keys().copied().collect();
        match parts.presence.surplus(&parts.node, &known).await {
            Ok(surplus) => {
                let (reported, left) = self.keeper.departed.lock().reported(surplus, parts.grace);
                if !reported.is_empty() {
                    self.log(&parts.presence.forget(&parts.node, &reported).await);
                }
                self.depart_again(left, false).await;
            }
            Err(error) => tracing::debug!(%error, "cannot compare presence with what the node holds"),
        }
        let mut lost = self.keeper.departed.lock().lost(|user| parts.presence.contact(user), parts.lease);
        lost.retain(|(user, _)| !self.registered.contains_key(user));
        self.depart_again(lost, true).await;
    }

    /// Tells the back end once more who left, and with which grace.
    async fn depart_again(&self, mut left: Vec<(UserId, Duration)>, is_lost: bool) {
        let (presence, node) = (&self.parts.presence, &self.parts.node);
        left.sort_unstable_by_key(|(_, grace)| *grace);
        for some in left.chunk_by(|(_, one), (_, other)| one == other).flat_map(|same| same.chunks(USERS_PER_CALL)) {
            let (grace, users) = (some[0].1, some.iter().map(|(user, _)| *user).collect::<Vec<_>>());
            let losses = self.with_losses(&users);
            let outcome = if is_lost {
                presence.depart_anew(node, &users, grace).await
            } else {
                presence.depart(node, &users, grace).await
            };
            self.log(&outcome);
            let mut departed = self.keeper.departed.lock();
            for (user, losses) in losses.into_iter().filter(|(user, _)| !outcome.failed.contains(user)) {
                departed.insert(user, grace, losses, Instant::now());
            }
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
            if !here && let Some(losses) = self.registered.remove(&user) {
                let grace = self.grace(change.released);
                self.keeper.departed.lock().insert(user, grace, losses, Instant::now());
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
            let gone = changes.iter().filter(|(user, here, change)| {
                !here && change.released == released && self.registered.contains_key(user)
            });
            gone.map(|(user, ..)| *user).collect()
        };
        let known = self.with_losses(&arrived);
        if !arrived.is_empty() {
            let outcome = parts.presence.arrive(&parts.node, &arrived).await;
            self.log(&outcome);
            parts.announcer.announce(outcome.transitions);
            failed.extend(outcome.failed);
        }
        for released in [false, true] {
            let users = leaving(released);
            if users.is_empty() {
                continue;
            }
            let outcome = parts.presence.depart(&parts.node, &users, self.grace(released)).await;
            self.log(&outcome);
            failed.extend(outcome.failed);
        }
        // Registered or not: repeating it does no harm, and whoever leaves from now on departs.
        self.mark_registered(known, &failed);
        failed
    }

    /// The grace of one who left; `released`: a client of the user was told to come back.
    fn grace(&self, released: bool) -> Duration {
        self.parts.grace + if released { EXTRA_GRACE } else { Duration::ZERO }
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
