//! For how long a connection has sent commands over its user's rate.

use super::Conn;
use std::time::{Duration, Instant};

/// Commands over the rate with shorter pauses between them are one streak.
const PAUSE_WITHIN_STREAK: Duration = Duration::from_secs(2);
/// A streak this long ends the connection.
const LONGEST_STREAK: Duration = Duration::from_secs(10);

/// The present streak.
#[derive(Debug, Default)]
pub(super) struct RateStreak(Option<(Instant, Instant)>);

impl RateStreak {
    fn goes_on_too_long(&mut self, now: Instant) -> bool {
        let began = match self.0 {
            Some((began, last)) if now.duration_since(last) < PAUSE_WITHIN_STREAK => began,
            _ => now,
        };
        self.0 = Some((began, now));
        now.duration_since(began) >= LONGEST_STREAK
    }
}

impl Conn {
    /// Takes note of a command over the rate; whether this connection has sent such for too long.
    pub(crate) fn is_over_rate_too_long(&self, now: Instant) -> bool {
        self.with_extras(|extras| extras.rate.goes_on_too_long(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_seconds_without_a_pause_are_too_long() {
        let (mut streak, start) = (RateStreak::default(), Instant::now());
        let mut over = |seconds: f64| streak.goes_on_too_long(start + Duration::from_secs_f64(seconds));
        assert!((0..7).all(|at| !over(1.5 * f64::from(at))));
        assert!(over(10.4));
        assert!(!over(12.5), "a pause of two seconds begins anew");
        assert!(!over(14.0));
    }
}
