//! What is remembered of each subject of a limit, in this process.
//!
//! Bounded: over [`CAPACITY`] subjects it forgets those whose time is over. If that is not enough,
//! it forgets all of a shard.

use super::Limit;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Subjects that are remembered.
const CAPACITY: usize = 1 << 20;
const SHARDS: usize = 16;

type Key = (&'static str, Box<str>);

/// What is remembered for a time.
pub(super) trait Passing: Default {
    /// Whether it says nothing more at `now`.
    fn is_over(&self, now: Duration) -> bool;
}

/// A value for each limit and subject.
pub(super) struct Subjects<V> {
    hasher: RandomState,
    shards: [Mutex<HashMap<Key, V>>; SHARDS],
}

impl<V: Passing> Subjects<V> {
    /// Nothing remembered yet.
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), shards: std::array::from_fn(|_| Mutex::default()) }
    }

    fn shard(&self, key: &Key) -> &Mutex<HashMap<Key, V>> {
        // The low bits of the hash; the map below hashes with another key.
        let shard = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or_default();
        &self.shards[shard]
    }

    /// Works with a subject's value, in one step; a new one where none is remembered.
    pub(super) fn with<T>(&self, limit: &Limit, subject: &str, now: Duration, work: impl FnOnce(&mut V) -> T) -> T {
        let key = (limit.name, Box::<str>::from(subject));
        let mut values = self.shard(&key).lock();
        if values.len() >= CAPACITY / SHARDS && !values.contains_key(&key) {
            values.retain(|_, value| !value.is_over(now));
            if values.len() >= CAPACITY / SHARDS {
                tracing::warn!(limit.name = limit.name, "too many subjects to count; some counts start again");
                values.clear();
            }
        }
        work(values.entry(key).or_default())
    }

    /// The same, for a subject that is remembered.
    pub(super) fn with_known<T>(&self, limit: &Limit, subject: &str, work: impl FnOnce(&mut V) -> T) -> Option<T> {
        let key = (limit.name, Box::<str>::from(subject));
        self.shard(&key).lock().get_mut(&key).map(work)
    }
}
