//! The areas of an address space and what is done to ranges of them.
//!
//! Invariants: areas are sorted, do not overlap, and every entry of the page tables lies in an area;
//! `pages` is the sum of the areas' pages, `resident` the number of entries that have a frame and
//! `swapped` of those that name a slot of swap space; an entry that allows writes belongs to an area
//! that does.

use alloc::vec::Vec;

use super::area::{Area, Prot};
use super::layout::{PAGE, USER_END, USER_START};
use super::swap::{self, SwapSlot};
use super::table::{ADDRESS, DIRTY, Gather, SWAPPED, Tables};
use crate::errno::{Errno, KResult};

/// Most areas of an address space: finding a place goes through all of them.
const MAX_AREAS: usize = 16384;

/// Unmapped bytes that stay between a stack and the area below it.
pub(super) const STACK_GAP: usize = 256 * PAGE;

/// Limits of an address space, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub address_space: usize,
    pub stack: usize,
    pub data: usize,
}

/// What is behind the lock.
pub(super) struct Inner {
    pub areas: Vec<Area>,
    /// Index of the area that was found last.
    pub last: usize,
    pub tables: Tables,
    pub pages: usize,
    pub resident: usize,
    /// The most that `resident` was when it last went down.
    pub peak: usize,
    pub swapped: usize,
    /// The page behind those that came back from swap space last: a fault there goes on in order.
    pub next_swapped: usize,
    /// New areas are locked (`mlockall`).
    pub lock_future: bool,
    pub limits: Limits,
    pub brk_start: usize,
    pub brk: usize,
    pub mmap_base: usize,
}

impl Inner {
    /// Index of the area that holds `address`, or of the first one above it.
    #[inline]
    pub fn find(&mut self, address: usize) -> Option<usize> {
        if let Some(area) = self.areas.get(self.last)
            && area.start <= address
            && address < area.end
        {
            return Some(self.last);
        }
        let index = self.position(address);
        self.last = index;
        (index < self.areas.len()).then_some(index)
    }

    /// Index of the first area that ends above `address`.
    pub fn position(&self, address: usize) -> usize {
        self.areas.partition_point(|area| area.end <= address)
    }

    /// Areas that share addresses with `start..end`.
    pub fn overlapping(&self, start: usize, end: usize) -> impl Iterator<Item = &Area> {
        self.areas[self.position(start)..]
            .iter()
            .take_while(move |area| area.start < end)
    }

    /// Whether some area shares addresses with `start..end`.
    pub fn overlaps(&self, start: usize, end: usize) -> bool {
        self.overlapping(start, end).next().is_some()
    }

    /// `ENOMEM` unless all of `start..end` is mapped.
    pub fn require_mapped(&self, start: usize, end: usize) -> KResult<()> {
        let mut at = start;
        for area in self.overlapping(start, end) {
            if area.start > at {
                break;
            }
            at = area.end;
        }
        if at >= end {
            Ok(())
        } else {
            Err(Errno::ENOMEM)
        }
    }

    /// `ENOMEM` if `more` bytes would exceed the limit of the address space.
    pub fn check_limit(&self, more: usize) -> KResult<()> {
        if self.pages + more / PAGE > self.limits.address_space / PAGE {
            Err(Errno::ENOMEM)
        } else {
            Ok(())
        }
    }

    /// A free place for `len` bytes: at the hint if that is free, else below the stack, downwards.
    pub fn place(&self, hint: Option<usize>, len: usize) -> Option<usize> {
        if let Some(hint) = hint.map(|h| h & !(PAGE - 1)).filter(|&h| h >= USER_START) {
            let end = hint.checked_add(len).filter(|&end| end <= USER_END);
            if let Some(end) = end
                && !self.overlaps(hint, end)
                && self
                    .areas
                    .get(self.position(hint))
                    .is_none_or(|a| !a.grows_down || end + STACK_GAP <= a.start)
            {
                return Some(hint);
            }
        }
        self.gap_below(self.mmap_base, len)
            .or_else(|| self.gap_below(USER_END, len))
    }

    /// The highest gap of `len` bytes below `ceiling`.
    fn gap_below(&self, mut ceiling: usize, len: usize) -> Option<usize> {
        for area in self.areas.iter().rev() {
            if area.end < ceiling && ceiling - area.end >= len {
                return Some(ceiling - len);
            }
            let start = if area.grows_down {
                area.start.saturating_sub(STACK_GAP)
            } else {
                area.start
            };
            ceiling = ceiling.min(start);
        }
        ceiling
            .checked_sub(len)
            .filter(|&start| start >= USER_START)
    }

    /// Room for one more area. `ENOMEM`: there is no memory, or there are [`MAX_AREAS`].
    fn reserve_area(&mut self) -> KResult<()> {
        if self.areas.len() >= MAX_AREAS {
            return Err(Errno::ENOMEM);
        }
        self.areas.try_reserve(1).map_err(|_| Errno::ENOMEM)
    }

    /// Adds an area to a free place; joins it with its neighbours where they continue each other.
    pub fn insert(&mut self, area: Area) -> KResult<()> {
        self.reserve_area()?;
        self.pages += area.pages();
        let index = self.position(area.start);
        self.areas.insert(index, area);
        self.join(index);
        Ok(())
    }

    /// Joins the area at `index` with its neighbours if they continue each other.
    fn join(&mut self, index: usize) {
        if index + 1 < self.areas.len() && self.areas[index].continues_with(&self.areas[index + 1])
        {
            let next = self.areas.remove(index + 1);
            self.areas[index].end = next.end;
            self.areas[index].private_pages |= next.private_pages;
        }
        if index > 0 && self.areas[index - 1].continues_with(&self.areas[index]) {
            let area = self.areas.remove(index);
            self.areas[index - 1].end = area.end;
            self.areas[index - 1].private_pages |= area.private_pages;
        }
    }

    /// Cuts areas so that none crosses `address`.
    pub fn split(&mut self, address: usize) -> KResult<()> {
        let index = self.position(address);
        if let Some(area) = self.areas.get(index)
            && area.start < address
        {
            self.reserve_area()?;
            let upper = self.areas[index].split_off(address);
            self.areas.insert(index + 1, upper);
        }
        Ok(())
    }

    /// Empties the entries of a range and frees their frames.
    pub fn clear(&mut self, start: usize, end: usize) {
        let mut gather = Gather::new(&self.tables);
        self.peak = self.peak.max(self.resident);
        let (resident, swapped) = (&mut self.resident, &mut self.swapped);
        self.tables.clear(start, end, &mut |address, entry| {
            if entry & SWAPPED != 0 {
                *swapped -= 1;
                swap::release(SwapSlot::of_entry(entry));
                return;
            }
            *resident -= 1;
            gather.add(address, entry);
        });
    }

    /// Removes what is mapped in a range.
    pub fn unmap(&mut self, start: usize, end: usize) -> KResult<()> {
        if start >= end || !self.overlaps(start, end) {
            return Ok(());
        }
        self.split(start)?;
        self.split(end)?;
        let first = self.position(start);
        let last = first
            + self.areas[first..]
                .iter()
                .take_while(|area| area.start < end)
                .count();
        for index in first..last {
            let (from, to) = (self.areas[index].start, self.areas[index].end);
            self.clear(from, to);
            self.pages -= (to - from) / PAGE;
        }
        self.areas.drain(first..last);
        Ok(())
    }

    /// Changes the protection of a range.
    pub fn protect(&mut self, start: usize, end: usize, prot: Prot) -> KResult<()> {
        let mapped = self.require_mapped(start, end);
        if prot.contains(Prot::WRITE) && self.overlapping(start, end).any(|area| !area.may_write) {
            return Err(Errno::EACCES);
        }
        if start < end {
            self.split(start)?;
            self.split(end)?;
        }
        let mut index = self.position(start);
        let mut changed = false;
        while let Some(area) = self.areas.get_mut(index).filter(|area| area.start < end) {
            if area.prot != prot {
                area.prot = prot;
                let (from, to, bits) = (area.start, area.end, prot.entry_bits());
                // Writable again only by a fault, which sees to copy-on-write and to dirty files.
                self.tables.visit(from, to, &mut |_, entry| {
                    if *entry & SWAPPED == 0 {
                        changed = true;
                        *entry = *entry & (ADDRESS | DIRTY) | bits;
                    }
                    Ok(())
                })?;
            }
            index += 1;
        }
        if changed {
            self.tables.flush(start, end);
        }
        // Join from the top, so that the indices below stay right.
        for index in (self.position(start)..index).rev() {
            if index < self.areas.len() {
                self.join(index);
            }
        }
        mapped
    }

    /// Drops the pages of private areas in a range; they are zero, or the file's, again.
    pub fn discard(&mut self, start: usize, end: usize) -> KResult<()> {
        let mapped = self.require_mapped(start, end);
        let ranges: Vec<(usize, usize)> = self
            .overlapping(start, end)
            .map(|area| (area.start.max(start), area.end.min(end)))
            .collect();
        for (from, to) in ranges {
            self.clear(from, to);
        }
        mapped
    }

    /// Changes what is known about a range. `ENOMEM`: part of it is not mapped.
    pub fn mark(&mut self, start: usize, end: usize, mark: impl Fn(&mut Area)) -> KResult<()> {
        self.require_mapped(start, end)?;
        if start >= end {
            return Ok(());
        }
        self.split(start)?;
        self.split(end)?;
        let first = self.position(start);
        let mut index = first;
        while let Some(area) = self.areas.get_mut(index).filter(|area| area.start < end) {
            mark(area);
            index += 1;
        }
        for index in (first..index).rev() {
            if index < self.areas.len() {
                self.join(index);
            }
        }
        Ok(())
    }
}
