//! Whose time it is: programs' own, or the kernel's on their behalf.
//!
//! How long a task runs is known exactly, from the clock at each switch. How it divides between
//! program and kernel is sampled, so that system calls need not look at the clock: every
//! [`PERIOD`] that programs run, the timer looks at what it has interrupted (`arch::trap` tells
//! whether the interrupt came due in the kernel).

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::timer;
use crate::task;

/// Time between samples, in nanoseconds.
pub const PERIOD: u64 = 40_000_000;

/// What the timer has interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Running {
    /// A program.
    Program,
    /// The kernel, for a program.
    Kernel,
    /// Nothing: the processor was idle.
    Nobody,
}

/// Samples, and what they were last taken to mean.
pub struct Split {
    user: AtomicU32,
    system: AtomicU32,
    told_user: AtomicU64,
    told_system: AtomicU64,
}

impl Split {
    /// No samples yet: all time is the program's.
    pub const fn new() -> Self {
        Self {
            user: AtomicU32::new(0),
            system: AtomicU32::new(0),
            told_user: AtomicU64::new(0),
            told_system: AtomicU64::new(0),
        }
    }

    fn count(&self, running: Running) {
        let samples = match running {
            Running::Program => &self.user,
            Running::Kernel => &self.system,
            Running::Nobody => return,
        };
        samples.fetch_add(1, Ordering::Relaxed);
    }

    /// Begin anew.
    pub fn clear(&self) {
        self.user.store(0, Ordering::Relaxed);
        self.system.store(0, Ordering::Relaxed);
        self.told_user.store(0, Ordering::Relaxed);
        self.told_system.store(0, Ordering::Relaxed);
    }

    /// Divide `total` nanoseconds into the program's and the kernel's. Neither is ever less than it
    /// was before.
    pub fn of(&self, total: u64) -> (u64, u64) {
        let user = u64::from(self.user.load(Ordering::Relaxed));
        let system = u64::from(self.system.load(Ordering::Relaxed));
        let share = match user + system {
            0 => 0,
            all => (u128::from(total) * u128::from(system) / u128::from(all)) as u64,
        };
        let told_user = self.told_user.load(Ordering::Relaxed);
        let told_system = self.told_system.load(Ordering::Relaxed);
        if total <= told_user + told_system {
            return (told_user, told_system);
        }
        let system = share.clamp(told_system, total - told_user);
        self.told_user.store(total - system, Ordering::Relaxed);
        self.told_system.store(system, Ordering::Relaxed);
        (total - system, system)
    }
}

/// The samples of the whole machine.
pub static MACHINE: Split = Split::new();

/// When the next sample is due, on the monotonic clock.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Programs run again after an idle time.
pub fn begin(now: u64) {
    if NEXT.load(Ordering::Relaxed) <= now {
        NEXT.store(now + PERIOD, Ordering::Relaxed);
        timer::arm(now + PERIOD, now);
    }
}

/// The timer has fired: take a sample if one is due, and see to it that the next one comes while
/// programs run.
pub(super) fn look(running: Running, now: u64) {
    let next = NEXT.load(Ordering::Relaxed);
    if running == Running::Nobody {
        return;
    }
    if next <= now {
        task::current().split.count(running);
        MACHINE.count(running);
        NEXT.store(now + PERIOD, Ordering::Relaxed);
    }
    timer::arm(NEXT.load(Ordering::Relaxed), now);
}
