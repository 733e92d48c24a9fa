//! This node's part in presence (G5): one task registers the users that it holds with the shared
//! back end, in order; another one announces the transitions.
//!
//! Connections beyond a user's first on the node change nothing here. Everything else is
//! reconciled: what the node holds is compared with what it has registered, so a back end that was
//! away or emptied is made true again at the next beat.

mod announcer;
mod departed;

pub(crate) use announcer::Announcer;

use crate::protocol::EXTRA_GRACE;
use departed::Departed;
use messenger_common::error::Error;
use messenger_common::id::{NodeId, UserId};
use messenger_common::lifecycle::Lifecycle;
use messenger_common::metrics::Metrics;
use messenger_common::presence::Presence;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::MissedTickBehavior;

/// Users of one call at most.
const USERS_PER_CALL: usize = 256;
/// How often transitions that time brings are looked for.
const SWEEP: Duration = Duration::from_millis(500);

#[derive(Default)]
struct Held {
    /// Users with a connection here, now.
    here: HashSet<UserId>,
    /// Users whose presence here changed since it was last registered.
    changed: HashMap<UserId, Change>,
    /// Whether some of these were taken out and are not registered yet.
    in_flight: bool,
}

#[derive(Default)]
struct Change {
    /// Connections that wait for the registration.
    waiting: Vec<oneshot::Sender<()>>,
    /// Whether a drain released the last connection.
    released: bool,
}

/// The hub's handle for registering; cheap, never waits.
#[derive(Clone)]
pub(crate) struct PresenceKeeper {
    held: Arc<Mutex<Held>>,
    changed: Arc<Notify>,
    settled: Arc<Notify>,
    parts: Arc<Parts>,
}

/// The needs of the tasks behind it.
pub(crate) struct Parts {
    pub(crate) node: NodeId,
    pub(crate) presence: Arc<dyn Presence>,
    pub(crate) announcer: Announcer,
    pub(crate) metrics: Metrics,
    pub(crate) grace: Duration,
    pub(crate) lease: Duration,
}

type Work = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

impl PresenceKeeper {
    /// Starts the tasks that register, renew and announce.
    pub(crate) fn start(parts: Parts, lifecycle: &Lifecycle) -> Self {
        let (held, changed, settled) = (Arc::default(), Arc::default(), Arc::default());
        let keeper = Self { held, changed, settled, parts: Arc::new(parts) };
        let start = |name, run: fn(Self) -> Work| {
            let (stopping, work) = (lifecycle.stopping(), run(keeper.clone()));
            lifecycle.spawn(name, async move {
                tokio::select! {
                    () = stopping.cancelled() => {}
                    () = work => {}
                }
            });
        };
        start("presence registration", |keeper| Box::pin(async move { keeper.register(&keeper.parts).await }));
        start("presence announcements", |keeper| {
            Box::pin(async move { keeper.parts.announcer.run(&keeper.settled).await })
        });
        start("presence sweep", |keeper| Box::pin(async move { keeper.sweep(&keeper.parts).await }));
        keeper
    }

    /// The node holds its first connection of the user. The receiver is notified once that is
    /// registered.
    pub(crate) fn user_connected(&self, user: UserId) -> oneshot::Receiver<()> {
        let (registered, wait) = oneshot::channel();
        let mut held = self.held.lock();
        held.here.insert(user);
        held.changed.entry(user).or_default().waiting.push(registered);
        self.changed.notify_one();
        wait
    }

    /// The node's last connection of the user ended. `released` by a drain: the user is expected on
    /// another node.
    pub(crate) fn user_disconnected(&self, user: UserId, released: bool) {
        let mut held = self.held.lock();
        held.here.remove(&user);
        held.changed.entry(user).or_default().released = released;
        self.changed.notify_one();
    }

    /// Waits until all of that is registered and announced, at most this long.
    pub(crate) async fn settled(&self, within: Duration) {
        let all = async {
            loop {
                let settled = self.settled.notified();
                let is_registered = {
                    let held = self.held.lock();
                    held.changed.is_empty() && !held.in_flight
                };
                if is_registered && self.parts.announcer.is_idle() {
                    return;
                }
                settled.await;
            }
        };
        if tokio::time::timeout(within, all).await.is_err() {
            tracing::warn!("cannot hand presence over in time; the leases will end it");
        }
    }

    /// Ends what the back end believes of this node and is not so: the users who left before the
    /// snapshot that it came back from, or within a failover's lag.
    async fn correct(&self, parts: &Parts, registered: &HashSet<UserId>, departed: &mut Departed) {
        let known: Vec<UserId> = registered.iter().copied().collect();
        let ended = async {
            let surplus = parts.presence.surplus(&parts.node, &known).await?;
            // Of those who left long ago it was reported; of the others perhaps not.
            let (reported, left): (Vec<_>, Vec<_>) =
                surplus.into_iter().partition(|user| departed.is_reported(*user, parts.grace));
            if !reported.is_empty() {
                parts.presence.forget(&parts.node, &reported).await?;
            }
            if !left.is_empty() {
                parts.presence.depart(&parts.node, &left, parts.grace).await?;
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = ended.await {
            tracing::debug!(%error, "cannot compare presence with what the node holds");
        }
    }

    async fn register(&self, parts: &Parts) {
        let mut departed = Departed::default();
        // A lease that is renewed at a third of its length survives two beats that fail.
        let mut registered = HashSet::new();
        let mut renewals = tokio::time::interval(parts.lease / 3);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // First the lease: whatever cannot be registered must not cost all the others
                // theirs.
                biased;
                _ = renewals.tick() => {
                    let here = self.settled_here();
                    let renewed = parts.presence.renew(&parts.node, &here).await;
                    // It registers users that are unknown, perhaps also where it failed: whoever
                    // leaves from now on departs.
                    registered.extend(here);
                    match renewed {
                        Ok(transitions) => parts.announcer.announce(transitions),
                        Err(error) => tracing::warn!(%error, "cannot renew presence"),
                    }
                    self.correct(parts, &registered, &mut departed).await;
                }
                () = self.changed.notified() => self.register_some(parts, &mut registered, &mut departed).await,
            }
        }
    }

    /// The users that the node holds, but for those who are being registered: `arrive` announces
    /// them, which a `renew` does not while an emptied Redis heals.
    fn settled_here(&self) -> Vec<UserId> {
        let held = self.held.lock();
        held.here.iter().filter(|user| !held.changed.contains_key(user)).copied().collect()
    }

    fn put_back(&self, changes: Vec<(UserId, bool, Change)>) {
        let mut held = self.held.lock();
        for (user, _, change) in changes {
            let again = held.changed.entry(user).or_default();
            again.waiting.extend(change.waiting);
            again.released |= change.released;
        }
    }

    /// Registers up to [`USERS_PER_CALL`] changes; the task is woken again where there are more.
    async fn register_some(&self, parts: &Parts, registered: &mut HashSet<UserId>, departed: &mut Departed) {
        let changes: Vec<(UserId, bool, Change)> = {
            let mut held = self.held.lock();
            let users: Vec<UserId> = held.changed.keys().copied().take(USERS_PER_CALL).collect();
            let take = |user| Some((user, held.here.contains(&user), held.changed.remove(&user)?));
            let changes = users.into_iter().filter_map(take).collect();
            held.in_flight = true;
            changes
        };
        let arrived: Vec<UserId> = changes.iter().filter(|(_, here, _)| *here).map(|(user, ..)| *user).collect();
        // A user who connected and left before either was registered was never there.
        let leaving = |released: bool| -> Vec<UserId> {
            let gone = changes
                .iter()
                .filter(|(user, here, change)| !here && change.released == released && registered.contains(user));
            gone.map(|(user, ..)| *user).collect()
        };
        let (left, released) = (leaving(false), leaving(true));
        let outcome: messenger_common::error::Result<()> = async {
            if !arrived.is_empty() {
                parts.announcer.announce(parts.presence.arrive(&parts.node, &arrived).await?);
            }
            for (users, grace) in [(&left, parts.grace), (&released, parts.grace + EXTRA_GRACE)] {
                if !users.is_empty() {
                    parts.presence.depart(&parts.node, users, grace).await?;
                }
            }
            Ok(())
        }
        .await;
        // Registered or not: repeating it does no harm, and whoever leaves from now on departs.
        registered.extend(arrived);
        if let Err(error) = outcome {
            tracing::warn!(%error, "cannot register presence; retrying");
            self.put_back(changes);
            tokio::time::sleep(SWEEP.min(parts.lease / 6)).await;
        } else {
            for user in left.iter().chain(&released) {
                registered.remove(user);
                departed.insert(*user);
            }
            // The receiver may have hung up.
            let waiting = changes.into_iter().flat_map(|(_, _, change)| change.waiting);
            waiting.for_each(|waiting| waiting.send(()).unwrap_or(()));
        }
        let mut held = self.held.lock();
        held.in_flight = false;
        if held.changed.is_empty() {
            self.settled.notify_waiters();
        } else {
            self.changed.notify_one();
        }
    }

    /// Changes that are not registered yet, and transitions that are not announced yet.
    fn pending(&self) -> i64 {
        let changed = self.held.lock().changed.len();
        i64::try_from(changed + self.parts.announcer.waiting()).unwrap_or(i64::MAX)
    }

    async fn sweep(&self, parts: &Parts) {
        let mut beats = tokio::time::interval(SWEEP);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beat = 0_u32;
        loop {
            beats.tick().await;
            beat = beat.wrapping_add(1);
            parts.metrics.presence_pending.set(self.pending());
            match parts.presence.sweep().await {
                Ok(transitions) => parts.announcer.announce(transitions),
                Err(error) => tracing::debug!(%error, "cannot sweep presence"),
            }
            if beat.is_multiple_of(4)
                && let Ok(count) = parts.presence.count().await
            {
                parts.metrics.presence_online_users.set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }
}
