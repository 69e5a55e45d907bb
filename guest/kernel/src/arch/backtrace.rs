//! Where the kernel was: the chain of frame pointers, with symbols.

use super::boot;
use super::trap::TrapFrame;
use crate::symbols;

/// Frames printed at most.
const DEPTH: usize = 32;

/// Logs one code address with its symbol.
fn line(address: u64) {
    match symbols::lookup(address) {
        Some((name, offset)) => klog!("  {address:#x} {name}+{offset:#x}"),
        None => klog!("  {address:#x}"),
    }
}

/// Logs the callers from the frame that `rbp` points at.
pub fn from(mut rbp: usize) {
    for _ in 0..DEPTH {
        // Kernel stacks lie in the direct map or in the image; anything else ends the chain.
        let mapped = crate::mm::layout::DIRECT_MAP..usize::MAX - 4096;
        if !rbp.is_multiple_of(8) || !mapped.contains(&rbp) {
            break;
        }
        // SAFETY: a frame pointer's target in mapped kernel memory (a wild one in the direct map
        // would fault, and the second report is cut short by `power::die`).
        let (next, address) = unsafe { (*(rbp as *const usize), *((rbp + 8) as *const u64)) };
        if !boot::is_kernel_text(address) {
            break;
        }
        line(address);
        if next <= rbp {
            break;
        }
        rbp = next;
    }
}

/// Logs the callers of this function.
#[inline(never)]
pub fn here() {
    let rbp: usize;
    // SAFETY: reads a register; frame pointers are kept for this target.
    unsafe {
        core::arch::asm!("mov {}, rbp", out(reg) rbp, options(nomem, nostack, preserves_flags))
    };
    from(rbp);
}

/// Logs the registers and the callers of an interrupted place in the kernel.
pub fn of_trap(frame: &TrapFrame) {
    klog!(
        "  rip {:#018x} rsp {:#018x} flags {:#x} cs {:#x}",
        frame.rip,
        frame.rsp,
        frame.rflags,
        frame.cs
    );
    klog!(
        "  rax {:#018x} rbx {:#018x} rcx {:#018x} rdx {:#018x}",
        frame.rax,
        frame.rbx,
        frame.rcx,
        frame.rdx
    );
    klog!(
        "  rsi {:#018x} rdi {:#018x} rbp {:#018x} r8  {:#018x}",
        frame.rsi,
        frame.rdi,
        frame.rbp,
        frame.r8
    );
    klog!(
        "  r9  {:#018x} r10 {:#018x} r11 {:#018x} r12 {:#018x}",
        frame.r9,
        frame.r10,
        frame.r11,
        frame.r12
    );
    klog!(
        "  r13 {:#018x} r14 {:#018x} r15 {:#018x}",
        frame.r13,
        frame.r14,
        frame.r15
    );
    line(frame.rip as u64);
    from(frame.rbp);
}
