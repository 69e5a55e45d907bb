//! The pages of a file in memory: in its cache, or in swap space.
//!
//! A page is in one of the two, or nowhere (a hole). It leaves for swap space when nobody refers to it
//! but the cache, and comes back when somebody asks for it. Files that were used since the last look
//! are passed over once: a second chance, by file.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use super::TmpInode;
use crate::errno::{Errno, KResult};
use crate::fs::cache::PAGE;
use crate::mm::frame::Frame;
use crate::mm::swap::{self, Arriving, Leaving, SwapSlot};
use crate::sync::SpinLock;

/// Files that have had pages, by address.
static FILES: SpinLock<BTreeMap<usize, Weak<TmpInode>>> = SpinLock::new(BTreeMap::new());

/// What a file has in swap space.
pub struct Swapped {
    slots: SpinLock<BTreeMap<u64, SwapSlot>>,
    /// The file is among [`FILES`].
    listed: AtomicBool,
    /// It was used since pages left last.
    used: AtomicBool,
}

impl Swapped {
    pub const fn new() -> Self {
        Swapped {
            slots: SpinLock::new(BTreeMap::new()),
            listed: AtomicBool::new(false),
            used: AtomicBool::new(false),
        }
    }
}

impl TmpInode {
    /// The page `index`, unless it is a hole. May sleep. ENOMEM, EIO.
    pub(super) fn present(&self, index: u64) -> KResult<Option<Frame>> {
        self.swapped.used.store(true, Ordering::Relaxed);
        match self.cache.get(index) {
            Some(frame) => Ok(Some(frame)),
            None => self.bring_in(index),
        }
    }

    fn bring_in(&self, index: u64) -> KResult<Option<Frame>> {
        loop {
            let slot = {
                let slots = self.swapped.slots.lock();
                let cached = self.cache.get(index);
                if cached.is_some() {
                    return Ok(cached);
                }
                match slots.get(&index) {
                    None => return Ok(None),
                    Some(slot) => *slot,
                }
            };
            let arriving = Arriving::fetch(slot, 1)?;
            let mut slots = self.swapped.slots.lock();
            // Another process may have brought it in meanwhile.
            if slots.get(&index) == Some(&slot)
                && let Some(frame) = arriving.take().next()
            {
                // It may be written to at any time.
                swap::own(frame.gpa());
                slots.remove(&index);
                return Ok(Some(self.cache.insert(index, frame, false)));
            }
        }
    }

    /// The page `index`, made if it does not exist. ENOMEM as ENOSPC: this is the "disk".
    pub(super) fn page_or_new(&self, index: u64) -> KResult<Frame> {
        if let Some(frame) = self.present(index)? {
            return Ok(frame);
        }
        let fs = self.fs.upgrade();
        if let Some(fs) = &fs
            && fs.used.fetch_add(1, Ordering::Relaxed) >= fs.limit
        {
            fs.used.fetch_sub(1, Ordering::Relaxed);
            return Err(Errno::ENOSPC);
        }
        let fresh = Frame::alloc_zeroed().map_err(|_| {
            self.give_back(1);
            Errno::ENOSPC
        })?;
        if !self.swapped.listed.swap(true, Ordering::Relaxed) {
            let address = core::ptr::from_ref(self).addr();
            FILES.lock().insert(address, self.me.clone());
        }
        self.meta.lock().blocks += (PAGE / 512) as u64;
        Ok(self.cache.insert(index, fresh, false))
    }

    /// Forget the pages from `first` on; how many are left.
    pub(super) fn cut(&self, first: u64) -> usize {
        self.cache.truncate(first);
        let cut = self.swapped.slots.lock().split_off(&first);
        cut.into_values().for_each(swap::release);
        self.cache.len() + self.swapped.slots.lock().len()
    }

    /// Nobody will look for the file any more.
    pub(super) fn forget_pages(&mut self) {
        for slot in core::mem::take(self.swapped.slots.get_mut()).into_values() {
            swap::release(slot);
        }
        if *self.swapped.listed.get_mut() {
            FILES.lock().remove(&core::ptr::from_ref(self).addr());
        }
    }

    /// Up to `target` pages that nobody else refers to leave for swap space. May sleep.
    fn swap_out(&self, target: usize) -> usize {
        let Ok(mut leaving) = Leaving::new(target) else {
            return 0;
        };
        let gone = {
            let mut slots = self.swapped.slots.lock();
            self.cache.take_unused(target, &mut |index, frame| {
                let Some((slot, write)) = swap::leave(frame.number(), 1) else {
                    return Some(frame);
                };
                slots.insert(index, slot);
                if write {
                    leaving.add(slot, frame);
                }
                None
            })
        };
        leaving.write();
        gone
    }
}

/// All files that have had pages.
fn files() -> Vec<Arc<TmpInode>> {
    FILES.lock().values().filter_map(Weak::upgrade).collect()
}

/// Lets up to `target` pages leave for swap space, those of files first that have not been used since
/// the last time; of others only if `all`. How many it was. May sleep; the caller holds no spin lock.
pub fn swap_out(target: usize, all: bool) -> usize {
    let mut gone = 0;
    for file in files() {
        if gone >= target {
            break;
        }
        if !file.swapped.used.swap(false, Ordering::Relaxed) || all {
            gone += file.swap_out(target - gone);
        }
    }
    gone
}

/// Brings back what lies in swap spaces that are to be emptied. May sleep. ENOMEM, EIO.
pub fn bring_back() -> KResult<()> {
    for file in files() {
        let unwanted: Vec<u64> = {
            let slots = file.swapped.slots.lock();
            let unwanted = slots.iter().filter(|(_, slot)| swap::is_unwanted(**slot));
            unwanted.map(|(index, _)| *index).collect()
        };
        for index in unwanted {
            file.bring_in(index)?;
        }
    }
    Ok(())
}
