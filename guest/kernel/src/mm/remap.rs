//! `mremap`: resizing and moving mappings.

use super::area::{Area, Source};
use super::areas::Inner;
use super::layout::PAGE;
use super::reclaim;
use super::space::{AddressSpace, check_range, page_up};
use super::table::Gather;
use crate::errno::{Errno, KResult};

/// The mapping may move.
pub const MREMAP_MAYMOVE: usize = 1;
/// The mapping moves to the given address.
pub const MREMAP_FIXED: usize = 2;
/// The old mapping stays, empty.
pub const MREMAP_DONTUNMAP: usize = 4;

impl AddressSpace {
    /// Resizes or moves the mapping of `old_len` bytes at `old`; its new address.
    ///
    /// # Errors
    /// `EINVAL`: alignment, flags, sizes, overlap. `EFAULT`: the old range is not one mapping.
    /// `ENOMEM`: no room.
    pub fn remap(
        &self,
        old: usize,
        old_len: usize,
        new_len: usize,
        flags: usize,
        new: usize,
    ) -> KResult<usize> {
        let known = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
        if !old.is_multiple_of(PAGE) || new_len == 0 || flags & !known != 0 {
            return Err(Errno::EINVAL);
        }
        if flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) != 0 && flags & MREMAP_MAYMOVE == 0 {
            return Err(Errno::EINVAL);
        }
        let old_len = page_up(old_len).ok_or(Errno::EINVAL)?;
        let new_len = page_up(new_len).ok_or(Errno::ENOMEM)?;
        if flags & MREMAP_DONTUNMAP != 0 && old_len != new_len {
            return Err(Errno::EINVAL);
        }
        let old_end = check_range(old, old_len).map_err(|_| Errno::EINVAL)?;
        let mut inner = self.inner.lock();
        let index = inner
            .find(old)
            .filter(|&i| inner.areas[i].start <= old)
            .ok_or(Errno::EFAULT)?;
        let area = &inner.areas[index];
        if old_len == 0 {
            // A second view of a shared mapping.
            if !area.shared || flags & MREMAP_MAYMOVE == 0 {
                return Err(Errno::EINVAL);
            }
        } else if area.end < old_end {
            return Err(Errno::EFAULT);
        }
        let fixed = flags & MREMAP_FIXED != 0;
        if fixed {
            let new_end = check_range(new, new_len).map_err(|_| Errno::EINVAL)?;
            if new < old_end && old < new_end {
                return Err(Errno::EINVAL);
            }
        } else if flags & MREMAP_DONTUNMAP == 0 && old_len != 0 {
            if new_len <= old_len {
                inner.unmap(old + new_len, old_end)?;
                return Ok(old);
            }
            if inner.extend(index, old_end, new_len - old_len)? {
                return Ok(old);
            }
            if flags & MREMAP_MAYMOVE == 0 {
                return Err(Errno::ENOMEM);
            }
        }
        inner.relocate(
            old,
            old_len,
            new_len,
            fixed.then_some(new),
            flags & MREMAP_DONTUNMAP != 0,
        )
    }
}

impl Inner {
    /// Checks limits for `more` bytes like the area's.
    fn check_growth(&self, area: &Area, more: usize) -> KResult<()> {
        if !matches!(area.source, Source::File(_)) && more / PAGE > reclaim::backed_pages() {
            return Err(Errno::ENOMEM);
        }
        self.check_limit(more)
    }

    /// Extends the area at `index`, which must end at `end`, where it is. False: no room there.
    fn extend(&mut self, index: usize, end: usize, more: usize) -> KResult<bool> {
        let area = &self.areas[index];
        let Ok(new_end) = check_range(end, more) else {
            return Ok(false);
        };
        if area.end != end || self.overlaps(end, new_end) {
            return Ok(false);
        }
        self.check_growth(area, more)?;
        self.pages += more / PAGE;
        self.areas[index].end = new_end;
        Ok(true)
    }

    /// Moves a mapping, with its pages.
    fn relocate(
        &mut self,
        old: usize,
        old_len: usize,
        new_len: usize,
        new: Option<usize>,
        keep: bool,
    ) -> KResult<usize> {
        let index = self.position(old);
        self.check_growth(
            &self.areas[index],
            new_len.saturating_sub(if keep { 0 } else { old_len }),
        )?;
        let start = match new {
            Some(start) => {
                self.unmap(start, start + new_len)?;
                start
            }
            None => self.place(None, new_len).ok_or(Errno::ENOMEM)?,
        };
        let old_end = old + old_len;
        self.split(old)?;
        self.split(old_end)?;
        let mut area = self.areas[self.position(old)].clone();
        area.offset = area.offset.wrapping_add((old - area.start) as u64);
        (area.start, area.end) = (start, start + new_len);
        self.insert(area)?;
        // Pages beyond the new length stay behind and are unmapped with the old range.
        let moved = old_len.min(new_len);
        let mut lost = Gather::new(&self.tables);
        let mut taken = alloc::vec::Vec::new();
        self.tables.clear(old, old + moved, &mut |address, entry| {
            taken.push((address, entry))
        });
        if !taken.is_empty() {
            self.tables.flush_all();
        }
        for (address, entry) in taken {
            match self.tables.entry_or_create(address - old + start) {
                Ok(slot) => self.tables.fill(slot, entry),
                Err(_) => {
                    // Without a page table the page cannot be kept; the area is mapped, and the
                    // program would see it empty. Only the very last memory leads here.
                    self.resident -= 1;
                    lost.add(address, entry);
                }
            }
        }
        if !keep && old_len != 0 {
            self.unmap(old, old_end)?;
        }
        Ok(start)
    }
}
