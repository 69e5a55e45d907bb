//! What the processor's faults become.

use super::child::{Exit, in_child};
use super::gate::Gate;
use super::report::exit;
use super::signals::handle;
use libc::*;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering::SeqCst};

/// A signal that a fault has raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGTRAP.
    pub signal: i32,
    /// `si_code`
    pub code: i32,
    /// `si_addr`
    pub address: usize,
}

/// The handler's stack. A mapping made for it could land where `body` expects none.
static STACK: [AtomicU8; 65536] = [const { AtomicU8::new(0) }; 65536];

impl Fault {
    /// A SIGSEGV.
    pub fn segv(code: i32, address: usize) -> Self {
        Fault {
            signal: SIGSEGV,
            code,
            address,
        }
    }

    /// The SIGSEGV of a general protection fault, which has no address.
    pub fn protection() -> Self {
        Fault {
            signal: SIGSEGV,
            code: SI_KERNEL,
            address: 0,
        }
    }
}

static REPORT_TO: AtomicI32 = AtomicI32::new(-1);

extern "C" fn report_fault(signal: i32, info: *mut siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel gives a valid siginfo; signals of faults have an address.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as u64) };
    let words = [signal as u64, code as u64, address];
    for word in words {
        let _ = call!(SYS_write, REPORT_TO.load(SeqCst), &word, 8);
    }
    exit(0)
}

/// The fault that `body` runs into, seen by a handler on a stack of its own, in a child.
pub fn fault_of(body: impl FnOnce()) -> Fault {
    let gate = Gate::new();
    let end = in_child(|| {
        let alternate = stack_t {
            ss_sp: STACK.as_ptr() as *mut c_void,
            ss_flags: 0,
            ss_size: STACK.len(),
        };
        ok!(SYS_sigaltstack, &alternate, 0);
        REPORT_TO.store(gate.writer_fd(), SeqCst);
        for signal in [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP] {
            handle(signal, SA_ONSTACK, report_fault);
        }
        body();
        exit(1)
    });
    assert_ne!(end, Exit::Code(1), "there was no fault");
    assert_eq!(end, Exit::Code(0));
    Fault {
        signal: gate.receive() as i32,
        code: gate.receive() as i32,
        address: gate.receive() as usize,
    }
}

/// `si_code` of an address without a mapping.
pub const SEGV_MAPERR: i32 = 1;
/// `si_code` of an access that the mapping's protection forbids.
pub const SEGV_ACCERR: i32 = 2;
/// `si_code` of memory that does not exist, such as a file's past its end.
pub const BUS_ADRERR: i32 = 2;
/// `si_code` of an integer division by zero.
pub const FPE_INTDIV: i32 = 1;
/// `si_code` of an instruction that the kernel raises a fault for by itself.
pub const SI_KERNEL: i32 = 0x80;
