//! The operations. Each does its one thing `iterations` times and nothing else.

use crate::{machine, reads};
use core::arch::asm;

/// One operation.
pub struct Benchmark {
    /// What must be there before the clock starts.
    pub prepare: fn(),
    /// Does it so many times.
    pub run: fn(u64),
}

/// The benchmark of that name.
pub fn by_name(name: &str) -> Option<Benchmark> {
    let (prepare, run): (fn(), fn(u64)) = match name {
        "syscall" => (|| {}, machine::user_syscalls),
        "in" => (|| {}, port_in),
        "cr8wr" => (|| {}, cr8_write),
        "callret" => (|| {}, call_return),
        "pgfault" => (|| {}, page_fault),
        "divzero" => (|| {}, divide_by_zero),
        "ptemod" => (machine::use_leaf, entry_store),
        "cold4k" => (reads::map_small, reads::in_order),
        "cold2m" => (reads::map_large, reads::in_order),
        "read4k" => (reads::map_small_and_touch, reads::at_random),
        "read2m" => (reads::map_large_and_touch, reads::at_random),
        _ => return None,
    };
    Some(Benchmark { prepare, run })
}

/// A read of port 0x80, which answers nothing.
fn port_in(iterations: u64) {
    for _ in 0..iterations {
        // SAFETY: port 0x80 has no side effect.
        unsafe { asm!("in al, 0x80", out("al") _, options(nostack)) };
    }
}

/// A write of the task priority with nothing pending.
fn cr8_write(iterations: u64) {
    for _ in 0..iterations {
        // SAFETY: interrupts are off anyway.
        unsafe { asm!("mov cr8, {}", in(reg) 0u64, options(nostack)) };
    }
}

/// A call of a subroutine that returns at once.
fn call_return(iterations: u64) {
    // SAFETY: the callee is the `ret` between the jump and label 3.
    unsafe {
        asm!(
            "jmp 3f",
            "2: ret",
            "3: call 2b",
            "dec {n}",
            "jnz 3b",
            n = inout(reg) iterations.max(1) => _,
        );
    }
}

/// A page fault that is the guest's own: the page is not mapped, the handler skips the access.
fn page_fault(iterations: u64) {
    for _ in 0..iterations {
        // SAFETY: the handler skips the load, which is two bytes long.
        unsafe { asm!("mov al, [rdi]", in("rdi") machine::UNMAPPED, out("al") _) };
    }
}

/// A fault that involves no memory management: the handler skips the division.
fn divide_by_zero(iterations: u64) {
    for _ in 0..iterations {
        // SAFETY: the handler skips the division, which is two bytes long.
        unsafe { asm!("div ecx", in("ecx") 0, inout("eax") 0 => _, inout("edx") 0 => _) };
    }
}

/// A store to an entry of a page table in use, which changes a bit that software may use.
fn entry_store(iterations: u64) {
    const AVAILABLE: u64 = 1 << 9;
    let entry = machine::leaf_entry();
    for _ in 0..iterations {
        // SAFETY: the entry's translation stays the same.
        unsafe { entry.write_volatile(entry.read_volatile() ^ AVAILABLE) };
    }
}
