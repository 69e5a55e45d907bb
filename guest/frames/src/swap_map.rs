//! The pages (slots) of one swap space: who refers to each, and which frame has the same contents.
//!
//! ```text
//!  page-table entries that name the slot ──► references ─┐
//!                                                        ├─ both gone: the slot is free
//!  frame that was read from it, or is being written ─────┘
//! ```
//!
//! A frame that is attached to a slot is what a page fault on the slot finds without reading; while
//! nobody writes to it, it can leave memory again without being written.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::num::NonZeroU32;

/// References of a slot that cannot be used.
const BAD: u16 = u16::MAX;
/// References of a slot whose frame is the only copy: writing it failed.
const PINNED: u16 = 1 << 15;

/// The slots of a swap space. Slot 0 holds the header and is never handed out.
#[derive(Debug)]
pub struct SwapMap {
    references: Vec<u16>,
    frames: Vec<Option<NonZeroU32>>,
    /// Where the search for a free slot goes on: pages that leave together lie together.
    cursor: usize,
    usable: usize,
    free: usize,
    /// Slots to which nobody refers but a frame.
    idle: usize,
}

impl SwapMap {
    /// A space of `pages` pages, all free but the first.
    pub fn new(pages: u32) -> Result<SwapMap, TryReserveError> {
        let mut map = SwapMap {
            references: Vec::new(),
            frames: Vec::new(),
            cursor: 1,
            usable: (pages as usize).saturating_sub(1),
            free: (pages as usize).saturating_sub(1),
            idle: 0,
        };
        map.references.try_reserve_exact(pages as usize)?;
        map.frames.try_reserve_exact(pages as usize)?;
        map.references.resize(pages as usize, 0);
        map.frames.resize(pages as usize, None);
        if let Some(header) = map.references.first_mut() {
            *header = BAD;
        }
        Ok(map)
    }

    /// Takes a slot out of use; nothing may be in it yet.
    pub fn mark_bad(&mut self, slot: u32) {
        if let Some(references @ 0) = self.references.get_mut(slot as usize) {
            *references = BAD;
            self.usable -= 1;
            self.free -= 1;
        }
    }

    /// Slots that can be used.
    pub fn usable(&self) -> usize {
        self.usable
    }

    /// Slots that are in use.
    pub fn used(&self) -> usize {
        self.usable - self.free
    }

    fn is_free(&self, slot: usize) -> bool {
        self.references[slot] == 0 && self.frames[slot].is_none()
    }

    fn is_idle(&self, slot: usize) -> bool {
        self.references[slot] == 0 && self.frames[slot].is_some()
    }

    /// Changes a slot, and the counts with it.
    fn change<R>(
        &mut self,
        slot: u32,
        change: impl FnOnce(&mut u16, &mut Option<NonZeroU32>) -> R,
    ) -> R {
        let at = slot as usize;
        self.free -= usize::from(self.is_free(at));
        self.idle -= usize::from(self.is_idle(at));
        let result = change(&mut self.references[at], &mut self.frames[at]);
        self.free += usize::from(self.is_free(at));
        self.idle += usize::from(self.is_idle(at));
        result
    }

    /// The first slot from the cursor on, and round, for which `which` says so.
    fn search(&self, which: impl Fn(&Self, usize) -> bool) -> Option<u32> {
        let slots = (self.cursor..self.references.len()).chain(1..self.cursor);
        let mut slots = slots.into_iter();
        slots
            .find(|&slot| which(self, slot))
            .map(|slot| slot as u32)
    }

    /// Attaches `frame` to a free slot, which is the next one after that handed out before if
    /// possible. None: there is no free slot.
    pub fn allocate(&mut self, frame: NonZeroU32) -> Option<u32> {
        if self.free == 0 {
            return None;
        }
        let slot = self.search(Self::is_free)?;
        self.cursor = slot as usize + 1;
        self.change(slot, |_, attached| *attached = Some(frame));
        Some(slot)
    }

    /// A slot to which nobody refers but its frame: it can be had by detaching the frame, which is
    /// given too.
    pub fn only_attached(&mut self) -> Option<(u32, NonZeroU32)> {
        if self.idle == 0 {
            return None;
        }
        let slot = self.search(Self::is_idle)?;
        self.cursor = slot as usize;
        Some((slot, self.frame(slot)?))
    }

    /// Whether there is such a slot and it is in use.
    pub fn is_used(&self, slot: u32) -> bool {
        let slot = slot as usize;
        slot < self.references.len() && self.references[slot] != BAD && !self.is_free(slot)
    }

    /// References of a slot in use.
    pub fn references(&self, slot: u32) -> u32 {
        u32::from(self.references[slot as usize] & !PINNED)
    }

    /// One reference more to a slot in use. False: it has as many as it can have.
    #[must_use]
    pub fn refer(&mut self, slot: u32) -> bool {
        if self.references(slot) >= u32::from(PINNED - 2) {
            return false;
        }
        self.change(slot, |references, _| *references += 1);
        true
    }

    /// One reference less. A frame that is given was pinned and has nobody left: its reference is
    /// the caller's.
    #[must_use]
    pub fn release(&mut self, slot: u32) -> Option<NonZeroU32> {
        self.change(slot, |references, frame| {
            debug_assert!(*references & !PINNED > 0);
            *references -= 1;
            if *references != PINNED {
                return None;
            }
            *references = 0;
            frame.take()
        })
    }

    /// The frame with the slot's contents.
    pub fn frame(&self, slot: u32) -> Option<NonZeroU32> {
        self.frames[slot as usize]
    }

    /// Attaches the frame that has been read from a slot in use.
    pub fn attach(&mut self, slot: u32, frame: NonZeroU32) {
        self.change(slot, |_, attached| *attached = Some(frame));
    }

    /// The slot's frame goes away, or is about to differ from it.
    pub fn detach(&mut self, slot: u32) {
        self.change(slot, |_, attached| *attached = None);
    }

    /// The slot could not be written: a reference to its frame, which has the only copy, is kept
    /// until nobody refers to the slot. False: nobody does, the reference stays the caller's.
    #[must_use]
    pub fn pin(&mut self, slot: u32) -> bool {
        let at = slot as usize;
        if self.references[at] == 0 || self.frames[at].is_none() {
            return false;
        }
        self.references[at] |= PINNED;
        true
    }

    /// Whether the slot's frame is the only copy of its contents.
    pub fn is_pinned(&self, slot: u32) -> bool {
        let references = self.references[slot as usize];
        references != BAD && references & PINNED != 0
    }
}
