//! Presence told at a bounded pace (G5).
//!
//! A thousand users who come at once to a chat of a thousand are a million frames, which nobody can read and which would delay the messages.
//! So a shard tells as many as its budget of a tick allows, at once while there is any, and keeps the rest in order. Only a user's newest
//! status is kept: who came and went meanwhile is told once, as what he is.

use super::Shard;
use crate::hub::StatusFrame;
use messenger_common::event::EventKind;
use messenger_common::id::{ChatId, UserId};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

/// Frames of presence that a shard gives to its connections in one tick (500 ms), in all: 20,000 a second.
const FRAMES_PER_TICK: u64 = 10_000;
/// Users whose status waits at most; beyond it the oldest is dropped: the endpoints know.
const WAITING: usize = 10_000;

/// In ticks.
const MINUTE: u32 = 120;

/// What is still to be told.
#[derive(Default)]
pub(super) struct Statuses {
    order: VecDeque<UserId>,
    newest: HashMap<UserId, (Arc<[StatusFrame]>, usize)>,
    /// Frames told since the last tick.
    spent: u64,
    /// When the newest change of a user was decided, of the last minute and the one before it.
    decided: [HashMap<UserId, i64>; 2],
    ticks: u32,
}

impl Statuses {
    /// Takes word of changes. Says how many were dropped for want of room.
    fn add(&mut self, changes: &Arc<[StatusFrame]>) -> u64 {
        let mut dropped = 0;
        for (at, change) in changes.iter().enumerate() {
            if self.is_outdated(change) {
                continue;
            }
            if self.newest.insert(change.user_id, (Arc::clone(changes), at)).is_some() {
                continue;
            }
            self.order.push_back(change.user_id);
            if self.order.len() > WAITING {
                self.next();
                dropped += 1;
            }
        }
        dropped
    }

    /// Whether a later decision about the user was heard before: those who decide tell in no order.
    fn is_outdated(&mut self, change: &StatusFrame) -> bool {
        let heard = self.decided.iter().find_map(|of| of.get(&change.user_id)).copied();
        let outdated = heard.is_some_and(|heard| change.decided_at_micros < heard);
        if !outdated {
            self.decided[0].insert(change.user_id, change.decided_at_micros);
        }
        outdated
    }

    /// A new tick, a new budget.
    fn tick(&mut self) {
        self.spent = 0;
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(MINUTE) {
            self.decided[1] = std::mem::take(&mut self.decided[0]);
        }
    }

    fn next(&mut self) -> Option<(Arc<[StatusFrame]>, usize)> {
        self.newest.remove(&self.order.pop_front()?)
    }

    /// Tells what the budget allows; `tell` says how many frames that took.
    fn spend(&mut self, mut tell: impl FnMut(&StatusFrame) -> u64) {
        while self.spent < FRAMES_PER_TICK
            && let Some((changes, at)) = self.next()
        {
            self.spent += tell(&changes[at]);
        }
    }
}

impl Shard {
    pub(super) fn on_statuses(&self, changes: &Arc<[StatusFrame]>) {
        let dropped = self.statuses.borrow_mut().add(changes);
        if dropped > 0 {
            tracing::warn!(shard = self.id, dropped, "too many users came or went at once; some were not told of");
        }
        self.tell_statuses();
    }

    pub(super) fn renew_status_budget(&self) {
        self.statuses.borrow_mut().tick();
        self.tell_statuses();
    }

    fn tell_statuses(&self) {
        self.in_one_batch(|| self.statuses.borrow_mut().spend(|change| self.tell_status(change)));
    }

    fn tell_status(&self, change: &StatusFrame) -> u64 {
        let stamp = self.status_stamp.get() + 1;
        self.status_stamp.set(stamp);
        let chats = self.chats.borrow();
        let mut told = 0;
        for feed in change.chats.iter().filter_map(|chat| chats.get(chat)) {
            for conn in feed.listeners().filter(|conn| conn.user_id != change.user_id) {
                if conn.status_stamp.replace(stamp) != stamp {
                    self.push_newest(conn, EventKind::UserStatus, ChatId(0), change.user_id, &change.frame);
                    told += 1;
                }
            }
        }
        self.hub.metrics.ws_deliveries(EventKind::UserStatus).inc_by(told);
        told
    }

    /// Gives a frame to a connection of which only the newest matters: at once, or with the batch.
    pub(super) fn push_newest(
        &self,
        conn: &Rc<crate::conn::Conn>,
        kind: EventKind,
        chat: ChatId,
        user: UserId,
        frame: &bytes::Bytes,
    ) {
        let now = !self.batching.get();
        conn.push_newest(kind, chat, user, frame, now);
        self.flush_later(conn, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn told(statuses: &mut Statuses, frames_each: u64) -> Vec<i64> {
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
        statuses.add(&changes([3, 1, 2]));
        assert_eq!(told(&mut statuses, 1000), [3, 1, 2]);
        assert_eq!(told(&mut statuses, 1000), [] as [i64; 0]);
    }

    #[test]
    fn a_budget_is_for_one_tick() {
        let mut statuses = Statuses::default();
        statuses.add(&changes(0..25));
        assert_eq!(told(&mut statuses, 1000), (0..10).collect::<Vec<_>>());
        statuses.add(&changes([25]));
        assert_eq!(told(&mut statuses, 1000), [] as [i64; 0], "spent");
        statuses.spent = 0;
        assert_eq!(told(&mut statuses, 1000), (10..20).collect::<Vec<_>>());
        statuses.spent = 0;
        assert_eq!(told(&mut statuses, 1000), (20..26).collect::<Vec<_>>());
    }

    #[test]
    fn whom_nobody_here_listens_to_costs_nothing() {
        let mut statuses = Statuses::default();
        statuses.add(&changes(0..5000));
        assert_eq!(told(&mut statuses, 0).len(), 5000);
    }

    #[test]
    fn only_the_newest_of_a_user_waits_in_his_first_place() {
        let mut statuses = Statuses { spent: FRAMES_PER_TICK, ..Statuses::default() };
        statuses.add(&changes([1, 2]));
        let newer = changes([3, 1]);
        statuses.add(&newer);
        let (kept, at) = statuses.next().expect("the first");
        assert!(Arc::ptr_eq(&kept, &newer) && at == 1);
        statuses.spent = 0;
        assert_eq!(told(&mut statuses, 1), [2, 3]);
    }

    #[test]
    fn an_older_decision_that_comes_later_is_not_told() {
        let mut statuses = Statuses::default();
        statuses.add(&decided([(1, 10), (2, 10)]));
        statuses.add(&decided([(1, 9), (2, 11)]));
        assert_eq!(told(&mut statuses, 1), [1, 2]);
        (0..MINUTE).for_each(|_| statuses.tick());
        statuses.add(&decided([(1, 9)]));
        assert_eq!(told(&mut statuses, 1), [] as [i64; 0], "remembered for a minute at least");
        (0..2 * MINUTE).for_each(|_| statuses.tick());
        statuses.add(&decided([(1, 9)]));
        assert_eq!(told(&mut statuses, 1), [1], "and not for ever");
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut statuses = Statuses { spent: FRAMES_PER_TICK, ..Statuses::default() };
        let most = i64::try_from(WAITING).expect("small");
        assert_eq!(statuses.add(&changes(0..most)), 0);
        assert_eq!(statuses.add(&changes([most, most + 1])), 2);
        assert_eq!((statuses.order.len(), statuses.newest.len()), (WAITING, WAITING));
        assert_eq!(statuses.order.front(), Some(&UserId(2)), "the oldest went");
    }
}
