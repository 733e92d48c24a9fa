//! This node's part in presence (G5): which users it holds, told to the shared back end by one task in order, and transitions told on.
//!
//! Connections beyond a user's first on the node change nothing here. Everything else is reconciled: what the node holds is compared with
//! what it has registered, so a back end that was away or emptied is made true again at the next beat.

use crate::drain::EXTRA_GRACE;
use messenger_common::bus::{Publication, Topic};
use messenger_common::event::{Envelope, StatusChange};
use messenger_common::id::{NodeId, UserId};
use messenger_common::lifecycle::Lifecycle;
use messenger_common::metrics::Metrics;
use messenger_common::model::Status;
use messenger_common::presence::{Presence, Transition};
use messenger_common::relay::Publisher;
use messenger_common::store::Store;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// Users told of in one call at most.
const AT_ONCE: usize = 256;
/// Chats named in one publication, about: one user more may bring all of his.
const CHATS_AT_ONCE: usize = 4096;
/// How often transitions that time brings are looked for.
const SWEEP: Duration = Duration::from_millis(500);

#[derive(Default)]
struct Held {
    /// Users with a connection here, now.
    here: HashSet<UserId>,
    /// Whose presence here changed since it was last registered: who waits for that, and whether a drain sent them off.
    changed: HashMap<UserId, Change>,
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
}

/// What the task behind it needs.
pub(crate) struct Parts {
    pub(crate) node: NodeId,
    pub(crate) presence: Arc<dyn Presence>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) publisher: Publisher,
    pub(crate) metrics: Metrics,
    pub(crate) grace: Duration,
    pub(crate) lease: Duration,
    pub(crate) status_max_members: i64,
}

impl PresenceKeeper {
    /// Starts the tasks that register, renew and tell.
    pub(crate) fn start(parts: Parts, lifecycle: &Lifecycle) -> Self {
        let keeper = Self { held: Arc::default(), changed: Arc::default(), settled: Arc::default() };
        let parts = Arc::new(parts);
        let stopping = lifecycle.stopping();
        lifecycle.spawn("presence registration", {
            let (keeper, parts, stopping) = (keeper.clone(), Arc::clone(&parts), stopping.clone());
            async move {
                tokio::select! {
                    () = stopping.cancelled() => {}
                    () = keeper.register(&parts) => {}
                }
            }
        });
        lifecycle.spawn("presence sweep", async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = sweep(&parts) => {}
            }
        });
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

    /// Waits until all that was told is registered, at most this long.
    pub(crate) async fn settled(&self, within: Duration) {
        let all = async {
            loop {
                let settled = self.settled.notified();
                if self.held.lock().changed.is_empty() {
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
        loop {
            tokio::select! {
                () = self.changed.notified() => self.register_changes(parts, &mut registered).await,
                _ = renewals.tick() => {
                    let here: Vec<UserId> = self.held.lock().here.iter().copied().collect();
                    match parts.presence.renew(&parts.node, &here).await {
                        Ok(transitions) => parts.tell(transitions).await,
                        Err(error) => tracing::warn!(%error, "presence could not be renewed"),
                    }
                }
            }
        }
    }

    fn put_back(&self, changes: Vec<(UserId, bool, Change)>) {
        let mut held = self.held.lock();
        for (user, _, change) in changes {
            let again = held.changed.entry(user).or_default();
            again.waiting.extend(change.waiting);
            again.released |= change.released;
        }
    }

    async fn register_changes(&self, parts: &Parts, registered: &mut HashSet<UserId>) {
        loop {
            let changes: Vec<(UserId, bool, Change)> = {
                let mut held = self.held.lock();
                let users: Vec<UserId> = held.changed.keys().copied().take(AT_ONCE).collect();
                let take = |user| Some((user, held.here.contains(&user), held.changed.remove(&user)?));
                users.into_iter().filter_map(take).collect()
            };
            if changes.is_empty() {
                self.settled.notify_waiters();
                return;
            }
            let came: Vec<UserId> = changes.iter().filter(|(_, here, _)| *here).map(|(user, ..)| *user).collect();
            // Who came and went before either was registered was never there.
            let went = |released: bool| -> Vec<UserId> {
                let gone = changes
                    .iter()
                    .filter(|(user, here, change)| !here && change.released == released && registered.contains(user));
                gone.map(|(user, ..)| *user).collect()
            };
            let (left, released) = (went(false), went(true));
            let mut transitions = Vec::new();
            let outcome: messenger_common::error::Result<()> = async {
                if !came.is_empty() {
                    transitions = parts.presence.arrive(&parts.node, &came).await?;
                }
                for (users, grace) in [(&left, parts.grace), (&released, parts.grace + EXTRA_GRACE)] {
                    if !users.is_empty() {
                        parts.presence.depart(&parts.node, users, grace).await?;
                    }
                }
                Ok(())
            }
            .await;
            let failed = outcome.is_err();
            match outcome {
                Ok(()) => {
                    registered.extend(came);
                    registered.retain(|user| !left.contains(user) && !released.contains(user));
                    // Who no longer waits is gone.
                    let waiting = changes.into_iter().flat_map(|(_, _, change)| change.waiting);
                    waiting.for_each(|waiting| waiting.send(()).unwrap_or(()));
                }
                Err(error) => {
                    tracing::warn!(%error, "presence could not be registered; trying again");
                    // Whether it was registered or not: repeating it does no harm.
                    registered.extend(came);
                    self.put_back(changes);
                }
            }
            // Behind the answer to who waits: nobody's `welcome` waits for the telling.
            parts.tell(transitions).await;
            if failed {
                tokio::time::sleep(SWEEP).await;
            }
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
            Ok(transitions) => parts.tell(transitions).await,
            Err(error) => tracing::debug!(%error, "presence could not be swept"),
        }
        if beat.is_multiple_of(4)
            && let Ok(count) = parts.presence.count().await
        {
            parts.metrics.presence_online_users.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

impl Parts {
    /// Tells transitions to those who share a chat with the user, and keeps when users were last seen.
    async fn tell(&self, transitions: Vec<Transition>) {
        for some in transitions.chunks(AT_ONCE) {
            if let Err(error) = self.tell_some(some).await {
                tracing::warn!(%error, users = some.len(), "transitions of presence could not be told");
            }
        }
    }

    async fn tell_some(&self, transitions: &[Transition]) -> messenger_common::error::Result<()> {
        let gone: Vec<_> = transitions.iter().filter(|t| !t.online).map(|t| (t.user_id, t.at)).collect();
        if !gone.is_empty() {
            self.store.set_last_seen(&gone).await?;
        }
        let ids: Vec<UserId> = transitions.iter().map(|t| t.user_id).collect();
        let users: HashMap<UserId, _> =
            self.store.users(&ids).await?.into_iter().map(|row| (row.user.id, row)).collect();
        let mut chats: HashMap<UserId, _> =
            self.store.chats_for_status(&ids, self.status_max_members).await?.into_iter().collect();
        let changes: Vec<StatusChange> = transitions
            .iter()
            .filter_map(|transition| {
                let row = users.get(&transition.user_id)?;
                Some(StatusChange {
                    user_id: transition.user_id,
                    username: row.user.username.clone(),
                    status: if transition.online { Status::Online } else { Status::Offline },
                    last_seen_at: if transition.online { row.last_seen_at } else { Some(transition.at) },
                    chats: chats.remove(&transition.user_id).unwrap_or_default(),
                })
            })
            .filter(|change| !change.chats.is_empty())
            .collect();
        for some in pieces(changes) {
            let payload = Envelope::Status(some).encode();
            self.publisher.publish_now(vec![Publication { topic: Topic::Nodes, payload }]);
        }
        Ok(())
    }
}

/// Splits changes so that no publication names many more than [`CHATS_AT_ONCE`] chats.
fn pieces(changes: Vec<StatusChange>) -> Vec<Vec<StatusChange>> {
    let (mut pieces, mut piece, mut chats) = (Vec::new(), Vec::new(), 0);
    for change in changes {
        chats += change.chats.len();
        piece.push(change);
        if chats >= CHATS_AT_ONCE {
            pieces.push(std::mem::take(&mut piece));
            chats = 0;
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}
