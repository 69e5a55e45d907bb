//! Address-space randomisation: where stacks, mappings and programs are put.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::layout::PAGE;
use crate::arch::rand;
use crate::sync::SpinLock;

/// Layout randomisation is on (`norandmaps` on the command line turns it off).
static RANDOMISE: AtomicBool = AtomicBool::new(true);
/// State of the generator for layouts.
static RANDOM: SpinLock<u64> = SpinLock::new(0);
/// The generator was seeded.
static SEEDED: AtomicU64 = AtomicU64::new(0);

/// Turns address-space randomisation on or off for programs started from now on.
pub fn set_randomise(on: bool) {
    RANDOMISE.store(on, Ordering::Relaxed);
}

/// Whether programs started from now on have random layouts.
pub fn randomises() -> bool {
    RANDOMISE.load(Ordering::Relaxed)
}

/// A random number of pages below 2^bits, in bytes; 0 without randomisation.
pub(super) fn random_offset(bits: u32) -> usize {
    if !RANDOMISE.load(Ordering::Relaxed) {
        return 0;
    }
    let mut state = RANDOM.lock();
    if SEEDED.swap(1, Ordering::Relaxed) == 0 {
        let seed = rand::seed();
        let word = u64::from_le_bytes([
            seed[8], seed[9], seed[10], seed[11], seed[12], seed[13], seed[14], seed[15],
        ]);
        *state = word | 1;
    }
    // xorshift64*: layouts need to be unpredictable to a program, not to a cryptographer.
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> (64 - bits)) as usize * PAGE
}
