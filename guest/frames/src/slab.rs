//! Objects of one size, carved from single frames (Bonwick 1994, in the way of SLUB).
//!
//! A frame's entry in the memory map holds its slab's state; free objects are linked by index
//! through their first two bytes. Objects that were never handed out are not linked: a counter
//! says how many have been, so that a fresh slab costs nothing to set up.
//!
//! ```text
//! FrameMeta.count:  bits 0..16 first free object's index + 1 (0: none), 16..32 objects in use
//! FrameMeta.extra:  objects handed out at least once
//! FrameMeta.next, prev: list of slabs with room
//! ```

use core::sync::atomic::Ordering::Relaxed;

use crate::FRAME_SIZE;
use crate::meta::{FrameMeta, MemMap};

/// Where frames are in the address space.
pub trait Memory {
    /// Address of a frame's first byte.
    fn address(&self, frame: u32) -> *mut u8;
    /// Frame of an address that lies in one.
    fn frame(&self, address: *mut u8) -> u32;
}

/// The slabs of one object size.
#[derive(Debug)]
pub struct Slab {
    size: u32,
    per_frame: u32,
    /// First slab that has room; 0: none.
    partial: u32,
    /// Frames held.
    frames: u32,
    /// Objects handed out.
    used: u32,
}

impl Slab {
    /// Slabs of objects of `size` bytes: 8 to 2048, a multiple of 8.
    pub const fn new(size: usize) -> Slab {
        assert!(size >= 8 && size <= FRAME_SIZE / 2 && size.is_multiple_of(8));
        Slab {
            size: size as u32,
            per_frame: (FRAME_SIZE / size) as u32,
            partial: 0,
            frames: 0,
            used: 0,
        }
    }

    /// Object size in bytes.
    pub const fn size(&self) -> usize {
        self.size as usize
    }

    /// Frames held.
    pub const fn frames(&self) -> usize {
        self.frames as usize
    }

    /// Objects in use.
    pub const fn used(&self) -> usize {
        self.used as usize
    }

    /// Takes an object. None: no slab has room; give it a frame with [`Slab::grow`] and ask again.
    #[inline]
    pub fn alloc(&mut self, map: MemMap, memory: &impl Memory) -> Option<*mut u8> {
        let frame = self.partial;
        if frame == 0 {
            return None;
        }
        // SAFETY: the frame is one of our slabs; its entry is ours while it is.
        let entry = unsafe { &mut *map.get(frame) };
        let state = entry.count.load(Relaxed);
        let (head, used) = (state & 0xffff, (state >> 16) + 1);
        let base = memory.address(frame);
        let (object, next) = if head != 0 {
            let object = base.wrapping_add((head as usize - 1) * self.size as usize);
            // SAFETY: a free object of the slab, at least 8 bytes, aligned to 8.
            (object, u32::from(unsafe { object.cast::<u16>().read() }))
        } else {
            let index = entry.extra;
            entry.extra = index + 1;
            (
                base.wrapping_add(usize::from(index) * self.size as usize),
                0,
            )
        };
        entry.count.store(next | used << 16, Relaxed);
        self.used += 1;
        if used == self.per_frame {
            self.unlink(map, entry);
        }
        Some(object)
    }

    /// Gives the slab an empty frame.
    ///
    /// # Safety
    /// The frame is the caller's, all of it, and stays with the slab until [`Slab::free`] returns it.
    pub unsafe fn grow(&mut self, map: MemMap, frame: u32) {
        map.set_dirty(frame);
        // SAFETY: the caller hands the frame over, with its entry.
        let entry = unsafe { &mut *map.get(frame) };
        entry.count.store(0, Relaxed);
        entry.extra = 0;
        self.frames += 1;
        self.link(map, frame);
    }

    /// Gives an object back. Returns a frame that has become empty and is not needed any more.
    ///
    /// # Safety
    /// The object came from this slab's [`Slab::alloc`] and is not used any more.
    #[inline]
    pub unsafe fn free(
        &mut self,
        map: MemMap,
        memory: &impl Memory,
        object: *mut u8,
    ) -> Option<u32> {
        let frame = memory.frame(object);
        let offset = object as usize % FRAME_SIZE;
        let index = offset as u32 / self.size;
        // SAFETY: the frame is one of our slabs.
        let entry = unsafe { &mut *map.get(frame) };
        let state = entry.count.load(Relaxed);
        let (head, used) = (state & 0xffff, state >> 16);
        // SAFETY: the caller gives the object back.
        unsafe { object.cast::<u16>().write(head as u16) };
        entry.count.store((index + 1) | ((used - 1) << 16), Relaxed);
        self.used -= 1;
        if used == self.per_frame {
            self.link(map, frame);
        }
        // Keep one empty slab when it is the only one with room: the next allocation wants it.
        if used == 1 && (self.partial != frame || entry.next != 0) {
            self.unlink(map, entry);
            entry.count.store(0, Relaxed);
            entry.extra = 0;
            self.frames -= 1;
            return Some(frame);
        }
        None
    }

    fn link(&mut self, map: MemMap, frame: u32) {
        let next = self.partial;
        // SAFETY: entries of our slabs.
        unsafe {
            (*map.get(frame)).next = next;
            (*map.get(frame)).prev = 0;
            if next != 0 {
                (*map.get(next)).prev = frame;
            }
        }
        self.partial = frame;
    }

    fn unlink(&mut self, map: MemMap, entry: &FrameMeta) {
        let (next, prev) = (entry.next, entry.prev);
        // SAFETY: neighbours in the list, entries of our slabs, other than `entry`.
        unsafe {
            if next != 0 {
                (*map.get(next)).prev = prev;
            }
            if prev != 0 {
                (*map.get(prev)).next = next;
            } else {
                self.partial = next;
            }
        }
    }
}
