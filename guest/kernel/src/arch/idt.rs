//! The interrupt descriptor table, computed at compile time.
//!
//! Every vector's stub is 16 bytes long and the first lies at the image's link address, so the
//! gates are constants and boot spends no instruction on them.

use core::arch::asm;

use gnomon_abi::symbols::IMAGE_BASE;

use super::gdt::{IST_DOUBLE_FAULT, IST_NMI, KERNEL_CS, TablePointer};

/// Vector of `int 0x80`.
pub const SYSCALL_INT: u8 = 0x80;
/// First vector for devices.
pub const DEVICE_BASE: u8 = 0x30;
/// The local APIC's timer.
pub const TIMER: u8 = 0xf0;
/// The local APIC's spurious vector.
pub const SPURIOUS: u8 = 0xff;

/// One gate (SDM vol. 3, 7.14.1).
#[derive(Clone, Copy)]
#[repr(C)]
struct Gate {
    low: u64,
    high: u64,
}

#[repr(C, align(4096))]
struct Idt([Gate; 256]);

static IDT: Idt = Idt(table());

const fn table() -> [Gate; 256] {
    let mut gates = [Gate { low: 0, high: 0 }; 256];
    let mut n = 0;
    while n < 256 {
        let ist = match n {
            2 | 18 => IST_NMI,
            8 => IST_DOUBLE_FAULT,
            _ => 0,
        };
        // INT3, INTO and the old system call may be raised by programs.
        let dpl = if n == 3 || n == 4 || n == SYSCALL_INT as u64 {
            3
        } else {
            0
        };
        let target = IMAGE_BASE + n * 16;
        gates[n as usize] = Gate {
            low: target & 0xffff
                | (KERNEL_CS as u64) << 16
                | (ist as u64) << 32
                | (0x8e | dpl << 5) << 40
                | (target >> 16 & 0xffff) << 48,
            high: target >> 32,
        };
        n += 1;
    }
    gates
}

/// Loads the table.
pub(super) fn init() {
    let pointer = TablePointer {
        limit: 4095,
        base: core::ptr::from_ref(&IDT) as u64,
    };
    // SAFETY: the table is constant and its stubs exist (kernel.ld puts them first).
    unsafe {
        asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags))
    };
}

/// Ends the run where no device ends it: an empty IDT and an exception.
pub fn triple_fault() -> ! {
    let none = TablePointer { limit: 0, base: 0 };
    // SAFETY: the machine ends here.
    unsafe { asm!("lidt [{}]", "ud2", in(reg) &raw const none, options(noreturn)) }
}
