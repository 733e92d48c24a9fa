//! Presence delivered at a bounded pace (G5): only a user's newest status waits, and of two
//! decisions about a user the later one holds.

use super::Shard;
use crate::decisions::Decisions;
use crate::feed::Reader;
use crate::inbox::StatusFrame;
use crate::paced::Paced;
use messenger_common::event::EventKind;
use messenger_common::id::{ChatId, UserId};
use std::sync::Arc;
use std::time::Instant;

/// How many ticks a decision is remembered at least: a minute.
const TICKS_REMEMBERED: u32 = 120;

/// Users whose status waits at most: as many as presence remembers the publications of, so that a
/// shard has room for all that it reads again. Each is some 70 bytes of the shard's, and 300 that
/// all shards share.
const STATUSES_WAITING: usize = 150_000;

/// The changes still to be delivered.
pub(super) struct Statuses {
    paced: Paced<UserId, (Arc<[StatusFrame]>, usize)>,
    decisions: Decisions,
    ticks: u32,
    /// Since when some wait.
    busy_since: Option<Instant>,
    /// Whether some of these were dropped for want of room.
    dropped: bool,
}

impl Default for Statuses {
    fn default() -> Self {
        Self {
            paced: Paced::of(STATUSES_WAITING),
            decisions: Decisions::default(),
            ticks: 0,
            busy_since: None,
            dropped: false,
        }
    }
}

impl Statuses {
    /// Takes changes; of those that concern nobody here it remembers the decision. Returns how many
    /// were dropped for want of room: they are read again later, as if they had not come.
    fn add(&mut self, changes: &Arc<[StatusFrame]>, concerns: impl Fn(&StatusFrame) -> bool) -> u64 {
        let mut dropped = 0;
        self.busy_since.get_or_insert_with(Instant::now);
        for (at, change) in changes.iter().enumerate() {
            if !self.decisions.is_outdated(change.user_id, change.decided_at_micros)
                && concerns(change)
                && let Some((of, at)) = self.paced.add(change.user_id, (Arc::clone(changes), at))
            {
                self.decisions.forget(of[at].user_id);
                (self.dropped, dropped) = (true, dropped + 1);
            }
        }
        dropped
    }

    /// Since when some were dropped, once all others are delivered.
    fn take_dropped(&mut self) -> Option<Instant> {
        if !self.paced.is_empty() {
            return None;
        }
        let since = self.busy_since.take();
        since.filter(|_| std::mem::take(&mut self.dropped))
    }

    /// A new tick, a new budget. While the bus is down the present period goes on: what was
    /// published meanwhile, and before, is read again once the bus is back.
    fn tick(&mut self, bus_up: bool) {
        self.paced.renew();
        if !bus_up {
            return;
        }
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(TICKS_REMEMBERED) {
            self.decisions.begin_period();
        }
    }

    /// Delivers what the budget allows; `deliver` returns how many frames that took.
    fn spend(&mut self, mut deliver: impl FnMut(&StatusFrame) -> u64) {
        self.paced.spend(|_, (changes, at)| deliver(&changes[*at]));
    }
}

impl Shard {
    pub(super) fn on_statuses(&self, changes: &Arc<[StatusFrame]>) {
        let dropped = {
            let chats = self.chats.borrow();
            let is_followed = |change: &StatusFrame| change.chats.iter().any(|chat| chats.contains_key(chat));
            self.statuses.borrow_mut().add(changes, is_followed)
        };
        if dropped > 0 {
            tracing::warn!(
                shard = self.id,
                dropped,
                "too many users came or went at once; some statuses are delivered later"
            );
        }
        self.deliver_statuses();
    }

    /// Goes on with the statuses that wait, at each tick.
    pub(crate) fn renew_status_budget(&self) {
        let bus_up = *self.hub.bus.up().borrow();
        self.statuses.borrow_mut().tick(bus_up);
        self.deliver_statuses();
    }

    fn deliver_statuses(&self) {
        self.batch.run(|| self.statuses.borrow_mut().spend(|change| self.deliver_status(change)));
        if let Some(since) = self.statuses.borrow_mut().take_dropped() {
            self.hub.dropped_statuses(since);
        }
    }

    fn deliver_status(&self, change: &StatusFrame) -> u64 {
        let stamp = self.status_stamp.get() + 1;
        self.status_stamp.set(stamp);
        let (chats, subject) = (self.chats.borrow(), (EventKind::UserStatus, ChatId(0), change.user_id));
        let mut delivered = 0;
        for followed in change.chats.iter().filter_map(|chat| chats.get(chat)) {
            for reader in followed.feed.listeners().filter(|reader| reader.user() != change.user_id) {
                if reader.conn.status_stamp.replace(stamp) != stamp {
                    reader.conn.deliver_newest(subject, &change.frame);
                    delivered += 1;
                }
            }
        }
        self.hub.ctx.metrics.ws_deliveries(EventKind::UserStatus).inc_by(delivered);
        delivered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paced::FRAMES_PER_TICK;

    fn changes(users: impl IntoIterator<Item = i64>) -> Arc<[StatusFrame]> {
        decided(users.into_iter().map(|user| (user, 1)))
    }

    fn decided(users: impl IntoIterator<Item = (i64, i64)>) -> Arc<[StatusFrame]> {
        let change = |(user, decided_at_micros)| StatusFrame {
            user_id: UserId(user),
            decided_at_micros,
            chats: Vec::new(),
            frame: bytes::Bytes::new(),
        };
        users.into_iter().map(change).collect()
    }

    fn sent(statuses: &mut Statuses, frames_each: u64) -> Vec<i64> {
        let mut users = Vec::new();
        statuses.spend(|change| {
            users.push(change.user_id.0);
            frames_each
        });
        users
    }

    #[test]
    fn few_are_told_at_once() {
        let mut statuses = Statuses::default();
        statuses.add(&changes([3, 1, 2]), |_| true);
        assert_eq!(sent(&mut statuses, 1000), [3, 1, 2]);
        assert_eq!(sent(&mut statuses, 1000), [] as [i64; 0]);
    }

    #[test]
    fn a_budget_is_for_one_tick() {
        let mut statuses = Statuses::default();
        statuses.add(&changes(0..25), |_| true);
        assert_eq!(sent(&mut statuses, 1000), (0..10).collect::<Vec<_>>());
        statuses.add(&changes([25]), |_| true);
        assert_eq!(sent(&mut statuses, 1000), [] as [i64; 0], "spent");
        statuses.paced.renew();
        assert_eq!(sent(&mut statuses, 1000), (10..20).collect::<Vec<_>>());
        statuses.paced.renew();
        assert_eq!(sent(&mut statuses, 1000), (20..26).collect::<Vec<_>>());
    }

    #[test]
    fn whom_nobody_here_listens_to_costs_nothing() {
        let mut statuses = Statuses::default();
        statuses.add(&changes(0..5000), |_| true);
        assert_eq!(sent(&mut statuses, 0).len(), 5000);
    }

    #[test]
    fn only_the_newest_of_a_user_waits_in_his_first_place() {
        let mut statuses = exhausted();
        statuses.add(&changes([1, 2]), |_| true);
        let newer = decided([(3, 2), (1, 2)]);
        statuses.add(&newer, |_| true);
        let (kept, at) = statuses.paced.take_first().expect("the first");
        assert!(Arc::ptr_eq(&kept, &newer) && at == 1);
        statuses.paced.renew();
        assert_eq!(sent(&mut statuses, 1), [2, 3]);
    }

    #[test]
    fn an_older_decision_that_comes_later_is_not_told() {
        let mut statuses = Statuses::default();
        statuses.add(&decided([(1, 10), (2, 10)]), |_| true);
        statuses.add(&decided([(1, 9), (2, 11)]), |_| true);
        statuses.add(&decided([(1, 10), (2, 11)]), |_| true);
        assert_eq!(sent(&mut statuses, 1), [1, 2]);
        (0..TICKS_REMEMBERED).for_each(|_| statuses.tick(true));
        statuses.add(&decided([(1, 9)]), |_| true);
        assert_eq!(sent(&mut statuses, 1), [] as [i64; 0], "remembered for a minute at least");
        (0..2 * TICKS_REMEMBERED).for_each(|_| statuses.tick(true));
        statuses.add(&decided([(1, 9)]), |_| true);
        assert_eq!(sent(&mut statuses, 1), [1], "and not for ever");
    }

    #[test]
    fn what_is_read_again_after_a_long_outage_is_not_told_twice() {
        let mut statuses = Statuses::default();
        statuses.add(&decided([(1, 10)]), |_| true);
        assert_eq!(sent(&mut statuses, 1), [1]);
        (0..5 * TICKS_REMEMBERED).for_each(|_| statuses.tick(false));
        (0..TICKS_REMEMBERED).for_each(|_| statuses.tick(true));
        statuses.add(&decided([(1, 10)]), |_| true);
        assert_eq!(sent(&mut statuses, 1), [] as [i64; 0]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut statuses = exhausted();
        let most = i64::try_from(STATUSES_WAITING).expect("small");
        assert_eq!(statuses.add(&changes(0..most), |_| true), 0);
        assert_eq!(statuses.add(&changes([most, most + 1]), |_| true), 2);
        assert_eq!(statuses.paced.len(), STATUSES_WAITING);
        statuses.paced.renew();
        assert_eq!(sent(&mut statuses, FRAMES_PER_TICK), [2], "the oldest went");
    }

    #[test]
    fn what_was_dropped_is_read_again_once_the_others_are_delivered() {
        let mut statuses = exhausted();
        let (begun, most) = (Instant::now(), i64::try_from(STATUSES_WAITING).expect("small"));
        statuses.add(&changes(0..=most), |_| true);
        assert_eq!(statuses.take_dropped(), None, "the others wait still");
        statuses.paced.renew();
        assert_eq!(sent(&mut statuses, 0).len(), STATUSES_WAITING);
        assert!(statuses.take_dropped().is_some_and(|since| since >= begun));
        assert_eq!(statuses.take_dropped(), None);
        // The one that was dropped is read again, with those that were delivered.
        statuses.add(&changes(0..=most), |_| true);
        assert_eq!(sent(&mut statuses, 1), [0]);
        assert_eq!(statuses.take_dropped(), None, "nothing was dropped since");
    }

    fn exhausted() -> Statuses {
        Statuses { paced: Paced::exhausted(STATUSES_WAITING), ..Statuses::default() }
    }

    #[test]
    fn what_concerns_nobody_here_takes_no_place() {
        let mut statuses = exhausted();
        let most = i64::try_from(STATUSES_WAITING).expect("small");
        statuses.add(&changes([1]), |_| true);
        assert_eq!(statuses.add(&changes(2..most + 2), |_| false), 0);
        assert_eq!(statuses.paced.len(), 1);
        statuses.add(&changes([2]), |_| true);
        assert_eq!(statuses.paced.len(), 1, "decided before");
    }
}
