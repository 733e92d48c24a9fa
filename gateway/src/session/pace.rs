//! How fast the frames of a connection are taken, of whatever kind they are. A client over the
//! rate is not read from until its turn: its own TCP window slows it, and it costs others
//! nothing (G9).

use std::time::Duration;

/// A long frame counts once more for each of these bytes: parsing it is the work.
const BYTES_PER_UNIT: usize = 4096;
/// A frame counts as so many at most, so that no pause is long enough to look like silence.
const MAX_UNITS: usize = 64;
/// Frames above the rate that are taken at once, after a rest.
const BURST: Duration = Duration::from_secs(1);
/// How far the debt falls before the connection is read again: one timer for many frames.
const RELIEF: Duration = Duration::from_millis(100);

/// The generic cell rate algorithm (ITU-T I.371) over one connection's frames.
#[derive(Debug)]
pub(super) struct FramePace {
    /// The time that one frame takes at the rate, microseconds; 0: no limit.
    interval: u64,
    /// When all frames so far would have been due at the rate: microseconds of the shard.
    arrival: u64,
}

impl FramePace {
    /// `per_second`: `RATE_FRAMES_PER_SECOND`; `None`: no limit.
    pub(super) fn new(per_second: Option<u32>) -> Self {
        Self { interval: per_second.map_or(0, |rate| 1_000_000 / u64::from(rate.clamp(1, 1_000_000))), arrival: 0 }
    }

    /// Counts a frame of so many bytes at `now`, milliseconds of the shard.
    pub(super) fn count(&mut self, bytes: usize, now: u64) {
        let units = (1 + bytes / BYTES_PER_UNIT).min(MAX_UNITS) as u64;
        self.arrival = self.arrival.max(now * 1000) + self.interval * units;
    }

    /// How long nothing is to be read; `None`: the client is within its rate.
    pub(super) fn pause(&self, now: u64) -> Option<Duration> {
        let debt = Duration::from_micros(self.arrival.saturating_sub(now * 1000));
        (debt > BURST).then(|| debt - BURST + RELIEF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_a_second_then_the_rate() {
        let mut pace = FramePace::new(Some(200));
        for _ in 0..200 {
            pace.count(8, 5_000);
            assert_eq!(pace.pause(5_000), None);
        }
        pace.count(8, 5_000);
        assert_eq!(pace.pause(5_000), Some(Duration::from_millis(105)));
        assert_eq!(pace.pause(5_005), None, "one interval later the last one is within the rate");
    }

    #[test]
    fn the_rate_itself_is_never_paused() {
        let mut pace = FramePace::new(Some(200));
        for frame in 0..2_000 {
            pace.count(100, 1_000 + frame * 5);
            assert_eq!(pace.pause(1_000 + frame * 5), None, "frame {frame}");
        }
    }

    #[test]
    fn a_long_frame_counts_by_its_length() {
        let mut pace = FramePace::new(Some(200));
        (0..11).for_each(|_| pace.count(65_536, 0));
        assert_eq!(pace.pause(0), None);
        pace.count(65_536, 0);
        assert!(pace.pause(0).is_some());
    }

    #[test]
    fn without_a_rate_nothing_is_paused() {
        let mut pace = FramePace::new(None);
        (0..100_000).for_each(|_| pace.count(65_536, 0));
        assert_eq!(pace.pause(0), None);
    }
}
