//! Layer 0. Random numbers for choosing victims and, with a seed, the next task. Not for secrets.
//!
//! xorshift64* (Vigna 2016). Called by `scheduler` and `select!`.
#![forbid(unsafe_code)]

use std::hash::{BuildHasher, RandomState};

#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The same seed gives the same numbers.
    pub(crate) fn new(seed: u64) -> Rng {
        // The state must not be zero, and near seeds should not give near streams (splitmix64's finisher).
        let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Rng((z ^ (z >> 31)) | 1)
    }

    /// Seeded from the operating system's randomness, by way of the standard library's hasher.
    pub(crate) fn from_entropy() -> Rng {
        Rng::new(RandomState::new().hash_one(0u8))
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`, which must not be zero.
    #[inline]
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from((self.next_u64() >> 32) as u32) * u64::from(bound)) >> 32) as u32
    }
}
