//! What memory a program uses, as /proc tells it.

use super::area::{Prot, Source};
use super::frame;
use super::layout::PAGE;
use super::space::AddressSpace;
use super::table::{ACCESSED, ADDRESS, DIRTY, SWAPPED};

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
}
