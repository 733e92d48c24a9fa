//! Checks that this process allows by itself, and reports to Redis together.
//!
//! A subject that is far from its limit gets a lease: its next [`LEASED`] checks are allowed here.
//! The check after them asks Redis, and reports what was spent. A report says how many they were
//! and when their last would have been due, so that Redis counts them at the time at which they
//! happened. Near the limit there is no lease, and each check asks.

use super::subjects::{Passing, Subjects};
use super::{Limit, interval};
use std::time::Duration;

/// Checks of a lease: with the one that asks, ten for one call.
pub(super) const LEASED: u32 = 9;
/// The time after which a lease is over, spent or not. A client sends a command in five seconds.
const LASTS: Duration = Duration::from_mins(1);
/// The longest period of a limit with leases: those of a minute and more guard passwords, and are
/// counted one by one.
pub(super) const LONGEST_PERIOD: Duration = Duration::from_secs(1);
/// A lease reaches up to this part of the burst.
const PART: u32 = 4;

/// The leases of one process.
pub struct Leases(Subjects<Lease>);

#[derive(Default)]
struct Lease {
    /// Checks that are still allowed.
    left: u32,
    /// The time at which it is over.
    until: Duration,
    /// Checks that were allowed and not reported.
    spent: u32,
    /// The theoretical time of the next arrival after those alone.
    arrival: Duration,
}

impl Passing for Lease {
    fn is_over(&self, now: Duration) -> bool {
        self.until <= now && self.arrival <= now
    }
}

/// What was allowed and is to be reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Checks.
    pub count: u32,
    /// The theoretical time of the next arrival after them, from now on; it may have passed.
    pub ahead_micros: i64,
}

/// Whether a limit has leases.
pub(super) fn is_leased(limit: &Limit) -> bool {
    limit.period <= LONGEST_PERIOD && limit.burst / PART > LEASED
}

impl Leases {
    /// No lease yet.
    #[expect(clippy::new_without_default, reason = "a lease is of a limiter, which starts without any")]
    pub fn new() -> Self {
        Self(Subjects::new())
    }

    /// Spends one of the subject's lease. `Err`: there is none, ask and report that.
    pub fn spend(&self, limit: &Limit, subject: &str, now: Duration) -> Result<(), Spent> {
        if !is_leased(limit) {
            return Err(Spent::default());
        }
        let spend = |lease: &mut Lease| {
            if lease.left == 0 || lease.until <= now {
                let ahead_micros = micros(lease.arrival) - micros(now);
                let spent = Spent { count: lease.spent, ahead_micros };
                (lease.left, lease.spent) = (0, 0);
                return Err(if spent.count == 0 { Spent::default() } else { spent });
            }
            lease.left -= 1;
            lease.spent += 1;
            lease.arrival = lease.arrival.max(now) + interval(limit);
            Ok(())
        };
        self.0.with_known(limit, subject, spend).unwrap_or(Err(Spent::default()))
    }

    /// A new lease, after a check that was allowed; `used` is how much of the burst is spent.
    pub fn grant(&self, limit: &Limit, subject: &str, now: Duration, used: u64) {
        if !is_leased(limit) {
            return;
        }
        let room = u64::from(limit.burst / PART).saturating_sub(used);
        let left = u32::try_from(room).unwrap_or(u32::MAX).min(LEASED);
        self.0.with(limit, subject, now, |lease| {
            // Another check of the subject may have got its answer meanwhile.
            lease.left = left.saturating_sub(lease.spent);
            lease.until = now + LASTS;
        });
    }

    /// Takes one back that was spent and not reported; whether there was one.
    pub fn refund(&self, limit: &Limit, subject: &str) -> bool {
        let refund = |lease: &mut Lease| {
            let had = lease.spent > 0;
            if had {
                lease.spent -= 1;
                lease.left += 1;
                lease.arrival = lease.arrival.saturating_sub(interval(limit));
            }
            had
        };
        is_leased(limit) && self.0.with_known(limit, subject, refund).unwrap_or(false)
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMANDS: Limit = Limit { name: "commands", rate: 60, period: Duration::from_secs(1), burst: 60 };

    fn spent(leases: &Leases, now: Duration) -> u32 {
        (0..100).take_while(|_| leases.spend(&COMMANDS, "7", now).is_ok()).count().try_into().expect("few")
    }

    #[test]
    fn a_lease_is_for_nine_and_reaches_a_quarter_of_the_burst() {
        let (leases, now) = (Leases::new(), Duration::from_secs(100));
        assert_eq!(leases.spend(&COMMANDS, "7", now), Err(Spent::default()), "none was granted");
        for (used, allowed) in [(1, 9), (6, 9), (10, 5), (15, 0), (60, 0), (120, 0)] {
            leases.grant(&COMMANDS, "7", now, used);
            assert_eq!(spent(&leases, now), allowed, "{used} used");
        }
        leases.grant(&COMMANDS, "7", now, 1);
        assert_eq!(leases.spend(&COMMANDS, "8", now), Err(Spent::default()), "subjects do not share");
    }

    #[test]
    fn a_report_says_how_many_and_when() {
        let (leases, begun) = (Leases::new(), Duration::from_secs(100));
        leases.grant(&COMMANDS, "7", begun, 1);
        for _ in 0..9 {
            assert_eq!(leases.spend(&COMMANDS, "7", begun), Ok(()));
        }
        let report = leases.spend(&COMMANDS, "7", begun + Duration::from_millis(250)).expect_err("spent");
        assert_eq!(report.count, 9);
        let nine = 9 * i64::try_from(interval(&COMMANDS).as_micros()).expect("short");
        assert!((report.ahead_micros - (nine - 250_000)).abs() <= 9, "a quarter of a second ago: {report:?}");
        assert_eq!(leases.spend(&COMMANDS, "7", begun), Err(Spent::default()), "reported once");
    }

    #[test]
    fn a_lease_ends_and_what_was_spent_is_reported() {
        let (leases, begun) = (Leases::new(), Duration::from_secs(100));
        leases.grant(&COMMANDS, "7", begun, 1);
        assert_eq!(leases.spend(&COMMANDS, "7", begun + Duration::from_secs(59)), Ok(()));
        let report = leases.spend(&COMMANDS, "7", begun + Duration::from_secs(60)).expect_err("over");
        assert_eq!(report.count, 1);
    }

    #[test]
    fn two_answers_at_once_grant_one_lease() {
        let (leases, now) = (Leases::new(), Duration::from_secs(100));
        leases.grant(&COMMANDS, "7", now, 1);
        assert_eq!(leases.spend(&COMMANDS, "7", now), Ok(()));
        leases.grant(&COMMANDS, "7", now, 2);
        assert_eq!(spent(&leases, now), 8);
    }

    #[test]
    fn what_is_taken_back_is_not_reported() {
        let (leases, now) = (Leases::new(), Duration::from_secs(100));
        assert!(!leases.refund(&COMMANDS, "7"));
        leases.grant(&COMMANDS, "7", now, 1);
        assert!(!leases.refund(&COMMANDS, "7"), "Redis counted that one");
        assert_eq!(leases.spend(&COMMANDS, "7", now), Ok(()));
        assert!(leases.refund(&COMMANDS, "7"));
        assert_eq!(spent(&leases, now), 9);
    }

    #[test]
    fn small_limits_and_those_of_minutes_have_none() {
        let passwords = Limit { name: "passwords", period: Duration::from_hours(1), ..COMMANDS };
        let few = Limit { burst: 39, ..COMMANDS };
        assert!(is_leased(&COMMANDS) && is_leased(&Limit { burst: 40, ..COMMANDS }));
        assert!(!is_leased(&passwords) && !is_leased(&few));
        let leases = Leases::new();
        for limit in [passwords, few] {
            leases.grant(&limit, "7", Duration::ZERO, 0);
            assert_eq!(leases.spend(&limit, "7", Duration::ZERO), Err(Spent::default()));
        }
    }
}
