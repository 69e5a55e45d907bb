//! The random numbers of a run: the same seed gives the same numbers.

/// A generator (xorshift64*, Marsaglia and Vigna).
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    /// A generator for a seed; every seed will do.
    pub fn new(seed: u64) -> Self {
        // One step of splitmix64: seeds that lie close together start far apart.
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Random((z ^ (z >> 31)) | 1)
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.word() >> 11) as usize % limit
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of `choices`, which has some.
    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Some of the `flags`, each with an even chance, at times none.
    pub fn some(&mut self, flags: &[u64]) -> u64 {
        let taken = self.word() & self.word();
        let each = flags.iter().enumerate();
        each.filter(|(n, _)| taken >> (n % 64) & 1 != 0)
            .fold(0, |all, (_, flag)| all | flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_numbers() {
        let (mut one, mut other) = (Random::new(7), Random::new(7));
        let same = (0..100).all(|_| one.word() == other.word());
        assert!(same && one.word() != Random::new(8).word());
    }
}
