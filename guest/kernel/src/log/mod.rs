//! The kernel's log: one line a call, to gnomon's log port or, elsewhere, to COM1. The last lines are
//! kept ([`ring`]).

pub mod ring;

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

use gnomon_abi::ports;

use crate::arch::port;

/// Writes one line to the log: `klog!("virtio: {n} devices")`.
#[macro_export]
macro_rules! klog {
    ($($arg:tt)*) => { $crate::log::line(format_args!($($arg)*)) };
}

/// Whether gnomon's port takes the log (it entered the kernel and said so).
static GNOMON: AtomicBool = AtomicBool::new(false);

/// Bytes collected before they are written: one exit from the virtual machine for each.
const BUFFER: usize = 256;

/// A line on its way out.
struct Line {
    bytes: [u8; BUFFER],
    len: usize,
    /// The beginning has been kept: a longer line is kept in part.
    kept: bool,
}

impl Line {
    fn flush(&mut self) {
        let bytes = &self.bytes[..self.len];
        if !self.kept {
            ring::keep(crate::time::now_ns(), bytes.trim_ascii_end());
            self.kept = true;
        }
        raw(bytes);
        self.len = 0;
    }
}

impl Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for &b in s.as_bytes() {
            if self.len == BUFFER {
                self.flush();
            }
            self.bytes[self.len] = b;
            self.len += 1;
        }
        Ok(())
    }
}

/// Sends the log to gnomon's port from now on.
pub fn use_gnomon_port() {
    GNOMON.store(true, Ordering::Relaxed);
}

/// Writes bytes to the log as they are.
pub fn raw(bytes: &[u8]) {
    if GNOMON.load(Ordering::Relaxed) {
        port::outs(ports::LOG, bytes);
        return;
    }
    for &b in bytes {
        // Bit 5 of the line status: the transmitter can take a byte. The count bounds the wait on
        // a machine without the port, which reads as all ones anyway.
        for _ in 0..10_000 {
            if port::inb(ports::COM1 + 5) & 0x20 != 0 {
                break;
            }
        }
        port::outb(ports::COM1, b);
    }
}

/// Writes a line that a program gave (`/dev/kmsg`).
pub fn from_program(line: &[u8]) {
    ring::keep(crate::time::now_ns(), line.trim_ascii_end());
    raw(line);
}

/// Writes one formatted line; [`klog!`] calls it.
pub fn line(args: fmt::Arguments<'_>) {
    let mut line = Line {
        bytes: [0; BUFFER],
        len: 0,
        kept: false,
    };
    // Line's write_str never fails; an error could only come from a Display of ours.
    let _ = line.write_fmt(args);
    let _ = line.write_str("\n");
    line.flush();
}
