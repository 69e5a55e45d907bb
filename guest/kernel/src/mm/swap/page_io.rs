//! Pages on their way between memory and swap space. Those whose slots lie in a row go with one
//! request.

use alloc::vec::Vec;

use super::{STATE, SwapSlot, release, set_attached};
use crate::errno::{Errno, KResult};
use crate::mm::frame::{self, Frame};
use crate::mm::layout::PAGE;
use crate::mm::{phys_to_virt, stat};

/// Pages that come back to memory together: slots in a row, read with one request.
pub struct Arriving {
    first: SwapSlot,
    /// Their frames, for as many as there was room.
    pub frames: Vec<Frame>,
    /// They had to be read.
    pub read: bool,
}

impl Arriving {
    /// The page in slot `first`, and up to `count` in all in the slots behind it, all of which are
    /// in use, where they have to be read and there is room. The caller holds a reference to each
    /// of the slots. May sleep.
    ///
    /// # Errors
    /// `ENOMEM`; `EIO`: the device cannot read them.
    pub fn fetch(first: SwapSlot, count: usize) -> KResult<Arriving> {
        let (device, count) = {
            let mut state = STATE.lock();
            let map = state.map(first).ok_or(Errno::EIO)?;
            if let Some(frame) = map.frame(first.slot()).and_then(Frame::share) {
                return Ok(Arriving {
                    first,
                    frames: alloc::vec![frame],
                    read: false,
                });
            }
            let count = (1..count as u32)
                .take_while(|n| map.frame(first.slot() + n).is_none())
                .count();
            let space = state.spaces[first.space()].as_ref().ok_or(Errno::EIO)?;
            (space.device.clone(), count + 1)
        };
        let mut frames = Vec::new();
        frames.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        frames.push(Frame::alloc()?);
        while frames.len() < count && frame::above_reserve() {
            frames.push(Frame::alloc()?);
        }
        let mut parts: Vec<&mut [u8]> = frames.iter().map(page_mut).collect();
        device.read(first.sector(), &mut parts)?;
        stat::SWAP_IN.add(frames.len() as u64);
        stat::REFAULTS_ANON.add(frames.len() as u64);
        let mut state = STATE.lock();
        for (n, fresh) in frames.iter_mut().enumerate() {
            let slot = first.plus(n);
            let Some(map) = state.map(slot) else {
                break;
            };
            match map.frame(slot.slot()).and_then(Frame::share) {
                // Another process has read it meanwhile; the fresh frame is attached to nothing.
                Some(other) => *fresh = other,
                None => {
                    map.attach(slot.slot(), fresh.number());
                    state.slot_of[fresh.number().get() as usize] = slot;
                    set_attached(fresh.number(), true);
                }
            }
        }
        Ok(Arriving {
            first,
            frames,
            read: true,
        })
    }

    /// The frames, each for a page-table entry that named its slot and does not any more. They may
    /// only be mapped read-only while they are attached.
    pub fn take(self) -> impl Iterator<Item = Frame> {
        let first = self.first.0;
        self.frames.into_iter().zip(first..).map(|(frame, slot)| {
            release_taken(SwapSlot(slot), &frame);
            frame
        })
    }
}

/// Releases the slot, whose page has come back to memory in `frame`. Where space is scarce it is
/// given up at once if nobody else needs it.
fn release_taken(slot: SwapSlot, frame: &Frame) {
    release(slot);
    let mut state = STATE.lock();
    let scarce = state.spaces[slot.space()]
        .as_ref()
        .is_some_and(|s| !s.accepts || s.map.used() * 2 > s.map.usable());
    if scarce
        && let Some((slot, map)) = state.attachment(frame.number())
        && map.references(slot.slot()) == 0
    {
        map.detach(slot.slot());
        set_attached(frame.number(), false);
    }
}

/// The contents of a frame, for the device.
fn page(frame: &Frame) -> &[u8] {
    // SAFETY: a frame is mapped in the direct map as long as it is referred to; attached frames are
    // not written to.
    unsafe { core::slice::from_raw_parts(phys_to_virt(frame.gpa()), PAGE) }
}

#[allow(clippy::mut_from_ref)]
fn page_mut(frame: &Frame) -> &mut [u8] {
    // SAFETY: as above, and a fresh frame is its owner's alone.
    unsafe { core::slice::from_raw_parts_mut(phys_to_virt(frame.gpa()), PAGE) }
}

/// Pages on their way out of memory. Their page-table entries name slots already.
pub struct Leaving {
    pages: Vec<(SwapSlot, Frame)>,
}

impl Leaving {
    /// With room for `pages` pages. `ENOMEM`.
    pub fn new(pages: usize) -> KResult<Leaving> {
        let mut list = Vec::new();
        list.try_reserve_exact(pages).map_err(|_| Errno::ENOMEM)?;
        Ok(Leaving { pages: list })
    }

    /// One more, that must be written.
    pub fn add(&mut self, slot: SwapSlot, frame: Frame) {
        self.pages.push((slot, frame));
    }

    /// Writes them, those in a row with one request, and frees their frames. May sleep.
    pub fn write(mut self) {
        self.pages.sort_unstable_by_key(|(slot, _)| *slot);
        stat::SWAP_OUT.add(self.pages.len() as u64);
        let mut rest = &self.pages[..];
        let mut failed = false;
        while let Some((first, _)) = rest.first() {
            let device = {
                let state = STATE.lock();
                state.spaces[first.space()]
                    .as_ref()
                    .map(|s| s.device.clone())
            };
            let Some(device) = device else {
                break;
            };
            let run = rest
                .iter()
                .zip(0..)
                .take(device.max_segments())
                .take_while(|((slot, _), n)| slot.0 == first.0 + n)
                .count();
            let parts: Vec<&[u8]> = rest[..run].iter().map(|(_, frame)| page(frame)).collect();
            if device.write(first.sector(), &parts).is_err() {
                failed = true;
                rest[..run]
                    .iter()
                    .for_each(|(slot, frame)| pin(*slot, frame));
            }
            rest = &rest[run..];
        }
        if failed {
            klog!("swap: a page cannot be written, and stays in memory");
        }
    }
}

/// The slot could not be written: the frame stays, as its only copy.
fn pin(slot: SwapSlot, frame: &Frame) {
    let mut state = STATE.lock();
    if state.map(slot).is_some_and(|map| map.pin(slot.slot())) {
        let _ = frame.clone().into_raw();
    }
}
