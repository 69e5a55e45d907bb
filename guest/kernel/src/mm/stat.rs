//! Counters of what memory management did since boot, for `/proc/vmstat`.

use core::sync::atomic::{AtomicU64, Ordering};

/// A count that only grows.
pub struct Counter(AtomicU64);

impl Counter {
    const fn new() -> Counter {
        Counter(AtomicU64::new(0))
    }

    /// One more.
    #[inline(always)]
    pub fn add_one(&self) {
        self.add(1);
    }

    /// `n` more.
    #[inline(always)]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Page faults of programs.
pub static FAULTS: Counter = Counter::new();
/// Those that had to read from a device.
pub static MAJOR_FAULTS: Counter = Counter::new();
/// Pages copied because one of those who share them wrote.
pub static COPIES: Counter = Counter::new();
/// KiB read from block devices.
pub static KIB_IN: Counter = Counter::new();
/// KiB written to block devices.
pub static KIB_OUT: Counter = Counter::new();
/// Pages read from swap space.
pub static SWAP_IN: Counter = Counter::new();
/// Pages written to swap space.
pub static SWAP_OUT: Counter = Counter::new();
/// Times that somebody had to make room before going on.
pub static STALLS: Counter = Counter::new();
/// Pages looked at for replacement by those who needed room.
pub static SCANNED: Counter = Counter::new();
/// Pages whose frame they gained.
pub static STOLEN: Counter = Counter::new();
/// Pages looked at for replacement in the background.
pub static SCANNED_BACKGROUND: Counter = Counter::new();
/// Pages whose frame was gained there.
pub static STOLEN_BACKGROUND: Counter = Counter::new();
/// Pages of files that were dropped for want of memory and came back.
pub static REFAULTS_FILE: Counter = Counter::new();
/// Pages of programs' own memory that came back after they had been replaced.
pub static REFAULTS_ANON: Counter = Counter::new();
/// Processes killed because memory and swap space were full.
pub static OOM_KILLS: Counter = Counter::new();
