//! What is known about each frame.

use core::sync::atomic::AtomicU32;

/// One frame's entry in the memory map. Zero: in use or not memory at all, never allocated yet.
#[derive(Debug, Default)]
#[repr(C)]
pub struct FrameMeta {
    /// Link in a list (free blocks, partial slabs): a frame number, 0 for none.
    pub(crate) next: u32,
    /// Link in a list.
    pub(crate) prev: u32,
    /// Frame in use: number of references. Slab: [`FrameMeta::slab`].
    pub count: AtomicU32,
    /// Order of the free block that starts here.
    pub(crate) order: u8,
    /// [`FREE`], [`DIRTY`], [`CLEAN`], [`CACHED`].
    pub(crate) state: u8,
    /// For the owner of a frame in use: page tables count their entries here.
    pub extra: u16,
}

const _: () = assert!(size_of::<FrameMeta>() == 16);

/// The entry starts a free block.
pub(crate) const FREE: u8 = 1;
/// The frame may hold something other than zero.
pub(crate) const DIRTY: u8 = 2;
/// The frame holds zeros only, because its last owner saw to it. With neither bit it has not been
/// used yet, and holds what the loader left there.
pub(crate) const CLEAN: u8 = 4;
/// The frame's contents are in swap space, too. Allocation forgets it.
const CACHED: u8 = 8;

/// The array of all frames' entries, by frame number.
#[derive(Clone, Copy, Debug)]
pub struct MemMap {
    base: *mut FrameMeta,
    frames: u32,
}

// SAFETY: a plain address; whoever uses the entries synchronises.
unsafe impl Send for MemMap {}
// SAFETY: as above.
unsafe impl Sync for MemMap {}

impl MemMap {
    /// A map without frames.
    pub const fn empty() -> MemMap {
        MemMap {
            base: core::ptr::null_mut(),
            frames: 0,
        }
    }

    /// The map at `base`, for frame numbers below `frames`.
    ///
    /// # Safety
    /// `base` points to that many entries, all zero, that nobody else uses and that live for ever.
    pub const unsafe fn new(base: *mut FrameMeta, frames: u32) -> MemMap {
        MemMap { base, frames }
    }

    /// Number of entries.
    pub const fn frames(&self) -> u32 {
        self.frames
    }

    /// The entry of a frame.
    #[inline(always)]
    pub fn get(&self, frame: u32) -> *mut FrameMeta {
        debug_assert!(frame < self.frames);
        self.base.wrapping_add(frame as usize)
    }

    /// Whether the frame may hold something other than zero.
    #[inline]
    pub fn is_dirty(&self, frame: u32) -> bool {
        // SAFETY: an entry of the map.
        unsafe { (*self.get(frame)).state & DIRTY != 0 }
    }

    /// Whether the frame was cleared by its last owner.
    #[inline]
    pub fn is_clean(&self, frame: u32) -> bool {
        // SAFETY: an entry of the map.
        unsafe { (*self.get(frame)).state & CLEAN != 0 }
    }

    /// Records that the frame may hold something other than zero.
    #[inline]
    pub fn set_dirty(&self, frame: u32) {
        // SAFETY: an entry of the map, of a frame in use; the frame's owner calls.
        unsafe { (*self.get(frame)).state = DIRTY };
    }

    /// Records that the frame holds zeros only.
    #[inline]
    pub fn set_clean(&self, frame: u32) {
        // SAFETY: an entry of the map, of a frame in use; the frame's owner calls.
        unsafe { (*self.get(frame)).state = CLEAN };
    }

    /// Whether the frame's contents are in swap space, too.
    #[inline]
    pub fn is_cached(&self, frame: u32) -> bool {
        // SAFETY: an entry of the map.
        unsafe { (*self.get(frame)).state & CACHED != 0 }
    }

    /// Records whether the contents of a frame in use are in swap space, too.
    pub fn set_cached(&self, frame: u32, cached: bool) {
        let state = if cached { DIRTY | CACHED } else { DIRTY };
        // SAFETY: an entry of the map, of a frame in use; the frame's owner calls.
        unsafe { (*self.get(frame)).state = state };
    }

    /// Who maps the frame, as page replacement last saw it. Whatever else used the entry's links
    /// since then has overwritten it: the answer is a hint.
    pub fn owner(&self, frame: u32) -> u64 {
        // SAFETY: an entry of the map.
        let entry = unsafe { &*self.get(frame) };
        u64::from(entry.next) << 32 | u64::from(entry.prev)
    }

    /// Notes who maps a frame in use.
    pub fn set_owner(&self, frame: u32, owner: u64) {
        // SAFETY: an entry of the map, of a frame in use, which is in no list.
        let entry = unsafe { &mut *self.get(frame) };
        entry.next = (owner >> 32) as u32;
        entry.prev = owner as u32;
    }
}
