//! One clock for all threads and processes of the load, so that a moment written into a message
//! can be compared where it is read.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Digits of a moment in a message's text.
pub const STAMP: usize = 19;

/// Nanoseconds of the machine's monotonic clock.
pub fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| nanos(time.into()))
}

/// A duration in nanoseconds.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A moment as it stands in a text.
pub fn stamp(moment: u64) -> String {
    format!("{moment:0STAMP$}")
}
