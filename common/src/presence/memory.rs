//! Presence within one process: the same rules as in Redis, under one lock, by the process's own
//! steady clock.

use super::{Contact, Lead, Online, Outcome, Own, Presence, REMEMBERED_FOR, Transition, newest};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::id::{NodeId, UserId};
use crate::model::Page;
use async_trait::async_trait;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;

/// Publications that are remembered; beyond it the oldest are forgotten.
const PUBLISHED: usize = 100_000;

/// [`Presence`] in memory.
#[derive(Debug)]
pub struct MemoryPresence {
    lease: Duration,
    /// The same moment by both clocks.
    started: (Instant, OffsetDateTime),
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    online: BTreeMap<UserId, User>,
    nodes: HashMap<NodeId, Node>,
    /// The ends of running graces, and their users.
    grace: BTreeSet<(Instant, UserId)>,
    beat: Option<Instant>,
    /// The transitions published lately, and when.
    published: VecDeque<(Instant, Transition)>,
}

#[derive(Debug)]
struct User {
    since: OffsetDateTime,
    nodes: Vec<NodeId>,
    /// The end of the grace, and of the last connection, once no node holds the user.
    gone: Option<(Instant, OffsetDateTime)>,
}

#[derive(Debug)]
struct Node {
    lease_ends: Instant,
    users: HashSet<UserId>,
}

impl MemoryPresence {
    /// Presence with leases of that length.
    pub fn new(clock: &Clock, lease: Duration) -> Self {
        Self { lease, started: (Instant::now(), clock.now()), state: Mutex::default() }
    }

    fn at(&self, when: Instant) -> OffsetDateTime {
        let (steady, utc) = self.started;
        utc + when.saturating_duration_since(steady)
    }

    /// The node lives and holds these users.
    fn hold(&self, node: &NodeId, users: &[UserId]) -> Vec<Transition> {
        let now = Instant::now();
        let at = self.at(now);
        let mut state = self.state.lock();
        let state = &mut *state;
        let lease_ends = now + self.lease;
        let held = state.nodes.entry(node.clone()).or_insert_with(|| Node { lease_ends, users: HashSet::new() });
        held.lease_ends = lease_ends;
        let mut came = Vec::new();
        for &user_id in users {
            held.users.insert(user_id);
            let user = state.online.entry(user_id).or_insert_with(|| {
                came.push(Transition { user_id, online: true, at, decided_at: at });
                User { since: at, nodes: Vec::new(), gone: None }
            });
            if let Some((due, _)) = user.gone.take() {
                state.grace.remove(&(due, user_id));
            }
            if !user.nodes.contains(node) {
                user.nodes.push(node.clone());
            }
        }
        came
    }
}

#[async_trait]
impl Presence for MemoryPresence {
    async fn arrive(&self, node: &NodeId, users: &[UserId]) -> Outcome {
        Outcome::decided(self.hold(node, users))
    }

    async fn depart(&self, node: &NodeId, users: &[UserId], grace: Duration) -> Outcome {
        let now = Instant::now();
        let mut state = self.state.lock();
        let state = &mut *state;
        let Some(held) = state.nodes.get_mut(node) else { return Outcome::default() };
        for user_id in users {
            if held.users.remove(user_id)
                && let Some(user) = state.online.get_mut(user_id)
            {
                user.nodes.retain(|other| other != node);
                if user.nodes.is_empty() {
                    user.gone = Some((now + grace, self.at(now)));
                    state.grace.insert((now + grace, *user_id));
                }
            }
        }
        Outcome::default()
    }

    async fn depart_anew(&self, _: &NodeId, _: &[UserId], _: Duration) -> Outcome {
        // This memory and the node's are lost together.
        Outcome::default()
    }

    fn contact(&self, _: UserId) -> Contact {
        Contact { losses: 0, answered: Some(std::time::Instant::now()) }
    }

    async fn renew(&self, node: &NodeId, users: &[UserId]) -> Outcome {
        Outcome::decided(self.hold(node, users))
    }

    async fn surplus(&self, _: &NodeId, _: &[UserId]) -> Result<Vec<UserId>> {
        Ok(Vec::new())
    }

    async fn forget(&self, _: &NodeId, _: &[UserId]) -> Outcome {
        Outcome::default()
    }

    async fn lead(&self, node: &NodeId, _: Own) -> Result<Lead> {
        let transitions = self.sweep(node).await?;
        let online = Some(self.state.lock().online.len() as u64);
        Ok(Lead { sweeps: true, online, left: false, transitions, fleet: None })
    }

    async fn sweep(&self, _: &NodeId) -> Result<Vec<Transition>> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let state = &mut *state;
        // No sweep for long: the whole process stood still, so no node could renew either.
        let still =
            state.beat.replace(now).is_some_and(|beat| now - beat > (self.lease / 2).max(Duration::from_secs(2)));
        if still {
            for node in state.nodes.values_mut() {
                node.lease_ends = node.lease_ends.max(now + self.lease);
            }
        }
        let mut went = Vec::new();
        while let Some((due, user_id)) = state.grace.first().copied().filter(|(due, _)| *due <= now) {
            state.grace.remove(&(due, user_id));
            if let Some(User { gone: Some((_, at)), .. }) = state.online.remove(&user_id) {
                went.push(Transition { user_id, online: false, at, decided_at: self.at(now) });
            }
        }
        let online = &mut state.online;
        state.nodes.retain(|id, node| {
            if node.lease_ends > now {
                return true;
            }
            for user_id in node.users.drain() {
                if let Some(user) = online.get_mut(&user_id) {
                    user.nodes.retain(|other| other != id);
                    if user.nodes.is_empty() {
                        online.remove(&user_id);
                        let at = self.at(node.lease_ends);
                        went.push(Transition { user_id, online: false, at, decided_at: self.at(now) });
                    }
                }
            }
            false
        });
        Ok(went)
    }

    async fn acknowledge(&self, published: &[Transition]) -> Result<()> {
        // A transition decided here is lost with its only reader.
        let now = Instant::now();
        let mut state = self.state.lock();
        let remembered = &mut state.published;
        remembered.extend(published.iter().map(|transition| (now, *transition)));
        let excess = remembered.len().saturating_sub(PUBLISHED);
        remembered.drain(..excess);
        while remembered.front().is_some_and(|(at, _)| now - *at > REMEMBERED_FOR) {
            remembered.pop_front();
        }
        Ok(())
    }

    async fn published(&self, within: Duration) -> Result<Vec<Transition>> {
        let now = Instant::now();
        let state = self.state.lock();
        let lately = state.published.iter().rev().take_while(|(at, _)| now - *at <= within);
        Ok(newest(lately.map(|(_, transition)| *transition)))
    }

    async fn online(&self, users: &[UserId]) -> Result<Vec<Option<OffsetDateTime>>> {
        let state = self.state.lock();
        Ok(users.iter().map(|user| state.online.get(user).map(|user| user.since)).collect())
    }

    /// In the order of ids.
    async fn list(&self, after: Option<&str>, limit: usize) -> Result<Page<Online>> {
        let after = match after {
            None => Bound::Unbounded,
            Some(cursor) => {
                let id = cursor.parse().map_err(|_| Error::invalid("cursor", "no cursor of this list"))?;
                Bound::Excluded(UserId(id))
            }
        };
        let state = self.state.lock();
        let mut rest = state.online.range((after, Bound::Unbounded));
        let items: Vec<_> =
            rest.by_ref().take(limit).map(|(id, user)| Online { user_id: *id, since: user.since }).collect();
        let next_cursor = rest.next().and_then(|_| items.last()).map(|last| last.user_id.to_string());
        Ok(Page { items, next_cursor })
    }

    async fn count(&self) -> Result<u64> {
        Ok(self.state.lock().online.len() as u64)
    }
}
