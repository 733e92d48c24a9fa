//! The numbers of a chat that were delivered as notices: they come in any order and may come twice.

use messenger_common::id::Seq;

/// Numbers that are remembered one by one.
const NEAR: i64 = 64;
/// Ranges further back that are remembered. With the next one a vector of them is full.
const RANGES: usize = 7;
/// Beyond that the smallest but for the newest ones counts as delivered: edits and reactions leave
/// small ranges that are no outage's.
const NEWEST: usize = 4;

/// See the module. At first none was delivered.
#[derive(Clone, Debug)]
pub(super) struct Delivered {
    newest: i64,
    /// Bit `n` stands for `newest - n`.
    near: u64,
    /// Ranges further back that were not delivered, rising: the first number of each and its last.
    /// After an outage of the bus the newest come before those that are read again.
    missing: Vec<(i64, i64)>,
}

impl Default for Delivered {
    fn default() -> Self {
        Self { newest: 0, near: u64::MAX, missing: Vec::new() }
    }
}

impl Delivered {
    /// Whether this number is new; from now on it is not.
    pub(super) fn is_news(&mut self, Seq(seq): Seq) -> bool {
        if seq > self.newest {
            self.move_on(seq);
            return true;
        }
        let Some(bit) = u32::try_from(self.newest - seq).ok().and_then(|back| 1_u64.checked_shl(back)) else {
            return self.take_missing(seq);
        };
        let news = self.near & bit == 0;
        self.near |= bit;
        news
    }

    /// Another number is the newest: those that are no longer near are remembered by range.
    fn move_on(&mut self, seq: i64) {
        let leave = seq - NEAR;
        for back in (0..NEAR).rev() {
            let number = self.newest - back;
            if number <= leave && self.near >> back & 1 == 0 {
                self.add_missing(number, number);
            }
        }
        if self.newest < leave {
            self.add_missing(self.newest + 1, leave);
        }
        let by = u32::try_from(seq - self.newest).unwrap_or(u32::MAX);
        self.near = self.near.checked_shl(by).unwrap_or(0) | 1;
        self.newest = seq;
    }

    /// Adds a range behind all others.
    fn add_missing(&mut self, first: i64, last: i64) {
        match self.missing.last_mut() {
            Some((_, before)) if *before + 1 == first => *before = last,
            _ => self.missing.push((first, last)),
        }
        self.bound();
    }

    /// Whether this number was missing; from now on it is not.
    fn take_missing(&mut self, seq: i64) -> bool {
        let Some(at) = self.missing.iter().position(|(first, last)| (*first..=*last).contains(&seq)) else {
            return false;
        };
        let (first, last) = self.missing.remove(at);
        for (first, last) in [(seq + 1, last), (first, seq - 1)] {
            if first <= last {
                self.missing.insert(at, (first, last));
            }
        }
        self.bound();
        true
    }

    fn bound(&mut self) {
        while self.missing.len() > RANGES {
            let older = self.missing.iter().take(self.missing.len() - NEWEST).enumerate();
            let smallest = older.min_by_key(|(_, (first, last))| last - first);
            let at = smallest.map_or(0, |(at, _)| at);
            self.missing.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(delivered: &mut Delivered, numbers: impl IntoIterator<Item = i64>) -> Vec<i64> {
        numbers.into_iter().filter(|number| delivered.is_news(Seq(*number))).collect()
    }

    #[test]
    fn each_number_is_news_once_however_far_back() {
        let mut delivered = Delivered::default();
        assert_eq!(
            news(&mut delivered, [1, 64, 1, 65, 1, 1000, 64, 937, 936, 936, 66, 65]),
            [1, 64, 65, 1000, 937, 936, 66]
        );
        let mut delivered = Delivered::default();
        assert_eq!(news(&mut delivered, [500]), [500]);
        assert_eq!(news(&mut delivered, 1..=500), (1..500).collect::<Vec<_>>(), "the first that came was no beginning");
        assert!(news(&mut delivered, 1..=500).is_empty());
        assert!(delivered.missing.is_empty());
    }

    #[test]
    fn what_an_outage_left_out_is_news_after_what_came_live() {
        let mut delivered = Delivered::default();
        assert_eq!(news(&mut delivered, 1..=10).len(), 10);
        // Each second number is an edit, which is no notice.
        assert_eq!(news(&mut delivered, (401..=501).step_by(2)).len(), 51);
        let again: Vec<i64> = news(&mut delivered, (1..=501).step_by(2));
        assert_eq!(again, (11..=399).step_by(2).collect::<Vec<_>>());
        assert!(news(&mut delivered, (1..=501).step_by(2)).is_empty());
    }

    #[test]
    fn beyond_their_bound_old_ranges_count_as_delivered() {
        let mut delivered = Delivered::default();
        assert_eq!(news(&mut delivered, (1..=20).map(|nth| nth * 1000)).len(), 20);
        assert_eq!(delivered.missing.len(), RANGES);
        assert_eq!(news(&mut delivered, [500, 12_500, 13_500, 19_500]), [13_500, 19_500]);
        assert_eq!(delivered.missing.len(), RANGES);
    }
}
