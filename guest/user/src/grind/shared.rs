//! What the supervisor and its workers share: how far each is, and what it did last.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::calls::CALLS;

/// Most workers.
pub const MOST_WORKERS: usize = 32;
/// Calls that are remembered.
const LAST: usize = 8;

/// One call: its number and its arguments.
type Note = [AtomicU64; 7];

/// A worker's part of the board.
pub struct Slot {
    calls: AtomicU64,
    over: AtomicU32,
    last: [Note; LAST],
    /// Tries and successes of each listed call.
    tried: [AtomicU32; CALLS.len()],
    succeeded: [AtomicU32; CALLS.len()],
}

/// The shared memory.
pub struct Board {
    /// How often a sleep is interrupted, in microseconds.
    pub nudge: AtomicU64,
    /// One for each worker.
    pub slots: [Slot; MOST_WORKERS],
}

impl Board {
    /// Maps a board.
    pub fn new() -> std::io::Result<&'static Self> {
        // SAFETY: a fresh mapping of zeros, which are valid atomics; it is never unmapped.
        unsafe {
            let at = libc::mmap(
                std::ptr::null_mut(),
                size_of::<Self>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            if at == libc::MAP_FAILED {
                return Err(std::io::Error::last_os_error());
            }
            Ok(&*at.cast::<Self>())
        }
    }

    /// Calls made, calls of the table among them that were tried and that succeeded, and how many
    /// different ones did.
    pub fn sums(&self) -> (u64, u64, u64, usize) {
        let calls = self
            .slots
            .iter()
            .map(|s| s.calls.load(Ordering::Relaxed))
            .sum();
        let (mut tried, mut succeeded, mut different) = (0, 0, 0);
        for n in 0..CALLS.len() {
            let (t, s) = self.of_call(n);
            tried += t;
            succeeded += s;
            different += usize::from(s > 0);
        }
        (calls, tried, succeeded, different)
    }

    /// How often the listed call `n` was tried, and succeeded.
    pub fn of_call(&self, n: usize) -> (u64, u64) {
        let sum = |of: fn(&Slot) -> &[AtomicU32; CALLS.len()]| {
            let each = self
                .slots
                .iter()
                .map(|slot| of(slot)[n].load(Ordering::Relaxed));
            each.map(u64::from).sum()
        };
        (sum(|slot| &slot.tried), sum(|slot| &slot.succeeded))
    }
}

impl Slot {
    /// Calls made so far, by the worker and its children.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// The worker shall end, or may go on.
    pub fn set_over(&self, over: bool) {
        self.over.store(u32::from(over), Ordering::Relaxed);
    }

    /// Whether the worker shall end.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) != 0
    }

    /// Remembers a call that is about to be made.
    pub fn note(&self, number: usize, arguments: &[usize; 6]) {
        let n = self.calls.fetch_add(1, Ordering::Relaxed) as usize % LAST;
        self.last[n][0].store(number as u64, Ordering::Relaxed);
        for (to, from) in self.last[n][1..].iter().zip(arguments) {
            to.store(*from as u64, Ordering::Relaxed);
        }
    }

    /// Counts the result of the listed call `index`.
    pub fn count(&self, index: usize, result: isize) {
        self.tried[index].fetch_add(1, Ordering::Relaxed);
        if result >= 0 {
            self.succeeded[index].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The last calls, the latest last.
    pub fn last_calls(&self) -> String {
        let calls = self.calls.load(Ordering::Relaxed) as usize;
        let mut text = String::new();
        for n in calls.saturating_sub(LAST)..calls {
            let note = &self.last[n % LAST];
            let word = |n: usize| note[n].load(Ordering::Relaxed);
            text += &format!("\n    call {}(", word(0) as i64);
            for n in 1..7 {
                text += &format!("{:#x}{}", word(n), if n < 6 { ", " } else { ")" });
            }
        }
        text
    }
}
