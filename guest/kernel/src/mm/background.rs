//! Room for pages, made before it is missing: a thread of the kernel that the first swap space starts.
//!
//! ```text
//!  free frames
//!   ───────── high: the thread sleeps again
//!   ───────── low: an allocation wakes it
//!   ───────── reserve: who allocates makes room itself, and waits for it
//! ```
//!
//! It shares the processor with programs like one of them: after each batch others have a turn. Where
//! it does not get what it looks for, hardly anything can leave but what programs need just now; then
//! it leaves them alone for a while, or else it takes pages away before the programs that have waited
//! for them have used them, again and again.

use core::sync::atomic::{AtomicBool, Ordering};

use super::{frame, reclaim};
use crate::errno::KResult;
use crate::sched;
use crate::sync::WaitQueue;
use crate::task;
use crate::time;

/// Frames that are made free at a time.
const BATCH: usize = 64;
/// The least time, in nanoseconds, for which it leaves programs alone: many page faults' worth.
const REST: u64 = 20_000_000;

/// The thread exists.
static RUNS: AtomicBool = AtomicBool::new(false);
/// It has been asked for room, or is making some.
static WANTED: AtomicBool = AtomicBool::new(false);
static SLEEP: WaitQueue = WaitQueue::new();

/// Starts the thread, once. `ENOMEM`.
pub(super) fn start() -> KResult<()> {
    if !RUNS.swap(true, Ordering::Relaxed)
        && let Err(error) = task::start_kernel_thread(b"kswapd", run)
    {
        RUNS.store(false, Ordering::Relaxed);
        return Err(error);
    }
    Ok(())
}

/// Few frames are free: the thread shall make room. Neither sleeps nor allocates.
#[cold]
pub(super) fn wake() {
    if RUNS.load(Ordering::Relaxed) && !WANTED.swap(true, Ordering::Relaxed) {
        SLEEP.wake_all();
    }
}

fn run() -> ! {
    loop {
        SLEEP.wait_uninterruptible(|| WANTED.load(Ordering::Relaxed).then_some(()));
        while frame::free_frames() < frame::high_watermark() {
            let begun = time::now_ns();
            match reclaim::make_room_in_background(BATCH) {
                // Nothing can leave: whoever needs memory finds that out for himself.
                0 => break,
                BATCH.. => sched::yield_now(),
                _ => {
                    let now = time::now_ns();
                    let rest = (now - begun).max(REST);
                    // The time always passes: a thread of the kernel gets no signals.
                    let _ = time::sleep_until(now + rest);
                }
            }
        }
        WANTED.store(false, Ordering::Relaxed);
    }
}
