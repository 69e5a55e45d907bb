//! Shared anonymous memory.

use alloc::collections::BTreeMap;

use super::frame::Frame;
use super::swap::{self, Arriving, Leaving, SwapSlot};
use crate::errno::KResult;
use crate::sync::SpinLock;

/// Where a page is.
enum Page {
    Memory(Frame),
    Swap(SwapSlot),
}

/// Pages of shared anonymous memory: all address spaces that map it hold the object. A page in swap
/// space has one reference to its slot, the object's; no page-table entry names it.
pub(super) struct SharedPages {
    pages: SpinLock<BTreeMap<u64, Page>>,
}

impl SharedPages {
    pub fn new() -> SharedPages {
        SharedPages {
            pages: SpinLock::new(BTreeMap::new()),
        }
    }

    /// Whether the page at `index` was ever touched.
    pub fn is_touched(&self, index: u64) -> bool {
        self.pages.lock().contains_key(&index)
    }

    /// The page at `index`, made if it was never touched, and whether it had to be read. May sleep.
    pub fn page(&self, index: u64) -> KResult<(Frame, bool)> {
        loop {
            let slot = match self.pages.lock().get(&index) {
                Some(Page::Memory(frame)) => return Ok((frame.clone(), false)),
                Some(Page::Swap(slot)) => Some(*slot),
                None => None,
            };
            let Some(slot) = slot else {
                let fresh = Frame::alloc_zeroed()?;
                let mut pages = self.pages.lock();
                let page = pages.entry(index).or_insert(Page::Memory(fresh));
                if let Page::Memory(frame) = page {
                    return Ok((frame.clone(), false));
                }
                continue;
            };
            let arriving = Arriving::fetch(slot, 1)?;
            let read = arriving.read;
            let mut pages = self.pages.lock();
            // Another process may have brought it in meanwhile.
            if let Some(page) = pages.get_mut(&index)
                && matches!(page, Page::Swap(same) if *same == slot)
                && let Some(frame) = arriving.take().next()
            {
                // It will be mapped writable.
                swap::own(frame.gpa());
                *page = Page::Memory(frame.clone());
                return Ok((frame, read));
            }
        }
    }

    /// The page at `index`, which nobody maps any more, leaves memory. False: swap space is full, or
    /// it is not there.
    pub fn take_out(&self, index: u64, leaving: &mut Leaving) -> bool {
        let mut pages = self.pages.lock();
        let Some(page) = pages.get_mut(&index) else {
            return false;
        };
        let Page::Memory(frame) = page else {
            return false;
        };
        let Some((slot, _)) = swap::leave(frame.number(), 1) else {
            return false;
        };
        if let Page::Memory(frame) = core::mem::replace(page, Page::Swap(slot)) {
            leaving.add(slot, frame);
        }
        true
    }

    /// Brings back what lies in swap spaces that are to be emptied. May sleep.
    pub fn bring_back(&self) -> KResult<()> {
        let mut from = 0;
        loop {
            let unwanted = self.pages.lock().range(from..).find_map(|(&index, page)| {
                let unwanted = matches!(page, Page::Swap(slot) if swap::is_unwanted(*slot));
                unwanted.then_some(index)
            });
            let Some(index) = unwanted else {
                return Ok(());
            };
            self.page(index)?;
            from = index + 1;
        }
    }
}

impl Drop for SharedPages {
    fn drop(&mut self) {
        for page in self.pages.get_mut().values() {
            if let Page::Swap(slot) = page {
                swap::release(*slot);
            }
        }
    }
}
