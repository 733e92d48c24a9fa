//! The users who left this node lately: whether their going offline was reported.

use messenger_common::id::UserId;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Departures that are remembered; beyond it the oldest half is forgotten.
const REMEMBERED: usize = 100_000;
/// A sweep reports a departure within this time of the grace's end.
const REPORTED_WITHIN: Duration = Duration::from_secs(1);

/// When each of them left.
#[derive(Debug, Default)]
pub(super) struct Departed(HashMap<UserId, Instant>);

impl Departed {
    pub(super) fn insert(&mut self, user: UserId) {
        if self.0.len() >= REMEMBERED {
            let mut times: Vec<Instant> = self.0.values().copied().collect();
            let (_, median, _) = times.select_nth_unstable(REMEMBERED / 2);
            let median = *median;
            self.0.retain(|_, at| *at > median);
        }
        self.0.insert(user, Instant::now());
    }

    /// Whether the user left so long ago that it was reported.
    pub(super) fn is_reported(&self, user: UserId, grace: Duration) -> bool {
        self.0.get(&user).is_some_and(|at| at.elapsed() > grace + REPORTED_WITHIN)
    }
}
