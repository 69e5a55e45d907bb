//! Page faults of programs: demand paging, copy-on-write, stack growth.

use super::area::{Area, Prot, Source};
use super::areas::{Inner, STACK_GAP};
use super::frame::Frame;
use super::layout::{PAGE, USER_END};
use super::space::AddressSpace;
use super::swap::{self, Arriving, SwapSlot};
use super::table::{ACCESSED, ADDRESS, DIRTY, PRESENT, SWAPPED, Tables, WRITE};
use super::{reclaim, stat};
use crate::errno::{Errno, KResult};
use crate::fs::{self, Inode, cache};
use crate::sync::Once;
use crate::task;

/// si_code of a SIGSEGV: nothing is mapped there.
pub const SEGV_MAPERR: i32 = 1;
/// si_code of a SIGSEGV: the access is not allowed.
pub const SEGV_ACCERR: i32 = 2;

/// Kind of an access.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// A write.
    pub write: bool,
    /// An instruction fetch.
    pub exec: bool,
}

/// Why a page fault cannot be resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGSEGV.
    Segv {
        /// [`SEGV_MAPERR`] or [`SEGV_ACCERR`].
        code: i32,
    },
    /// SIGBUS: beyond the end of the file, or it cannot be read.
    Bus,
    /// No memory.
    Oom,
}

impl From<Errno> for Fault {
    fn from(e: Errno) -> Fault {
        if e == Errno::ENOMEM {
            Fault::Oom
        } else {
            Fault::Bus
        }
    }
}

/// Frames that are made free when a fault finds none.
const ROOM: usize = 64;
/// How often a fault tries with less than that.
const SCARCE: usize = 8;

/// Pages of a file, or of swap space in a row, that one fault maps at most.
const AROUND: usize = 16;

/// The page of zeros that reads of untouched memory see.
static ZERO: Once<Frame> = Once::new();

fn zero_page() -> KResult<Frame> {
    if let Some(frame) = ZERO.get() {
        return Ok(frame.clone());
    }
    let fresh = Frame::alloc_zeroed()?;
    Ok(ZERO.call_once(|| fresh).clone())
}

pub(super) fn is_zero_page(gpa: u64) -> bool {
    ZERO.get().is_some_and(|zero| zero.gpa() == gpa)
}

/// A private copy of a page.
fn copy_of(gpa: u64) -> KResult<Frame> {
    if is_zero_page(gpa) {
        return Frame::alloc_zeroed();
    }
    let copy = Frame::alloc()?;
    stat::COPIES.add_one();
    // SAFETY: two different frames, one of them new.
    unsafe {
        core::ptr::copy_nonoverlapping(
            super::phys_to_virt(gpa).cast::<u64>(),
            copy.as_ptr().cast(),
            PAGE / 8,
        )
    };
    Ok(copy)
}

impl AddressSpace {
    /// Makes an access to `address` possible, or says why it is not. May sleep (file pages).
    pub fn fault(&self, address: usize, access: Access) -> Result<(), Fault> {
        if address >= USER_END {
            return Err(Fault::Segv { code: SEGV_MAPERR });
        }
        stat::FAULTS.add_one();
        let result = self.inner.lock().fault(address, access);
        match result {
            Err(Fault::Oom) => self.fault_when_short(address, access),
            result => result,
        }
    }

    /// Tries again with the room that can be made.
    #[cold]
    fn fault_when_short(&self, address: usize, access: Access) -> Result<(), Fault> {
        let mut written = false;
        let mut scarce = 0;
        loop {
            let gained = reclaim::make_room(ROOM);
            if gained < ROOM {
                // It may be just what the last try has read, and will read again: that leads nowhere.
                scarce += 1;
                if !written && cache::dirty_pages() > 0 {
                    // Dirty pages of files are what is left. No lock that write-back takes is held
                    // here: a fault has none, and copies hold no other.
                    fs::sync_all().map_err(|_| Fault::Oom)?;
                    written = true;
                } else if gained == 0 || scarce > SCARCE {
                    return Err(Fault::Oom);
                }
            }
            let result = self.inner.lock().fault(address, access);
            if result != Err(Fault::Oom) {
                return result;
            }
        }
    }
}

impl Inner {
    #[inline(always)]
    fn fault(&mut self, address: usize, access: Access) -> Result<(), Fault> {
        let Some(index) = self.find_or_grow(address) else {
            return Err(Fault::Segv { code: SEGV_MAPERR });
        };
        let area = &self.areas[index];
        let allowed = if access.write {
            area.prot.contains(Prot::WRITE)
        } else if access.exec {
            area.prot.contains(Prot::EXEC)
        } else {
            area.prot != Prot::NONE
        };
        if !allowed {
            return Err(Fault::Segv { code: SEGV_ACCERR });
        }
        self.resolve(index, address & !(PAGE - 1), access.write)
    }

    /// Makes an access to a page of the area at `index` possible, whatever its protection. After a
    /// `write` the entry allows writes.
    // Each instruction of this path counts: the callers are few.
    #[inline(always)]
    pub(super) fn resolve(&mut self, index: usize, page: usize, write: bool) -> Result<(), Fault> {
        let Inner {
            areas,
            tables,
            resident,
            swapped,
            next_swapped,
            ..
        } = self;
        let area = &mut areas[index];
        let entry = tables.entry_or_create(page)?;
        // SAFETY: a leaf entry of our tables.
        let mut old = unsafe { *entry };
        let bits = area.prot.entry_bits();
        if old == 0 {
            if !write && let Source::File(inode) = &area.source {
                *resident += map_around(area, &**inode, tables, page);
                // SAFETY: as above.
                let value = unsafe { *entry };
                if value != 0 {
                    if reclaim::is_tracking() {
                        reclaim::admit(value, tables.root(), page);
                    }
                    return Ok(());
                }
            }
            let (frame, writable) = if write && matches!(area.source, Source::Anonymous) {
                (Frame::alloc_zeroed()?, true)
            } else {
                new_page(area, page, write)?
            };
            let extra = if writable { WRITE | DIRTY } else { 0 };
            let value = frame.into_raw() | bits | extra;
            tables.fill(entry, value);
            *resident += 1;
            if reclaim::is_tracking() {
                reclaim::admit(value, tables.root(), page);
            }
            if !write && let Source::File(inode) = &area.source {
                *resident += map_around(area, &**inode, tables, page);
            }
            return Ok(());
        }
        if old & SWAPPED != 0 {
            let most = if page == *next_swapped { AROUND } else { 1 };
            let came = bring_in(area, tables, page, entry, most)?;
            *next_swapped = page + came * PAGE;
            *resident += came;
            *swapped -= came;
            if !write {
                return Ok(());
            }
            // SAFETY: as above.
            old = unsafe { *entry };
        }
        if write && old & WRITE == 0 {
            let value = make_writable(area, page, old)? | bits | WRITE | DIRTY;
            // SAFETY: as above.
            unsafe { *entry = value };
            // The fault itself has dropped the translation; one that came back meanwhile (SDM volume 3,
            // 4.10.4.3) is wrong only if it leads to another frame.
            if value & ADDRESS != old & ADDRESS {
                tables.flush(page, page + PAGE);
                // SAFETY: the entry owned this reference and does not point there any more.
                drop(unsafe { Frame::from_raw(old & ADDRESS) });
                if reclaim::is_tracking() {
                    reclaim::admit(value, tables.root(), page);
                }
            }
            return Ok(());
        }
        // The tables allow it: a translation from before, or another thread was faster.
        debug_assert!(old & PRESENT != 0);
        tables.flush(page, page + PAGE);
        Ok(())
    }

    /// The area at `address`; a stack grows to it if it may.
    #[inline(always)]
    pub(super) fn find_or_grow(&mut self, address: usize) -> Option<usize> {
        let index = self.find(address)?;
        let area = &self.areas[index];
        if area.start <= address {
            return Some(index);
        }
        if !area.grows_down {
            return None;
        }
        let start = address & !(PAGE - 1);
        let below = index.checked_sub(1).map_or(0, |i| self.areas[i].end);
        let grow = (area.start - start) / PAGE;
        if area.end - start > self.limits.stack
            || start < below + STACK_GAP
            || self.pages + grow > self.limits.address_space / PAGE
        {
            return None;
        }
        self.pages += grow;
        self.areas[index].start = start;
        Some(index)
    }
}

/// At a read fault on a file page: maps those pages of the aligned group of [`AROUND`] that are cached,
/// read-only. Gives their number.
fn map_around(area: &Area, inode: &dyn Inode, tables: &mut Tables, page: usize) -> usize {
    let group = page & !(AROUND * PAGE - 1);
    let (start, end) = (area.start.max(group), area.end.min(group + AROUND * PAGE));
    let (first, bits) = (area.page_index(start), area.prot.entry_bits());
    // A group never crosses a leaf table.
    let Some(entries) = tables.entry(start) else {
        return 0;
    };
    let mut mapped = 0;
    inode.cached_pages(first, area.page_index(end), &mut |index, frame| {
        let entry = entries.wrapping_add((index - first) as usize);
        // SAFETY: a leaf entry of our tables.
        unsafe {
            if *entry == 0 {
                *entry = frame.clone().into_raw() | bits;
                mapped += 1;
            }
        }
    });
    tables.count_filled(entries, mapped);
    mapped
}

/// The page fault under way had to read from a device.
fn count_major() {
    stat::MAJOR_FAULTS.add_one();
    task::count_major_fault();
}

/// Brings the page of an entry back from swap space, together with pages behind it that lie behind
/// it there, too, `most` in all. Gives their number. They are mapped read-only, since they are
/// attached to their slots.
fn bring_in(
    area: &Area,
    tables: &Tables,
    page: usize,
    entry: *mut u64,
    most: usize,
) -> Result<usize, Fault> {
    // SAFETY: a leaf entry of the tables; so are those behind it, up to the end of its leaf table.
    let first = SwapSlot::of_entry(unsafe { *entry });
    let end = area.end.min(page + most * PAGE);
    let end = end.min((page + 1).next_multiple_of(512 * PAGE));
    let behind = (1..(end - page) / PAGE)
        .take_while(|&n| {
            // SAFETY: as above.
            let next = unsafe { *entry.add(n) };
            next == first.plus(n).entry()
        })
        .count();
    let arriving = Arriving::fetch(first, behind + 1)?;
    if arriving.read {
        count_major();
    }
    let mut came = 0;
    for frame in arriving.take() {
        let mut value = frame.into_raw() | area.prot.entry_bits();
        if came > 0 {
            // Nobody has asked for it yet.
            value &= !ACCESSED;
        }
        // SAFETY: as above; the entry's reference to the slot has been given up.
        unsafe { *entry.add(came) = value };
        reclaim::admit(value, tables.root(), page + came * PAGE);
        came += 1;
    }
    Ok(came)
}

/// A page for an empty entry, and whether it may be mapped writable.
fn new_page(area: &mut Area, page: usize, write: bool) -> Result<(Frame, bool), Fault> {
    let index = area.page_index(page);
    match &area.source {
        // A write has been dealt with.
        Source::Anonymous => Ok((zero_page()?, false)),
        Source::Shared(pages) => {
            let (frame, read) = pages.page(index)?;
            if read {
                count_major();
            }
            Ok((frame, area.prot.contains(Prot::WRITE)))
        }
        Source::File(inode) => {
            let read = stat::KIB_IN.get();
            let frame = inode.page(index)?.ok_or(Fault::Bus)?;
            if stat::KIB_IN.get() != read {
                count_major();
            }
            if !write {
                return Ok((frame, false));
            }
            if area.shared {
                inode.prepare_write(index)?;
                inode.mark_dirty(index);
                return Ok((frame, true));
            }
            area.private_pages = true;
            Ok((copy_of(frame.gpa())?, true))
        }
    }
}

/// Resolves a write to a page that is mapped read-only: the frame to map writable (its reference
/// is the entry's: the old one's if it is the same frame).
fn make_writable(area: &mut Area, page: usize, old: u64) -> Result<u64, Fault> {
    let gpa = old & ADDRESS;
    if area.shared {
        if let Source::File(inode) = &area.source {
            inode.prepare_write(area.page_index(page))?;
            inode.mark_dirty(area.page_index(page));
        }
        return Ok(gpa);
    }
    area.private_pages = true;
    // SAFETY: looks at the entry's reference without taking it.
    let frame = core::mem::ManuallyDrop::new(unsafe { Frame::from_raw(gpa) });
    if frame.refcount() == 1 {
        if swap::is_attached(gpa) {
            swap::own(gpa);
        }
        return Ok(gpa);
    }
    Ok(copy_of(gpa)?.into_raw())
}
