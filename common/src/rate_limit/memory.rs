//! Limits counted in this process: for one process alone, and for any while Redis is away.

use super::subjects::{Passing, Subjects};
use super::{DEEPEST, Decision, Limit, Price, RateLimiter, interval};
use async_trait::async_trait;
use std::time::{Duration, Instant};

/// The theoretical time of a subject's next arrival.
#[derive(Default)]
struct Arrival(Duration);

impl Passing for Arrival {
    fn is_over(&self, now: Duration) -> bool {
        self.0 <= now
    }
}

/// Counts in this process.
pub struct MemoryLimiter {
    start: Instant,
    arrivals: Subjects<Arrival>,
}

impl Default for MemoryLimiter {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryLimiter {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self { start: Instant::now(), arrivals: Subjects::new() }
    }

    /// The time since this limiter began.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Counts that price of `subject` at `now` (since any fixed moment).
    pub(super) fn count_at(&self, limit: &Limit, subject: &str, price: Price, now: Duration) -> Decision {
        self.arrivals.with(limit, subject, now, |arrival| {
            let before = arrival.0.saturating_sub(interval(limit) * price.held).max(now);
            let (decision, next) = gcra(limit, price.count, before, now);
            arrival.0 = if decision == Decision::Allowed { next } else { before };
            decision
        })
    }

    /// Counts so many that were served already.
    pub(super) fn owe_at(&self, limit: &Limit, subject: &str, count: u32, now: Duration) {
        let furthest = now + interval(limit) * limit.burst.max(1) * DEEPEST;
        self.arrivals.with(limit, subject, now, |arrival| {
            arrival.0 = (arrival.0.max(now) + interval(limit) * count).min(furthest);
        });
    }

    /// Takes so many back that were allowed.
    pub(super) fn take_back(&self, limit: &Limit, subject: &str, held: u32) {
        self.count_at(limit, subject, Price { held, count: 0 }, self.now());
    }
}

/// The generic cell rate algorithm, for `count` requests at once. `arrival` is the theoretical time
/// of the first (not before `now`); the answer holds the time after them.
fn gcra(limit: &Limit, count: u32, arrival: Duration, now: Duration) -> (Decision, Duration) {
    let interval = interval(limit);
    let next = arrival + interval * count;
    let allowed_from = next.saturating_sub(interval * limit.burst.max(1));
    match allowed_from.checked_sub(now) {
        Some(wait) if !wait.is_zero() => (Decision::Denied { retry_after: wait }, next),
        _ => (Decision::Allowed, next),
    }
}

#[async_trait]
impl RateLimiter for MemoryLimiter {
    async fn check(&self, limit: &Limit, subject: &str) -> Decision {
        self.count_at(limit, subject, Price::ONE, self.now())
    }

    async fn exchange(&self, limit: &Limit, subject: &str, count: u32) -> Decision {
        self.count_at(limit, subject, Price { held: 1, count }, self.now())
    }

    async fn owe(&self, limit: &Limit, subject: &str, count: u32) {
        self.owe_at(limit, subject, count, self.now());
    }

    async fn refund(&self, limit: &Limit, subject: &str) {
        self.take_back(limit, subject, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { name: "messages", rate: 20, period: Duration::from_secs(1), burst: 40 };

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn check_at(limiter: &MemoryLimiter, limit: &Limit, subject: &str, now: Duration) -> Decision {
        limiter.count_at(limit, subject, Price::ONE, now)
    }

    #[test]
    fn a_burst_passes_and_the_next_waits_its_interval() {
        let limiter = MemoryLimiter::new();
        for _ in 0..40 {
            assert_eq!(check_at(&limiter, &LIMIT, "7", at(1000)), Decision::Allowed);
        }
        assert_eq!(check_at(&limiter, &LIMIT, "7", at(1000)), Decision::Denied { retry_after: at(50) });
        assert_eq!(check_at(&limiter, &LIMIT, "8", at(1000)), Decision::Allowed, "subjects do not share");
        let other = Limit { name: "commands", ..LIMIT };
        assert_eq!(check_at(&limiter, &other, "7", at(1000)), Decision::Allowed, "limits do not share");
        assert_eq!(check_at(&limiter, &LIMIT, "7", at(1050)), Decision::Allowed);
        assert_eq!(check_at(&limiter, &LIMIT, "7", at(1050)), Decision::Denied { retry_after: at(50) });
    }

    #[test]
    fn what_is_denied_costs_nothing_and_rest_gives_the_burst_back() {
        let limiter = MemoryLimiter::new();
        let allowed = |from: u64, tries: u64| {
            (0..tries).filter(|_| check_at(&limiter, &LIMIT, "7", at(from)) == Decision::Allowed).count()
        };
        assert_eq!(allowed(0, 1000), 40);
        assert_eq!(allowed(500, 1000), 10);
        assert_eq!(allowed(60_000, 1000), 40);
    }

    #[test]
    fn several_count_all_at_once_or_not_at_all() {
        let limiter = MemoryLimiter::new();
        let many = LIMIT.of_several(20);
        assert_eq!(check_at(&limiter, &many, "7", at(0)), Decision::Allowed);
        assert_eq!(check_at(&limiter, &LIMIT, "7", at(0)), Decision::Allowed);
        assert_eq!(check_at(&limiter, &many, "7", at(0)), Decision::Denied { retry_after: at(50) }, "19 are left");
        assert_eq!(check_at(&limiter, &many, "7", at(50)), Decision::Allowed);
        assert_eq!(check_at(&limiter, &LIMIT, "7", at(50)), Decision::Denied { retry_after: at(50) }, "none is left");
        let beyond = LIMIT.of_several(1000);
        assert_eq!(check_at(&limiter, &beyond, "8", at(0)), Decision::Allowed, "more than a burst are a burst");
        assert_ne!(check_at(&limiter, &LIMIT, "8", at(0)), Decision::Allowed);
        assert_eq!(LIMIT.of_several(1), LIMIT);
    }

    #[test]
    fn of_a_crowd_that_asks_for_more_the_last_is_served() {
        let limiter = MemoryLimiter::new();
        for _ in 0..40 {
            assert_eq!(check_at(&limiter, &LIMIT, "7", at(0)), Decision::Allowed);
        }
        let exchange = |now| limiter.count_at(&LIMIT, "7", Price { held: 1, count: 21 }, at(now));
        assert_eq!(exchange(0), Decision::Denied { retry_after: at(1000) }, "39 are left, and 21 more are too many");
        assert_eq!((1..40).filter(|_| exchange(0) == Decision::Allowed).count(), 1);
        assert_eq!(check_at(&limiter, &LIMIT, "7", at(1000)), Decision::Allowed);
    }

    #[test]
    fn what_is_owed_is_waited_for_and_never_for_long() {
        let limiter = MemoryLimiter::new();
        limiter.owe_at(&LIMIT, "7", 39, at(0));
        assert_eq!(check_at(&limiter, &LIMIT, "7", at(0)), Decision::Allowed);
        limiter.owe_at(&LIMIT, "7", 20, at(0));
        assert_eq!(check_at(&limiter, &LIMIT, "7", at(0)), Decision::Denied { retry_after: at(1050) });
        limiter.owe_at(&LIMIT, "7", 1_000_000, at(0));
        let longest = at(u64::from(40 * (DEEPEST - 1) + 1) * 50);
        assert_eq!(check_at(&limiter, &LIMIT, "7", at(0)), Decision::Denied { retry_after: longest });
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
                allowed += u64::from(check_at(&limiter, &LIMIT, "7", at(now)) == Decision::Allowed);
                proptest::prop_assert!(allowed <= 40 + now / 50 + 1);
            }
        }
    }
}
