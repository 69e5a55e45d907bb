//! The kernel's heap: slabs for objects up to half a page, blocks of pages beyond.

use core::alloc::{GlobalAlloc, Layout};

use gnomon_frames::{Memory, Slab};

use super::frame::{self, alloc_pages, free_pages};
use super::layout::PAGE;
use super::{phys_to_virt, virt_to_phys};
use crate::sync::SpinLock;

/// Object sizes.
const SIZES: [usize; 14] = [
    16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 800, 1024, 1360, 2048,
];
/// Largest object that comes from a slab.
const LARGEST: usize = 2048;

static SLABS: [SpinLock<Slab>; SIZES.len()] = {
    let mut slabs = [const { SpinLock::new(Slab::new(16)) }; SIZES.len()];
    let mut n = 0;
    while n < SIZES.len() {
        slabs[n] = SpinLock::new(Slab::new(SIZES[n]));
        n += 1;
    }
    slabs
};

/// The slab for each size in units of 16 bytes.
static CLASSES: [u8; LARGEST / 16 + 1] = {
    let mut classes = [0; LARGEST / 16 + 1];
    let mut units = 0;
    while units < classes.len() {
        let mut class = 0;
        while SIZES[class] < units * 16 {
            class += 1;
        }
        classes[units] = class as u8;
        units += 1;
    }
    classes
};

/// Frames in the direct map.
struct Direct;

impl Memory for Direct {
    #[inline]
    fn address(&self, frame: u32) -> *mut u8 {
        phys_to_virt(u64::from(frame) << 12)
    }
    #[inline]
    fn frame(&self, address: *mut u8) -> u32 {
        (virt_to_phys(address) >> 12) as u32
    }
}

/// The global allocator.
struct Heap;

#[global_allocator]
static HEAP: Heap = Heap;

/// Size that a slab must offer: beyond 16, alignment is that of the powers of two.
#[inline]
fn slab_size(layout: Layout) -> usize {
    if layout.align() <= 16 {
        layout.size()
    } else {
        layout.size().max(layout.align()).next_power_of_two()
    }
}

/// Order of the block that holds `size` bytes.
fn order(size: usize) -> usize {
    size.div_ceil(PAGE).next_power_of_two().trailing_zeros() as usize
}

// SAFETY: slabs and buddy blocks do not overlap, are aligned as asked (blocks to their size, slab
// objects to 16 or, for powers of two, to their size), and live until they are given back.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = slab_size(layout);
        if size > LARGEST {
            return match alloc_pages(order(size)) {
                Some(gpa) => phys_to_virt(gpa),
                None => core::ptr::null_mut(),
            };
        }
        let mut slab = SLABS[usize::from(CLASSES[size.div_ceil(16)])].lock();
        if let Some(object) = slab.alloc(frame::map(), &Direct) {
            return object;
        }
        let Some(gpa) = alloc_pages(0) else {
            return core::ptr::null_mut();
        };
        // SAFETY: a fresh frame.
        unsafe { slab.grow(frame::map(), (gpa >> 12) as u32) };
        slab.alloc(frame::map(), &Direct)
            .unwrap_or(core::ptr::null_mut())
    }

    #[inline]
    unsafe fn dealloc(&self, object: *mut u8, layout: Layout) {
        let size = slab_size(layout);
        if size > LARGEST {
            // SAFETY: allocated above with the same order.
            unsafe { free_pages(virt_to_phys(object), order(size)) };
            return;
        }
        let mut slab = SLABS[usize::from(CLASSES[size.div_ceil(16)])].lock();
        // SAFETY: allocated above from the same slab.
        if let Some(frame) = unsafe { slab.free(frame::map(), &Direct, object) } {
            drop(slab);
            // SAFETY: the slab gave the frame up.
            unsafe { free_pages(u64::from(frame) << 12, 0) };
        }
    }
}

/// State of one slab, for /proc/slabinfo.
#[derive(Clone, Copy, Debug)]
pub struct SlabInfo {
    /// Object size in bytes.
    pub size: usize,
    /// Objects in use.
    pub used: usize,
    /// Frames held.
    pub frames: usize,
}

/// The state of all slabs.
pub fn slabs() -> impl Iterator<Item = SlabInfo> {
    SLABS.iter().map(|slab| {
        let slab = slab.lock();
        SlabInfo {
            size: slab.size(),
            used: slab.used(),
            frames: slab.frames(),
        }
    })
}
