//! Stops at system calls.

use super::state::{self, Kind, Mode, O_TRACESYSGOOD};
use super::stop::stop;
use crate::arch::TrapFrame;
use crate::errno::Errno;
use crate::task;
use crate::task::signal::{self, SIGTRAP, SigInfo};

/// `PTRACE_EVENTMSG_SYSCALL_ENTRY`
const MESSAGE_ENTRY: u64 = 1;
/// `PTRACE_EVENTMSG_SYSCALL_EXIT`
const MESSAGE_EXIT: u64 = 2;
/// `si_code` of a step over a system call.
const TRAP_BRKPT: i32 = 1;

/// A stop at a system call, if the tracer wants it. A signal that it continues with is sent.
fn call_stop(frame: &mut TrapFrame, kind: Kind, message: u64) {
    let me = task::current();
    let code = state::with(me, |t| {
        t.message = message;
        let mark = if t.options & O_TRACESYSGOOD != 0 {
            0x80
        } else {
            0
        };
        (t.mode == Mode::Calls).then_some(SIGTRAP | mark)
    });
    let Some(Some(code)) = code else { return };
    let info = SigInfo::from_sender(SIGTRAP, code as i32, me.tid(), 0);
    let (signo, _) = stop(frame, kind, code, Some(info));
    if signo != 0 {
        // What has no room is lost, as Linux loses it.
        let _ = signal::send_to_task(me, SigInfo::kernel(signo));
    }
}

/// Before a system call, whose number is in ORIG_RAX: the tracer may change number and arguments.
/// RAX is -ENOSYS until the call is made.
pub fn at_entry(frame: &mut TrapFrame) {
    frame.rax = Errno::ENOSYS.to_ret();
    call_stop(frame, Kind::Entry, MESSAGE_ENTRY);
}

/// After a system call, whose result is in RAX.
pub fn at_exit(frame: &mut TrapFrame) {
    let me = task::current();
    call_stop(frame, Kind::Exit, MESSAGE_EXIT);
    let stepped = state::with(me, |t| t.mode == Mode::Step && t.stepping);
    if stepped == Some(true) {
        signal::force(SigInfo::fault(SIGTRAP, TRAP_BRKPT, frame.rip as u64));
    }
}
