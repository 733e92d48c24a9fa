//! Limits counted in this process: for one process alone, and for any while Redis is away.
//!
//! Bounded: over [`CAPACITY`] subjects it forgets those whose time is over. If that is not enough,
//! it forgets all of a shard.

use super::{Decision, Limit, RateLimiter};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// Subjects that are remembered.
const CAPACITY: usize = 1 << 20;
const SHARDS: usize = 16;

/// The theoretical time of the next arrival, by limit and subject.
type Arrivals = HashMap<(&'static str, Box<str>), Duration>;

/// Counts in this process.
pub struct MemoryLimiter {
    start: Instant,
    hasher: RandomState,
    shards: [Mutex<Arrivals>; SHARDS],
}

impl Default for MemoryLimiter {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryLimiter {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self { start: Instant::now(), hasher: RandomState::new(), shards: Default::default() }
    }

    fn shard(&self, key: &(&'static str, Box<str>)) -> &Mutex<Arrivals> {
        // The low bits of the hash; the map below hashes with another key.
        let shard = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or_default();
        &self.shards[shard]
    }

    /// One more of `subject` at `now` (since any fixed moment).
    fn check_at(&self, limit: &Limit, subject: &str, now: Duration) -> Decision {
        let key = (limit.name, Box::<str>::from(subject));
        let mut arrivals = self.shard(&key).lock();
        if arrivals.len() >= CAPACITY / SHARDS && !arrivals.contains_key(&key) {
            arrivals.retain(|_, arrival| *arrival > now);
            if arrivals.len() >= CAPACITY / SHARDS {
                tracing::warn!(limit.name = limit.name, "too many subjects to count; some counts start again");
                arrivals.clear();
            }
        }
        let arrival = arrivals.get(&key).copied().unwrap_or(now).max(now);
        let (decision, next) = gcra(limit, arrival, now);
        if decision == Decision::Allowed {
            arrivals.insert(key, next);
        }
        decision
    }
}

fn interval(limit: &Limit) -> Duration {
    limit.period / limit.rate.max(1)
}

/// The generic cell rate algorithm. `arrival` is the theoretical time of the next request (not
/// before `now`); the answer holds the time after it.
fn gcra(limit: &Limit, arrival: Duration, now: Duration) -> (Decision, Duration) {
    let interval = interval(limit);
    let next = arrival + interval;
    let allowed_from = next.saturating_sub(interval * limit.burst.max(1));
    match allowed_from.checked_sub(now) {
        Some(wait) if !wait.is_zero() => (Decision::Denied { retry_after: wait }, next),
        _ => (Decision::Allowed, next),
    }
}

#[async_trait]
impl RateLimiter for MemoryLimiter {
    async fn check(&self, limit: &Limit, subject: &str) -> Decision {
        self.check_at(limit, subject, self.start.elapsed())
    }

    async fn refund(&self, limit: &Limit, subject: &str) {
        let key = (limit.name, Box::<str>::from(subject));
        if let Some(arrival) = self.shard(&key).lock().get_mut(&key) {
            *arrival = arrival.saturating_sub(interval(limit));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { name: "messages", rate: 20, period: Duration::from_secs(1), burst: 40 };

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_burst_passes_and_the_next_waits_its_interval() {
        let limiter = MemoryLimiter::new();
        for _ in 0..40 {
            assert_eq!(limiter.check_at(&LIMIT, "7", at(1000)), Decision::Allowed);
        }
        assert_eq!(limiter.check_at(&LIMIT, "7", at(1000)), Decision::Denied { retry_after: at(50) });
        assert_eq!(limiter.check_at(&LIMIT, "8", at(1000)), Decision::Allowed, "subjects do not share");
        let other = Limit { name: "commands", ..LIMIT };
        assert_eq!(limiter.check_at(&other, "7", at(1000)), Decision::Allowed, "limits do not share");
        assert_eq!(limiter.check_at(&LIMIT, "7", at(1050)), Decision::Allowed);
        assert_eq!(limiter.check_at(&LIMIT, "7", at(1050)), Decision::Denied { retry_after: at(50) });
    }

    #[test]
    fn what_is_denied_costs_nothing_and_rest_gives_the_burst_back() {
        let limiter = MemoryLimiter::new();
        let allowed = |from: u64, tries: u64| {
            (0..tries).filter(|_| limiter.check_at(&LIMIT, "7", at(from)) == Decision::Allowed).count()
        };
        assert_eq!(allowed(0, 1000), 40);
        assert_eq!(allowed(500, 1000), 10);
        assert_eq!(allowed(60_000, 1000), 40);
    }

    #[tokio::test]
    async fn what_is_taken_back_does_not_count() {
        let limiter = MemoryLimiter::new();
        let one = Limit { name: "passwords", rate: 1, period: Duration::from_hours(1), burst: 1 };
        limiter.refund(&one, "7").await;
        for _ in 0..3 {
            assert_eq!(limiter.check(&one, "7").await, Decision::Allowed);
            limiter.refund(&one, "7").await;
        }
        assert_eq!(limiter.check(&one, "7").await, Decision::Allowed);
        assert_ne!(limiter.check(&one, "7").await, Decision::Allowed);
    }

    proptest::proptest! {
        #[test]
        fn never_more_than_rate_and_burst_in_any_run(steps in proptest::collection::vec(0_u64..30, 1..400)) {
            let limiter = MemoryLimiter::new();
            let (mut now, mut allowed) = (0, 0_u64);
            for step in steps {
                now += step;
                allowed += u64::from(limiter.check_at(&LIMIT, "7", at(now)) == Decision::Allowed);
                proptest::prop_assert!(allowed <= 40 + now / 50 + 1);
            }
        }
    }
}
