//! This node's part in presence (G5): one task registers the users that it holds with the shared
//! back end, in order; another one announces the transitions.
//!
//! Connections beyond a user's first on the node change nothing here. Everything else is
//! reconciled: what the node holds is compared with what it has registered, so a back end that was
//! away or emptied is made true again at the next beat.

mod announcer;
mod changes;
mod departed;
mod load;
mod registration;
mod waiting;

pub(crate) use announcer::Announcer;
pub(crate) use load::{ARRIVED_AFTER, Load};

use changes::Changes;
use departed::Departed;
use messenger_common::error::Result;
use messenger_common::event::{StatusChange, micros};
use messenger_common::id::{NodeId, UserId};
use messenger_common::lifecycle::Lifecycle;
use messenger_common::metrics::Metrics;
use messenger_common::presence::{Presence, Transition};
use parking_lot::Mutex;
use registration::Registration;
use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use tokio::time::MissedTickBehavior;

/// Users of one call at most.
pub(crate) const USERS_PER_CALL: usize = 256;
/// Transitions that may wait to be announced while a sweep goes on at once.
const ANNOUNCED_AHEAD: usize = 20_000;
/// How often transitions that time brings are looked for.
pub(crate) const SWEEP: Duration = Duration::from_millis(500);
/// The pause before the next look where the last one left users that were due: a gateway that held
/// many may have died. Redis serves others meanwhile.
const SWEEP_ON: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Held {
    /// Users with a connection here, now.
    here: HashSet<UserId>,
    /// Users whose presence here changed since it was last registered.
    changed: Changes,
    /// Whether some of these were taken out and are not registered yet.
    in_flight: bool,
}

/// The hub's handle for registering; cheap, never waits.
#[derive(Clone)]
pub(crate) struct PresenceKeeper {
    held: Arc<Mutex<Held>>,
    changed: Arc<Notify>,
    settled: Arc<Notify>,
    departed: Arc<Mutex<Departed>>,
    parts: Arc<Parts>,
}

/// The needs of the tasks behind it.
pub(crate) struct Parts {
    pub(crate) node: NodeId,
    pub(crate) presence: Arc<dyn Presence>,
    pub(crate) announcer: Announcer,
    pub(crate) metrics: Metrics,
    pub(crate) load: Load,
    pub(crate) grace: Duration,
    pub(crate) lease: Duration,
}

type Work = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

impl PresenceKeeper {
    /// Starts the tasks that register, renew and announce.
    pub(crate) fn start(parts: Parts, lifecycle: &Lifecycle) -> Self {
        let (held, changed, settled, departed) = (Arc::default(), Arc::default(), Arc::default(), Arc::default());
        let keeper = Self { held, changed, settled, departed, parts: Arc::new(parts) };
        let start = |name, run: fn(Self) -> Work| {
            let (stopping, work) = (lifecycle.stopping(), run(keeper.clone()));
            lifecycle.spawn(name, async move {
                tokio::select! {
                    () = stopping.cancelled() => {}
                    () = work => {}
                }
            });
        };
        start("presence registration", |keeper| Box::pin(async move { Registration::new(&keeper).run().await }));
        start("presence announcements", |keeper| {
            Box::pin(async move { keeper.parts.announcer.run(&keeper.settled, &keeper.parts.load).await })
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
        held.changed.entry(user).waiting.push(registered);
        self.changed.notify_one();
        wait
    }

    /// The node's last connection of the user ended. `released`: the user is expected on another
    /// node.
    pub(crate) fn user_disconnected(&self, user: UserId, released: bool) {
        let mut held = self.held.lock();
        held.here.remove(&user);
        held.changed.entry(user).released = released;
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

    /// The transitions that any node published within this time.
    pub(crate) async fn published(&self, within: Duration) -> Result<Vec<Transition>> {
        let published = self.parts.presence.published(within).await?;
        let gone = published.iter().filter(|transition| !transition.online);
        self.offline_announced(gone.map(|transition| (transition.user_id, micros(transition.decided_at))));
        Ok(published)
    }

    /// These users were announced as offline by any node, by decisions of that time (µs).
    pub(crate) fn offline_announced(&self, users: impl Iterator<Item = (UserId, i64)>) {
        let mut departed = self.departed.lock();
        users.for_each(|(user, decided_at_micros)| departed.record_report(user, decided_at_micros));
    }

    /// The link to the back end was away since then. Announcements of that time have been read.
    pub(crate) fn was_away(&self, since: Instant) {
        self.departed.lock().mark_unconfirmed(since);
    }

    /// These transitions as those who share a chat with their users are notified of them.
    pub(crate) async fn changes(&self, transitions: &[Transition]) -> Result<Vec<StatusChange>> {
        self.parts.announcer.changes(transitions).await
    }

    /// How many connections this gateway and the others hold.
    pub(crate) fn load(&self) -> &Load {
        &self.parts.load
    }

    /// Changes that are not registered yet, and transitions that are not announced yet.
    fn pending(&self) -> i64 {
        let changed = self.held.lock().changed.len();
        i64::try_from(changed + self.parts.announcer.waiting()).unwrap_or(i64::MAX)
    }

    async fn sweep(&self, parts: &Parts) {
        let mut beats = tokio::time::interval(SWEEP);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut beat, mut leads) = (0_u32, true);
        loop {
            beats.tick().await;
            beat = beat.wrapping_add(1);
            parts.metrics.presence_pending.set(self.pending());
            // A node that only waits for its turn asks half as often.
            if !leads && beat.is_multiple_of(2) {
                continue;
            }
            match parts.presence.lead(&parts.node, parts.load.own(Instant::now())).await {
                Ok(lead) => {
                    leads = lead.sweeps;
                    parts.load.set_fleet(lead.fleet);
                    if let Some(online) = lead.online {
                        parts.metrics.presence_online_users.set(i64::try_from(online).unwrap_or(i64::MAX));
                    }
                    parts.announcer.announce(lead.transitions);
                    // The next are taken when these are told, or they would only wait here.
                    if lead.left && parts.announcer.waiting() < ANNOUNCED_AHEAD {
                        beats.reset_after(SWEEP_ON);
                    }
                }
                Err(error) => {
                    leads = true;
                    parts.load.set_fleet(None);
                    tracing::debug!(%error, "cannot sweep presence");
                }
            }
        }
    }
}
