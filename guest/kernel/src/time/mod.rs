//! Clocks and timers.
//!
//! The monotonic clock is the time-stamp counter; the wall clock is an offset to it. Nothing ticks:
//! the timer of the local APIC is set for the next thing that is due. While programs run, that is at
//! the latest a look at whose time it is (`account`).

pub mod account;
pub mod itimer;
pub mod posix;
pub mod timer;
pub mod timerfd;

use core::sync::atomic::{AtomicU64, Ordering};

use crate::arch;
use crate::errno::KResult;
use crate::sync::WaitQueue;

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;
/// Clock ticks in a second, as `times(2)` and `/proc` count (`sysconf(_SC_CLK_TCK)`).
pub const TICKS_PER_SECOND: u64 = 100;

/// Wall clock minus monotonic clock, in nanoseconds.
static WALL_OFFSET: AtomicU64 = AtomicU64::new(0);

/// Start the clocks; once, at boot.
pub fn init() {
    let wall = arch::boot_info::facts().map_or_else(arch::rtc_ns, |facts| facts.wall_clock_ns);
    set_wall_ns(wall);
}

/// Monotonic clock: nanoseconds since boot.
#[inline]
pub fn now_ns() -> u64 {
    arch::tsc::now_ns()
}

/// Nobody wakes sleepers but the clock and signals.
static SLEEPERS: WaitQueue = WaitQueue::new();

/// Sleep until `deadline_ns` of the monotonic clock. A signal that comes together with the end of the
/// time interrupts nothing.
///
/// # Errors
/// ERESTARTSYS: a signal is pending.
pub fn sleep_until(deadline_ns: u64) -> KResult<()> {
    let over = || (now_ns() >= deadline_ns).then_some(());
    SLEEPERS.wait_deadline(Some(deadline_ns), over).map(|_| ())
}

/// Wall clock: nanoseconds since 1970-01-01 UTC.
#[inline]
pub fn wall_ns() -> u64 {
    now_ns().wrapping_add(WALL_OFFSET.load(Ordering::Relaxed))
}

/// Wall clock minus monotonic clock.
pub fn wall_offset() -> u64 {
    WALL_OFFSET.load(Ordering::Relaxed)
}

/// Set the wall clock.
pub fn set_wall_ns(ns: u64) {
    WALL_OFFSET.store(ns.wrapping_sub(now_ns()), Ordering::Relaxed);
}

/// Wall clock in whole seconds.
pub fn wall_seconds() -> u64 {
    wall_ns() / SECOND
}

/// Nanoseconds as clock ticks.
pub const fn ns_to_ticks(ns: u64) -> u64 {
    ns / (SECOND / TICKS_PER_SECOND)
}

/// Timer interrupts since boot.
static TICKS: AtomicU64 = AtomicU64::new(0);

/// Timer interrupts since boot.
pub fn timer_interrupts() -> u64 {
    TICKS.load(Ordering::Relaxed)
}

/// The timer interrupt: do what is due. `running`: what it interrupted.
pub fn tick(running: account::Running) {
    TICKS.fetch_add(1, Ordering::Relaxed);
    timer::fired(running);
}
