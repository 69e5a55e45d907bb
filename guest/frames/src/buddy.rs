//! The buddy allocator (Knowlton 1965): blocks of 2^order frames, each aligned to its size.
//!
//! Memory enters in the largest blocks that fit, up to 1 GiB, and is split when it is asked for:
//! boot costs a few instructions a gibibyte. Free blocks of an order form a doubly linked list
//! through the memory map; a bit set says which lists are not empty.

use crate::meta::{DIRTY, FREE, FrameMeta, MemMap};

/// Order of the largest block: 2^18 frames, 1 GiB.
pub const MAX_ORDER: usize = 18;

/// The allocator. Frame 0 is never handed out (0 ends lists).
#[derive(Debug)]
pub struct Buddy {
    map: MemMap,
    /// First free block of each order.
    heads: [u32; MAX_ORDER + 1],
    /// Bit n: `heads[n]` is not 0.
    orders: u32,
    /// Free frames.
    free: usize,
}

impl Buddy {
    /// An allocator without memory.
    pub const fn new(map: MemMap) -> Buddy {
        Buddy {
            map,
            heads: [0; MAX_ORDER + 1],
            orders: 0,
            free: 0,
        }
    }

    /// The memory map it works on.
    pub const fn map(&self) -> MemMap {
        self.map
    }

    /// Number of free frames.
    #[inline]
    pub const fn free_frames(&self) -> usize {
        self.free
    }

    /// Order of the smallest free block. None: there is none.
    #[inline]
    pub const fn smallest(&self) -> Option<usize> {
        match self.orders {
            0 => None,
            orders => Some(orders.trailing_zeros() as usize),
        }
    }

    /// Number of free blocks of an order (a walk; for /proc/buddyinfo).
    pub fn free_blocks(&self, order: usize) -> usize {
        let mut n = 0;
        let mut frame = self.heads[order];
        while frame != 0 {
            n += 1;
            frame = self.entry(frame).next;
        }
        n
    }

    #[inline(always)]
    #[allow(
        clippy::mut_from_ref,
        reason = "the entries belong to the map, not to the struct"
    )]
    fn entry(&self, frame: u32) -> &mut FrameMeta {
        // SAFETY: the map is ours (MemMap::new), frame numbers come from it, and no two
        // references are live at once: every use is a single statement.
        unsafe { &mut *self.map.get(frame) }
    }

    #[inline]
    fn push(&mut self, frame: u32, order: usize) {
        let next = self.heads[order];
        let entry = self.entry(frame);
        entry.next = next;
        entry.prev = 0;
        entry.order = order as u8;
        entry.state |= FREE;
        if next != 0 {
            self.entry(next).prev = frame;
        }
        self.heads[order] = frame;
        self.orders |= 1 << order;
    }

    #[inline]
    fn remove(&mut self, frame: u32, order: usize) {
        let entry = self.entry(frame);
        let (next, prev) = (entry.next, entry.prev);
        entry.state &= !FREE;
        if next != 0 {
            self.entry(next).prev = prev;
        }
        if prev != 0 {
            self.entry(prev).next = next;
        } else {
            self.heads[order] = next;
            if next == 0 {
                self.orders &= !(1 << order);
            }
        }
    }

    /// Adds frames `start..end`, which the allocator did not have. Parts outside the map and
    /// frame 0 are left out.
    pub fn add(&mut self, start: u32, end: u32) {
        let (mut frame, end) = (start.max(1), end.min(self.map.frames()));
        while frame < end {
            let fits = (end - frame).ilog2();
            let order = frame.trailing_zeros().min(fits).min(MAX_ORDER as u32);
            self.push(frame, order as usize);
            self.free += 1 << order;
            frame += 1 << order;
        }
    }

    /// Takes a block of 2^order frames: its first frame.
    #[inline]
    pub fn alloc(&mut self, order: usize) -> Option<u32> {
        if order > MAX_ORDER {
            return None;
        }
        let orders = self.orders >> order;
        if orders == 0 {
            return None;
        }
        let mut have = order + orders.trailing_zeros() as usize;
        let frame = self.heads[have];
        self.remove(frame, have);
        while have > order {
            have -= 1;
            self.push(frame + (1 << have), have);
        }
        self.free -= 1 << order;
        Some(frame)
    }

    /// Gives a block back.
    ///
    /// # Safety
    /// The block was allocated with this order (or is part of such a block, all of which is given
    /// back in pieces) and nobody uses it any more. Frames that hold something other than zero
    /// have been marked ([`MemMap::set_dirty`]).
    #[inline]
    pub unsafe fn free(&mut self, frame: u32, order: usize) {
        debug_assert!(
            self.entry(frame).state & FREE == 0,
            "frame {frame} is free already"
        );
        self.free += 1 << order;
        let (mut frame, mut order) = (frame, order);
        while order < MAX_ORDER {
            let buddy = frame ^ (1 << order);
            if buddy >= self.map.frames() {
                break;
            }
            let entry = self.entry(buddy);
            if entry.state & FREE == 0 || usize::from(entry.order) != order {
                break;
            }
            self.remove(buddy, order);
            frame &= !(1 << order);
            order += 1;
        }
        self.push(frame, order);
    }

    /// Marks all frames of an allocated block as holding something other than zero.
    pub fn mark_dirty(&mut self, frame: u32, order: usize) {
        for frame in frame..frame + (1 << order) {
            self.entry(frame).state = DIRTY;
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn buddy(frames: u32) -> Buddy {
        let entries: Vec<FrameMeta> = (0..frames).map(|_| FrameMeta::default()).collect();
        let map = entries.leak();
        // SAFETY: leaked, zero, ours alone.
        Buddy::new(unsafe { MemMap::new(map.as_mut_ptr(), frames) })
    }

    #[test]
    fn block_freed_merges_with_its_buddies_to_the_largest() {
        let mut b = buddy(1024);
        b.add(512, 1024);
        assert_eq!(b.free_blocks(9), 1);
        let frames: Vec<u32> = (0..512).map(|_| b.alloc(0).unwrap()).collect();
        assert_eq!(b.alloc(0), None);
        for f in frames {
            // SAFETY: allocated above.
            unsafe { b.free(f, 0) };
        }
        assert_eq!(b.free_blocks(9), 1);
        assert_eq!(b.free_frames(), 512);
    }

    #[test]
    fn odd_region_is_split_into_aligned_blocks() {
        let mut b = buddy(64);
        b.add(0, 23);
        assert_eq!(b.free_frames(), 22);
        assert_eq!(b.free_blocks(3), 1);
        assert_eq!(b.free_blocks(4), 0);
        assert_eq!(b.free_blocks(2), 2);
    }

    #[test]
    fn smallest_block_is_found() {
        let mut b = buddy(1024);
        assert_eq!(b.smallest(), None);
        b.add(512, 1024);
        assert_eq!(b.smallest(), Some(9));
        assert!(b.alloc(0).is_some());
        assert_eq!(b.smallest(), Some(0));
    }

    #[test]
    fn order_beyond_the_largest_is_refused() {
        assert_eq!(buddy(16).alloc(MAX_ORDER + 1), None);
    }
}
