//! `mremap`: resizing and moving mappings.

use super::area::{Area, Source};
use super::areas::Inner;
use super::layout::PAGE;
use super::map::{check_range, page_up};
use super::space::AddressSpace;
use super::{frame, reclaim};
use crate::errno::{Errno, KResult};

/// Bytes that a leaf table maps.
const TABLE_SPAN: usize = 512 * PAGE;
/// Tables beyond one for each [`TABLE_SPAN`] that a moved mapping needs at most.
const TABLES: usize = 8;

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
        // A page that cannot be moved for want of a page table would be lost. Room is made before
        // the lock is taken, so that the process's own pages can make it.
        if flags & MREMAP_MAYMOVE != 0
            && !frame::can_allocate(old_len.min(new_len) / TABLE_SPAN + TABLES)
        {
            return Err(Errno::ENOMEM);
        }
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

    /// Moves the entries of at most [`TABLE_SPAN`] bytes by `distance`. The old translations still
    /// have to be flushed.
    fn move_pages(&mut self, from: usize, to: usize, distance: usize) {
        let mut taken = [(0, 0); TABLE_SPAN / PAGE];
        let mut len = 0;
        self.tables.clear(from, to, &mut |address, entry| {
            taken[len] = (address, entry);
            len += 1;
        });
        for &(address, entry) in &taken[..len] {
            // There is room for the tables: `remap` has seen to it.
            if let Ok(slot) = self.tables.entry_or_create(address.wrapping_add(distance)) {
                self.tables.fill(slot, entry);
            }
        }
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
        for from in (old..old + moved).step_by(TABLE_SPAN) {
            self.move_pages(
                from,
                (old + moved).min(from + TABLE_SPAN),
                start.wrapping_sub(old),
            );
        }
        if moved > 0 {
            self.tables.flush_all();
        }
        if !keep && old_len != 0 {
            self.unmap(old, old_end)?;
        }
        Ok(start)
    }
}
