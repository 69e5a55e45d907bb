//! Mappings that programs ask for: `mmap(2)`, `munmap(2)`, `mprotect(2)`, `msync(2)`.
//!
//! Here the request is checked; the areas themselves are `areas`' business.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::area::{Area, Backing, MapKind, OnFork, Prot, Source};
use super::fault::Access;
use super::layout::{PAGE, USER_END, USER_START};
use super::reclaim;
use super::shared::SharedPages;
use super::space::AddressSpace;
use crate::errno::{Errno, KResult};

/// What to do about areas that are in the way of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// The address is a hint.
    No,
    /// `MAP_FIXED`: replace what is there.
    Yes,
    /// `MAP_FIXED_NOREPLACE`: `EEXIST` if something is there.
    NoReplace,
}

/// Rounds a length up to pages; None on overflow.
pub(super) fn page_up(len: usize) -> Option<usize> {
    len.checked_next_multiple_of(PAGE)
}

/// The end of a range that a program named, whose length is rounded up to pages.
///
/// # Errors
/// `EINVAL`: the address is not aligned. `ENOMEM`: the range leaves the program's half.
pub(super) fn check_range(address: usize, len: usize) -> KResult<usize> {
    if !address.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let len = page_up(len).ok_or(Errno::ENOMEM)?;
    match address.checked_add(len) {
        Some(end) if end <= USER_END => Ok(end),
        _ => Err(Errno::ENOMEM),
    }
}

impl AddressSpace {
    /// Maps `len` bytes; the address of the mapping.
    ///
    /// # Errors
    /// `EINVAL`: nothing to map, or an offset or a fixed address that is not aligned. `EAGAIN`: memory
    /// is locked as it comes, and this would be too much. `ENOMEM`: no room, over a limit, or more than
    /// the machine could ever back. `EOVERFLOW`: beyond the largest offset of a file. `EEXIST`:
    /// [`Fixed::NoReplace`] and something is there. `EPERM`: a fixed address below [`USER_START`].
    /// `EACCES`: writable and shared, but the file is not open for writing.
    pub fn map(
        &self,
        address: Option<usize>,
        fixed: Fixed,
        len: usize,
        prot: Prot,
        kind: MapKind,
    ) -> KResult<usize> {
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        let len = page_up(len)
            .filter(|&l| l <= USER_END)
            .ok_or(Errno::ENOMEM)?;
        let mut may_write = true;
        let (source, offset, grows_down) = match kind.backing {
            Backing::Anonymous if kind.shared => {
                (Source::Shared(Arc::new(SharedPages::new())), 0, false)
            }
            Backing::Anonymous => (Source::Anonymous, 0, false),
            Backing::Stack => (Source::Anonymous, 0, true),
            Backing::File {
                inode,
                offset,
                writable,
            } => {
                if !offset.is_multiple_of(PAGE as u64) {
                    return Err(Errno::EINVAL);
                }
                offset.checked_add(len as u64).ok_or(Errno::EOVERFLOW)?;
                may_write = writable || !kind.shared;
                (Source::File(inode), offset, false)
            }
        };
        if prot.contains(Prot::WRITE) && !may_write {
            return Err(Errno::EACCES);
        }
        // More anonymous memory than the machine has: an obvious overcommitment.
        let anonymous = !matches!(source, Source::File(_));
        if anonymous && prot.contains(Prot::WRITE) && len / PAGE > reclaim::backed_pages() {
            return Err(Errno::ENOMEM);
        }
        let mut inner = self.inner.lock();
        let start = match (fixed, address) {
            (Fixed::No, hint) => inner.place(hint, len).ok_or(Errno::ENOMEM)?,
            (_, address) => {
                let address = address.unwrap_or(0);
                let end = check_range(address, len)?;
                if address < USER_START {
                    return Err(Errno::EPERM);
                }
                if fixed == Fixed::NoReplace {
                    if inner.overlaps(address, end) {
                        return Err(Errno::EEXIST);
                    }
                } else {
                    inner.unmap(address, end)?;
                }
                address
            }
        };
        inner.check_limit(len)?;
        let locked = inner.lock_future;
        if locked {
            inner.check_lock(len / PAGE).map_err(|_| Errno::EAGAIN)?;
        }
        inner.insert(Area {
            start,
            end: start + len,
            prot,
            shared: kind.shared,
            may_write,
            grows_down,
            locked,
            on_fork: OnFork::Copy,
            private_pages: false,
            source,
            offset,
        })?;
        Ok(start)
    }

    /// Unmaps a range; parts of areas too. `EINVAL`: not aligned, empty, or not a program's.
    pub fn unmap(&self, address: usize, len: usize) -> KResult<()> {
        let end = check_range(address, len).map_err(|_| Errno::EINVAL)?;
        if end == address {
            return Err(Errno::EINVAL);
        }
        self.inner.lock().unmap(address, end)
    }

    /// Changes the protection of a range. `ENOMEM`: part of it is not mapped (what lies before
    /// has been changed then). `EINVAL`: not aligned. `EACCES`: a shared mapping of a file that is
    /// not open for writing cannot become writable.
    pub fn protect(&self, address: usize, len: usize, prot: Prot) -> KResult<()> {
        let end = check_range(address, len)?;
        self.inner.lock().protect(address, end, prot)
    }

    /// Touches the pages of a range (`MAP_POPULATE`, `MAP_LOCKED`); what cannot be had is left to
    /// later faults.
    pub fn populate(&self, address: usize, len: usize) {
        let Ok(end) = check_range(address, len) else {
            return;
        };
        for page in (address..end).step_by(PAGE) {
            let write = {
                let mut inner = self.inner.lock();
                let Some(index) = inner.find(page) else {
                    return;
                };
                let area = &inner.areas[index];
                area.prot.contains(Prot::WRITE) && !area.shared
            };
            if self.fault(page, Access { write, exec: false }).is_err() {
                return;
            }
        }
    }

    /// `msync`: brings shared file pages in the range to their files. `ENOMEM`: part of the range
    /// is not mapped.
    pub fn sync(&self, address: usize, len: usize) -> KResult<()> {
        let end = check_range(address, len)?;
        let files: Vec<_> = {
            let inner = self.inner.lock();
            inner.require_mapped(address, end)?;
            inner
                .overlapping(address, end)
                .filter(|area| area.shared)
                .filter_map(|area| match &area.source {
                    Source::File(inode) => Some(inode.clone()),
                    _ => None,
                })
                .collect()
        };
        files.iter().try_for_each(|inode| inode.sync(true))
    }
}
