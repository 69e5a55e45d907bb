//! The processor: entry, traps, context switch, interrupts, clocks.
//!
//! Rules that the whole of it obeys, because on some hosts ring 0 is emulated instruction by
//! instruction and on others the kernel runs in ring 3 under a shadow engine (docs/hosts.md): no
//! SSE, no PUSHF or POPF, no SGDT/SIDT/STR/LAR, CS loaded by IRETQ alone, returns to programs by
//! SYSRETQ or IRETQ, interrupts enabled in ring 3 and in the idle loop only.

pub mod apic;
pub mod backtrace;
pub mod boot;
pub mod boot_info;
mod compare;
pub mod context;
pub mod cpu;
pub mod fpu;
pub mod gdt;
pub mod idt;
pub mod ioapic;
pub mod irq;
pub mod percpu;
pub mod port;
pub mod rand;
mod rtc;
pub mod syscall_entry;
pub mod tls;
pub mod trap;
pub mod tsc;

pub use percpu::this_cpu;
pub use rtc::rtc_ns;
pub use trap::TrapFrame;

/// Waits for an interrupt with interrupts enabled, and returns with them disabled: the idle loop.
pub fn idle() {
    // SAFETY: STI takes effect after HLT has begun, so no wake-up is lost; the handlers that run
    // here keep to the trap entry's rules, and CLI restores the kernel's normal state.
    unsafe { core::arch::asm!("sti", "hlt", "cli", options(nostack)) };
}
