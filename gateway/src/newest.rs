//! A queue of which only the newest value of each key matters: bounded, in the order in which the
//! keys came.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Keeps the newest value of each key in its first place. Beyond `most` keys the oldest is
/// dropped.
#[derive(Debug)]
pub(crate) struct NewestByKey<K, V> {
    order: VecDeque<K>,
    newest: HashMap<K, V>,
    most: usize,
}

impl<K: Copy + Eq + Hash, V> NewestByKey<K, V> {
    /// An empty queue; it allocates with its first value.
    pub(crate) fn new(most: usize) -> Self {
        Self { order: VecDeque::new(), newest: HashMap::new(), most }
    }

    /// Keeps a value in place of the key's former one, or behind all others. Returns the oldest
    /// where it found no room.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.newest.insert(key, value).is_some() {
            return None;
        }
        self.order.push_back(key);
        (self.order.len() > self.most).then(|| self.pop()).flatten().map(|(_, oldest)| oldest)
    }

    /// The value that waits under a key.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.newest.get(key)
    }

    /// Takes the oldest key with its value.
    pub(crate) fn pop(&mut self) -> Option<(K, V)> {
        let key = self.order.pop_front()?;
        self.newest.remove(&key).map(|value| (key, value))
    }

    /// Puts back what [`Self::pop`] took, in front.
    pub(crate) fn unpop(&mut self, key: K, value: V) {
        if self.newest.insert(key, value).is_none() {
            self.order.push_front(key);
        }
    }

    /// Drops what waits under a key.
    pub(crate) fn remove(&mut self, key: &K) {
        if self.newest.remove(key).is_some() {
            self.order.retain(|other| other != key);
        }
    }

    /// Drops what waits under all other keys than these.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(&K) -> bool) {
        self.newest.retain(|key, _| is_kept(key));
        self.order.retain(is_kept);
    }

    /// How many keys wait.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(queue: &mut NewestByKey<u8, char>) -> Vec<(u8, char)> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn the_newest_value_waits_in_the_first_place_of_its_key() {
        let mut queue = NewestByKey::new(8);
        for (key, value) in [(1, 'a'), (2, 'b'), (1, 'c')] {
            assert_eq!(queue.insert(key, value), None);
        }
        assert_eq!(queue.get(&1), Some(&'c'));
        assert_eq!(all(&mut queue), [(1, 'c'), (2, 'b')]);
        assert!(queue.is_empty());
    }

    #[test]
    fn beyond_its_bound_the_oldest_goes() {
        let mut queue = NewestByKey::new(2);
        assert_eq!([queue.insert(1, 'a'), queue.insert(2, 'b'), queue.insert(3, 'c')], [None, None, Some('a')]);
        assert_eq!((queue.len(), queue.newest.len()), (2, 2));
        assert_eq!(queue.insert(2, 'd'), None, "a key that waits needs no room");
        assert_eq!(all(&mut queue), [(2, 'd'), (3, 'c')]);
    }

    #[test]
    fn what_is_removed_or_put_back_keeps_the_order() {
        let mut queue = NewestByKey::new(8);
        for key in 1..=3 {
            queue.insert(key, 'a');
        }
        queue.remove(&2);
        queue.remove(&9);
        let (key, value) = queue.pop().expect("the first");
        queue.unpop(key, value);
        assert_eq!(all(&mut queue), [(1, 'a'), (3, 'a')]);
    }
}
