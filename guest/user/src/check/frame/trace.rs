//! Tracing other processes.

use super::call::Errno;
use super::child::{Child, fork, sleeper};
use super::plain::zeroed;
use super::state::wait_until_asleep;
use libc::*;

/// The C libraries differ in the type of requests.
#[cfg(target_env = "musl")]
pub type Request = i32;

/// The C libraries differ in the type of requests.
#[cfg(not(target_env = "musl"))]
pub type Request = u32;

/// `ptrace(2)`
pub fn ptrace(request: Request, pid: i32, addr: usize, data: usize) -> Result<usize, Errno> {
    call!(SYS_ptrace, request, pid, addr, data)
}

/// The same, where it has to succeed.
#[track_caller]
pub fn must(request: Request, pid: i32, addr: usize, data: usize) {
    if let Err(error) = ptrace(request, pid, addr, data) {
        panic!("ptrace request {request:#x}: {error:?}");
    }
}

/// The wait status of a child or a traced process.
pub fn wait_status(pid: i32) -> i32 {
    let mut status = 0;
    assert_eq!(ok!(SYS_wait4, pid, &mut status, __WALL, 0), pid as usize);
    status
}

/// What a stop is for: the signal in the low byte, the event above it.
#[track_caller]
pub fn next_stop(pid: i32) -> i32 {
    let status = wait_status(pid);
    assert!(WIFSTOPPED(status), "status {status:#x}");
    status >> 8
}

/// A child that has asked to be traced and is in its first stop.
pub fn traced(body: impl FnOnce()) -> Child {
    let child = fork(|| {
        must(PTRACE_TRACEME, 0, 0, 0);
        ok!(SYS_kill, std::process::id(), SIGSTOP);
        body();
    });
    assert_eq!(next_stop(child.pid()), SIGSTOP);
    child
}

/// Let a stopped process go on, with a signal or 0.
pub fn resume(pid: i32, signal: i32) {
    must(PTRACE_CONT, pid, 0, signal as usize);
}

/// The registers of a stopped process.
pub fn registers(pid: i32) -> user_regs_struct {
    let mut registers: user_regs_struct = zeroed();
    must(PTRACE_GETREGS, pid, 0, &raw mut registers as usize);
    registers
}

/// Change them.
pub fn set_registers(pid: i32, registers: &user_regs_struct) {
    must(PTRACE_SETREGS, pid, 0, &raw const *registers as usize);
}

/// A word of another process's memory.
pub fn peek(pid: i32, at: usize) -> Result<u64, Errno> {
    let mut word = 0u64;
    ptrace(PTRACE_PEEKDATA, pid, at, &raw mut word as usize).map(|_| word)
}

/// A process that sleeps until it is killed.
pub fn asleep() -> Child {
    let child = sleeper();
    wait_until_asleep(child.pid());
    child
}
