//! Frames that matter to everybody in a chat only while they are new, delivered at a bounded pace:
//! a thousand members who read one message are a million frames.
//!
//! As many as the budget of a tick allows are delivered at once; the rest waits, in order. Only
//! the newest value of a key is kept: several changes meanwhile are delivered once, as the last
//! one.

use crate::newest::NewestByKey;
use std::hash::Hash;

/// Frames that one kind of change gives to a shard's connections in one tick (500 ms), in all:
/// 20,000 a second.
pub(crate) const FRAMES_PER_TICK: u64 = 10_000;
/// Keys that wait at most, where nothing else is said; beyond it the oldest is dropped.
const KEYS_WAITING: usize = 10_000;

/// The changes that wait, and what is left of the budget.
#[derive(Debug)]
pub(crate) struct Paced<K, V> {
    waiting: NewestByKey<K, V>,
    /// Frames delivered since the last tick.
    spent: u64,
}

impl<K: Copy + Eq + Hash, V> Default for Paced<K, V> {
    fn default() -> Self {
        Self::of(KEYS_WAITING)
    }
}

impl<K: Copy + Eq + Hash, V> Paced<K, V> {
    /// One in which so many keys may wait.
    pub(crate) fn of(most: usize) -> Self {
        Self { waiting: NewestByKey::new(most), spent: 0 }
    }

    /// Takes a change. Returns the one that was dropped for want of room.
    pub(crate) fn add(&mut self, key: K, value: V) -> Option<V> {
        self.waiting.insert(key, value)
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A new tick, a new budget.
    pub(crate) fn renew(&mut self) {
        self.spent = 0;
    }

    /// Delivers what the budget allows; `deliver` returns how many frames that took.
    pub(crate) fn spend(&mut self, mut deliver: impl FnMut(K, &V) -> u64) {
        while self.spent < FRAMES_PER_TICK
            && let Some((key, value)) = self.waiting.pop()
        {
            self.spent += deliver(key, &value);
        }
    }
}

#[cfg(test)]
impl<K: Copy + Eq + Hash, V> Paced<K, V> {
    /// One that has spent its budget.
    pub(crate) fn exhausted(most: usize) -> Self {
        Self { spent: FRAMES_PER_TICK, ..Self::of(most) }
    }

    /// How many keys wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the first of them.
    pub(crate) fn take_first(&mut self) -> Option<V> {
        self.waiting.pop().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(paced: &mut Paced<u64, char>, frames_each: u64) -> Vec<(u64, char)> {
        let mut all = Vec::new();
        paced.spend(|key, value| {
            all.push((key, *value));
            frames_each
        });
        all
    }

    #[test]
    fn few_are_delivered_at_once_in_their_order() {
        let mut paced = Paced::default();
        for key in [3, 1, 2] {
            assert_eq!(paced.add(key, 'a'), None);
        }
        assert_eq!(delivered(&mut paced, 1000), [(3, 'a'), (1, 'a'), (2, 'a')]);
        assert_eq!(delivered(&mut paced, 1000), []);
    }

    #[test]
    fn a_budget_is_for_one_tick_and_the_newest_value_waits() {
        let mut paced = Paced::default();
        assert!((0..12).all(|key| paced.add(key, 'a').is_none()));
        assert_eq!(delivered(&mut paced, 1000).len(), 10);
        paced.add(11, 'b');
        assert_eq!(delivered(&mut paced, 1000), [], "spent");
        paced.renew();
        assert_eq!(delivered(&mut paced, 1000), [(10, 'a'), (11, 'b')]);
    }

    #[test]
    fn a_change_without_listeners_costs_nothing() {
        let mut paced = Paced::default();
        assert!((0..5000).all(|key| paced.add(key, 'a').is_none()));
        assert_eq!(delivered(&mut paced, 0).len(), 5000);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut paced = Paced::exhausted(KEYS_WAITING);
        assert!((0..KEYS_WAITING as u64).all(|key| paced.add(key, 'a').is_none()));
        assert_eq!(paced.add(KEYS_WAITING as u64, 'b'), Some('a'));
        assert_eq!(paced.len(), KEYS_WAITING);
    }
}
