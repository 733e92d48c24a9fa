//! Whether the clocks of the machines agree.

use super::report::Finding;
use crate::clock::{Clock, NOTICEABLE, ahead};
use time::{Duration, OffsetDateTime};

/// A question for a server's clock.
pub(super) struct Comparison<'a> {
    clock: &'a Clock,
    asked: OffsetDateTime,
    /// The life of an access token. Where clocks differ by more than half of it, tokens of one node
    /// may have expired on another.
    token: Duration,
}

impl<'a> Comparison<'a> {
    /// Begins before the question is asked.
    pub(super) fn begin(clock: &'a Clock, token: std::time::Duration) -> Self {
        Self { clock, asked: clock.now(), token: Duration::try_from(token).unwrap_or(Duration::MAX) }
    }

    /// Compares the answer with this machine's clock.
    pub(super) fn end(&self, of: &str, theirs: OffsetDateTime) -> Finding {
        let apart = ahead(theirs, self.asked, self.clock.now());
        let (seconds, direction) =
            (apart.abs().as_seconds_f64(), if apart.is_negative() { "behind" } else { "ahead of" });
        let found = format!("the clock of {of} is {seconds:.3} s {direction} this machine's");
        let remedy = "let both follow the time by NTP (chrony, systemd-timesyncd)";
        if apart.abs() > self.token / 2 {
            Finding::fault("clock", found, remedy)
        } else if apart.abs() > NOTICEABLE {
            Finding::warning("clock", found, remedy)
        } else {
            Finding::ok("clock", found)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;

    #[test]
    fn clocks_that_differ_are_named() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let clock_of_ours = Clock::from_fn(move || now + Duration::milliseconds(10));
        let comparison = Comparison { clock: &clock_of_ours, asked: now, token: Duration::minutes(3) };
        let found = |theirs| comparison.end("Redis", theirs);
        assert_eq!(found(now).state, State::Ok);
        let ahead = found(now + Duration::seconds(2));
        assert_eq!(ahead.state, State::Warning);
        assert!(ahead.finding.contains("1.995 s ahead of"), "{}", ahead.finding);
        let behind = found(now - Duration::minutes(2));
        assert_eq!(behind.state, State::Fault);
        assert!(behind.finding.contains("120.005 s behind"), "{}", behind.finding);
    }
}
