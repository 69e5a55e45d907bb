//! The I/O APIC: from interrupt lines (GSIs) to vectors.

use core::sync::atomic::{AtomicUsize, Ordering};

use super::apic;
use crate::mm::mmio;

const GPA: u64 = 0xfec0_0000;
const SELECT: usize = 0x00;
const WINDOW: usize = 0x10;
const REDIRECTION: u32 = 0x10;

static PAGE: AtomicUsize = AtomicUsize::new(0);

fn page() -> usize {
    match PAGE.load(Ordering::Relaxed) {
        0 => {
            let page = mmio::map(GPA, 4096) as usize;
            PAGE.store(page, Ordering::Relaxed);
            page
        }
        page => page,
    }
}

fn write(register: u32, value: u32) {
    let page = page();
    // SAFETY: the I/O APIC's page is mapped, uncached.
    unsafe {
        ((page + SELECT) as *mut u32).write_volatile(register);
        ((page + WINDOW) as *mut u32).write_volatile(value);
    }
}

/// Delivers an edge-triggered line to this processor as `vector`.
pub fn route(gsi: u32, vector: u8) {
    let entry = REDIRECTION + gsi * 2;
    write(entry + 1, apic::id() << 24);
    write(entry, u32::from(vector));
}
