//! The copy of an address space that a child gets (`fork(2)`): private pages are shared until one side
//! writes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::area::{Area, OnFork, Source};
use super::areas::Inner;
use super::frame::{self, Frame};
use super::space::AddressSpace;
use super::swap::{self, SwapSlot};
use super::table::{ADDRESS, SWAPPED, Tables, WRITE};
use crate::errno::{Errno, KResult};

impl AddressSpace {
    /// The copy. Areas that the parent marked for it are left out, or empty (`madvise(2)`); memory
    /// locks are not inherited.
    ///
    /// # Errors
    /// `ENOMEM`: there is no memory for the page tables.
    pub fn fork(&self) -> KResult<Arc<AddressSpace>> {
        // Page tables for what there is, and something to live on. Room is made before the lock is
        // taken, so that the process's own pages can make it.
        let entries = {
            let parent = self.inner.lock();
            parent.resident + parent.swapped
        };
        if !frame::can_allocate(entries / 512 + 16) {
            return Err(Errno::ENOMEM);
        }
        let mut parent = self.inner.lock();
        let parent = &mut *parent;
        let mut areas = Vec::new();
        areas
            .try_reserve_exact(parent.areas.len())
            .map_err(|_| Errno::ENOMEM)?;
        let kept = parent.areas.iter().filter(|a| a.on_fork != OnFork::Omit);
        areas.extend(kept.cloned());
        areas.iter_mut().for_each(|area| area.locked = false);
        let mut child = Inner {
            last: 0,
            tables: Tables::new()?,
            pages: areas.iter().map(Area::pages).sum(),
            areas,
            resident: 0,
            peak: 0,
            swapped: 0,
            next_swapped: 0,
            lock_future: false,
            limits: parent.limits,
            brk_start: parent.brk_start,
            brk: parent.brk,
            mmap_base: parent.mmap_base,
        };
        let mut protected = false;
        let mut result = Ok(());
        for area in &parent.areas {
            // Shared memory, and file pages that were never written, come back by faults.
            let copied = area.on_fork == OnFork::Copy
                && match area.source {
                    Source::Anonymous => true,
                    Source::Shared(_) => false,
                    Source::File(_) => area.private_pages,
                };
            if !copied {
                continue;
            }
            let (tables, resident) = (&mut child.tables, &mut child.resident);
            let swapped = &mut child.swapped;
            result = parent
                .tables
                .visit(area.start, area.end, &mut |address, entry| {
                    let slot = tables.entry_or_create(address)?;
                    if *entry & SWAPPED != 0 {
                        swap::duplicate(SwapSlot::of_entry(*entry))?;
                        tables.fill(slot, *entry);
                        *swapped += 1;
                        return Ok(());
                    }
                    protected |= *entry & WRITE != 0;
                    *entry &= !WRITE;
                    // SAFETY: looks at the parent's reference without taking it.
                    let frame =
                        core::mem::ManuallyDrop::new(unsafe { Frame::from_raw(*entry & ADDRESS) });
                    let _ = Frame::clone(&frame).into_raw();
                    tables.fill(slot, *entry);
                    *resident += 1;
                    Ok(())
                });
            if result.is_err() {
                break;
            }
        }
        if protected {
            parent.tables.flush_all();
        }
        let child = AddressSpace::with_inner(child, self.stack_top(), self.program_base());
        result.map(|()| child)
    }
}
