//! Kernel stacks.

use crate::arch::TrapFrame;
use crate::errno::{Errno, KResult};
use crate::mm;

/// Pages of a kernel stack, as a power of two: 16 KiB.
const ORDER: usize = 2;
/// Bytes of a kernel stack.
pub const SIZE: usize = 4096 << ORDER;
/// Words that are written to the stack's low end, to see later whether it was ever reached.
const CANARY: u64 = 0x5741_5443_4844_4f47;

/// A kernel stack; the frame of the user program's registers is at its top.
pub struct KernelStack {
    gpa: u64,
}

impl KernelStack {
    /// A fresh stack.
    ///
    /// # Errors
    /// ENOMEM: memory is short (a part is kept in reserve for the kernel itself).
    pub fn new() -> KResult<Self> {
        if !mm::can_allocate(1 << ORDER) {
            return Err(Errno::ENOMEM);
        }
        let gpa = mm::reclaim::alloc_block(ORDER).ok_or(Errno::ENOMEM)?;
        let stack = Self { gpa };
        // SAFETY: the stack's lowest word; nobody uses the stack yet.
        unsafe { (stack.bottom() as *mut u64).write(CANARY) };
        Ok(stack)
    }

    fn bottom(&self) -> usize {
        mm::phys_to_virt(self.gpa) as usize
    }

    /// One past the highest address; 16-byte aligned.
    pub fn top(&self) -> usize {
        self.bottom() + SIZE
    }

    /// Where entry from ring 3 puts the program's registers.
    pub fn frame(&self) -> *mut TrapFrame {
        (self.top() - size_of::<TrapFrame>()) as *mut TrapFrame
    }

    /// False: the stack has been used up to its last word, and something below it may be damaged.
    pub fn is_intact(&self) -> bool {
        // SAFETY: the stack's lowest word, written in `new`.
        unsafe { (self.bottom() as *const u64).read() == CANARY }
    }
}

impl Drop for KernelStack {
    fn drop(&mut self) {
        // SAFETY: the pages came from `alloc_pages` with this order, and the task that ran on
        // them has been switched away from for good.
        unsafe { mm::free_pages(self.gpa, ORDER) };
    }
}
