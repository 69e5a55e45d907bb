//! Device registers: uncached mappings in the device window, and the system-call gate.

use core::sync::atomic::{AtomicUsize, Ordering};

use super::layout::{DEVICE_WINDOW, PAGE};
use super::phys_to_virt;
use super::table::{
    ACCESSED, CACHE_DISABLE, DIRTY, NO_EXECUTE, PRESENT, USER, WRITE, WRITE_THROUGH,
};
use crate::arch::boot;

/// Pages of the window that [`map`] may use; the gate and a guard lie behind them.
const PAGES: usize = 508;

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Maps device registers, uncached, for ever. Panics if the window is full (a boot-time matter:
/// 508 pages).
pub fn map(gpa: u64, size: usize) -> *mut u8 {
    let offset = gpa as usize % PAGE;
    let pages = (offset + size).div_ceil(PAGE);
    let first = NEXT.fetch_add(pages, Ordering::Relaxed);
    assert!(first + pages <= PAGES, "too many device registers to map");
    for n in 0..pages {
        let flags = PRESENT | WRITE | ACCESSED | DIRTY | CACHE_DISABLE | WRITE_THROUGH | NO_EXECUTE;
        // SAFETY: an unused entry of the device window's table.
        unsafe {
            boot::device_table()
                .add(first + n)
                .write_volatile(((gpa & !(PAGE as u64 - 1)) + (n * PAGE) as u64) | flags);
        }
    }
    (DEVICE_WINDOW + first * PAGE + offset) as *mut u8
}

/// Puts the system-call gate at `address`: one `hlt` on a page that ring 3 may execute.
pub fn map_gate(address: usize) {
    const HLT: u8 = 0xf4;
    let frame = super::Frame::alloc_zeroed().expect("the first frames are free at boot");
    let gpa = frame.into_raw();
    // SAFETY: a fresh frame, and an unused entry of the window's table, whose upper levels allow
    // ring 3.
    unsafe {
        phys_to_virt(gpa).write_bytes(HLT, PAGE);
        boot::device_table()
            .add((address - DEVICE_WINDOW) / PAGE)
            .write_volatile(gpa | PRESENT | USER | ACCESSED);
    }
}
