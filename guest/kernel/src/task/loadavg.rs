//! Load averages (`/proc/loadavg`): the number of tasks that could run, averaged over 1, 5 and 15
//! minutes.
//!
//! Nothing ticks in an idle machine, so the averages are brought up to date when somebody asks: the
//! present number is taken for all of the time since the last look, in steps of five seconds.

use crate::sched;
use crate::sync::SpinLock;
use crate::time::{self, SECOND};

/// Bits after the binary point (`SI_LOAD_SHIFT`).
const SHIFT: u32 = 16;
/// Length of a step, in nanoseconds.
const STEP: u64 = 5 * SECOND;
/// e^(-5 s / 1, 5, 15 min), with SHIFT bits after the point.
const DECAY: [u64; 3] = [60_296, 64_453, 65_173];
/// More steps than this change nothing visible any more.
const MAX_STEPS: u64 = 1000;

struct Averages {
    loads: [u64; 3],
    until: u64,
}

static AVERAGES: SpinLock<Averages> = SpinLock::new(Averages {
    loads: [0; 3],
    until: 0,
});

/// The averages with 16 bits after the binary point, as `sysinfo(2)` gives them.
pub fn fixed_point() -> [u64; 3] {
    let now = time::now_ns();
    let active = (sched::runnable() as u64) << SHIFT;
    let mut averages = AVERAGES.lock();
    let steps = now.saturating_sub(averages.until) / STEP;
    averages.until += steps * STEP;
    for (load, decay) in averages.loads.iter_mut().zip(DECAY) {
        for _ in 0..steps.min(MAX_STEPS) {
            *load = (*load * decay + active * ((1 << SHIFT) - decay)) >> SHIFT;
        }
    }
    averages.loads
}
