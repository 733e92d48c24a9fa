//! Questions that are asked together, and sends that are committed together: by the rules of
//! `common/src/batcher.rs` and of the queue of sends, on simulated time.

use super::costs::MILLISECOND;
use std::collections::VecDeque;

/// Beside a batch that takes longer than this another one may begin.
const SLOW: u64 = 25 * MILLISECOND;

pub struct Batches<Q> {
    waiting: VecDeque<Q>,
    running: usize,
    next: u64,
    /// Questions of one batch, and batches that run at once, at most.
    most: usize,
    at_once: usize,
}

impl<Q> Batches<Q> {
    pub fn new(most: usize, at_once: usize) -> Self {
        Self { waiting: VecDeque::new(), running: 0, next: 0, most, at_once }
    }

    pub fn add(&mut self, question: Q) {
        self.waiting.push_back(question);
    }

    /// The next batch, if one may begin.
    pub fn begin(&mut self, now: u64) -> Option<Vec<Q>> {
        let has_room = self.running == 0 || (self.running < self.at_once && now >= self.next);
        if self.waiting.is_empty() || !has_room {
            return None;
        }
        self.running += 1;
        self.next = now + SLOW;
        let count = self.waiting.len().min(self.most);
        Some(self.waiting.drain(..count).collect())
    }

    /// When to look again, after a batch that ends then has begun.
    pub fn look_again(&self, ends: u64) -> Option<u64> {
        (ends > self.next && self.running < self.at_once).then_some(self.next)
    }

    pub fn ended(&mut self) {
        self.running -= 1;
    }
}
