//! The heap of a program, which `brk(2)` moves the end of.

use super::area::{Area, OnFork, Prot, Source};
use super::areas::Inner;
use super::layout::{PAGE, USER_END};
use super::reclaim;
use super::space::AddressSpace;
use crate::errno::{Errno, KResult};

impl AddressSpace {
    /// Sets where the heap begins: the page after the program (exec).
    pub fn set_brk_start(&self, address: usize) {
        let mut inner = self.inner.lock();
        let start = address.next_multiple_of(PAGE);
        inner.brk_start = start;
        inner.brk = start;
    }

    /// `brk`: moves the end of the heap. The new end, or the old one if that cannot be.
    pub fn brk(&self, address: usize) -> usize {
        let mut inner = self.inner.lock();
        if address < inner.brk_start || address > USER_END {
            return inner.brk;
        }
        let (old, new) = (
            inner.brk.next_multiple_of(PAGE),
            address.next_multiple_of(PAGE),
        );
        let done = if new > old {
            inner.grow_heap(old, new)
        } else {
            inner.unmap(new, old)
        };
        if done.is_ok() {
            inner.brk = address;
        }
        inner.brk
    }
}

impl Inner {
    /// Extends the heap from `old` to `new`, both page aligned.
    ///
    /// # Errors
    /// `ENOMEM`: something is in the way, a limit, or there is no memory. `EPERM`: it would be locked,
    /// and nothing may be.
    fn grow_heap(&mut self, old: usize, new: usize) -> KResult<()> {
        if self.overlaps(old, new)
            || new - self.brk_start > self.limits.data
            || (new - old) / PAGE > reclaim::backed_pages()
        {
            return Err(Errno::ENOMEM);
        }
        self.check_limit(new - old)?;
        if self.lock_future {
            self.check_lock((new - old) / PAGE)?;
        }
        self.insert(Area {
            start: old,
            end: new,
            prot: Prot::READ | Prot::WRITE,
            shared: false,
            may_write: true,
            grows_down: false,
            locked: self.lock_future,
            on_fork: OnFork::Copy,
            private_pages: false,
            source: Source::Anonymous,
            offset: 0,
        })
    }
}
