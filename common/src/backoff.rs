//! Pauses between attempts. No clock of its own: the caller waits.

use std::time::Duration;

/// How long to pause between attempts: `first`, then twice as long each time, at most `longest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The pause after the first attempt.
    pub first: Duration,
    /// No pause is longer.
    pub longest: Duration,
}

impl Backoff {
    /// The pauses, from the first one on.
    pub fn start(self) -> Pauses {
        Pauses { backoff: self, next: self.first }
    }
}

/// The pauses of one series of attempts.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    backoff: Backoff,
    next: Duration,
}

impl Pauses {
    /// How long to pause now.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next.min(self.backoff.longest);
        self.next = pause.saturating_mul(2);
        pause
    }

    /// An attempt succeeded: the next pause is the first one again.
    pub fn reset(&mut self) {
        self.next = self.backoff.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let millis = Duration::from_millis;
        let mut pauses = Backoff { first: millis(50), longest: millis(150) }.start();
        let mut next = |count: usize| -> Vec<u128> { (0..count).map(|_| pauses.pause().as_millis()).collect() };
        assert_eq!(next(4), [50, 100, 150, 150]);
        pauses.reset();
        assert_eq!(pauses.pause(), millis(50));
    }

    #[test]
    fn a_first_pause_over_the_longest_is_cut() {
        let backoff = Backoff { first: Duration::MAX, longest: Duration::from_secs(1) };
        assert_eq!(backoff.start().pause(), Duration::from_secs(1));
    }
}
