//! The end of the machine: with an exit status, or with a report of what went wrong.

use core::fmt;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use gnomon_abi::ports::{self, FatalReason};

use crate::arch::{self, port};

/// A fatal report is under way: a second one must not start a third.
static DYING: AtomicBool = AtomicBool::new(false);

/// Ends the machine with an exit status (its low 8 bits count).
///
/// Under gnomon the status becomes gnomon's. Under QEMU the isa-debug-exit port gets it, and
/// where there is none a triple fault ends the run (`-no-reboot`).
pub fn exit(status: i32) -> ! {
    if arch::boot_info::facts().is_some() {
        port::outl(ports::EXIT, status as u32 & 0xff);
    }
    port::outb(ports::DEBUG_EXIT, status as u8);
    arch::idt::triple_fault()
}

/// Ends the machine because the kernel cannot go on. The reason must have been logged before.
pub fn fatal(reason: FatalReason) -> ! {
    if arch::boot_info::facts().is_some() {
        port::outl(ports::FATAL, reason as u32);
    }
    port::outb(ports::DEBUG_EXIT, 125);
    arch::idt::triple_fault()
}

/// Logs a message, and a backtrace from the caller if the kernel itself is at fault, then ends the
/// machine.
pub fn die(reason: FatalReason, message: fmt::Arguments<'_>) -> ! {
    if DYING.swap(true, Ordering::Relaxed) {
        fatal(reason);
    }
    klog!("kernel: {message}");
    if matches!(reason, FatalReason::Panic | FatalReason::Exception) {
        arch::backtrace::here();
    }
    fatal(reason)
}

/// Rust's panics end here.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    match info.location() {
        Some(at) => die(
            FatalReason::Panic,
            format_args!("panic at {}:{}: {}", at.file(), at.line(), info.message()),
        ),
        None => die(
            FatalReason::Panic,
            format_args!("panic: {}", info.message()),
        ),
    }
}
