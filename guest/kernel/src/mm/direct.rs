//! The direct map: all physical memory at [`DIRECT_MAP`], in 2 MiB pages.
//!
//! Its last level is filled when it is first touched, 64 MiB at a time, by the kernel's page-fault
//! handler: boot does no work per page, and a small machine needs few entries.

use core::sync::atomic::{AtomicU64, Ordering};

use super::layout::{DIRECT_MAP, DIRECT_MAP_SIZE};
use super::phys_to_virt;
use super::table::{ACCESSED, DIRTY, GLOBAL, HUGE, PRESENT, WRITE};
use crate::arch::boot;

/// Entries filled by one fault.
const BATCH: usize = 32;

/// The page directory of the first GiB; the others' are reserved by [`init`].
#[repr(C, align(4096))]
struct Directory(core::cell::UnsafeCell<[u64; 512]>);

// SAFETY: entries are plain words, and filling one twice writes the same value.
unsafe impl Sync for Directory {}

static FIRST: Directory = Directory(core::cell::UnsafeCell::new([0; 512]));

/// gpa of the directories of the second GiB and up, one page each.
static OTHERS: AtomicU64 = AtomicU64::new(0);
/// First gpa beyond memory.
static END: AtomicU64 = AtomicU64::new(1 << 30);

/// Makes the first GiB reachable.
pub fn init_early() {
    let first = boot::image_to_phys(FIRST.0.get() as usize);
    // SAFETY: the table is ours and this entry is empty.
    unsafe { *boot::direct_table() = first | PRESENT | WRITE | ACCESSED };
}

/// Pages of directories needed for memory that ends at `end`.
pub fn directories(end: u64) -> u64 {
    end.div_ceil(1 << 30).saturating_sub(1)
}

/// Makes memory up to `end` reachable, with the zeroed pages at `area` as directories.
pub fn init(end: u64, area: u64) {
    OTHERS.store(area, Ordering::Relaxed);
    END.store(end.next_multiple_of(2 << 20), Ordering::Relaxed);
    for n in 0..directories(end) {
        // SAFETY: the table has 512 entries, and memory ends below 512 GiB (`mm::init`).
        unsafe {
            *boot::direct_table().add(n as usize + 1) =
                (area + n * 4096) | PRESENT | WRITE | ACCESSED;
        }
    }
}

/// A page fault in the kernel: fills the direct map if the address lies there and was not filled
/// yet. False: the fault means something else.
pub fn fault(address: usize, error: usize) -> bool {
    let Some(offset) = address
        .checked_sub(DIRECT_MAP)
        .filter(|&o| o < DIRECT_MAP_SIZE)
    else {
        return false;
    };
    let end = END.load(Ordering::Relaxed);
    if error & 1 != 0 || offset as u64 >= end {
        return false;
    }
    let gib = offset >> 30;
    let directory = if gib == 0 {
        FIRST.0.get().cast::<u64>()
    } else {
        phys_to_virt(OTHERS.load(Ordering::Relaxed) + (gib as u64 - 1) * 4096).cast::<u64>()
    };
    let first = (offset >> 21 & 511) & !(BATCH - 1);
    for n in 0..BATCH {
        let gpa = (gib as u64) << 30 | ((first + n) as u64) << 21;
        if gpa >= end {
            break;
        }
        // SAFETY: an entry of the directory; every processor would write the same.
        unsafe {
            directory
                .add(first + n)
                .write_volatile(gpa | PRESENT | WRITE | ACCESSED | DIRTY | HUGE | GLOBAL);
        }
    }
    true
}
