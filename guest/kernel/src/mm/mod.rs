//! Memory: frames, the kernel's heap, address spaces, copies from and to programs.
//!
//! | file | what |
//! |---|---|
//! | `layout` | the map of the kernel's half |
//! | `direct`, `mmio` | how the kernel reaches memory and devices |
//! | `frame`, `heap` | allocation |
//! | `table` | page tables of programs |
//! | `swap` | pages on a disk |
//! | `reclaim`, `background`, `rmap` | page replacement: making room, ahead of need, who maps a frame |
//! | `stat` | counters |
//! | `space`, `area`, `areas`, `shared`, `random` | address spaces, the areas in them, and where these lie |
//! | `fault` | page faults: demand paging, copy-on-write, stack growth |
//! | `map`, `remap`, `brk`, `advise`, `lock`, `fork` | what programs ask for: mmap, mremap, brk, madvise, mlock, fork |
//! | `usage` | what a program has, for /proc |
//! | `user`, `user_copy` | copies from and to programs |
//! | `remote`, `word_key` | another program's memory; which memory an address is |

mod advise;
pub mod area;
mod areas;
mod background;
mod brk;
pub mod direct;
mod fault;
mod fork;
pub mod frame;
pub mod heap;
pub mod layout;
mod lock;
mod map;
pub mod mmio;
pub mod random;
pub mod reclaim;
mod remap;
mod remote;
mod rmap;
mod shared;
pub mod space;
pub mod stat;
pub mod swap;
mod table;
mod usage;
pub mod user;
pub mod user_copy;
mod word_key;

pub use area::{AreaInfo, Backing, MapKind, Prot};
pub use fault::{Access, Fault, SEGV_MAPERR};
pub use frame::{
    Frame, above_reserve, can_allocate, free_frames, free_pages, require_reserve, total_frames,
};
pub use map::Fixed;
pub use rmap::{is_mapped_writable, unmap_cut};
pub use space::AddressSpace;
pub use table::table_frames;
pub use usage::AreaUsage;
pub use user::copy_from_user;

use core::sync::atomic::{AtomicUsize, Ordering};

use gnomon_frames::{FrameMeta, MemMap};

use crate::arch::boot;
use crate::arch::boot_info::{self, MemoryMapEntry};
use layout::{DIRECT_MAP, DIRECT_MAP_SIZE, PAGE};

/// Address of physical memory in the direct map.
#[inline(always)]
pub fn phys_to_virt(gpa: u64) -> *mut u8 {
    (DIRECT_MAP + gpa as usize) as *mut u8
}

/// gpa of an address in the direct map.
#[inline(always)]
pub fn virt_to_phys(address: *const u8) -> u64 {
    (address as usize - DIRECT_MAP) as u64
}

/// Memory below this belongs to the loader's structures.
const LOW_MEMORY: u64 = 1 << 20;
/// Kind of usable memory in the memory map.
const RAM: u32 = 1;

/// Sets the allocators up.
///
/// Right after the image lie the page directories of the direct map and the frame entries; the
/// rest of usable memory from 1 MiB on is free. No work per page: all of it is zero already.
pub fn init(memory_map: &[MemoryMapEntry]) {
    let page = PAGE as u64;
    let usable = || {
        memory_map
            .iter()
            .filter(|e| e.kind == RAM)
            .map(|e| {
                (
                    e.address.max(LOW_MEMORY).next_multiple_of(page),
                    (e.address + e.size) & !(page - 1),
                )
            })
            .filter(|(start, end)| start < end)
    };
    let end = usable()
        .map(|(_, end)| end)
        .max()
        .unwrap_or(0)
        .min(DIRECT_MAP_SIZE as u64);
    let image_start = boot::image_to_phys(layout::KERNEL_IMAGE);
    let area = boot::image_end_phys().next_multiple_of(page);
    let entries = area + direct::directories(end) * page;
    let frames = end / page;
    let reserved_end = (entries + frames * size_of::<FrameMeta>() as u64).next_multiple_of(page);
    if !usable().any(|(start, end)| start <= image_start && reserved_end <= end) {
        panic!("not enough memory behind the kernel: give the machine more (--mem)");
    }
    if boot_info::facts().is_none() {
        // Another loader may have left something there.
        // SAFETY: usable memory that nobody has yet; the first GiB is mapped on demand.
        unsafe { phys_to_virt(area).write_bytes(0, (reserved_end - area) as usize) };
    }
    direct::init(end, area);
    // SAFETY: zero, in usable memory, reserved for ever below.
    let map = unsafe { MemMap::new(phys_to_virt(entries).cast(), frames as u32) };
    frame::init(map, boot_info::facts().is_some());
    let ram: u64 = usable()
        .map(|(start, end)| end.min(frames * page) - start)
        .sum();
    for (start, end) in usable() {
        let end = end.min(frames * page);
        if start < image_start && end > image_start {
            frame::add(start, image_start);
        }
        let start = if end > image_start && start < reserved_end {
            reserved_end
        } else {
            start
        };
        if start < end {
            frame::add(start, end);
        }
    }
    STATIC_FRAMES.store(
        (ram / page) as usize - frame::total_frames(),
        Ordering::Relaxed,
    );
}

/// Frames of the kernel's image and of the memory map.
static STATIC_FRAMES: AtomicUsize = AtomicUsize::new(0);

/// Frames that the kernel took at boot, for good: its image, and what is known about each frame.
pub fn static_frames() -> usize {
    STATIC_FRAMES.load(Ordering::Relaxed)
}
