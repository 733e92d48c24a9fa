//! This node's part in presence (G5): which users it holds, told to the shared back end by one task in order, and transitions told on.
//!
//! Connections beyond a user's first on the node change nothing here. Everything else is reconciled: what the node holds is compared with
//! what it has registered, so a back end that was away or emptied is made true again at the next beat.

mod announcer;

pub(crate) use announcer::Teller;

use crate::protocol::EXTRA_GRACE;
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

/// Users told of in one call at most.
const AT_ONCE: usize = 256;
/// How often transitions that time brings are looked for.
const SWEEP: Duration = Duration::from_millis(500);

#[derive(Default)]
struct Held {
    /// Users with a connection here, now.
    here: HashSet<UserId>,
    /// Whose presence here changed since it was last registered: who waits for that, and whether a drain sent them off.
    changed: HashMap<UserId, Change>,
    /// Whether some of these were taken out and are not registered yet.
    in_flight: bool,
}

#[derive(Default)]
struct Change {
    waiting: Vec<oneshot::Sender<()>>,
    released: bool,
}

/// What the shards tell; cheap, never waits.
#[derive(Clone)]
pub(crate) struct PresenceKeeper {
    held: Arc<Mutex<Held>>,
    changed: Arc<Notify>,
    settled: Arc<Notify>,
    parts: Arc<Parts>,
}

/// What the tasks behind it need.
pub(crate) struct Parts {
    pub(crate) node: NodeId,
    pub(crate) presence: Arc<dyn Presence>,
    pub(crate) teller: Teller,
    pub(crate) metrics: Metrics,
    pub(crate) grace: Duration,
    pub(crate) lease: Duration,
}

type Work = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

impl PresenceKeeper {
    /// Starts the tasks that register, renew and tell.
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
        start("presence telling", |keeper| Box::pin(async move { keeper.parts.teller.run(&keeper.settled).await }));
        start("presence sweep", |keeper| Box::pin(async move { sweep(&keeper.parts).await }));
        keeper
    }

    /// The node holds its first connection of the user; what is returned comes when that is registered.
    pub(crate) fn came(&self, user: UserId) -> oneshot::Receiver<()> {
        let (registered, wait) = oneshot::channel();
        let mut held = self.held.lock();
        held.here.insert(user);
        held.changed.entry(user).or_default().waiting.push(registered);
        self.changed.notify_one();
        wait
    }

    /// The node's last connection of the user went; `released` by a drain, it is expected elsewhere.
    pub(crate) fn went(&self, user: UserId, released: bool) {
        let mut held = self.held.lock();
        held.here.remove(&user);
        held.changed.entry(user).or_default().released = released;
        self.changed.notify_one();
    }

    /// Waits until all that was told is registered and told on, at most this long.
    pub(crate) async fn settled(&self, within: Duration) {
        let all = async {
            loop {
                let settled = self.settled.notified();
                let is_registered = {
                    let held = self.held.lock();
                    held.changed.is_empty() && !held.in_flight
                };
                if is_registered && self.parts.teller.is_idle() {
                    return;
                }
                settled.await;
            }
        };
        if tokio::time::timeout(within, all).await.is_err() {
            tracing::warn!("presence could not be handed over in time; the leases will end it");
        }
    }

    async fn register(&self, parts: &Parts) {
        // A lease that is renewed at a third of its length survives two beats that fail.
        let mut registered = HashSet::new();
        let mut renewals = tokio::time::interval(parts.lease / 3);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // First the lease: whatever cannot be registered must not cost all the others theirs.
                biased;
                _ = renewals.tick() => {
                    let here = self.settled_here();
                    let renewed = parts.presence.renew(&parts.node, &here).await;
                    // It registers whom it finds unknown, perhaps also where it failed: who goes from now on departs.
                    registered.extend(here);
                    match renewed {
                        Ok(transitions) => parts.teller.tell(transitions),
                        Err(error) => tracing::warn!(%error, "presence could not be renewed"),
                    }
                }
                () = self.changed.notified() => self.register_some(parts, &mut registered).await,
            }
        }
    }

    /// Whom the node holds, but for those who are being registered: `arrive` tells them online, which a `renew` does not while an
    /// emptied Redis heals.
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

    /// Registers up to [`AT_ONCE`] changes; the task is woken again where there are more.
    async fn register_some(&self, parts: &Parts, registered: &mut HashSet<UserId>) {
        let changes: Vec<(UserId, bool, Change)> = {
            let mut held = self.held.lock();
            let users: Vec<UserId> = held.changed.keys().copied().take(AT_ONCE).collect();
            let take = |user| Some((user, held.here.contains(&user), held.changed.remove(&user)?));
            let changes = users.into_iter().filter_map(take).collect();
            held.in_flight = true;
            changes
        };
        let came: Vec<UserId> = changes.iter().filter(|(_, here, _)| *here).map(|(user, ..)| *user).collect();
        // Who came and went before either was registered was never there.
        let went = |released: bool| -> Vec<UserId> {
            let gone = changes
                .iter()
                .filter(|(user, here, change)| !here && change.released == released && registered.contains(user));
            gone.map(|(user, ..)| *user).collect()
        };
        let (left, released) = (went(false), went(true));
        let outcome: messenger_common::error::Result<()> = async {
            if !came.is_empty() {
                parts.teller.tell(parts.presence.arrive(&parts.node, &came).await?);
            }
            for (users, grace) in [(&left, parts.grace), (&released, parts.grace + EXTRA_GRACE)] {
                if !users.is_empty() {
                    parts.presence.depart(&parts.node, users, grace).await?;
                }
            }
            Ok(())
        }
        .await;
        // Registered or not: repeating it does no harm, and who goes from now on departs.
        registered.extend(came);
        if let Err(error) = outcome {
            tracing::warn!(%error, "presence could not be registered; trying again");
            self.put_back(changes);
            tokio::time::sleep(SWEEP.min(parts.lease / 6)).await;
        } else {
            for user in left.iter().chain(&released) {
                registered.remove(user);
            }
            // Who no longer waits is gone.
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
}

async fn sweep(parts: &Parts) {
    let mut beats = tokio::time::interval(SWEEP);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut beat = 0_u32;
    loop {
        beats.tick().await;
        beat = beat.wrapping_add(1);
        match parts.presence.sweep().await {
            Ok(transitions) => parts.teller.tell(transitions),
            Err(error) => tracing::debug!(%error, "presence could not be swept"),
        }
        if beat.is_multiple_of(4)
            && let Ok(count) = parts.presence.count().await
        {
            parts.metrics.presence_online_users.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}
