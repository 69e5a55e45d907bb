//! Page tables of programs (SDM vol. 3, 4.5): four levels, 4 KiB leaves.
//!
//! A leaf entry that is not zero owns one reference to its frame, or, if it is *swapped*, to a slot
//! of swap space. Entries that are neither present nor swapped are *held*: the frame is there, the
//! program may not touch it (`PROT_NONE`). Each table
//! counts its entries in its frame's metadata and is given up, zero, when the last one goes.

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
        if address >> 21 != self.cached_region {
            let mut table = self.root;
            for shift in [39, 30, 21] {
                // SAFETY: a table of ours, index below 512.
                let entry = unsafe { *entries(table).add(address >> shift & 511) };
                if entry == 0 {
                    return None;
                }
                table = entry & ADDRESS;
            }
            self.cached_region = address >> 21;
            self.cached = entries(table);
        }
        Some(self.cached.wrapping_add(address >> 12 & 511))
    }

    /// The leaf entry for an address; tables are made as needed.
    #[inline]
    pub fn entry_or_create(&mut self, address: usize) -> KResult<*mut u64> {
        if let Some(entry) = self.entry(address) {
            return Ok(entry);
        }
        let mut table = self.root;
        for shift in [39, 30, 21] {
            let slot = entries(table).wrapping_add(address >> shift & 511);
            // SAFETY: an entry of a table of ours.
            table = unsafe {
                if *slot == 0 {
                    let new = new_table()?;
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
        Ok(self.cached.wrapping_add(address >> 12 & 511))
    }

    /// Fills an empty leaf entry.
    #[inline]
    pub fn fill(&mut self, entry: *mut u64, value: u64) {
        // SAFETY: a leaf entry of ours, from `entry_or_create`.
        unsafe {
            debug_assert!(*entry == 0);
            *entry = value;
        }
        *count(virt_to_phys(entry.cast()) & !(PAGE as u64 - 1)) += 1;
    }

    /// Empties all leaf entries in `start..end` and hands each to `taken` (address, entry), which
    /// owns the frame's reference then. Tables that become empty are freed. The translations
    /// still have to be flushed.
    pub fn clear(&mut self, start: usize, end: usize, taken: &mut impl FnMut(usize, u64)) {
        if start < end {
            self.cached_region = usize::MAX;
            clear_level(self.root, 39, start, end, taken);
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
        if start < end {
            visit_level(self.root, 39, start, end, visit)
        } else {
            Ok(())
        }
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

fn clear_level(
    table: u64,
    shift: u32,
    start: usize,
    end: usize,
    taken: &mut impl FnMut(usize, u64),
) {
    let (first, last) = (start >> shift & 511, (end - 1) >> shift & 511);
    let base = start & !((512usize << shift) - 1);
    let mut left = *count(table);
    for index in first..=last {
        // SAFETY: a table of ours.
        let slot = unsafe { &mut *entries(table).add(index) };
        let entry = *slot;
        if entry == 0 {
            continue;
        }
        let address = base + (index << shift);
        let child = entry & ADDRESS;
        let (from, to) = (start.max(address), end.min(address + (1 << shift)));
        if shift == 21 {
            clear_leaves(child, from, to, taken);
        } else {
            clear_level(child, shift - 9, from, to, taken);
        }
        if *count(child) != 0 {
            continue;
        }
        *slot = 0;
        free_table(child);
        left -= 1;
        *count(table) = left;
        if left == 0 {
            break;
        }
    }
}

/// Empties entries of a leaf table. Most of what is walked here is empty: the loop is kept tight,
/// and ends with the last entry that the table has.
#[inline]
fn clear_leaves(table: u64, start: usize, end: usize, taken: &mut impl FnMut(usize, u64)) {
    let slots = entries(table);
    let mut left = *count(table);
    let mut slot = slots.wrapping_add(start >> 12 & 511);
    let stop = slots.wrapping_add(((end - 1) >> 12 & 511) + 1);
    let region = start & !((1 << 21) - 1);
    while slot < stop {
        // SAFETY: an entry of the table.
        let entry = unsafe { *slot };
        if entry != 0 {
            // SAFETY: as above.
            unsafe { *slot = 0 };
            taken(region + ((slot as usize & (PAGE - 1)) << 9), entry);
            left -= 1;
            if left == 0 {
                break;
            }
        }
        slot = slot.wrapping_add(1);
    }
    *count(table) = left;
}

fn visit_level(
    table: u64,
    shift: u32,
    start: usize,
    end: usize,
    visit: &mut impl FnMut(usize, &mut u64) -> KResult<()>,
) -> KResult<()> {
    let (first, last) = (start >> shift & 511, (end - 1) >> shift & 511);
    let base = start & !((512usize << shift) - 1);
    for index in first..=last {
        // SAFETY: a table of ours.
        let slot = unsafe { &mut *entries(table).add(index) };
        if *slot == 0 {
            continue;
        }
        let address = base + (index << shift);
        if shift == 12 {
            visit(address, slot)?;
        } else {
            visit_level(
                *slot & ADDRESS,
                shift - 9,
                start.max(address),
                end.min(address + (1 << shift)),
                visit,
            )?;
        }
    }
    Ok(())
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
