//! A crash with several threads, for a core image: the first one writes to an address that is not
//! mapped, the others wait, each with a number of its own in a register and in memory.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Duration;

/// What a debugger looks for.
#[unsafe(no_mangle)]
static mut CRASH_MARK: u64 = 0;

/// Threads beside the first.
const WAITING: u64 = 3;

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn crash_here(address: usize) {
    // SAFETY: it is not safe, and ends the program: that is what it is for.
    unsafe { (address as *mut u64).write_volatile(0x1122_3344_5566_7788) };
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wait_here(number: u64) {
    while black_box(number) != 0 {
        std::thread::sleep(Duration::from_secs(1000));
    }
}

/// Crash at `address`.
pub fn run(address: usize) {
    let ready = Barrier::new(WAITING as usize + 1);
    std::thread::scope(|scope| {
        for number in 1..=WAITING {
            let ready = &ready;
            scope.spawn(move || {
                ready.wait();
                wait_here(number);
            });
        }
        ready.wait();
        // They sleep by now, or will soon.
        std::thread::sleep(Duration::from_millis(100));
        // SAFETY: no other thread uses it.
        unsafe { (&raw mut CRASH_MARK).write_volatile(0xfeed_face_cafe_f00d) };
        crash_here(address);
    });
}
