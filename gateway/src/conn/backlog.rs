//! What waits for the sockets of a shard, in all: it is bounded too, for an address may hold many
//! connections and read none of them (G9).
//!
//! Each may hold a part of what all have left, as a switch shares its memory out (Choudhury and
//! Hahne, "Dynamic queue length thresholds for shared-memory packet switches", IEEE/ACM
//! Transactions on Networking 6(2), 1998). One that gets less is only behind sooner: its
//! subscriptions go on from the log.

use messenger_common::config::Limits;
use messenger_common::metrics::IntGauge;
use std::cell::Cell;
use std::rc::Rc;

/// Bytes that wait on a gateway at most, but for what each connection may hold in any case. A frame
/// that many share counts for each of them.
const MOST: usize = 128 << 20;
/// The same in full queues, where one may hold much.
const MOST_QUEUES: usize = 16;
/// A connection may hold this part of what is left.
const PART: usize = 8;
/// What each may hold whatever the others do. A catch-up by less would read the log too often.
const LEAST: usize = 64 << 10;
/// The same in the longest messages: with one of them half of it must not be full.
const LEAST_MESSAGES: usize = 4;
const BYTES_PER_CHAR: usize = 4;

/// See the module.
#[derive(Debug)]
pub(crate) struct Backlog {
    bytes: Cell<usize>,
    most: usize,
    least: usize,
    each: usize,
    /// What was told of it last.
    told: Cell<i64>,
}

impl Backlog {
    /// That of one of so many shards.
    pub(crate) fn of_shard(limits: &Limits, shards: usize) -> Self {
        let each = limits.max_send_queue_bytes;
        let most = MOST.max(each.saturating_mul(MOST_QUEUES)) / shards.max(1);
        let messages = limits.max_message_chars.saturating_mul(LEAST_MESSAGES * BYTES_PER_CHAR);
        // Who is alone has all that one may have, on a thread of many too.
        Self::new(most.max(each.saturating_mul(PART)), LEAST.max(messages), each)
    }

    pub(super) fn new(most: usize, least: usize, each: usize) -> Self {
        Self { bytes: Cell::new(0), most, least: least.min(each), each, told: Cell::new(0) }
    }

    /// Brings a gauge that several shards share up to date.
    pub(crate) fn tell(&self, gauge: &IntGauge) {
        let bytes = i64::try_from(self.bytes.get()).unwrap_or(i64::MAX);
        gauge.add(bytes - self.told.replace(bytes));
    }

    fn most_of_one(&self) -> usize {
        let left = self.most.saturating_sub(self.bytes.get());
        (left / PART).clamp(self.least, self.each)
    }
}

/// What waits for one connection.
#[derive(Debug)]
pub(super) struct Queued {
    bytes: Cell<usize>,
    of: Rc<Backlog>,
}

impl Queued {
    pub(super) fn of(backlog: Rc<Backlog>) -> Self {
        Self { bytes: Cell::new(0), of: backlog }
    }

    pub(super) fn get(&self) -> usize {
        self.bytes.get()
    }

    pub(super) fn set(&self, bytes: usize) {
        let before = self.bytes.replace(bytes);
        self.of.bytes.set(self.of.bytes.get() - before + bytes);
    }

    /// How many may wait now.
    pub(super) fn most(&self) -> usize {
        self.of.most_of_one()
    }

    /// How many may wait where the others hold little.
    pub(super) fn most_alone(&self) -> usize {
        self.of.each
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_that_do_not_read_share_what_there_is() {
        let backlog = Rc::new(Backlog::of_shard(&Limits::default(), 2));
        let queues: Vec<_> = (0..2000).map(|_| Queued::of(Rc::clone(&backlog))).collect();
        assert_eq!(queues[0].most(), 1 << 20, "who is alone has all that one may have");
        for _ in 0..100 {
            queues.iter().filter(|queue| queue.get() < queue.most()).for_each(|queue| queue.set(queue.get() + 4096));
        }
        let least = queues.iter().map(Queued::get).min();
        assert!(
            least >= Some(LEAST) && backlog.bytes.get() <= 2000 * LEAST,
            "{least:?}, {} in all",
            backlog.bytes.get()
        );
        drop(queues);
        assert_eq!(backlog.bytes.get(), 0);
    }

    #[test]
    fn what_is_left_is_shared_out() {
        let backlog = Rc::new(Backlog::new(16 << 20, LEAST, 1 << 20));
        let queues: Vec<_> = (0..20).map(|_| Queued::of(Rc::clone(&backlog))).collect();
        for _ in 0..2000 {
            queues.iter().filter(|queue| queue.get() < queue.most()).for_each(|queue| queue.set(queue.get() + 1024));
        }
        assert!(backlog.bytes.get() < 16 << 20, "{} wait", backlog.bytes.get());
        queues[0].set(0);
        assert!(queues[0].most() > 256 << 10, "one that reads goes on");
    }

    #[test]
    fn who_is_alone_has_what_one_may_have() {
        for (each, shards) in [(1024, 2), (1 << 20, 1), (1 << 20, 64), (8 << 20, 8), (1 << 30, 64)] {
            let limits = Limits { max_send_queue_bytes: each, ..Limits::default() };
            assert_eq!(Backlog::of_shard(&limits, shards).most_of_one(), each, "{shards} shards");
        }
    }

    #[test]
    fn a_long_message_does_not_fill_half_of_the_least() {
        let limits = Limits { max_message_chars: 1 << 16, ..Limits::default() };
        let (backlog, longest) = (Rc::new(Backlog::of_shard(&limits, 2)), limits.max_message_chars * BYTES_PER_CHAR);
        let others = Queued::of(Rc::clone(&backlog));
        others.set(1 << 30);
        assert!(backlog.most_of_one() / 2 > longest && backlog.most_of_one() <= limits.max_send_queue_bytes);
    }
}
