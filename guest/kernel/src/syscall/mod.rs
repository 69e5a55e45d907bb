//! System calls: Linux's numbers, structures and error codes on x86-64.
//!
//! `table.rs` names a handler for each number. A handler is `sys_NAME(usize, …) -> KResult<usize>`, as
//! many arguments as the call has; all pointers are user addresses that the handler checks.
//!
//! | file | calls |
//! |---|---|
//! | `process`, `clone`, `exec`, `wait`, `pidfd` | processes: who they are, birth, programs, death |
//! | `ids`, `prctl`, `limits`, `ptrace` | users and groups; attributes; rlimits and usage; tracing |
//! | `signal`, `time`, `timers`, `sched`, `futex`, `memory`, `swap` | what their names say |
//! | `system` | the machine as a whole |
//! | `file`, `copy`, `fcntl`, `ioctl`, `truncate`, `pipe`, `poll` | descriptors |
//! | `open`, `link`, `rename`, `cwd`, `mount` | names |
//! | `stat`, `attr`, `xattr` | what files are |
//! | `socket`, `sysv`, `mqueue` | sockets, System V objects, POSIX message queues |

mod attr;
mod clone;
mod copy;
mod cwd;
mod exec;
mod fcntl;
mod file;
mod futex;
mod ids;
mod ioctl;
mod limits;
mod link;
mod memory;
mod mount;
mod mqueue;
mod open;
mod pidfd;
mod pipe;
mod poll;
mod prctl;
mod process;
mod ptrace;
mod rename;
mod sched;
mod signal;
mod socket;
mod stat;
mod swap;
mod system;
mod sysv;
mod table;
mod time;
mod timers;
mod truncate;
mod types;
mod wait;
mod xattr;

pub use open::open_file;
pub use system::{DOMAIN_NAME, HOST_NAME, Name, RELEASE, VERSION};

use core::sync::atomic::{AtomicU64, Ordering};

use crate::arch::{TrapFrame, percpu};
use crate::errno::{Errno, KResult};
use crate::task::{self, thread};

/// Smallest of the kernel's own restart codes.
const FIRST_RESTART: i32 = 512;

/// Unknown numbers that have been logged, one bit each.
static LOGGED: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

/// Carry out the system call whose number and arguments are in `frame`, and leave the result in its
/// RAX.
#[inline]
pub fn dispatch(frame: &mut TrapFrame) {
    // SAFETY: `follow` puts nothing else there, and has been called at boot.
    let table = unsafe { &*percpu::syscalls().cast::<table::Table>() };
    let result = match table.get(frame.rax) {
        Some(Some(handler)) => handler(frame),
        _ => unknown(frame),
    };
    finish(frame, result);
}

#[inline(always)]
fn finish(frame: &mut TrapFrame, result: KResult<usize>) {
    match result {
        Ok(value) => frame.rax = value,
        Err(errno) => fail(frame, errno),
    }
}

/// Choose what this processor does with system calls: carry them out, or show them to the running
/// thread's tracer. A second table costs other threads nothing: whoever finds it in use and is not
/// watched changes it back.
pub fn follow(watched: bool) {
    let table = if watched {
        &table::WATCHED
    } else {
        &table::TABLE
    };
    percpu::this_cpu()
        .syscalls
        .set(core::ptr::from_ref(table).cast());
}

/// Carry out the call whose number is in RAX.
fn call(frame: &mut TrapFrame) -> KResult<usize> {
    match table::TABLE.get(frame.rax) {
        Some(Some(handler)) => handler(frame),
        _ => missing(frame.rax),
    }
}

#[cold]
fn fail(frame: &mut TrapFrame, errno: Errno) {
    frame.rax = errno.to_ret();
    if errno.code() >= FIRST_RESTART {
        // The signal code decides what becomes of it, before the program sees it.
        task::current().set_flags(thread::RESTART);
    }
}

/// A call that is in no table.
#[cold]
fn unknown(frame: &mut TrapFrame) -> KResult<usize> {
    if ptrace::is_watched() {
        return ptrace::watched(frame);
    }
    missing(frame.rax)
}

/// A call that does not exist: ENOSYS, and a line in the log the first time.
fn missing(number: usize) -> KResult<usize> {
    log_once(number);
    Err(Errno::ENOSYS)
}

fn log_once(number: usize) {
    if let Some(word) = LOGGED.get(number / 64) {
        let bit = 1 << (number % 64);
        if word.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
            return;
        }
        klog!("syscall {number} is not implemented");
    }
}

/// `int 0x80`: the 32-bit numbers of the classic hello world. Arguments in EBX, ECX, EDX.
pub fn dispatch_int80(frame: &mut TrapFrame) {
    frame.orig_rax = frame.rax;
    if ptrace::is_watched() {
        ptrace::watch(frame, |frame| {
            let result = call_int80(frame);
            finish(frame, result);
        });
        return;
    }
    let result = call_int80(frame);
    finish(frame, result);
}

fn call_int80(frame: &TrapFrame) -> KResult<usize> {
    const EXIT: u32 = 1;
    const READ: u32 = 3;
    const WRITE: u32 = 4;
    const OPEN: u32 = 5;
    const CLOSE: u32 = 6;
    const GETPID: u32 = 20;
    let (a, b, c) = (
        frame.rbx as u32 as usize,
        frame.rcx as u32 as usize,
        frame.rdx as u32 as usize,
    );
    match frame.rax as u32 {
        EXIT => process::sys_exit(a),
        READ => file::sys_read(a, b, c),
        WRITE => file::sys_write(a, b, c),
        OPEN => open::sys_open(a, b, c),
        CLOSE => file::sys_close(a),
        GETPID => process::sys_getpid(),
        _ => Err(Errno::ENOSYS),
    }
}
