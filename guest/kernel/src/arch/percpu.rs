//! What each processor has for itself, reached through GS.
//!
//! In the kernel GS points at this processor's [`PerCpu`]; SWAPGS at entry and exit exchanges it
//! with the program's.

use core::arch::asm;
use core::cell::Cell;
use core::mem::offset_of;

use super::cpu;
use super::gdt::{Gdt, Tss};

/// The per-processor data. Its own processor alone touches it; the kernel is not preempted, so
/// plain cells do.
#[repr(C)]
pub struct PerCpu {
    /// Its own address: `mov reg, gs:[0]`.
    this: Cell<*const PerCpu>,
    /// Top of the current task's kernel stack, for SYSCALL (16-byte aligned).
    pub(super) kernel_stack: Cell<usize>,
    /// Scratch of the SYSCALL entry: the program's stack pointer.
    pub(super) user_rsp: Cell<usize>,
    /// The current task; the task module knows its type. Null before the first task.
    pub current: Cell<*const ()>,
    /// Not zero: `task::on_user_return` must run before the next return to ring 3, and all
    /// registers are reloaded from the trap frame.
    pub work: Cell<u32>,
    /// The table of system calls in use; the syscall module knows its type.
    pub syscalls: Cell<*const ()>,
    /// Number of the processor, from 0.
    pub id: Cell<u32>,
    /// CR3 as it was loaded last.
    pub(crate) cr3: Cell<u64>,
    /// Where the program was at the last page fault that the kernel resolved for it: the sum of its
    /// RIP and RCX.
    pub(super) fault_mark: Cell<usize>,
    /// The task-state segment: stacks for traps.
    pub(super) tss: Cell<Tss>,
    /// The descriptor table.
    pub(super) gdt: Cell<Gdt>,
}

/// Offset of the SYSCALL stack, for assembly.
pub(super) const KERNEL_STACK: usize = offset_of!(PerCpu, kernel_stack);
/// Offset of the scratch word, for assembly.
pub(super) const USER_RSP: usize = offset_of!(PerCpu, user_rsp);
/// Offset of the work flags, for assembly.
pub(super) const WORK: usize = offset_of!(PerCpu, work);

/// A [`PerCpu`] in static memory.
#[repr(C, align(64))]
pub(super) struct Storage(PerCpu);

// SAFETY: each processor reaches its own through GS, never another's.
unsafe impl Sync for Storage {}

/// The boot processor's.
pub(super) static BOOT_CPU: Storage = Storage(PerCpu {
    this: Cell::new(core::ptr::null()),
    kernel_stack: Cell::new(0),
    user_rsp: Cell::new(0),
    current: Cell::new(core::ptr::null()),
    work: Cell::new(0),
    syscalls: Cell::new(core::ptr::null()),
    id: Cell::new(0),
    cr3: Cell::new(0),
    fault_mark: Cell::new(0),
    tss: Cell::new(Tss::new()),
    gdt: Cell::new(Gdt::new()),
});

/// Points GS at the boot processor's data. Called once, before anything uses [`this_cpu`].
pub(super) fn init_boot_cpu() -> &'static PerCpu {
    let cpu = &BOOT_CPU.0;
    cpu.this.set(cpu);
    // SAFETY: the static lives for ever; the program's GS base starts as zero.
    unsafe {
        cpu::wrmsr(cpu::MSR_GS_BASE, core::ptr::from_ref(cpu) as u64);
        cpu::wrmsr(cpu::MSR_KERNEL_GS_BASE, 0);
    }
    cpu
}

/// This processor's data.
#[inline(always)]
pub fn this_cpu() -> &'static PerCpu {
    let this: *const PerCpu;
    // SAFETY: GS points at a PerCpu whose first word is its address, from early boot on.
    unsafe {
        asm!("mov {}, gs:[0]", out(reg) this, options(readonly, nostack, preserves_flags));
        &*this
    }
}

/// The current task's address as `set_current` got it; null before the first task.
#[inline(always)]
pub fn current() -> *const () {
    let value: *const ();
    // SAFETY: as in `this_cpu`.
    unsafe {
        asm!("mov {}, gs:[{}]", out(reg) value, const offset_of!(PerCpu, current),
             options(readonly, nostack, preserves_flags));
    }
    value
}

/// What `syscalls` of this processor holds.
#[inline(always)]
pub fn syscalls() -> *const () {
    let value: *const ();
    // SAFETY: as in `this_cpu`.
    unsafe {
        asm!("mov {}, gs:[{}]", out(reg) value, const offset_of!(PerCpu, syscalls),
             options(readonly, nostack, preserves_flags));
    }
    value
}

/// Makes `task` the current task of this processor.
#[inline]
pub fn set_current(task: *const ()) {
    this_cpu().current.set(task);
}

/// Sets the stack that traps and system calls from ring 3 start on (16-byte aligned top).
#[inline]
pub fn set_kernel_stack(top: usize) {
    let cpu = this_cpu();
    cpu.kernel_stack.set(top);
    // SAFETY: a plain store into this processor's own TSS; hardware reads it at the next trap.
    unsafe { (*cpu.tss.as_ptr()).set_rsp0(top) };
}

/// Demands that `task::on_user_return` runs before the next return to ring 3 and that every
/// register comes from the trap frame (a frame that was edited needs this: signal, exec, ptrace).
#[inline]
pub fn set_work() {
    this_cpu().work.set(1);
}

/// Takes the demand back (`task::on_user_return` does, when all is done).
#[inline]
pub fn clear_work() {
    this_cpu().work.set(0);
}
