//! Presence: the users who are online anywhere (guarantee G5).
//!
//! A node holds a lease on each of its users. A user is online from the first node's
//! [`Presence::arrive`] until `grace` after the last node's [`Presence::depart`], or until the
//! last node's lease ends.
//!
//! # Obligations of a back end
//! - **Each transition is decided once**, whichever calls race: the decision and the write are one
//!   atomic step. Its node publishes it and acknowledges that. Where the process may be outlived,
//!   a transition stays pending until then: `arrive`, repeated, returns it again, and a sweep of
//!   any node after a lease does. Repeated, it bears the same `decided_at`: receivers drop
//!   doubles.
//! - `arrive`, `depart` and `renew` may be repeated without harm. A node repeats those that
//!   failed: `arrive` and `depart` first, then `renew`.
//! - **A part that fails holds up no other**: an [`Outcome`] names the users for whom it failed.
//! - A node renews at a third of the lease, and one of them sweeps about twice a second. A sweep
//!   after a long silence (over half a lease) assumes that Redis was unavailable, and gives every
//!   node another lease.
//! - Emptied (Redis flushed) or short of a key, it is complete again after one `renew` of every
//!   node. Meanwhile it reports no user offline who is online.

pub mod memory;
pub mod redis;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::id::{NodeId, UserId};
use crate::model::Page;
use async_trait::async_trait;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use time::OffsetDateTime;

/// How long what was published is remembered.
pub const REMEMBERED_FOR: Duration = Duration::from_mins(10);

/// A user came online or went offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The user.
    pub user_id: UserId,
    /// Online, or offline.
    pub online: bool,
    /// The time; for offline, the end of the last connection (or of its lease).
    pub at: OffsetDateTime,
    /// The time of the decision by the back end's one clock: of two transitions of a user, the
    /// later decision is the truth.
    pub decided_at: OffsetDateTime,
}

/// Of each user the transition that was decided last.
fn newest(transitions: impl IntoIterator<Item = Transition>) -> Vec<Transition> {
    let mut newest: HashMap<UserId, Transition> = HashMap::new();
    for transition in transitions {
        let known = newest.entry(transition.user_id).or_insert(transition);
        if known.decided_at < transition.decided_at {
            *known = transition;
        }
    }
    newest.into_values().collect()
}

/// Someone who is online, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Online {
    /// The user.
    pub user_id: UserId,
    /// Since when.
    pub since: OffsetDateTime,
}

/// An answer to a node that would sweep for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// Whether this node is the one, and has swept.
    pub sweeps: bool,
    /// The number of users online, where the node that sweeps counted it.
    pub online: Option<u64>,
    /// Whether its sweep left users for another one, which should follow at once.
    pub left: bool,
    /// The transitions that its sweep returned.
    pub transitions: Vec<Transition>,
    /// The gateways that said so of late; none where no one takes connections, and where they
    /// cannot be known.
    pub fleet: Option<Fleet>,
}

/// A gateway's word about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// The connections that it holds.
    pub connections: u64,
    /// Whether it takes new ones.
    pub is_open: bool,
}

/// The gateways together, this one too. Those of the release before say nothing and are not
/// counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// How many take new connections; one at least.
    pub gateways: u64,
    /// The connections that all hold, those too that take no new ones.
    pub connections: u64,
    /// The fewest that one holds which takes new ones.
    pub fewest: u64,
}

/// The contact with the part of the back end that keeps a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact {
    /// How often that part was seen to have lost what it knew.
    pub losses: u64,
    /// When it answered last.
    pub answered: Option<Instant>,
}

/// The outcome of a call for many users: it may have failed for some of them.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The transitions that the call decided.
    pub transitions: Vec<Transition>,
    /// The users for whom it has to be repeated.
    pub failed: Vec<UserId>,
    /// The last of the faults.
    pub error: Option<Error>,
}

impl Outcome {
    fn decided(transitions: Vec<Transition>) -> Self {
        Self { transitions, ..Self::default() }
    }

    fn fail(&mut self, users: &[UserId], error: Error) {
        self.failed.extend_from_slice(users);
        self.error = Some(error);
    }

    /// What became of both calls.
    fn and(mut self, other: Self) -> Self {
        self.transitions.extend(other.transitions);
        self.failed.extend(other.failed);
        Self { error: other.error.or(self.error), ..self }
    }

    /// All transitions, or the fault.
    #[cfg(test)]
    fn whole(self) -> Result<Vec<Transition>> {
        self.error.map_or(Ok(self.transitions), Err)
    }
}

/// The users that the nodes hold together; see the module's obligations.
#[async_trait]
pub trait Presence: Send + Sync + 'static {
    /// The node holds its first connection of each of these users.
    async fn arrive(&self, node: &NodeId, users: &[UserId]) -> Outcome;

    /// The node's last connection of each of these users ended: the grace begins for users that no
    /// other node holds. A drain gives a longer `grace` to clients that it asked to wait.
    async fn depart(&self, node: &NodeId, users: &[UserId], grace: Duration) -> Outcome;

    /// The same where the back end may have lost what it knew of these users since they departed
    /// ([`Self::contact`]): those of whom it knows nothing are reported offline too. `grace` is
    /// at least one lease: within it, a node that still holds one of these users renews it.
    async fn depart_anew(&self, node: &NodeId, users: &[UserId], grace: Duration) -> Outcome;

    /// The contact that this process has with the part that keeps the user. [`Self::surplus`] and
    /// the other calls find it out.
    fn contact(&self, user: UserId) -> Contact;

    /// Renews the node's lease. `users` are all that the node holds; it registers those who are not
    /// registered. They are returned as online, because their arrival failed or a sweep took them
    /// while the node was cut off. After Redis was emptied they are not returned: they were online
    /// before.
    async fn renew(&self, node: &NodeId, users: &[UserId]) -> Outcome;

    /// The users that the back end believes the node holds, and that are not among `users`, which
    /// are all that the node has registered. A Redis that came back from a snapshot, or a replica
    /// that lagged, has not heard of their departure.
    async fn surplus(&self, node: &NodeId, users: &[UserId]) -> Result<Vec<UserId>>;

    /// Takes users out that the node does not hold and whose departure was reported before. It
    /// reports nothing.
    async fn forget(&self, node: &NodeId, users: &[UserId]) -> Outcome;

    /// Claims the sweeping for this node, for about a second, and sweeps where it has it: of all
    /// nodes that ask one does. It leaves its count of the users online for the others. A node that
    /// cannot ask sweeps: two that sweep do no harm. Each says how many connections it holds, for
    /// the others to compare.
    async fn lead(&self, node: &NodeId, own: Own) -> Result<Lead>;

    /// Takes out the users whose grace is over, and those of nodes whose lease is over. Returns
    /// them, and the transitions that other nodes did not acknowledge within a lease.
    async fn sweep(&self, node: &NodeId) -> Result<Vec<Transition>>;

    /// These transitions were published: no call returns them again.
    async fn acknowledge(&self, published: &[Transition]) -> Result<()>;

    /// The transitions of which the publication was acknowledged within this time, up to
    /// [`REMEMBERED_FOR`]; of each user the newest. A node that heard none for a while reads them.
    async fn published(&self, within: Duration) -> Result<Vec<Transition>>;

    /// Since when each of these users is online, in their order; `None` for a user who is not.
    async fn online(&self, users: &[UserId]) -> Result<Vec<Option<OffsetDateTime>>>;

    /// A page of all users online, in the back end's own stable order. `after` is an earlier page's
    /// `next_cursor`. An unreadable cursor is `Error::Invalid`.
    async fn list(&self, after: Option<&str>, limit: usize) -> Result<Page<Online>>;

    /// The number of users online.
    async fn count(&self) -> Result<u64>;
}
