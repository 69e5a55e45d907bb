//! The memory of a program that is not the running one (`ptrace(2)`, `process_vm_readv(2)`, core
//! images, `/proc/[pid]/cmdline`).
//!
//! What is not there is faulted in as if the program had touched it, except by
//! [`AddressSpace::peek`]. With `force` its protection does not count: a debugger reads what the
//! program cannot, and its writes to read-only private memory go to a page of the program's own,
//! which stays read-only for the program.

use super::area::{Prot, Source};
use super::areas::Inner;
use super::fault::is_zero_page;
use super::layout::{PAGE, USER_END};
use super::space::AddressSpace;
use super::table::{ADDRESS, PRESENT, SWAPPED, WRITE};
use super::{frame, phys_to_virt};

/// Frames that one page needs at most: its own and its tables.
const MOST_FRAMES: usize = 4;

impl AddressSpace {
    /// Copies memory at `address` into `buffer`; the bytes before the first that cannot be read.
    pub fn read_remote(&self, address: usize, buffer: &mut [u8], force: bool) -> usize {
        let total = buffer.len();
        let mut done = 0;
        while done < total {
            let Some((at, len)) = piece(address, done, total) else {
                break;
            };
            let to = buffer[done..].as_mut_ptr();
            make_room();
            let copied = self.inner.lock().with_page(at, false, force, |from| {
                // SAFETY: a page of the program, which the lock keeps; programs may change it
                // meanwhile, so it is copied through a raw pointer.
                unsafe { core::ptr::copy_nonoverlapping(from.wrapping_add(at % PAGE), to, len) };
            });
            if !copied {
                break;
            }
            done += len;
        }
        done
    }

    /// Copies `bytes` to memory at `address`; the bytes before the first that cannot be written.
    pub fn write_remote(&self, address: usize, bytes: &[u8], force: bool) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let Some((at, len)) = piece(address, done, bytes.len()) else {
                break;
            };
            let from = bytes[done..].as_ptr();
            make_room();
            let copied = self.inner.lock().with_page(at, true, force, |to| {
                // SAFETY: as in `read_remote`; the page is the program's own or shared writable.
                unsafe { core::ptr::copy_nonoverlapping(from, to.wrapping_add(at % PAGE), len) };
            });
            if !copied {
                break;
            }
            done += len;
        }
        done
    }

    /// Copies what is resident at `address` into `buffer`; the bytes before the first page that is
    /// absent.
    pub fn peek(&self, address: usize, buffer: &mut [u8]) -> usize {
        let mut inner = self.inner.lock();
        let mut done = 0;
        while done < buffer.len() {
            let Some((at, len)) = piece(address, done, buffer.len()) else {
                break;
            };
            // SAFETY: a leaf entry of our tables.
            let entry = inner
                .tables
                .entry(at & !(PAGE - 1))
                .map_or(0, |entry| unsafe { *entry });
            if entry & PRESENT == 0 {
                break;
            }
            let from = phys_to_virt(entry & ADDRESS).wrapping_add(at % PAGE);
            // SAFETY: a page of the program, which the lock keeps mapped; programs may change it
            // meanwhile, so it is copied through a raw pointer.
            unsafe { core::ptr::copy_nonoverlapping(from, buffer[done..].as_mut_ptr(), len) };
            done += len;
        }
        done
    }

    /// Copies the page at `address` if the program has ever touched it, or if it is a file's.
    /// False: it has not, and the page is zero.
    pub fn read_touched(&self, address: usize, page: &mut [u8; PAGE]) -> bool {
        make_room();
        let mut inner = self.inner.lock();
        let Some(area) = inner.overlapping(address, address + PAGE).next() else {
            return false;
        };
        let in_source = match &area.source {
            Source::Anonymous => false,
            Source::Shared(pages) => pages.is_touched(area.page_index(address)),
            Source::File(_) => true,
        };
        // SAFETY: a leaf entry of our tables.
        let entry = inner.tables.entry(address).map_or(0, |e| unsafe { *e });
        if (entry == 0 && !in_source) || (entry & SWAPPED == 0 && is_zero_page(entry & ADDRESS)) {
            return false;
        }
        inner.with_page(address, false, true, |from| {
            // SAFETY: a page of the program, which the lock keeps; programs may change it meanwhile,
            // so it is copied through a raw pointer.
            unsafe { core::ptr::copy_nonoverlapping(from, page.as_mut_ptr(), PAGE) };
        })
    }
}

/// Makes room for a page that has to come first, while no lock is held. If there is none, the page
/// cannot be accessed.
fn make_room() {
    let _ = frame::can_allocate(MOST_FRAMES);
}

/// The next piece of a range that lies in one page: address and bytes.
fn piece(address: usize, done: usize, total: usize) -> Option<(usize, usize)> {
    let at = address.checked_add(done).filter(|&at| at < USER_END)?;
    Some((at, (PAGE - at % PAGE).min(total - done)))
}

impl Inner {
    /// Have `work` access the page at `address`. False: that is not possible.
    fn with_page(
        &mut self,
        address: usize,
        write: bool,
        force: bool,
        work: impl FnOnce(*mut u8),
    ) -> bool {
        let page = address & !(PAGE - 1);
        let Some(index) = self.find_or_grow(address) else {
            return false;
        };
        let area = &self.areas[index];
        let wanted = if write { Prot::WRITE } else { Prot::READ };
        let allowed = area.prot.contains(wanted);
        if !allowed && (!force || (write && area.shared)) {
            return false;
        }
        if self.resolve(index, page, write).is_err() {
            return false;
        }
        let Some(entry) = self.tables.entry(page) else {
            return false;
        };
        // SAFETY: a leaf entry of our tables.
        let value = unsafe { *entry };
        work(phys_to_virt(value & ADDRESS));
        if write && !allowed {
            // SAFETY: as above.
            unsafe { *entry &= !WRITE };
            self.tables.flush(page, page + PAGE);
        }
        true
    }
}
