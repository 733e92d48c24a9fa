//! Since when this node may have missed publications: while its link was away, and while the
//! process itself was stopped.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// How often the link is looked at.
pub(super) const LINK_LOOK_EVERY: Duration = Duration::from_secs(1);
/// A look that comes so much later than the one before: the process was stopped.
const STOPPED: Duration = Duration::from_secs(3);
/// A link that went silent is noticed within this time.
pub(super) const NOTICED_WITHIN: Duration = Duration::from_secs(10);
/// An outage counts for this long after its end: by then every topic is subscribed anew.
const OUTAGE_REMEMBERED: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Hearing(Mutex<State>);

struct State {
    looked: Instant,
    away: Option<Away>,
}

/// An outage. Another one that begins before this one is forgotten is the same.
struct Away {
    since: Instant,
    until: Option<Instant>,
}

impl Hearing {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(State { looked: now, away: None }))
    }

    /// Looks at the link.
    pub(super) fn look(&self, now: Instant, up: bool) {
        let mut state = self.0.lock();
        let looked = std::mem::replace(&mut state.looked, now);
        if now.duration_since(looked) > STOPPED || !up {
            let since = match &state.away {
                Some(away) if away.counts(looked) => away.since,
                _ => looked,
            };
            state.away = Some(Away { since, until: None });
        }
        if let Some(away) = state.away.as_mut().filter(|away| up && away.until.is_none()) {
            away.until = Some(now);
        }
    }

    /// Whether publications may be missing yet: the link is away, or was until lately.
    pub(super) fn is_away(&self, now: Instant) -> bool {
        self.0.lock().away.as_ref().is_some_and(|away| away.counts(now))
    }

    /// Since when publications of a topic that is subscribed anew may be missing.
    pub(super) fn missing_since(&self, now: Instant) -> Instant {
        let state = self.0.lock();
        let since = state.away.as_ref().filter(|away| away.counts(now)).map_or(now, |away| away.since);
        since.checked_sub(NOTICED_WITHIN).unwrap_or(since)
    }
}

impl Away {
    fn counts(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now.duration_since(until) < OUTAGE_REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks in turn, at seconds, and what is missing at the last.
    fn missing(looks: &[(u64, bool)]) -> u64 {
        // So late that there is room before it.
        let start = Instant::now() + Duration::from_hours(1);
        let hearing = Hearing::new(start);
        let at = |second| start + Duration::from_secs(second);
        for (second, up) in looks {
            hearing.look(at(*second), *up);
        }
        let now = at(looks.last().map_or(0, |(second, _)| *second));
        (now - hearing.missing_since(now)).as_secs() - NOTICED_WITHIN.as_secs()
    }

    #[test]
    fn nothing_is_missing_but_what_a_silent_link_lost() {
        assert_eq!(missing(&[(1, true), (2, true)]), 0);
    }

    #[test]
    fn an_outage_counts_from_the_last_look_before_it_and_for_a_while_after() {
        let outage = [(1, true), (2, true), (4, false), (20, false)];
        assert_eq!(missing(&outage), 18);
        assert_eq!(missing(&[&outage[..], &[(21, true), (23, true), (25, true)]].concat()), 23);
        let later: Vec<_> = (21..=40).map(|second| (second, true)).collect();
        assert_eq!(missing(&[&outage[..], &later].concat()), 0);
    }

    #[test]
    fn an_outage_counts_as_one_for_a_while_after() {
        let start = Instant::now();
        let hearing = Hearing::new(start);
        let at = |second| start + Duration::from_secs(second);
        assert!(!hearing.is_away(at(0)));
        hearing.look(at(1), false);
        assert!(hearing.is_away(at(1)) && hearing.is_away(at(300)));
        hearing.look(at(2), true);
        assert!(hearing.is_away(at(11)) && !hearing.is_away(at(12)));
    }

    #[test]
    fn two_outages_in_a_row_are_one() {
        assert_eq!(missing(&[(1, true), (3, false), (5, true), (7, true), (9, false), (11, false)]), 10);
    }

    #[test]
    fn a_process_that_was_stopped_missed_what_was_published_meanwhile() {
        assert_eq!(missing(&[(1, true), (2, true), (32, true), (33, true)]), 31);
    }
}
