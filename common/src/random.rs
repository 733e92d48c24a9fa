//! Randomness from the operating system's seed: the one place that reads it, so that everything
//! else takes it as an argument.

use rand::Rng;
use rand::distr::uniform::{SampleRange, SampleUniform};

/// 64 random bits.
#[allow(clippy::disallowed_methods, reason = "the one place that reads it")]
pub fn bits() -> u64 {
    rand::rng().next_u64()
}

/// That many random bytes, fit for a key.
#[allow(clippy::disallowed_methods, reason = "the one place that reads it")]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// A number of that range, all alike; the range must not be empty.
#[allow(clippy::disallowed_methods, reason = "the one place that reads it")]
pub fn within<T: SampleUniform>(range: impl SampleRange<T>) -> T {
    rand::random_range(range)
}
