//! Swap space: where pages of programs go when memory is short.
//!
//! ```text
//!   page-table entry            slot (guest/frames: SwapMap)          frame
//!   ┌──────────────┐  names   ┌───────────────────────────┐ attached ┌───────┐
//!   │ SWAPPED, slot├─────────►│ references, frame or none ├─────────►│ bytes │
//!   └──────────────┘          └───────────────────────────┘◄─────────┤CACHED │
//!                                                           slot_of  └───────┘
//! ```
//!
//! A page that leaves memory gets a slot, its page-table entries name the slot, and then it is
//! written; until its frame is free, and again after it has been read, frame and slot are
//! *attached*: both hold the same, so that a fault finds the frame without reading, however many
//! processes share it, and the frame can leave again without being written. An attached frame is
//! never mapped writable. The attachment holds no reference: it ends with the frame
//! ([`frame_died`]), or when its last owner is about to write ([`own`]).
//!
//! Here are the slots, and which frame is attached to which; `device` takes disks into use and out of
//! it, and `page_io` reads and writes the pages.

mod device;
mod page_io;

pub use device::{free_pages, init, off, on, spaces, total_pages};
pub use page_io::{Arriving, Leaving};

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU32;
use core::sync::atomic::{AtomicUsize, Ordering};

use gnomon_frames::SwapMap;

use super::frame::{self, Frame};
use super::layout::PAGE;
use super::table;
use crate::drivers::block::{BlockDevice, SECTOR};
use crate::errno::{Errno, KResult};
use crate::sync::SpinLock;

/// Swap spaces that can be in use at once.
const SPACES: usize = 4;
/// Bits of a slot's number within its space.
const SLOT_BITS: u32 = 29;
/// Sectors of a page.
const SECTORS: u64 = (PAGE / SECTOR) as u64;

/// A page in some swap space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SwapSlot(u32);

impl SwapSlot {
    fn new(space: usize, slot: u32) -> SwapSlot {
        SwapSlot((space as u32) << SLOT_BITS | slot)
    }

    /// The slot that a page-table entry names.
    #[inline]
    pub fn of_entry(entry: u64) -> SwapSlot {
        SwapSlot((entry >> 12) as u32)
    }

    /// The slot `n` places behind this one.
    pub fn plus(self, n: usize) -> SwapSlot {
        SwapSlot(self.0 + n as u32)
    }

    /// The page-table entry that names the slot.
    pub fn entry(self) -> u64 {
        u64::from(self.0) << 12 | table::SWAPPED
    }

    fn space(self) -> usize {
        (self.0 >> SLOT_BITS) as usize
    }

    fn slot(self) -> u32 {
        self.0 & ((1 << SLOT_BITS) - 1)
    }

    fn sector(self) -> u64 {
        u64::from(self.slot()) * SECTORS
    }
}

/// A disk in use as swap space.
struct Space {
    device: Arc<dyn BlockDevice>,
    map: SwapMap,
    priority: i32,
    /// Pages may be put here: not while `swapoff` brings them back.
    accepts: bool,
}

/// All swap spaces, and what is attached to their slots.
struct State {
    spaces: [Option<Space>; SPACES],
    /// The slot of each attached frame, by frame number.
    slot_of: Vec<SwapSlot>,
}

static STATE: SpinLock<State> = SpinLock::new(State {
    spaces: [const { None }; SPACES],
    slot_of: Vec::new(),
});
/// Attached frames.
static ATTACHED: AtomicUsize = AtomicUsize::new(0);

/// Frames that are attached to a slot.
pub fn attached_frames() -> usize {
    ATTACHED.load(Ordering::Relaxed)
}

fn set_attached(frame: NonZeroU32, attached: bool) {
    frame::map().set_cached(frame.get(), attached);
    if attached {
        ATTACHED.fetch_add(1, Ordering::Relaxed);
    } else {
        ATTACHED.fetch_sub(1, Ordering::Relaxed);
    }
}

impl State {
    /// The map of a slot's space.
    fn map(&mut self, slot: SwapSlot) -> Option<&mut SwapMap> {
        Some(&mut self.spaces[slot.space()].as_mut()?.map)
    }

    /// The slot of an attached frame, and its space's map.
    fn attachment(&mut self, frame: NonZeroU32) -> Option<(SwapSlot, &mut SwapMap)> {
        let slot = *self.slot_of.get(frame.get() as usize)?;
        let map = self.map(slot)?;
        (map.frame(slot.slot()) == Some(frame)).then_some((slot, map))
    }

    /// Attaches `frame` to a fresh slot, of the space with the highest priority that has one.
    fn allocate(&mut self, frame: NonZeroU32) -> Option<SwapSlot> {
        let open = self
            .spaces
            .iter_mut()
            .enumerate()
            .filter_map(|(place, space)| {
                let space = space.as_mut().filter(|space| space.accepts)?;
                Some((place, space))
            });
        let (place, slot) = open
            .filter(|(_, space)| space.map.used() < space.map.usable())
            .max_by_key(|(_, space)| space.priority)
            .and_then(|(place, space)| Some((place, space.map.allocate(frame)?)))
            .or_else(|| self.steal(frame))?;
        let slot = SwapSlot::new(place, slot);
        self.slot_of[frame.get() as usize] = slot;
        set_attached(frame, true);
        Some(slot)
    }

    /// All is full: takes a slot that only a frame in memory is left of.
    fn steal(&mut self, frame: NonZeroU32) -> Option<(usize, u32)> {
        for (place, space) in self.spaces.iter_mut().enumerate() {
            if let Some(space) = space.as_mut().filter(|space| space.accepts)
                && let Some((slot, other)) = space.map.only_attached()
            {
                space.map.detach(slot);
                set_attached(other, false);
                return Some((place, space.map.allocate(frame)?));
            }
        }
        None
    }
}

/// A page with `references` page-table entries leaves memory: the slot for them to name, each with
/// its reference, and whether the page must be written to it. None: swap space is full.
pub fn leave(frame: NonZeroU32, references: usize) -> Option<(SwapSlot, bool)> {
    let mut state = STATE.lock();
    let (slot, write) = match state.attachment(frame) {
        Some((slot, _)) => (slot, false),
        None => (state.allocate(frame)?, true),
    };
    let map = state.map(slot)?;
    for done in 0..references {
        if !map.refer(slot.slot()) {
            for _ in 0..done {
                // Attached to a frame that lives: there is nothing pinned.
                let _ = map.release(slot.slot());
            }
            return None;
        }
    }
    Some((slot, write))
}

/// One reference more to a slot, for a child's page-table entry. `ENOMEM`: it has too many.
pub(super) fn duplicate(slot: SwapSlot) -> KResult<()> {
    let mut state = STATE.lock();
    if state.map(slot).is_some_and(|map| map.refer(slot.slot())) {
        Ok(())
    } else {
        Err(Errno::ENOMEM)
    }
}

/// A page-table entry that named the slot, or another reference to it, is gone.
pub fn release(slot: SwapSlot) {
    let mut state = STATE.lock();
    let pinned = state.map(slot).and_then(|map| map.release(slot.slot()));
    if let Some(frame) = pinned {
        set_attached(frame, false);
        drop(state);
        // SAFETY: the reference that was kept when the frame was pinned.
        drop(unsafe { Frame::from_raw(u64::from(frame.get()) << 12) });
    }
}

/// Whether a slot is to be emptied (`swapoff`).
pub fn is_unwanted(slot: SwapSlot) -> bool {
    let state = STATE.lock();
    let space = state.spaces[slot.space()].as_ref();
    space.is_some_and(|space| !space.accepts)
}

/// Whether a frame is attached to a slot.
#[inline]
pub(super) fn is_attached(gpa: u64) -> bool {
    frame::map().is_cached((gpa >> 12) as u32)
}

/// The only owner of an attached frame is about to write to it: the slot is not the same any more.
#[cold]
pub fn own(gpa: u64) {
    if let Some(frame) = NonZeroU32::new((gpa >> 12) as u32) {
        frame_died(frame);
    }
}

/// An attached frame has no references any more.
#[cold]
pub(super) fn frame_died(frame: NonZeroU32) {
    let mut state = STATE.lock();
    if let Some((slot, map)) = state.attachment(frame) {
        map.detach(slot.slot());
    }
    set_attached(frame, false);
}
