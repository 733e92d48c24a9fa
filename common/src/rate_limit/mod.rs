//! Rate limits by GCRA (the generic cell rate algorithm, ITU-T I.371), counted where all nodes see
//! them.
//!
//! # Obligations of a back end
//! - A check and its cost are one atomic step. So is a refund, and so is an exchange: of a crowd
//!   that holds a whole burst, the last one that exchanges is served at the latest.
//! - What a subject owes is counted when it is known, in one step, whatever else counts by then.
//! - A subject may get past its limit by what the leases of the other nodes hold, nine a node, and
//!   only a limit of at least forty in a second has leases. It waits for that afterwards.
//! - Away or slow (over 100 ms), it never blocks the request: the limiter counts in this process
//!   alone, and returns to Redis by itself.

pub mod leases;
pub mod memory;
pub mod redis;
mod subjects;

use async_trait::async_trait;
use std::time::Duration;

/// A limit's shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Its name: the label of `messenger_rate_limited_total` and part of its key.
    pub name: &'static str,
    /// Requests per `period`.
    pub rate: u32,
    /// The period.
    pub period: Duration,
    /// Requests at once, after a rest.
    pub burst: u32,
}

impl Limit {
    /// The limit under which one check counts as that many: all of them, or none. More than a burst
    /// count as a burst. A subject's checks under either count together.
    #[must_use]
    pub fn of_several(self, count: usize) -> Self {
        let several = u32::try_from(count).unwrap_or(u32::MAX).clamp(1, self.burst.max(1));
        Self { period: self.period * several, burst: self.burst / several, ..self }
    }

    /// The limit that is so many times as wide.
    #[must_use]
    pub fn wider(self, times: u32) -> Self {
        Self { rate: self.rate.saturating_mul(times), burst: self.burst.saturating_mul(times), ..self }
    }
}

/// In bursts: the most that counts for a subject, whatever it owes or the leases let it have. Of
/// limits of a second: of no other does anybody owe.
pub const DEEPEST: u32 = 8;

/// The time that one of a limit takes.
fn interval(limit: &Limit) -> Duration {
    limit.period / limit.rate.max(1)
}

/// The answer of a limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allowed,
    /// Not now.
    Denied {
        /// The time until one more is allowed.
        retry_after: Duration,
    },
}

/// What is to be counted: `count` in place of `held` that were allowed. All of them, or none, and
/// then those no more either.
#[derive(Clone, Copy, Debug)]
struct Price {
    held: u32,
    count: u32,
}

impl Price {
    const ONE: Self = Self { held: 0, count: 1 };
}

/// Counts against limits; see the module's obligations.
#[async_trait]
pub trait RateLimiter: Send + Sync + 'static {
    /// One more of `subject` (a user's id, an address) under `limit`.
    async fn check(&self, limit: &Limit, subject: &str) -> Decision;
    /// Counts `count` in place of one that was allowed: all of them, or none, and then that one no
    /// more either.
    async fn exchange(&self, limit: &Limit, subject: &str, count: u32) -> Decision;
    /// Counts so many that were served already. The subject waits for them afterwards, for
    /// [`DEEPEST`] bursts at most.
    async fn owe(&self, limit: &Limit, subject: &str, count: u32);
    /// Takes one back that was allowed.
    async fn refund(&self, limit: &Limit, subject: &str);
}

/// `RATE_LIMITS=off`: nothing is counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Off;

#[async_trait]
impl RateLimiter for Off {
    async fn check(&self, _: &Limit, _: &str) -> Decision {
        Decision::Allowed
    }

    async fn exchange(&self, _: &Limit, _: &str, _: u32) -> Decision {
        Decision::Allowed
    }

    async fn owe(&self, _: &Limit, _: &str, _: u32) {}

    async fn refund(&self, _: &Limit, _: &str) {}
}
