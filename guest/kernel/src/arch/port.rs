//! Port I/O.

use core::arch::asm;

/// Reads a byte.
pub fn inb(port: u16) -> u8 {
    let value: u8;
    // SAFETY: a port read touches no memory.
    unsafe {
        asm!("in al, dx", out("al") value, in("dx") port, options(nomem, nostack, preserves_flags))
    };
    value
}

/// Writes a byte.
pub fn outb(port: u16, value: u8) {
    // SAFETY: the machine's ports touch no memory of ours.
    unsafe {
        asm!("out dx, al", in("al") value, in("dx") port, options(nomem, nostack, preserves_flags))
    };
}

/// Writes a 32-bit word.
pub fn outl(port: u16, value: u32) {
    // SAFETY: the machine's ports touch no memory of ours.
    unsafe {
        asm!("out dx, eax", in("eax") value, in("dx") port, options(nomem, nostack, preserves_flags))
    };
}

/// Writes bytes by one string instruction: one exit from the machine for many bytes.
pub fn outs(port: u16, bytes: &[u8]) {
    // SAFETY: reads the slice alone; the direction flag is clear in the kernel.
    unsafe {
        asm!("rep outsb", inout("rsi") bytes.as_ptr() => _, inout("rcx") bytes.len() => _, in("dx") port,
             options(readonly, nostack, preserves_flags));
    }
}
