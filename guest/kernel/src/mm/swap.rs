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

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU32;
use core::sync::atomic::{AtomicUsize, Ordering};

use gnomon_frames::SwapMap;
use gnomon_frames::swap_header::{self, Header, HeaderError};

use super::frame::{self, Frame};
use super::layout::PAGE;
use super::{background, phys_to_virt, reclaim, stat, table};
use crate::drivers::block::{self, BlockDevice, SECTOR};
use crate::errno::{Errno, KResult};
use crate::sync::{Mutex, SpinLock};

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

struct State {
    spaces: [Option<Space>; SPACES],
    /// The slot of each attached frame, by frame number.
    slot_of: Vec<SwapSlot>,
}

static STATE: SpinLock<State> = SpinLock::new(State {
    spaces: [const { None }; SPACES],
    slot_of: Vec::new(),
});
/// Pages of all spaces, and of those that accept pages.
static TOTAL: AtomicUsize = AtomicUsize::new(0);
/// Attached frames.
static ATTACHED: AtomicUsize = AtomicUsize::new(0);
/// One `swapon` or `swapoff` at a time.
static CHANGING: Mutex<()> = Mutex::new(());

/// A swap space as /proc/swaps shows it.
pub struct SpaceInfo {
    /// Name of the device.
    pub name: String,
    /// Size in pages.
    pub pages: usize,
    /// Pages in use.
    pub used: usize,
    /// Spaces with a higher priority are filled first.
    pub priority: i32,
}

/// Puts `swap=DEVICE` of the command line into use. A disk that begins with a page of zeros is made
/// swap space first.
pub fn init(command_line: &str) {
    for name in command_line
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix("swap="))
    {
        let Some(device) = block::by_name(name.strip_prefix("/dev/").unwrap_or(name)) else {
            klog!("swap: there is no disk {name}: give the machine one (--disk)");
            continue;
        };
        if let Err(e) = format_blank(&*device).and_then(|()| on(device, None)) {
            klog!("swap: {name} cannot be used ({e:?})");
        }
    }
}

/// Makes a disk whose first page is all zeros swap space.
fn format_blank(device: &dyn BlockDevice) -> KResult<()> {
    let mut page = first_page(device)?;
    let pages = pages_of(device).min(1 << SLOT_BITS);
    if page.iter().any(|&byte| byte != 0) || pages < 2 || device.read_only() {
        return Ok(());
    }
    swap_header::format(&mut page, pages as u32);
    device.write(0, &[&page[..]])
}

fn pages_of(device: &dyn BlockDevice) -> u64 {
    device.sectors() / SECTORS
}

fn first_page(device: &dyn BlockDevice) -> KResult<alloc::boxed::Box<[u8; PAGE]>> {
    if pages_of(device) == 0 {
        return Err(Errno::EINVAL);
    }
    let mut page = alloc::boxed::Box::new([0; PAGE]);
    device.read(0, &mut [&mut page[..]])?;
    Ok(page)
}

/// `swapon`: puts a disk into use. Without a priority it gets one below all others.
///
/// # Errors
/// `EINVAL`: the disk has no swap header that can be used. `EBUSY`: it is in use. `EROFS`.
/// `EPERM`: too many spaces. `ENOMEM`. `EIO`.
pub fn on(device: Arc<dyn BlockDevice>, priority: Option<i32>) -> KResult<()> {
    let _changing = CHANGING.lock();
    let known = |space: &&Space| space.device.name() == device.name();
    if STATE.lock().spaces.iter().flatten().any(|s| known(&s)) {
        return Err(Errno::EBUSY);
    }
    if device.read_only() {
        return Err(Errno::EROFS);
    }
    let page = first_page(&*device)?;
    let header = Header::parse(&page, pages_of(&*device)).map_err(|error| {
        match error {
            HeaderError::NoSignature => {
                klog!(
                    "swap: {} has no swap header: run mkswap on it",
                    device.name()
                );
            }
            HeaderError::Unsupported => {
                klog!("swap: the swap header of {} makes no sense", device.name());
            }
        }
        Errno::EINVAL
    })?;
    let pages = header.pages().min(1 << SLOT_BITS);
    let mut map = SwapMap::new(pages).map_err(|_| Errno::ENOMEM)?;
    header.bad_pages().for_each(|page| map.mark_bad(page));
    reclaim::prepare()?;
    background::start()?;
    let frames = frame::map().frames() as usize;
    let mut slot_of = Vec::new();
    slot_of
        .try_reserve_exact(frames)
        .map_err(|_| Errno::ENOMEM)?;
    slot_of.resize(frames, SwapSlot(0));
    let mut state = STATE.lock();
    let lowest = state.spaces.iter().flatten().map(|s| s.priority).min();
    let place = state
        .spaces
        .iter()
        .position(Option::is_none)
        .ok_or(Errno::EPERM)?;
    TOTAL.fetch_add(map.usable(), Ordering::Relaxed);
    state.spaces[place] = Some(Space {
        device,
        map,
        priority: priority.unwrap_or(lowest.unwrap_or(0).min(-1) - 1),
        accepts: true,
    });
    if state.slot_of.is_empty() {
        state.slot_of = slot_of;
    }
    Ok(())
}

/// `swapoff`: brings all pages of a disk back into memory and takes it out of use.
///
/// # Errors
/// `EINVAL`: it is not in use. `ENOMEM`: memory has no room for its pages; the disk stays in use.
/// `EIO`: a page could not be read.
pub fn off(device: &dyn BlockDevice) -> KResult<()> {
    let _changing = CHANGING.lock();
    let (place, used, usable) = {
        let mut state = STATE.lock();
        let place = state
            .spaces
            .iter()
            .position(|s| s.as_ref().is_some_and(|s| s.device.name() == device.name()))
            .ok_or(Errno::EINVAL)?;
        let space = state.spaces[place].as_mut().ok_or(Errno::EINVAL)?;
        space.accepts = false;
        (place, space.map.used(), space.map.usable())
    };
    TOTAL.fetch_sub(usable, Ordering::Relaxed);
    let result = reclaim::bring_back(used, &mut || {
        let mut state = STATE.lock();
        detach_idle(&mut state, place);
        state.spaces[place].as_ref().map_or(0, |s| s.map.used())
    });
    let mut state = STATE.lock();
    match result {
        Ok(()) => {
            let space = state.spaces[place].take();
            drop(state);
            drop(space);
            Ok(())
        }
        Err(e) => {
            if let Some(space) = &mut state.spaces[place] {
                space.accepts = true;
            }
            TOTAL.fetch_add(usable, Ordering::Relaxed);
            Err(e)
        }
    }
}

/// Frees the slots of a space that nothing but an attached frame is left of.
fn detach_idle(state: &mut State, place: usize) {
    let Some(space) = &mut state.spaces[place] else {
        return;
    };
    while let Some((slot, frame)) = space.map.only_attached() {
        space.map.detach(slot);
        set_attached(frame, false);
    }
}

/// The spaces in use.
pub fn spaces() -> Vec<SpaceInfo> {
    let state = STATE.lock();
    let spaces = state.spaces.iter().flatten();
    spaces
        .map(|space| SpaceInfo {
            name: space.device.name().into(),
            pages: space.map.usable(),
            used: space.map.used(),
            priority: space.priority,
        })
        .collect()
}

/// Pages of all spaces.
pub fn total_pages() -> usize {
    TOTAL.load(Ordering::Relaxed)
}

/// Pages of all spaces that are not in use.
pub fn free_pages() -> usize {
    let state = STATE.lock();
    let spaces = state.spaces.iter().flatten().filter(|s| s.accepts);
    spaces.map(|s| s.map.usable() - s.map.used()).sum()
}

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
        let mut spaces = self.spaces.iter_mut().enumerate();
        let open = spaces.by_ref().filter_map(|(place, space)| {
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

/// A page-table entry that named the slot is gone.
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

/// The same, after the slot's page has come back to memory in `frame`. Where space is scarce the
/// slot is given up at once if nobody else needs it.
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

/// Whether a slot is to be emptied (`swapoff`).
pub fn is_unwanted(slot: SwapSlot) -> bool {
    let state = STATE.lock();
    let space = state.spaces[slot.space()].as_ref();
    space.is_some_and(|space| !space.accepts)
}

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
