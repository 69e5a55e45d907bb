//! The program's FS and GS bases: thread-local storage.

use core::arch::asm;

use super::cpu;

/// Sets the program's FS base. The address must be canonical.
pub fn set_fs_base(address: usize) {
    if cpu::has(cpu::FSGSBASE) {
        // SAFETY: the kernel does not use FS; CR4.FSGSBASE is on.
        unsafe { asm!("wrfsbase {}", in(reg) address, options(nostack, preserves_flags)) };
    } else {
        // SAFETY: the kernel does not use FS.
        unsafe { cpu::wrmsr(cpu::MSR_FS_BASE, address as u64) };
    }
}

/// The program's FS base.
pub fn fs_base() -> usize {
    if cpu::has(cpu::FSGSBASE) {
        let address: usize;
        // SAFETY: reads a register; CR4.FSGSBASE is on.
        unsafe { asm!("rdfsbase {}", out(reg) address, options(nomem, nostack, preserves_flags)) };
        address
    } else {
        // SAFETY: the register exists in 64-bit mode.
        unsafe { cpu::rdmsr(cpu::MSR_FS_BASE) as usize }
    }
}

/// Whether programs can change their FS and GS bases without the kernel (WRFSBASE), so that a
/// switch must read them back.
pub fn programs_can_set_bases() -> bool {
    cpu::has(cpu::FSGSBASE)
}

/// Sets the program's GS base (it is in IA32_KERNEL_GS_BASE while the kernel runs).
pub fn set_gs_base(address: usize) {
    // SAFETY: the kernel's own GS base is in IA32_GS_BASE.
    unsafe { cpu::wrmsr(cpu::MSR_KERNEL_GS_BASE, address as u64) };
}
