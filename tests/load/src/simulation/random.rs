//! The numbers of a seed, so that a run can be repeated.

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let number = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    /// Below the bound, all alike.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    /// From 0 to 1.
    pub fn part(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Up to that long, over its whole range.
    pub fn up_to(&mut self, most: u64) -> u64 {
        (self.part() * most as f64) as u64
    }

    /// The pause before the next of many that come independently, so long on average.
    pub fn pause(&mut self, mean: f64) -> u64 {
        (-(1.0 - self.part()).ln() * mean) as u64
    }
}
