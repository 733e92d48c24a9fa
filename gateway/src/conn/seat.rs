//! A connection's seat among those of its user on this node. Other shards' threads look at it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// See the module.
#[derive(Debug)]
pub(crate) struct Seat {
    /// The shard that has the connection, and the connection's id.
    pub(crate) shard: usize,
    pub(crate) conn: u64,
    /// When the connection came: milliseconds of the node.
    pub(crate) opened: u64,
    /// When something was last read, the same.
    last_read: AtomicU64,
    left: AtomicBool,
    released: AtomicBool,
}

impl Seat {
    pub(crate) fn new(shard: usize, conn: u64, now: u64) -> Self {
        Self {
            shard,
            conn,
            opened: now,
            last_read: AtomicU64::new(now),
            left: AtomicBool::default(),
            released: AtomicBool::default(),
        }
    }

    pub(crate) fn last_read(&self) -> u64 {
        self.last_read.load(Ordering::Relaxed)
    }

    pub(crate) fn read_at(&self, now: u64) {
        self.last_read.store(now, Ordering::Relaxed);
    }

    /// Whether the connection counts. One that closes does not.
    pub(crate) fn is_taken(&self) -> bool {
        !self.left.load(Ordering::Relaxed)
    }

    pub(crate) fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// Whether its client was told to come back to another node.
    pub(crate) fn is_released(&self) -> bool {
        self.released.load(Ordering::Relaxed)
    }

    pub(crate) fn release(&self) {
        self.released.store(true, Ordering::Relaxed);
    }
}
