//! Where the outbox begins. Rows that were deleted since the oldest open snapshot (a dump, a
//! report) can be neither vacuumed nor skipped: a claim from the lowest id would read them all,
//! several times a second on each node.
//!
//! Once a minute one look reads all of it. An id that was given a minute before belongs to a
//! transaction that has ended since: what that look does not find of those is gone for good.

use super::connection::ServerConnection;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

const LOOK_EVERY: Duration = Duration::from_mins(1);

/// The lowest id of the outbox that may still be there.
#[derive(Debug, Default)]
pub(super) struct LowWater(Mutex<State>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    low: i64,
    /// The newest id that was given at the last look.
    given: i64,
    /// When that was, and how often connections had been lost.
    looked: Option<(Instant, u64)>,
}

impl State {
    /// Notes a look: the lowest id, if any, and the newest that was given.
    fn after(self, lowest: Option<i64>, given: i64, now: Instant, losses: u64) -> Self {
        let same = self.looked.is_some_and(|(_, before)| before == losses) && given >= self.given;
        // Another server may know less, and give ids anew.
        let low = if same { lowest.unwrap_or(i64::MAX).min(self.given + 1) } else { 0 };
        Self { low, given, looked: Some((now, losses)) }
    }
}

impl LowWater {
    /// The lowest id; looks anew where the last look is old, or from before connections were lost.
    pub(super) async fn get(&self, connection: &mut ServerConnection, losses: u64) -> Result<i64, sqlx::Error> {
        let (state, now) = (*self.0.lock(), Instant::now());
        let stands = |(at, before): (Instant, u64)| before == losses && now.duration_since(at) < LOOK_EVERY;
        if state.looked.is_some_and(stands) {
            return Ok(state.low);
        }
        let (given, lowest): (i64, Option<i64>) = sqlx::query_as(
            "select (select last_value - (not is_called)::int from outbox_id_seq), (select min(id) from outbox)",
        )
        .fetch_one(connection)
        .await?;
        let state = state.after(lowest, given, now, losses);
        *self.0.lock() = state;
        Ok(state.low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_to_what_a_look_finds_and_never_past_what_may_be_under_way() {
        let now = Instant::now();
        let first = State::default().after(Some(7), 9, now, 0);
        assert_eq!(first.low, 0, "ids up to 9 may belong to transactions under way");
        let second = first.after(Some(8), 20, now, 0);
        assert_eq!(second.low, 8);
        let third = second.after(None, 50, now, 0);
        assert_eq!(third.low, 21, "all that was given before has ended and is gone");
        assert_eq!(third.after(Some(70), 90, now, 0).low, 51);
    }

    #[test]
    fn it_begins_anew_where_the_server_may_be_another() {
        let now = Instant::now();
        let state = State::default().after(Some(7), 9, now, 0).after(Some(8), 20, now, 0);
        assert_eq!(state.after(Some(5), 30, now, 1).low, 0, "connections were lost");
        assert_eq!(state.after(Some(5), 10, now, 0).low, 0, "ids are given anew");
    }
}
