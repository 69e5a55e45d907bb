//! Reverse mapping: which page-table entries lead to a frame.
//!
//! Nothing is recorded when a page is mapped. When memory gets short, a [`View`] of all address
//! spaces is taken; walking their tables notes in each frame's metadata where it was seen (a table
//! root and an address). That is a hint: it is checked against the entry before it is believed. A
//! page that fork shares is at the same address in all the processes that have it, a page of a file
//! wherever they map the file there.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use gnomon_replacement::{Pages, Policy, Slot};

use super::area::{Area, Source};
use super::areas::Inner;
use super::fault::is_zero_page;
use super::frame::{self, Frame};
use super::layout::PAGE;
use super::shared::SharedPages;
use super::space::AddressSpace;
use super::swap::{self, Leaving};
use super::table::{ACCESSED, ADDRESS, SWAPPED};
use crate::errno::{Errno, KResult};
use crate::fs::Inode;
use crate::sync::MutexGuard;
use crate::task;
use crate::time;

/// Bits of an address's page number in a hint; the rest is the root's frame number.
const PAGE_BITS: u32 = 35;

/// A hint where a frame is mapped.
fn hint(root: u64, address: usize) -> u64 {
    (root >> 12) << PAGE_BITS | (address / PAGE) as u64
}

/// Notes where a frame is mapped.
pub(super) fn note(gpa: u64, root: u64, address: usize) {
    frame::map().set_owner((gpa >> 12) as u32, hint(root, address));
}

/// All address spaces, by table root.
pub(super) fn all_spaces() -> Vec<Arc<AddressSpace>> {
    let mut spaces: Vec<_> = task::all_processes()
        .iter()
        .filter_map(|process| process.space())
        .collect();
    spaces.sort_unstable_by_key(|space| space.root());
    spaces.dedup_by_key(|space| space.root());
    spaces
}

/// What became of a page that was to leave memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its frame is free, or will be when it has been written.
    Gone,
    /// It is a file's; nobody maps it any more.
    Unmapped,
    /// It cannot leave (any more): it is locked, or gone already.
    Stays,
    /// There is no room for it in swap space.
    Full,
}

/// The address spaces while pages are chosen: those that nobody else uses just now, locked.
pub(super) struct View<'a> {
    roots: Vec<u64>,
    spaces: Vec<Option<MutexGuard<'a, Inner>>>,
    /// Entries of the frame looked at last: index of the space, address.
    found: Vec<(usize, usize)>,
    /// Frames whose last reference was an entry's: freed after the flush.
    freed: Vec<Frame>,
    /// The running program's translations are stale.
    stale: bool,
    /// Pages that were looked at.
    pub scanned: u64,
}

impl<'a> View<'a> {
    /// Locks what can be locked of `spaces`, for up to `pages` pages to leave. `ENOMEM`.
    pub fn new(spaces: &'a [Arc<AddressSpace>], pages: usize) -> KResult<View<'a>> {
        let mut found = Vec::new();
        let mut freed = Vec::new();
        found
            .try_reserve_exact(spaces.len())
            .and_then(|()| freed.try_reserve_exact(pages))
            .map_err(|_| Errno::ENOMEM)?;
        Ok(View {
            roots: spaces.iter().map(|space| space.root()).collect(),
            spaces: spaces.iter().map(|space| space.inner.try_lock()).collect(),
            found,
            freed,
            stale: false,
            scanned: 0,
        })
    }

    /// Tells the policy of all pages that it does not know.
    pub fn admit_all(&mut self, policy: &mut dyn Policy) {
        for (root, inner) in self.roots.iter().zip(&mut self.spaces) {
            let Some(inner) = inner.as_deref_mut() else {
                continue;
            };
            for area in inner.areas.iter().filter(|area| can_leave(area)) {
                // The visitor does not fail.
                let _ = inner
                    .tables
                    .visit(area.start, area.end, &mut |address, entry| {
                        let gpa = *entry & ADDRESS;
                        if *entry & SWAPPED == 0 && !is_zero_page(gpa) {
                            note(gpa, *root, address);
                            policy.admit((gpa >> 12) as Slot);
                        }
                        Ok(())
                    });
            }
        }
    }

    /// The entry of a page in one of the spaces, if it leads to `frame`.
    fn entry(&mut self, space: usize, address: usize, frame: u32) -> Option<&mut u64> {
        let inner = self.spaces[space].as_deref_mut()?;
        let entry = inner.tables.entry(address)?;
        // SAFETY: a leaf entry of locked tables; the reference ends before they are unlocked.
        let entry = unsafe { &mut *entry };
        let leads = *entry & ADDRESS == u64::from(frame) << 12 && *entry & SWAPPED == 0;
        (leads && *entry != 0).then_some(entry)
    }

    /// Looks for all entries of `frame` at the address where it was seen last. False: it is not
    /// mapped there.
    fn find(&mut self, frame: u32) -> bool {
        self.found.clear();
        let owner = frame::map().owner(frame);
        let address = (owner & ((1 << PAGE_BITS) - 1)) as usize * PAGE;
        let references = frame::references(frame);
        let seen = self.roots.binary_search(&(owner >> PAGE_BITS << 12)).ok();
        if let Some(space) = seen
            && self.entry(space, address, frame).is_some()
        {
            self.found.push((space, address));
        }
        if (self.found.len() as u32) < references {
            for space in 0..self.spaces.len() {
                if Some(space) != seen && self.entry(space, address, frame).is_some() {
                    self.found.push((space, address));
                }
            }
        }
        !self.found.is_empty()
    }

    /// Takes a page away from all who map it.
    pub fn take_out(&mut self, frame: NonZeroU32, leaving: &mut Leaving) -> Outcome {
        if !self.find(frame.get()) {
            return Outcome::Stays;
        }
        let (space, address) = self.found[0];
        let place = self.spaces[space].as_deref_mut().and_then(|inner| {
            let index = inner.find(address)?;
            let area = &inner.areas[index];
            can_leave(area).then(|| (area.source.clone(), area.page_index(address)))
        });
        match place {
            None => Outcome::Stays,
            Some((Source::Shared(pages), index)) => self.take_shared(frame, &pages, index, leaving),
            Some((Source::File(inode), index)) if is_files(&*inode, index, frame.get()) => {
                self.unmap_file(frame, &inode, index)
            }
            Some(_) => self.take_private(frame, leaving),
        }
    }

    /// A page that belongs to those alone who map it: their entries name its slot from now on.
    fn take_private(&mut self, frame: NonZeroU32, leaving: &mut Leaving) -> Outcome {
        // More references than entries: a space that is in use has it, too.
        if frame::references(frame.get()) != self.found.len() as u32 {
            return Outcome::Stays;
        }
        let Some((slot, write)) = swap::leave(frame, self.found.len()) else {
            return Outcome::Full;
        };
        let mut last = None;
        while let Some((space, address)) = self.found.pop() {
            let Some(entry) = self.entry(space, address, frame.get()) else {
                continue;
            };
            *entry = slot.entry();
            // SAFETY: the entry owned this reference and does not lead there any more.
            last = Some(unsafe { Frame::from_raw(u64::from(frame.get()) << 12) });
            if let Some(inner) = self.spaces[space].as_deref_mut() {
                inner.resident -= 1;
                inner.swapped += 1;
                self.stale |= inner.tables.is_active();
            }
        }
        match last {
            Some(frame) if write => leaving.add(slot, frame),
            Some(frame) => self.freed.push(frame),
            None => {}
        }
        Outcome::Gone
    }

    /// A page of shared anonymous memory: the object knows its slot from now on.
    fn take_shared(
        &mut self,
        frame: NonZeroU32,
        pages: &SharedPages,
        index: u64,
        leaving: &mut Leaving,
    ) -> Outcome {
        if !self.unmap_all(
            frame,
            index,
            |source| matches!(source, Source::Shared(other) if core::ptr::eq(&**other, pages)),
        ) {
            return Outcome::Stays;
        }
        if pages.take_out(index, leaving) {
            Outcome::Gone
        } else {
            Outcome::Full
        }
    }

    /// A page of a file's cache: without those who map it the cache can drop it.
    fn unmap_file(&mut self, frame: NonZeroU32, inode: &Arc<dyn Inode>, index: u64) -> Outcome {
        let unmapped = self.unmap_all(frame, index, |source| source.is_file(inode));
        if unmapped {
            Outcome::Unmapped
        } else {
            Outcome::Stays
        }
    }

    /// Empties all entries of a page that an object (of `same` source) holds. False: it is still in
    /// use by more than the object, in a space that is busy.
    fn unmap_all(&mut self, frame: NonZeroU32, index: u64, same: impl Fn(&Source) -> bool) -> bool {
        let gpa = u64::from(frame.get()) << 12;
        let mut stale = false;
        for inner in self.spaces.iter_mut().filter_map(Option::as_deref_mut) {
            let places = inner.areas.iter().filter_map(|area| {
                let offset = (index * PAGE as u64).checked_sub(area.offset)? as usize;
                let inside = offset < area.end - area.start && same(&area.source);
                inside.then(|| area.start + offset)
            });
            for address in places {
                // SAFETY: a leaf entry of locked tables.
                let entry = inner.tables.entry(address).map(|entry| unsafe { *entry });
                if !entry.is_some_and(|e| e & ADDRESS == gpa && e & SWAPPED == 0) {
                    continue;
                }
                inner.tables.clear(address, address + PAGE, &mut |_, _| {
                    // SAFETY: the entry owned this reference; the object has another.
                    drop(unsafe { Frame::from_raw(gpa) });
                });
                inner.resident -= 1;
                stale |= inner.tables.is_active();
            }
        }
        self.stale |= stale;
        frame::references(frame.get()) == 1
    }

    /// Flushes what the running program may still have cached, and unlocks.
    pub fn finish(self) {
        if self.stale {
            let active = self.spaces.iter().flatten().find(|s| s.tables.is_active());
            if let Some(inner) = active {
                inner.tables.flush_all();
            }
        }
    }
}

/// Takes the pages from `first` on of a file, which are no part of it any more, away from all who map
/// it, and so their own copies of them. May sleep; the caller holds no lock that a page fault needs.
pub fn unmap_cut(inode: &Arc<dyn Inode>, first: u64) {
    for space in all_spaces() {
        let mut inner = space.inner.lock();
        let ranges: Vec<(usize, usize)> = inner
            .areas
            .iter()
            .filter(|area| area.source.is_file(inode))
            .map(|area| {
                let kept = (first * PAGE as u64).saturating_sub(area.offset);
                let kept = kept.min((area.end - area.start) as u64) as usize;
                (area.start + kept, area.end)
            })
            .filter(|(start, end)| start < end)
            .collect();
        for (start, end) in ranges {
            inner.clear(start, end);
        }
    }
}

/// Whether somebody maps a file so that it is, or could be made, writable. May sleep.
pub fn is_mapped_writable(inode: &Arc<dyn Inode>) -> bool {
    let writable = |area: &Area| area.shared && area.may_write && area.source.is_file(inode);
    let spaces = all_spaces();
    spaces
        .iter()
        .any(|space| space.inner.lock().areas.iter().any(writable))
}

/// Whether an area's pages may leave memory.
fn can_leave(area: &Area) -> bool {
    !area.locked
}

/// Whether a frame is the page `index` of a file, and not a program's copy of it.
fn is_files(inode: &dyn Inode, index: u64, frame: u32) -> bool {
    let mut same = false;
    inode.cached_pages(index, index + 1, &mut |_, cached| {
        same = cached.number().get() == frame;
    });
    same
}

impl Pages for View<'_> {
    fn take_accessed(&mut self, slot: Slot) -> bool {
        self.scanned += 1;
        if !self.find(slot) {
            return false;
        }
        let mut accessed = false;
        for n in 0..self.found.len() {
            let (space, address) = self.found[n];
            if let Some(entry) = self.entry(space, address, slot)
                && *entry & ACCESSED != 0
            {
                *entry &= !ACCESSED;
                accessed = true;
                let inner = self.spaces[space].as_deref();
                self.stale |= inner.is_some_and(|inner| inner.tables.is_active());
            }
        }
        accessed
    }

    fn dirty(&self, slot: Slot) -> bool {
        !frame::map().is_cached(slot)
    }

    fn now(&self) -> u64 {
        time::now_ns() / 1_000_000
    }
}
