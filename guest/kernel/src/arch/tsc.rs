//! The monotonic clock: the time-stamp counter.

use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{apic, boot_info};

/// Nanoseconds per tick, times 2^32.
static SCALE: AtomicU64 = AtomicU64::new(1 << 32);
/// Counter at boot.
static BASE: AtomicU64 = AtomicU64::new(0);

/// The counter itself.
#[inline]
pub fn read() -> u64 {
    // SAFETY: every 64-bit processor has it.
    unsafe { _rdtsc() }
}

/// Nanoseconds since boot.
#[inline]
pub fn now_ns() -> u64 {
    let ticks = read().wrapping_sub(BASE.load(Ordering::Relaxed));
    ((u128::from(ticks) * u128::from(SCALE.load(Ordering::Relaxed))) >> 32) as u64
}

/// Sets the clock's rate: from gnomon's boot facts, or measured against the local APIC's timer.
pub(super) fn init() {
    BASE.store(read(), Ordering::Relaxed);
    let khz = match boot_info::facts() {
        Some(facts) if facts.tsc_khz != 0 => facts.tsc_khz,
        _ => measure_khz(),
    };
    SCALE.store(
        ((1_000_000u128 << 32) / u128::from(khz.max(1))) as u64,
        Ordering::Relaxed,
    );
}

/// Frequency of the counter in kHz, as far as the clock's scale tells it.
pub fn khz() -> u64 {
    ((1_000_000u128 << 32) / u128::from(SCALE.load(Ordering::Relaxed).max(1))) as u64
}

/// Counter frequency against the APIC timer: the median of some milliseconds, as the machine may not
/// get its processor for a while between two reads.
fn measure_khz() -> u64 {
    let mut samples = [0; 5];
    for sample in &mut samples {
        *sample = sample_khz();
    }
    samples.sort_unstable();
    samples[samples.len() / 2]
}

/// Counter frequency against about one millisecond of the APIC timer.
fn sample_khz() -> u64 {
    let timer_khz = apic::timer_khz();
    apic::start_count(u32::MAX);
    let start = read();
    let elapsed = loop {
        let elapsed = u64::from(u32::MAX - apic::current_count());
        if elapsed >= timer_khz {
            break elapsed;
        }
        core::hint::spin_loop();
    };
    let ticks = read() - start;
    apic::start_count(0);
    (u128::from(ticks) * u128::from(timer_khz) / u128::from(elapsed)) as u64
}
