//! Address spaces: the areas of a program and its page tables.
//! The areas themselves are `areas`' business; here is what system calls ask for.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::area::{Area, AreaInfo, Backing, MapKind, OnFork, Prot, Source};
use super::areas::{Inner, Limits, STACK_GAP};
use super::frame::{self, Frame};
use super::layout::{PAGE, USER_END, USER_START};
use super::phys_to_virt;
use super::random::random_offset;
use super::reclaim;
use super::shared::SharedPages;
use super::swap::{self, SwapSlot};
use super::table::{ADDRESS, PRESENT, SWAPPED, Tables, WRITE};
use crate::arch::{boot, cpu, this_cpu};
use crate::errno::{Errno, KResult};
use crate::sync::Mutex;

/// Room for the stack below its top, at least, where no mapping is placed by itself.
const STACK_ROOM: usize = 8 << 20;
/// Where position-independent programs are loaded, before randomisation.
const PROGRAM_BASE: usize = 0x5555_5555_4000;

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

/// An address space. Threads share one; fork copies it.
pub struct AddressSpace {
    root: u64,
    stack_top: usize,
    program_base: usize,
    pub(super) inner: Mutex<Inner>,
}

/// Loads the kernel's own tables: no program.
pub fn activate_kernel() {
    let root = boot::kernel_root();
    let cpu = this_cpu();
    if cpu.cr3.get() != root {
        cpu.cr3.set(root);
        // SAFETY: the kernel's tables.
        unsafe { cpu::write_cr3(root) };
    }
}

/// Rounds a length up to pages; None on overflow.
pub(super) fn page_up(len: usize) -> Option<usize> {
    len.checked_next_multiple_of(PAGE)
}

/// Checks a range that a program named: aligned, not empty after rounding, in the program's half.
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
    /// An empty address space, with places chosen for stack and mappings: at random, unless the
    /// program does not want that.
    pub fn new(randomise: bool) -> KResult<Arc<AddressSpace>> {
        let offset = |bits| if randomise { random_offset(bits) } else { 0 };
        let stack_top = USER_END - offset(22);
        let mmap_base = stack_top - STACK_ROOM - STACK_GAP - offset(28);
        let tables = Tables::new()?;
        Ok(Arc::new(AddressSpace {
            root: tables.root(),
            stack_top,
            program_base: PROGRAM_BASE + offset(24),
            inner: Mutex::new(Inner {
                areas: Vec::new(),
                last: 0,
                tables,
                pages: 0,
                resident: 0,
                peak: 0,
                swapped: 0,
                next_swapped: 0,
                lock_future: false,
                limits: Limits {
                    address_space: usize::MAX,
                    stack: STACK_ROOM,
                    data: usize::MAX,
                },
                brk_start: 0,
                brk: 0,
                mmap_base,
            }),
        }))
    }

    /// Where exec puts the top of the stack (page aligned).
    pub fn stack_top(&self) -> usize {
        self.stack_top
    }

    /// Where exec loads position-independent programs (page aligned).
    pub fn program_base(&self) -> usize {
        self.program_base
    }

    /// A random gap (below 32 MiB) between a program's end and its heap.
    pub fn random_brk_gap() -> usize {
        random_offset(13)
    }

    /// Makes this the address space of this processor.
    #[inline]
    pub fn activate(&self) {
        let cpu = this_cpu();
        if cpu.cr3.get() != self.root {
            cpu.cr3.set(self.root);
            // SAFETY: complete tables, which `self`'s owner keeps while they are in use; `Drop`
            // of the tables leaves them first.
            unsafe { cpu::write_cr3(self.root) };
        }
    }

    /// Sets limits in bytes (`RLIMIT_AS`, `RLIMIT_STACK`, `RLIMIT_DATA`); `usize::MAX`: none.
    pub fn set_limits(&self, address_space: usize, stack: usize, data: usize) {
        self.inner.lock().limits = Limits {
            address_space,
            stack,
            data,
        };
    }

    /// A copy for a child: private pages are shared until one side writes.
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
        let child = Arc::new(AddressSpace {
            root: child.tables.root(),
            stack_top: self.stack_top,
            program_base: self.program_base,
            inner: Mutex::new(child),
        });
        result.map(|()| child)
    }

    /// Maps `len` bytes; the address of the mapping.
    ///
    /// # Errors
    /// `EINVAL`: nothing to map, or a fixed address that is not aligned. `EAGAIN`: memory is locked as
    /// it comes, and this would be too much. `ENOMEM`: no room, over a limit, or more than the machine
    /// could ever back. `EEXIST`: [`Fixed::NoReplace`] and something is there. `EPERM`: a fixed
    /// address below [`USER_START`]. `EACCES`: writable and shared, but the file is not open for
    /// writing.
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

    /// `madvise`. `DONTNEED` and `FREE` drop private pages, `DONTFORK` and `WIPEONFORK` say what fork
    /// does, and `DOFORK` and `KEEPONFORK` that it copies; other known advice is accepted.
    /// `ENOMEM`: part of the range is not mapped. `EINVAL`: unknown advice, not aligned, or not
    /// private anonymous memory (`WIPEONFORK`).
    pub fn advise(&self, address: usize, len: usize, advice: usize) -> KResult<()> {
        const DONTNEED: usize = 4;
        const FREE: usize = 8;
        const DONTFORK: usize = 10;
        const DOFORK: usize = 11;
        const WIPEONFORK: usize = 18;
        const KEEPONFORK: usize = 19;
        let end = check_range(address, len).map_err(|_| Errno::EINVAL)?;
        match advice {
            DONTFORK | DOFORK | WIPEONFORK | KEEPONFORK => {
                let on_fork = match advice {
                    DONTFORK => OnFork::Omit,
                    WIPEONFORK => OnFork::Wipe,
                    _ => OnFork::Copy,
                };
                let mut inner = self.inner.lock();
                let private = |area: &Area| matches!(area.source, Source::Anonymous);
                if on_fork == OnFork::Wipe && !inner.overlapping(address, end).all(private) {
                    return Err(Errno::EINVAL);
                }
                inner.mark(address, end, |area| area.on_fork = on_fork)
            }
            // NORMAL … WILLNEED, MERGEABLE … DODUMP, COLD, PAGEOUT: hints.
            0..=3 | 10..=21 => self.inner.lock().require_mapped(address, end),
            DONTNEED | FREE => self.inner.lock().discard(address, end),
            _ => Err(Errno::EINVAL),
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
            if self
                .fault(page, super::Access { write, exec: false })
                .is_err()
            {
                return;
            }
        }
    }

    /// Whether every page of the range is mapped, and which are resident (`mincore`). `ENOMEM`:
    /// part of the range is not mapped.
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

    /// Copies what is resident at `address` into `buffer`, for other processes (`/proc`); gives the
    /// number of bytes before the first page that is absent.
    pub fn peek(&self, address: usize, buffer: &mut [u8]) -> usize {
        let mut inner = self.inner.lock();
        let mut done = 0;
        while done < buffer.len() {
            let at = address.wrapping_add(done);
            if at >= USER_END {
                break;
            }
            // SAFETY: a leaf entry of our tables.
            let entry = inner
                .tables
                .entry(at & !(PAGE - 1))
                .map_or(0, |entry| unsafe { *entry });
            if entry & PRESENT == 0 {
                break;
            }
            let len = (PAGE - at % PAGE).min(buffer.len() - done);
            let from = phys_to_virt(entry & ADDRESS).wrapping_add(at % PAGE);
            // SAFETY: a page of the program, which the lock keeps mapped; programs may change it
            // meanwhile, so it is copied through a raw pointer.
            unsafe { core::ptr::copy_nonoverlapping(from, buffer[done..].as_mut_ptr(), len) };
            done += len;
        }
        done
    }

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

    /// Unmaps all private memory of programs that have been killed. False: there was none, or the
    /// address space is in use just now. Whoever is still in a system call gets EFAULT.
    pub fn reap(&self) -> bool {
        let Some(mut inner) = self.inner.try_lock() else {
            return false;
        };
        let before = inner.resident + inner.swapped;
        let mut at = 0;
        while let Some((start, end)) = inner.areas[inner.position(at)..]
            .iter()
            .find(|area| !area.shared)
            .map(|area| (area.start, area.end))
        {
            // A whole area: nothing is to be allocated.
            if inner.unmap(start, end).is_err() {
                break;
            }
            at = end;
        }
        inner.resident + inner.swapped < before
    }

    /// gpa of the root table.
    pub(super) fn root(&self) -> u64 {
        self.root
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        let inner = self.inner.get_mut();
        // The processor must not walk tables that are being taken apart.
        if inner.tables.is_active() {
            activate_kernel();
        }
        for area in &inner.areas {
            inner.tables.clear(area.start, area.end, &mut |_, entry| {
                if entry & SWAPPED != 0 {
                    swap::release(SwapSlot::of_entry(entry));
                    return;
                }
                // SAFETY: the entry owned the reference.
                drop(unsafe { Frame::from_raw(entry & ADDRESS) });
            });
        }
    }
}
