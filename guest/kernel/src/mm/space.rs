//! Address spaces: how one begins, how a processor goes over to it, and how it is taken apart.
//!
//! The areas and page tables in it are `areas`' business; what programs ask for (mmap, mremap, brk,
//! fork and the rest) is a file each.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::areas::{Inner, Limits, STACK_GAP};
use super::frame::Frame;
use super::layout::USER_END;
use super::random::random_offset;
use super::swap::{self, SwapSlot};
use super::table::{ADDRESS, SWAPPED, Tables};
use crate::arch::{boot, cpu, this_cpu};
use crate::errno::KResult;
use crate::sync::Mutex;

/// Room for the stack below its top, at least, where no mapping is placed by itself.
const STACK_ROOM: usize = 8 << 20;
/// Where position-independent programs are loaded, before randomisation.
const PROGRAM_BASE: usize = 0x5555_5555_4000;

/// An address space. Threads share one; fork copies it.
pub struct AddressSpace {
    root: u64,
    stack_top: usize,
    program_base: usize,
    pub(super) inner: Mutex<Inner>,
}

/// Goes over to the tables at `root`, unless the processor uses them already.
///
/// # Safety
/// The tables are complete, and they stay until the processor has left them.
#[inline]
unsafe fn load(root: u64) {
    let cpu = this_cpu();
    if cpu.cr3.get() != root {
        // No other task can come between the two: interrupts are off, and the kernel is not
        // preempted.
        cpu.cr3.set(root);
        // SAFETY: by the caller's promise; the kernel's half is the same in all tables.
        unsafe { cpu::write_cr3(root) };
    }
}

/// Goes over to the kernel's own tables: no program.
pub fn activate_kernel() {
    // SAFETY: the kernel's tables stay for ever.
    unsafe { load(boot::kernel_root()) };
}

impl AddressSpace {
    /// An empty address space, with places chosen for stack and mappings: at random, unless the
    /// program does not want that.
    pub fn new(randomise: bool) -> KResult<Arc<AddressSpace>> {
        let offset = |bits| if randomise { random_offset(bits) } else { 0 };
        let stack_top = USER_END - offset(22);
        let mmap_base = stack_top - STACK_ROOM - STACK_GAP - offset(28);
        let program_base = PROGRAM_BASE + offset(24);
        let inner = Inner {
            areas: Vec::new(),
            last: 0,
            tables: Tables::new()?,
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
        };
        Ok(AddressSpace::with_inner(inner, stack_top, program_base))
    }

    /// An address space that begins as `inner`; the addresses are page aligned.
    #[inline]
    pub(super) fn with_inner(
        inner: Inner,
        stack_top: usize,
        program_base: usize,
    ) -> Arc<AddressSpace> {
        Arc::new(AddressSpace {
            root: inner.tables.root(),
            stack_top,
            program_base,
            inner: Mutex::new(inner),
        })
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
        // SAFETY: complete tables, which `self`'s owner keeps while they are in use; `Drop` leaves
        // them first.
        unsafe { load(self.root) };
    }

    /// Sets limits in bytes (`RLIMIT_AS`, `RLIMIT_STACK`, `RLIMIT_DATA`); `usize::MAX`: none.
    pub fn set_limits(&self, address_space: usize, stack: usize, data: usize) {
        self.inner.lock().limits = Limits {
            address_space,
            stack,
            data,
        };
    }

    /// Unmaps all private memory of a program that has been killed. False: there was none, or the
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
                // SAFETY: the entry owned the reference, and is empty now.
                drop(unsafe { Frame::from_raw(entry & ADDRESS) });
            });
        }
    }
}
