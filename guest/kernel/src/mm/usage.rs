//! What memory a program has, as /proc, `mincore(2)` and `getrusage(2)` tell it.

use alloc::vec::Vec;

use super::area::{AreaInfo, Prot, Source};
use super::frame;
use super::layout::PAGE;
use super::map::check_range;
use super::space::AddressSpace;
use super::table::{ACCESSED, ADDRESS, DIRTY, SWAPPED};
use crate::errno::{Errno, KResult};

/// Sizes of an address space, in pages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Mapped.
    pub size: usize,
    /// Present (pages shared with others included).
    pub resident: usize,
    /// Of `size`: private and writable, stack aside.
    pub data: usize,
    /// Of `size`: stack.
    pub stack: usize,
    /// Of `size`: executable.
    pub text: usize,
    /// Of `size`: must stay in memory (`mlock`).
    pub locked: usize,
    /// Of `resident`: in areas of files and of shared memory.
    pub shared: usize,
    /// In swap space.
    pub swapped: usize,
}

/// What is there of one area, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct AreaUsage {
    /// In memory.
    pub resident: usize,
    /// The same, each page divided by the number of those who have it.
    pub proportional: usize,
    /// Of `resident`: others have it, too, and it was not written by this process.
    pub shared_clean: usize,
    /// Of `resident`: others have it, too, and it was written by this process.
    pub shared_dirty: usize,
    /// Of `resident`: nobody else has it, and it was not written.
    pub private_clean: usize,
    /// Of `resident`: nobody else has it, and it was written.
    pub private_dirty: usize,
    /// Of `resident`: used since page replacement last looked.
    pub referenced: usize,
    /// Of `resident`: belongs to no file.
    pub anonymous: usize,
    /// In swap space.
    pub swapped: usize,
}

impl AddressSpace {
    /// All sizes; walks the tables.
    pub fn usage(&self) -> Usage {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let mut usage = Usage {
            size: inner.pages,
            resident: inner.resident,
            swapped: inner.swapped,
            ..Usage::default()
        };
        for area in &inner.areas {
            let pages = area.pages();
            if area.grows_down {
                usage.stack += pages;
            } else if area.prot.contains(Prot::EXEC) {
                usage.text += pages;
            } else if area.prot.contains(Prot::WRITE) && !area.shared {
                usage.data += pages;
            }
            usage.locked += if area.locked { pages } else { 0 };
            if !matches!(area.source, Source::Anonymous) {
                // Counting cannot fail.
                let _ = inner.tables.visit(area.start, area.end, &mut |_, entry| {
                    usage.shared += usize::from(*entry & SWAPPED == 0);
                    Ok(())
                });
            }
        }
        usage
    }

    /// What is there of the area at `start`; nothing if there is none.
    pub fn area_usage(&self, start: usize) -> AreaUsage {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let mut usage = AreaUsage::default();
        let Some(area) = inner.areas.iter().find(|area| area.start == start) else {
            return usage;
        };
        // Counting cannot fail.
        let _ = inner
            .tables
            .visit(area.start, area.end, &mut |address, entry| {
                if *entry & SWAPPED != 0 {
                    usage.swapped += PAGE;
                    return Ok(());
                }
                let number = ((*entry & ADDRESS) >> 12) as u32;
                let mut cached = false;
                if let Source::File(inode) = &area.source {
                    let index = area.page_index(address);
                    inode.cached_pages(index, index + 1, &mut |_, frame| {
                        cached = frame.number().get() == number;
                    });
                }
                // The file's cache, or the object that is shared, has a reference of its own.
                let held = cached || matches!(area.source, Source::Shared(_));
                let sharers = frame::references(number)
                    .saturating_sub(u32::from(held))
                    .max(1);
                usage.resident += PAGE;
                usage.proportional += PAGE / sharers as usize;
                *match (sharers > 1, *entry & DIRTY != 0) {
                    (true, false) => &mut usage.shared_clean,
                    (true, true) => &mut usage.shared_dirty,
                    (false, false) => &mut usage.private_clean,
                    (false, true) => &mut usage.private_dirty,
                } += PAGE;
                if *entry & ACCESSED != 0 {
                    usage.referenced += PAGE;
                }
                if !cached {
                    usage.anonymous += PAGE;
                }
                Ok(())
            });
        usage
    }

    /// The areas, lowest first.
    pub fn areas(&self) -> Vec<AreaInfo> {
        let inner = self.inner.lock();
        let heap = inner.brk_start..inner.brk.max(inner.brk_start);
        inner
            .areas
            .iter()
            .map(|area| AreaInfo {
                start: area.start,
                end: area.end,
                prot: area.prot,
                shared: area.shared,
                offset: area.offset,
                inode: match &area.source {
                    Source::File(inode) => Some(inode.clone()),
                    _ => None,
                },
                private_pages: area.private_pages,
                stack: area.grows_down,
                locked: area.locked,
                heap: matches!(area.source, Source::Anonymous) && heap.contains(&area.start),
            })
            .collect()
    }

    /// A byte for each page of the range, 1 if it is in memory (`mincore`).
    ///
    /// # Errors
    /// `ENOMEM`: part of the range is not mapped, or there is no memory for the answer. `EINVAL`: the
    /// address is not aligned.
    pub fn residency(&self, address: usize, len: usize) -> KResult<Vec<u8>> {
        let end = check_range(address, len)?;
        let mut inner = self.inner.lock();
        inner.require_mapped(address, end)?;
        let mut pages = Vec::new();
        pages
            .try_reserve((end - address) / PAGE)
            .map_err(|_| Errno::ENOMEM)?;
        for page in (address..end).step_by(PAGE) {
            // SAFETY: a leaf entry of our tables.
            pages.push(
                inner
                    .tables
                    .entry(page)
                    .is_some_and(|entry| unsafe { *entry != 0 && *entry & SWAPPED == 0 })
                    as u8,
            );
        }
        Ok(pages)
    }

    /// The most pages that have been in memory at once.
    pub fn peak(&self) -> usize {
        let inner = self.inner.lock();
        inner.peak.max(inner.resident)
    }

    /// Pages in memory and in swap space.
    pub fn claim(&self) -> usize {
        let inner = self.inner.lock();
        inner.resident + inner.swapped
    }
}
