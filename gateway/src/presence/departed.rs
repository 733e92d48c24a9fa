//! The users who left this node lately: whether their going offline was reported, or is to be.
//!
//! A back end that loses what it knew loses those too whose grace runs. It is told of their
//! departure anew.

use messenger_common::id::UserId;
use messenger_common::presence::Contact;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Departures that are remembered; beyond it the oldest half is forgotten.
const DEPARTURES_REMEMBERED: usize = 100_000;
/// A sweep reports a departure within this time of the grace's end.
const REPORTED_WITHIN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Departed(HashMap<UserId, Departure>);

#[derive(Debug)]
struct Departure {
    at: Instant,
    grace: Duration,
    /// The losses of the back end when it knew the user; `None` where it may have lost the
    /// departure.
    losses: Option<u64>,
    /// When the newest report was decided that was heard of the user.
    decided_at_micros: i64,
    /// Whether the departure was reported, as this node heard or must assume.
    reported: Option<Report>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Report {
    Heard,
    /// Nobody is told where nobody shares a chat with the user.
    Assumed,
}

impl Departed {
    /// The back end took the user's departure. It knew the user when it had so many losses.
    pub(super) fn insert(&mut self, user: UserId, grace: Duration, losses: u64, now: Instant) {
        if self.0.len() >= DEPARTURES_REMEMBERED {
            let mut times: Vec<Instant> = self.0.values().map(|departure| departure.at).collect();
            let (_, median, _) = times.select_nth_unstable(DEPARTURES_REMEMBERED / 2);
            let median = *median;
            self.0.retain(|_, departure| departure.at > median);
        }
        let decided_at_micros = self.0.get(&user).map_or(0, |departure| departure.decided_at_micros);
        self.0.insert(user, Departure { at: now, grace, losses: Some(losses), decided_at_micros, reported: None });
    }

    /// A decision of that time that the user is offline was published.
    pub(super) fn record_report(&mut self, user: UserId, decided_at_micros: i64) {
        if let Some(departure) = self.0.get_mut(&user)
            && departure.decided_at_micros < decided_at_micros
        {
            (departure.decided_at_micros, departure.reported) = (decided_at_micros, Some(Report::Heard));
        }
    }

    /// Those of these users whose departure was reported; and the others, each with the grace of
    /// the departure, or else this one.
    pub(super) fn reported(&self, users: Vec<UserId>, grace: Duration) -> (Vec<UserId>, Vec<(UserId, Duration)>) {
        let (reported, left): (Vec<_>, Vec<_>) = users.into_iter().partition(|user| self.is_reported(*user));
        let grace = |user| self.0.get(&user).map_or(grace, |departure| departure.grace);
        (reported, left.into_iter().map(|user| (user, grace(user))).collect())
    }

    fn is_reported(&self, user: UserId) -> bool {
        self.0.get(&user).is_some_and(|departure| departure.reported.is_some())
    }

    /// The back end was away since then, and may have lost all that it was told shortly before:
    /// what was to be reported by then, and was not heard, is not taken for reported.
    pub(super) fn mark_unconfirmed(&mut self, since: Instant) {
        for departure in self.0.values_mut() {
            if departure.reported != Some(Report::Heard) && departure.at + departure.grace + REPORTED_WITHIN > since {
                (departure.losses, departure.reported) = (None, None);
            }
        }
    }

    /// The departures that the back end may have lost, with the grace of each. Those that it kept
    /// are taken for reported once it answered `after` their grace.
    pub(super) fn lost(&mut self, contact: impl Fn(UserId) -> Contact, after: Duration) -> Vec<(UserId, Duration)> {
        let mut lost = Vec::new();
        for (user, departure) in self.0.iter_mut().filter(|(_, departure)| departure.reported.is_none()) {
            let Contact { losses, answered } = contact(*user);
            if departure.losses != Some(losses) {
                lost.push((*user, departure.grace));
            } else if answered.is_some_and(|answered| answered > departure.at + departure.grace + after) {
                departure.reported = Some(Report::Assumed);
            }
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const ANN: UserId = UserId(1);

    fn lost(departed: &mut Departed, losses: u64, answered: Instant) -> usize {
        departed.lost(|_| Contact { losses, answered: Some(answered) }, SECOND).len()
    }

    #[test]
    fn what_was_not_heard_is_told_anew_after_a_loss() {
        let (mut departed, now) = (Departed::default(), Instant::now());
        departed.insert(ANN, 5 * SECOND, 3, now);
        assert_eq!(lost(&mut departed, 3, now), 0);
        assert_eq!(departed.lost(|_| Contact { losses: 4, answered: Some(now) }, SECOND), [(ANN, 5 * SECOND)]);
        departed.insert(ANN, 5 * SECOND, 4, now);
        assert_eq!(lost(&mut departed, 4, now), 0);
        departed.record_report(ANN, 10);
        assert!(departed.is_reported(ANN));
        assert_eq!(lost(&mut departed, 5, now), 0);
    }

    #[test]
    fn an_older_report_says_nothing_of_a_later_departure() {
        let (mut departed, now) = (Departed::default(), Instant::now());
        departed.insert(ANN, SECOND, 0, now);
        departed.record_report(ANN, 10);
        departed.insert(ANN, SECOND, 0, now);
        departed.record_report(ANN, 10);
        assert!(!departed.is_reported(ANN));
        departed.record_report(ANN, 11);
        assert!(departed.is_reported(ANN));
    }

    #[test]
    fn a_departure_counts_as_reported_only_where_the_back_end_answered_after_its_grace() {
        let (mut departed, now) = (Departed::default(), Instant::now());
        departed.insert(ANN, SECOND, 0, now);
        assert_eq!(lost(&mut departed, 0, now + 2 * SECOND), 0);
        assert!(!departed.is_reported(ANN), "whatever the time is");
        assert_eq!(lost(&mut departed, 0, now + 3 * SECOND), 0);
        assert!(departed.is_reported(ANN));
        assert_eq!(lost(&mut departed, 1, now + 4 * SECOND), 0);
    }

    #[test]
    fn what_was_to_be_reported_during_an_outage_is_doubted() {
        let (mut departed, now) = (Departed::default(), Instant::now());
        let (heard, long_ago) = (UserId(2), UserId(3));
        departed.insert(ANN, 5 * SECOND, 0, now);
        departed.insert(heard, 5 * SECOND, 0, now);
        departed.insert(long_ago, Duration::ZERO, 0, now);
        assert_eq!(lost(&mut departed, 0, now + 9 * SECOND), 0);
        departed.record_report(heard, 10);
        departed.mark_unconfirmed(now + 3 * SECOND);
        assert_eq!([ANN, heard, long_ago].map(|user| departed.is_reported(user)), [false, true, true]);
        assert_eq!(departed.lost(|_| Contact { losses: 0, answered: None }, SECOND), [(ANN, 5 * SECOND)]);
    }
}
