//! Frames of physical memory.
//!
//! [`Frame`] is an owned, counted reference to one. Allocations that programs cause go through it
//! and fail with `ENOMEM` while less than a reserve is free; the kernel's heap may use the reserve.
//!
//! Under gnomon all memory is zero at boot, and page tables are zero when they are given up: such
//! frames are known to be clean and are not cleared again.

use core::arch::asm;
use core::num::NonZeroU32;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use gnomon_frames::{Buddy, FrameMeta, MemMap};

use super::layout::PAGE;
pub use super::phys_to_virt;
use super::{background, reclaim, swap};
use crate::errno::{Errno, KResult};
use crate::sync::SpinLock;

/// Single frames kept at hand, of each kind: more than a small program takes, so that one that ends
/// leaves them to the next.
const HOT: usize = 256;
/// Order of the largest block that is taken from the buddy system to fill the stacks.
const REFILL: usize = 3;
/// Frames more than are asked for that are made free when only the reserve is left.
const AHEAD: usize = 64;

/// The allocator: the buddy system and two stacks of single frames in front of it.
struct Allocator {
    buddy: Buddy,
    /// Frames that hold anything.
    dirty: [u32; HOT],
    dirty_len: usize,
    /// Frames that hold zeros.
    clean: [u32; HOT],
    clean_len: usize,
    /// Free frames in all.
    free: usize,
}

static ALLOCATOR: SpinLock<Allocator> = SpinLock::new(Allocator {
    buddy: Buddy::new(MemMap::empty()),
    dirty: [0; HOT],
    dirty_len: 0,
    clean: [0; HOT],
    clean_len: 0,
    free: 0,
});

/// The memory map, for reference counts (set once at boot).
struct Map(core::cell::UnsafeCell<MemMap>);
// SAFETY: written once, at boot, before any other use.
unsafe impl Sync for Map {}
static MAP: Map = Map(core::cell::UnsafeCell::new(MemMap::empty()));

/// Frames below which allocations wake the thread that makes room.
static LOW: AtomicUsize = AtomicUsize::new(0);
/// Frames below which programs get none.
static RESERVE: AtomicUsize = AtomicUsize::new(0);
/// All frames that the allocator was given.
static TOTAL: AtomicUsize = AtomicUsize::new(0);
/// Frames never used before hold zeros.
static ZERO_AT_BOOT: AtomicBool = AtomicBool::new(false);

/// The entry of a frame in the memory map.
#[inline(always)]
pub(super) fn meta(gpa: u64) -> *mut FrameMeta {
    // SAFETY: MAP is constant after boot.
    unsafe { (*MAP.0.get()).get((gpa >> 12) as u32) }
}

/// Sets the allocator up on a memory map of zeros.
pub(super) fn init(map: MemMap, zero_at_boot: bool) {
    // SAFETY: first use, single processor.
    unsafe { *MAP.0.get() = map };
    ZERO_AT_BOOT.store(zero_at_boot, Ordering::Relaxed);
    ALLOCATOR.lock().buddy = Buddy::new(map);
}

/// Gives the allocator the frames from `start` to `end` (gpas, page aligned).
pub(super) fn add(start: u64, end: u64) {
    let mut a = ALLOCATOR.lock();
    let before = a.buddy.free_frames();
    a.buddy.add((start >> 12) as u32, (end >> 12) as u32);
    let added = a.buddy.free_frames() - before;
    a.free += added;
    let total = TOTAL.load(Ordering::Relaxed) + added;
    TOTAL.store(total, Ordering::Relaxed);
    let reserve = (total / 32).max(512).min(total / 4);
    RESERVE.store(reserve, Ordering::Relaxed);
    LOW.store(reserve + reserve / 4, Ordering::Relaxed);
}

/// Free frames with which the thread that makes room is content.
pub(super) fn high_watermark() -> usize {
    let reserve = reserve();
    reserve + reserve / 2
}

/// Free frames.
pub fn free_frames() -> usize {
    ALLOCATOR.lock().free
}

/// All frames that can be allocated.
pub fn total_frames() -> usize {
    TOTAL.load(Ordering::Relaxed)
}

/// Free frames that programs leave to the kernel.
pub fn reserve() -> usize {
    RESERVE.load(Ordering::Relaxed)
}

/// Whether `count` frames can be had by programs right now, after making room if need be (see
/// [`reclaim::make_room`]).
pub fn can_allocate(count: usize) -> bool {
    let reserve = reserve();
    let free = free_frames();
    free >= reserve + count || {
        reclaim::make_room(reserve + count - free);
        free_frames() >= reserve + count
    }
}

/// Whether more than the reserve is free; drops no caches, so that it may be asked anywhere.
pub fn above_reserve() -> bool {
    free_frames() > reserve()
}

/// `ENOMEM` if only the reserve is left: for calls that make objects on the kernel's heap, which
/// may use the reserve, but must not be made to use it up.
#[inline]
pub fn require_reserve() -> KResult<()> {
    if above_reserve() || can_allocate(1) {
        Ok(())
    } else {
        Err(Errno::ENOMEM)
    }
}

/// Free blocks of each order, for /proc/buddyinfo.
pub fn free_blocks(order: usize) -> usize {
    ALLOCATOR.lock().buddy.free_blocks(order)
}

impl Allocator {
    /// One frame, preferably one that need not be clean.
    #[inline]
    fn take(&mut self) -> Option<u32> {
        if self.dirty_len == 0 {
            self.refill();
        }
        let frame = self.pop_dirty().or_else(|| self.pop_clean())?;
        self.free -= 1;
        Some(frame)
    }

    /// One frame, preferably a clean one. Memory that was never used is clean: it comes before frames
    /// that were, unless there are many of those.
    #[inline]
    fn take_clean(&mut self) -> Option<u32> {
        if self.clean_len == 0 && self.dirty_len <= HOT / 2 {
            self.refill();
        }
        let frame = self.pop_clean().or_else(|| self.pop_dirty())?;
        self.free -= 1;
        Some(frame)
    }

    #[inline(always)]
    fn pop_dirty(&mut self) -> Option<u32> {
        self.dirty_len = self.dirty_len.checked_sub(1)?;
        Some(self.dirty[self.dirty_len])
    }

    #[inline(always)]
    fn pop_clean(&mut self) -> Option<u32> {
        self.clean_len = self.clean_len.checked_sub(1)?;
        Some(self.clean[self.clean_len])
    }

    /// Moves a small block from the buddy system to the stacks, if both have room for it.
    #[inline(never)]
    fn refill(&mut self) {
        if self.clean_len.max(self.dirty_len) > HOT - (1 << REFILL) {
            return;
        }
        let Some(order) = self.buddy.smallest().map(|order| order.min(REFILL)) else {
            return;
        };
        let Some(first) = self.buddy.alloc(order) else {
            return;
        };
        for frame in first..first + (1 << order) {
            self.keep(frame);
        }
    }

    /// Puts a frame onto its stack. False: the stack is full.
    #[inline(always)]
    fn keep(&mut self, frame: u32) -> bool {
        if self.buddy.map().is_dirty(frame) {
            if self.dirty_len < HOT {
                self.dirty[self.dirty_len] = frame;
                self.dirty_len += 1;
                return true;
            }
        } else if self.clean_len < HOT {
            self.clean[self.clean_len] = frame;
            self.clean_len += 1;
            return true;
        }
        false
    }

    #[inline]
    fn give(&mut self, frame: u32) {
        self.free += 1;
        if !self.keep(frame) {
            // SAFETY: whoever gives a frame owns it.
            unsafe { self.buddy.free(frame, 0) };
        }
    }

    /// Empties the stacks into the buddy system, so that blocks can form.
    fn flush_hot(&mut self) {
        while self.dirty_len > 0 {
            self.dirty_len -= 1;
            // SAFETY: frames on the stacks are the allocator's.
            unsafe { self.buddy.free(self.dirty[self.dirty_len], 0) };
        }
        while self.clean_len > 0 {
            self.clean_len -= 1;
            // SAFETY: as above.
            unsafe { self.buddy.free(self.clean[self.clean_len], 0) };
        }
    }
}

/// Fills a frame with zeros unless it is known to hold nothing else.
#[inline]
fn clear(map: MemMap, frame: u32) {
    if map.is_dirty(frame) || !(map.is_clean(frame) || ZERO_AT_BOOT.load(Ordering::Relaxed)) {
        // SAFETY: the frame was just allocated and nobody else has it.
        unsafe {
            asm!(
                "rep stosq",
                inout("rcx") PAGE / 8 => _,
                inout("rdi") phys_to_virt(u64::from(frame) << 12) => _,
                in("rax") 0usize,
                options(nostack, preserves_flags),
            )
        };
    }
}

/// An owned, counted reference to a frame. A clone refers to the same frame; the last one dropped
/// frees it.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame(NonZeroU32);

impl Frame {
    /// A frame for a program or a cache, with anything in it. `ENOMEM` while only the reserve is
    /// left and no cache can be dropped.
    #[inline]
    pub fn alloc() -> KResult<Frame> {
        let frame = Frame::take(Allocator::take)?;
        frame.mark_dirty();
        Ok(frame)
    }

    /// The same, filled with zeros.
    #[inline]
    pub fn alloc_zeroed() -> KResult<Frame> {
        let frame = Frame::alloc_table()?;
        frame.mark_dirty();
        Ok(frame)
    }

    /// A frame of zeros that still counts as clean: its owner clears it again before it gives it
    /// up (page tables), or calls [`Frame::mark_dirty`].
    #[inline]
    pub(super) fn alloc_table() -> KResult<Frame> {
        let frame = Frame::take(Allocator::take_clean)?;
        // SAFETY: MAP is constant after boot.
        let map = unsafe { *MAP.0.get() };
        clear(map, frame.0.get());
        map.set_clean(frame.0.get());
        Ok(frame)
    }

    #[inline]
    fn take(from: impl Fn(&mut Allocator) -> Option<u32>) -> KResult<Frame> {
        let low = LOW.load(Ordering::Relaxed);
        let mut a = ALLOCATOR.lock();
        if a.free <= low {
            drop(a);
            Frame::require_room()?;
            a = ALLOCATOR.lock();
        }
        let frame = from(&mut a)
            .and_then(NonZeroU32::new)
            .ok_or(Errno::ENOMEM)?;
        drop(a);
        let frame = Frame(frame);
        frame.count().store(1, Ordering::Relaxed);
        Ok(frame)
    }

    /// Memory is short, or soon will be. `ENOMEM`: only the reserve is left.
    #[cold]
    fn require_room() -> KResult<()> {
        background::wake();
        let reserve = reserve();
        let free = free_frames();
        if free > reserve {
            return Ok(());
        }
        if reclaim::make_room(reserve - free + AHEAD) == 0 || free_frames() <= reserve {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    /// Records that the frame may hold something other than zeros.
    #[inline]
    pub(super) fn mark_dirty(&self) {
        // SAFETY: MAP is constant after boot.
        unsafe { (*MAP.0.get()).set_dirty(self.0.get()) };
    }

    #[inline]
    fn count(&self) -> &core::sync::atomic::AtomicU32 {
        // SAFETY: the entry of a frame in use; its count is only accessed atomically.
        unsafe { &(*meta(self.gpa())).count }
    }

    /// gpa of the frame.
    #[inline]
    pub fn gpa(&self) -> u64 {
        u64::from(self.0.get()) << 12
    }

    /// Its address in the direct map; 4096 bytes. Whoever writes while others may look takes care.
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        phys_to_virt(self.gpa())
    }

    /// Number of references.
    #[inline]
    pub fn refcount(&self) -> u32 {
        self.count().load(Ordering::Relaxed)
    }

    /// Gives the reference up to a raw gpa (a page-table entry holds it).
    #[inline]
    pub fn into_raw(self) -> u64 {
        let gpa = self.gpa();
        core::mem::forget(self);
        gpa
    }

    /// Number of the frame.
    #[inline]
    pub fn number(&self) -> NonZeroU32 {
        self.0
    }

    /// A reference to a frame that somebody else refers to; None: nobody does any more.
    pub(super) fn share(frame: NonZeroU32) -> Option<Frame> {
        // SAFETY: an entry of the map, whose count is only accessed atomically.
        let count = unsafe { &(*map().get(frame.get())).count };
        count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                (n > 0).then_some(n + 1)
            })
            .ok()
            .map(|_| Frame(frame))
    }

    /// Takes a reference back from [`Frame::into_raw`].
    ///
    /// # Safety
    /// The gpa came from `into_raw` and is taken back once.
    #[inline]
    pub unsafe fn from_raw(gpa: u64) -> Frame {
        match NonZeroU32::new((gpa >> 12) as u32) {
            Some(frame) => Frame(frame),
            None => unreachable!("frame 0 is never allocated"),
        }
    }
}

impl Clone for Frame {
    #[inline]
    fn clone(&self) -> Frame {
        self.count().fetch_add(1, Ordering::Relaxed);
        Frame(self.0)
    }
}

impl Drop for Frame {
    #[inline]
    fn drop(&mut self) {
        if self.count().fetch_sub(1, Ordering::Release) == 1 {
            core::sync::atomic::fence(Ordering::Acquire);
            if map().is_cached(self.0.get()) {
                swap::frame_died(self.0);
            }
            ALLOCATOR.lock().give(self.0.get());
        }
    }
}

/// Takes 2^order contiguous frames for the kernel (the reserve included): their gpa. None: no such
/// block. They hold anything.
pub fn alloc_pages(order: usize) -> Option<u64> {
    let mut a = ALLOCATOR.lock();
    let frame = if order == 0 {
        a.take()?
    } else {
        let frame = a.buddy.alloc(order).or_else(|| {
            a.flush_hot();
            a.buddy.alloc(order)
        })?;
        a.free -= 1 << order;
        frame
    };
    a.buddy.mark_dirty(frame, order);
    Some(u64::from(frame) << 12)
}

/// Gives contiguous frames back.
///
/// # Safety
/// `gpa` came from [`alloc_pages`] with the same order, and nobody uses the memory any more.
pub unsafe fn free_pages(gpa: u64, order: usize) {
    let mut a = ALLOCATOR.lock();
    let frame = (gpa >> 12) as u32;
    if order == 0 {
        a.give(frame);
    } else {
        // SAFETY: by the caller's promise.
        unsafe { a.buddy.free(frame, order) };
        a.free += 1 << order;
    }
}

/// Number of references to a frame.
pub(super) fn references(frame: u32) -> u32 {
    // SAFETY: an entry of the map, whose count is only accessed atomically.
    unsafe { (*map().get(frame)).count.load(Ordering::Relaxed) }
}

/// The memory map.
#[inline(always)]
pub(super) fn map() -> MemMap {
    // SAFETY: MAP is constant after boot.
    unsafe { *MAP.0.get() }
}
