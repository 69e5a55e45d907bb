//! Room for pages, made before it is missing: a thread of the kernel that the first swap space starts.
//!
//! ```text
//!  free frames
//!   ───────── high: the thread sleeps again
//!   ───────── low: an allocation wakes it
//!   ───────── reserve: who allocates makes room itself, and waits for it
//! ```
//!
//! It shares the processor with programs like one of them, after each batch others have a turn.

use core::sync::atomic::{AtomicBool, Ordering};

use super::{frame, reclaim};
use crate::errno::KResult;
use crate::sched;
use crate::sync::WaitQueue;
use crate::task;

/// Frames that are made free at a time.
const BATCH: usize = 64;

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
            // Nothing can leave: whoever needs memory finds that out for himself.
            if reclaim::make_room_in_background(BATCH) == 0 {
                break;
            }
            sched::yield_now();
        }
        WANTED.store(false, Ordering::Relaxed);
    }
}
