//! Disks as swap space: `swapon(2)`, `swapoff(2)`, `swap=DEVICE` of the command line, and what
//! /proc/swaps tells.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use gnomon_frames::SwapMap;
use gnomon_frames::swap_header::{self, Header, HeaderError};

use super::{SECTORS, SLOT_BITS, STATE, Space, State, SwapSlot, set_attached};
use crate::drivers::block::{self, BlockDevice};
use crate::errno::{Errno, KResult};
use crate::mm::layout::PAGE;
use crate::mm::{background, frame, reclaim};
use crate::sync::Mutex;

/// Pages of the spaces that accept pages.
static TOTAL: AtomicUsize = AtomicUsize::new(0);
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

fn first_page(device: &dyn BlockDevice) -> KResult<Box<[u8; PAGE]>> {
    if pages_of(device) == 0 {
        return Err(Errno::EINVAL);
    }
    let mut page = Box::new([0; PAGE]);
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

/// Pages of all spaces; one that `swapoff` empties does not count.
pub fn total_pages() -> usize {
    TOTAL.load(Ordering::Relaxed)
}

/// Those of them that are not in use.
pub fn free_pages() -> usize {
    let state = STATE.lock();
    let spaces = state.spaces.iter().flatten().filter(|s| s.accepts);
    spaces.map(|s| s.map.usable() - s.map.used()).sum()
}
