//! Seed of the kernel's random numbers.

use super::{boot_info, cpu, tsc};

/// 32 bytes that differ from boot to boot: gnomon's, else RDRAND's, else the time-stamp counter's.
pub fn seed() -> [u8; 32] {
    if let Some(facts) = boot_info::facts() {
        return facts.seed;
    }
    let mut seed = [0; 32];
    for chunk in seed.chunks_exact_mut(8) {
        let mut word = tsc::read().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if cpu::has(cpu::RDRAND) {
            let random: u64;
            // SAFETY: CPUID offers it; a failure leaves zero, which mixes in nothing.
            unsafe { core::arch::asm!("rdrand {}", out(reg) random, options(nomem, nostack)) };
            word ^= random;
        }
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    seed
}
