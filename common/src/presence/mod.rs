//! Presence: who is online anywhere (guarantee G5).
//!
//! A node holds a lease on each of its users. A user is online from the first node's [`Presence::arrive`] until `grace` after the
//! last node let go, or until the last node's lease ran out.
//!
//! # Obligations of a back end
//! - **Each transition is returned by exactly one call, once**, whoever races: the decision and the write are one atomic step.
//!   (An answer that is lost on the way back from Redis is not told again: rather never than twice.)
//! - `arrive`, `depart` and `renew` may be repeated without harm, and are to be repeated when they failed: `arrive` and `depart` first, then `renew`.
//! - A node renews at a third of the lease, and sweeps about once a second: a sweep that comes after a long silence (over half a lease)
//!   takes it that Redis itself was away, and gives every node another lease.
//! - Emptied (Redis flushed), it is whole again after one `renew` of every node, without telling anybody offline meanwhile who is not.

pub mod memory;
pub mod redis;
#[cfg(test)]
mod tests;

use crate::error::Result;
use crate::id::{NodeId, UserId};
use async_trait::async_trait;
use time::OffsetDateTime;

/// A user came online or went offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Who.
    pub user_id: UserId,
    /// Online, or offline.
    pub online: bool,
    /// When; of offline, when the last connection went (or its lease ended).
    pub at: OffsetDateTime,
    /// When that was decided, by the back end's one clock: of two transitions of a user the later decided is the truth.
    pub decided_at: OffsetDateTime,
}

/// Someone who is online, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Online {
    /// Who.
    pub user_id: UserId,
    /// Since when.
    pub since: OffsetDateTime,
}

/// A page of those who are online, in the back end's own stable order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnlineList {
    /// The users.
    pub items: Vec<Online>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<String>,
}

/// What the nodes know together of who is online; see the module's obligations.
#[async_trait]
pub trait Presence: Send + Sync + 'static {
    /// The node holds its first connection of each of these users.
    async fn arrive(&self, node: &NodeId, users: &[UserId]) -> Result<Vec<Transition>>;

    /// The node's last connection of each of these users went: the grace begins for those whom no other node holds.
    /// With `grace` longer than the configured one where a drain told its clients to come back later.
    async fn depart(&self, node: &NodeId, users: &[UserId], grace: std::time::Duration) -> Result<()>;

    /// Renews the node's lease and registers anew whoever of `users` (all that the node holds) is not registered. Those are told online, for
    /// their arrival failed or they were swept while the node was cut off; but not after Redis was emptied, for then they were online before.
    async fn renew(&self, node: &NodeId, users: &[UserId]) -> Result<Vec<Transition>>;

    /// Takes out whose grace is over, and the users of nodes whose lease is over.
    async fn sweep(&self) -> Result<Vec<Transition>>;

    /// Of these users, who is online and since when; `None` for who is not. In the order asked.
    async fn online(&self, users: &[UserId]) -> Result<Vec<Option<OffsetDateTime>>>;

    /// A page of all who are online, `after` being an earlier page's `next`. A cursor that cannot be read is `Error::Invalid`.
    async fn list(&self, after: Option<&str>, limit: usize) -> Result<OnlineList>;

    /// How many are online.
    async fn count(&self) -> Result<u64>;
}
