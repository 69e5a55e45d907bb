//! Page tables of programs (SDM vol. 3, 4.5): four levels, 4 KiB leaves.
//!
//! A leaf entry that is not zero owns one reference to its frame, or, if it is *swapped*, to a slot
//! of swap space. Entries that are neither present nor swapped are *held*: the frame is there, the
//! program may not touch it (`PROT_NONE`). Each table
//! counts its entries in its frame's metadata and is given up, zero, when the last one goes.

use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::frame::{Frame, meta};
use super::layout::PAGE;
use super::{phys_to_virt, virt_to_phys};
use crate::arch::{boot, cpu, this_cpu};
use crate::errno::KResult;

/// Entry is valid.
pub const PRESENT: u64 = 1;
/// Writes allowed.
pub const WRITE: u64 = 1 << 1;
/// Ring 3 allowed.
pub const USER: u64 = 1 << 2;
/// Cache: write-through.
pub const WRITE_THROUGH: u64 = 1 << 3;
/// Cache: off.
pub const CACHE_DISABLE: u64 = 1 << 4;
/// Used since cleared.
pub const ACCESSED: u64 = 1 << 5;
/// Written since cleared.
pub const DIRTY: u64 = 1 << 6;
/// A 2 MiB leaf.
pub const HUGE: u64 = 1 << 7;
/// Survives CR3 loads.
pub const GLOBAL: u64 = 1 << 8;
/// Software: held, not present.
pub const HELD: u64 = 1 << 9;
/// Software: not present, and the address field is a slot of swap space.
pub const SWAPPED: u64 = 1 << 10;
/// Instruction fetches forbidden.
pub const NO_EXECUTE: u64 = 1 << 63;
/// The frame's gpa in an entry.
pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// What an entry that points to a table carries.
const TABLE: u64 = PRESENT | WRITE | USER | ACCESSED;
/// Root slots that are the kernel's: the direct map and the image.
const KERNEL_SLOTS: [usize; 2] = [super::layout::DIRECT_MAP >> 39 & 511, 511];
/// Pages up to which single invalidations are cheaper than a reload of CR3.
const FEW: usize = 8;

/// The tables of one address space.
pub struct Tables {
    root: u64,
    /// Last leaf table that was walked to: its 2 MiB region's number and its address.
    cached_region: usize,
    cached: *mut u64,
}

// SAFETY: the tables are owned memory, reached through the direct map from any processor.
unsafe impl Send for Tables {}

#[inline]
fn entries(gpa: u64) -> *mut u64 {
    phys_to_virt(gpa).cast()
}

#[inline]
fn count(gpa: u64) -> &'static mut u16 {
    // SAFETY: the metadata of a table frame; the tables' owner alone uses this field, one
    // reference at a time.
    unsafe { &mut (*meta(gpa)).extra }
}

/// Tables of all programs.
static TABLES: AtomicUsize = AtomicUsize::new(0);

/// Frames that page tables of programs take.
pub fn table_frames() -> usize {
    TABLES.load(Ordering::Relaxed)
}

fn new_table() -> KResult<u64> {
    let table = Frame::alloc_table()?.into_raw();
    TABLES.fetch_add(1, Ordering::Relaxed);
    Ok(table)
}

fn free_table(gpa: u64) {
    TABLES.fetch_sub(1, Ordering::Relaxed);
    // SAFETY: the table's frame, owned by the entry that was just cleared; it is all zero.
    drop(unsafe { Frame::from_raw(gpa) });
}

impl Tables {
    /// Tables that map the kernel alone.
    pub fn new() -> KResult<Tables> {
        let root = new_table()?;
        *count(root) = 0;
        for slot in KERNEL_SLOTS {
            // SAFETY: both are root tables, 512 entries.
            unsafe { *entries(root).add(slot) = *boot::root_table().add(slot) };
        }
        Ok(Tables {
            root,
            cached_region: usize::MAX,
            cached: core::ptr::null_mut(),
        })
    }

    /// CR3's value.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Whether this processor uses these tables now.
    pub fn is_active(&self) -> bool {
        this_cpu().cr3.get() == self.root
    }

    /// The leaf entry for an address, if its table exists.
    #[inline]
    pub fn entry(&mut self, address: usize) -> Option<*mut u64> {
        self.entry_or_next(address).ok()
    }

    /// The leaf entry for an address; or, where its table does not exist, the next address that may
    /// have one.
    #[inline(always)]
    fn entry_or_next(&mut self, address: usize) -> Result<*mut u64, usize> {
        if address >> 21 != self.cached_region {
            self.walk(address)?;
        }
        Ok(self.cached.wrapping_add(address >> 12 & 511))
    }

    /// Walks to the leaf table of an address.
    #[inline(never)]
    fn walk(&mut self, address: usize) -> Result<(), usize> {
        let mut table = self.root;
        for shift in [39, 30, 21] {
            // SAFETY: a table of ours, index below 512.
            let entry = unsafe { *entries(table).add(address >> shift & 511) };
            if entry == 0 {
                return Err(((address >> shift) + 1) << shift);
            }
            table = entry & ADDRESS;
        }
        self.cached_region = address >> 21;
        self.cached = entries(table);
        Ok(())
    }

    /// The leaf entry for an address; tables are made as needed.
    #[inline(always)]
    pub fn entry_or_create(&mut self, address: usize) -> KResult<*mut u64> {
        if address >> 21 != self.cached_region {
            self.walk_or_create(address)?;
        }
        Ok(self.cached.wrapping_add(address >> 12 & 511))
    }

    #[inline(never)]
    fn walk_or_create(&mut self, address: usize) -> KResult<()> {
        let mut table = self.root;
        for shift in [39, 30, 21] {
            let slot = entries(table).wrapping_add(address >> shift & 511);
            // SAFETY: an entry of a table of ours.
            table = unsafe {
                if *slot == 0 {
                    let new = match new_table() {
                        Ok(new) => new,
                        Err(errno) => {
                            self.give_up(address);
                            return Err(errno);
                        }
                    };
                    *count(new) = 0;
                    *slot = new | TABLE;
                    *count(table) += 1;
                    new
                } else {
                    *slot & ADDRESS
                }
            };
        }
        self.cached_region = address >> 21;
        self.cached = entries(table);
        Ok(())
    }

    /// Fills an empty leaf entry.
    #[inline]
    pub fn fill(&mut self, entry: *mut u64, value: u64) {
        // SAFETY: a leaf entry of ours, from `entry_or_create`.
        unsafe {
            debug_assert!(*entry == 0);
            *entry = value;
        }
        *count(table_of(entry)) += 1;
    }

    /// Counts entries of one leaf table, that of `entry`, which have been filled.
    pub fn count_filled(&mut self, entry: *mut u64, filled: usize) {
        *count(table_of(entry)) += filled as u16;
    }

    /// Empties all leaf entries in `start..end` and hands each to `taken` (address, entry), which
    /// owns the frame's reference then. Tables that become empty are freed. The translations
    /// still have to be flushed.
    pub fn clear(&mut self, start: usize, end: usize, taken: &mut impl FnMut(usize, u64)) {
        let mut at = start;
        while at < end {
            let stop = end.min(next_region(at));
            match self.entry_or_next(at) {
                Ok(slot) => {
                    if clear_leaves(slot, at, (stop - at) / PAGE, taken) == 0 {
                        self.give_up(at);
                    }
                    at = stop;
                }
                Err(next) => at = next,
            }
        }
    }

    /// Frees those tables on the way to an address that are empty.
    #[inline(never)]
    fn give_up(&mut self, address: usize) {
        self.cached_region = usize::MAX;
        let mut path = [core::ptr::null_mut(); 3];
        let mut depth = 0;
        let mut table = self.root;
        for shift in [39, 30, 21] {
            let slot = entries(table).wrapping_add(address >> shift & 511);
            // SAFETY: an entry of a table of ours.
            table = unsafe { *slot } & ADDRESS;
            if table == 0 {
                break;
            }
            path[depth] = slot;
            depth += 1;
        }
        for &slot in path[..depth].iter().rev() {
            // SAFETY: as above; the entry owns the table.
            let table = unsafe { *slot } & ADDRESS;
            if *count(table) != 0 {
                break;
            }
            // SAFETY: as above.
            unsafe { *slot = 0 };
            free_table(table);
            *count(table_of(slot)) -= 1;
        }
    }

    /// Calls `visit` for all leaf entries in `start..end` that are not zero. It may change, but
    /// not empty them.
    pub fn visit(
        &mut self,
        start: usize,
        end: usize,
        visit: &mut impl FnMut(usize, &mut u64) -> KResult<()>,
    ) -> KResult<()> {
        let mut at = start;
        while at < end {
            let stop = end.min(next_region(at));
            match self.entry_or_next(at) {
                Ok(first) => {
                    let end = first.wrapping_add((stop - at) / PAGE);
                    let mut slot = first;
                    while slot < end {
                        // SAFETY: an entry of a leaf table of ours.
                        let entry = unsafe { &mut *slot };
                        slot = slot.wrapping_add(1);
                        if *entry == 0 {
                            slot = skip_empty(slot, end);
                            continue;
                        }
                        visit(at + ((slot as usize - first as usize) << 9) - PAGE, entry)?;
                    }
                    at = stop;
                }
                Err(next) => at = next,
            }
        }
        Ok(())
    }

    /// Drops the translations of `start..end` on this processor, if these tables are in use.
    pub fn flush(&self, start: usize, end: usize) {
        if !self.is_active() {
            return;
        }
        if (end - start) / PAGE > FEW {
            self.flush_all();
        } else {
            for page in (start..end).step_by(PAGE) {
                cpu::invlpg(page);
            }
        }
    }

    /// Drops all of the program's translations on this processor, if these tables are in use.
    pub fn flush_all(&self) {
        if self.is_active() {
            // SAFETY: the tables in use now.
            unsafe { cpu::write_cr3(self.root) };
        }
    }
}

impl Drop for Tables {
    /// The owner has emptied the program's half.
    fn drop(&mut self) {
        if self.is_active() {
            super::space::activate_kernel();
        }
        debug_assert!(*count(self.root) == 0);
        for slot in KERNEL_SLOTS {
            // SAFETY: our root table.
            unsafe { *entries(self.root).add(slot) = 0 };
        }
        free_table(self.root);
    }
}

/// The first address of the 2 MiB behind those of `address`, which have one leaf table.
#[inline(always)]
fn next_region(address: usize) -> usize {
    ((address >> 21) + 1) << 21
}

/// gpa of the table that holds an entry.
#[inline(always)]
fn table_of(slot: *mut u64) -> u64 {
    virt_to_phys(slot.cast()) & !(PAGE as u64 - 1)
}

/// The first entry of a leaf table in `slot..end` that is not empty, or `end`.
#[inline(always)]
fn skip_empty(slot: *mut u64, end: *mut u64) -> *mut u64 {
    let next: *mut u64;
    // SAFETY: reads entries of a table of ours, up to `end` at most. If there is none to read, the
    // comparison before leaves ZF set, so that the address stays.
    unsafe {
        asm!(
            "cmp rdi, rdi",
            "repe scasq",
            "je 2f",
            "sub rdi, 8",
            "2:",
            inout("rdi") slot => next,
            inout("rcx") (end as usize - slot as usize) / 8 => _,
            in("rax") 0usize,
            options(nostack, readonly),
        );
    }
    next
}

/// Empties entries of a leaf table from `slot` on, which is that of `address`; gives the number of
/// those that are left in the table. Most of what is walked here is empty: the loop is kept tight,
/// and ends with the last entry that the table has.
#[inline(always)]
fn clear_leaves(
    mut slot: *mut u64,
    address: usize,
    pages: usize,
    taken: &mut impl FnMut(usize, u64),
) -> u16 {
    let left = count(table_of(slot));
    let first = slot;
    let stop = slot.wrapping_add(pages);
    while slot < stop {
        // SAFETY: an entry of the table.
        let entry = unsafe { *slot };
        if entry == 0 {
            slot = skip_empty(slot.wrapping_add(1), stop);
            continue;
        }
        // SAFETY: as above.
        unsafe { *slot = 0 };
        taken(address + ((slot as usize - first as usize) << 9), entry);
        *left -= 1;
        if *left == 0 {
            break;
        }
        slot = slot.wrapping_add(1);
    }
    *left
}

/// Frames taken out of tables whose translations may still be cached: they are freed only after
/// the flush.
pub struct Gather {
    root: u64,
    active: bool,
    len: usize,
    pages: [usize; FEW],
    frames: [u64; 64],
}

impl Gather {
    /// For entries taken out of `tables`.
    pub fn new(tables: &Tables) -> Gather {
        Gather {
            root: tables.root,
            active: tables.is_active(),
            len: 0,
            pages: [0; FEW],
            frames: [0; 64],
        }
    }

    /// Takes over one entry's frame.
    pub fn add(&mut self, address: usize, entry: u64) {
        if self.len == self.frames.len() {
            self.flush();
        }
        if self.len < FEW {
            self.pages[self.len] = address;
        }
        self.frames[self.len] = entry & ADDRESS;
        self.len += 1;
    }

    fn flush(&mut self) {
        if self.active {
            if self.len > FEW {
                // SAFETY: the tables in use now.
                unsafe { cpu::write_cr3(self.root) };
            } else {
                self.pages[..self.len]
                    .iter()
                    .for_each(|&page| cpu::invlpg(page));
            }
        }
        for &gpa in &self.frames[..self.len] {
            // SAFETY: the entry owned the reference, and `add` took it over.
            drop(unsafe { Frame::from_raw(gpa) });
        }
        self.len = 0;
    }
}

impl Drop for Gather {
    fn drop(&mut self) {
        self.flush();
    }
}
