//! Locked memory (`mlock(2)`): pages that stay, and how many a process may have (RLIMIT_MEMLOCK).

use super::areas::Inner;
use super::layout::PAGE;
use super::map::check_range;
use super::space::AddressSpace;
use crate::errno::{Errno, KResult};
use crate::task::rlimit;

impl AddressSpace {
    /// `mlock`, `munlock`: keeps the pages of a range in memory from when they come, or lets them go.
    ///
    /// # Errors
    /// `ENOMEM`: part of the range is not mapped, or it is more than the process may lock. `EPERM`:
    /// it may lock nothing.
    pub fn set_locked(&self, address: usize, len: usize, locked: bool) -> KResult<()> {
        let end = check_range(address, len)?;
        let mut inner = self.inner.lock();
        if locked {
            let again = inner.locked_pages(address, end);
            inner.check_lock(((end - address) / PAGE).saturating_sub(again))?;
        }
        inner.mark(address, end, |area| area.locked = locked)
    }

    /// `mlockall`, `munlockall`: the same for all areas there are and, with `future`, will be. The
    /// errors of [`Self::set_locked`].
    pub fn set_all_locked(&self, current: bool, future: bool) -> KResult<()> {
        let mut inner = self.inner.lock();
        if current || future {
            let others = inner.pages - inner.locked_pages(0, usize::MAX);
            inner.check_lock(if current { others } else { 0 })?;
        }
        inner.lock_future = future;
        if current || !future {
            let areas = inner.areas.iter_mut();
            areas.for_each(|area| area.locked = current);
        }
        Ok(())
    }
}

impl Inner {
    /// Locked pages between two addresses.
    fn locked_pages(&self, start: usize, end: usize) -> usize {
        let locked = self.overlapping(start, end).filter(|area| area.locked);
        locked
            .map(|area| (area.end.min(end) - area.start.max(start)) / PAGE)
            .sum()
    }

    /// Whether the running process may lock so many pages more. `EPERM`, `ENOMEM`.
    #[cold]
    pub fn check_lock(&self, more: usize) -> KResult<()> {
        let limit = rlimit::lockable_bytes() / PAGE;
        if limit == 0 {
            return Err(Errno::EPERM);
        }
        if self.locked_pages(0, usize::MAX).saturating_add(more) > limit {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }
}
