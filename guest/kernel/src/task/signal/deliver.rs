//! Acting on signals before a return to ring 3.

use core::sync::atomic::Ordering;

use super::action::{SA_NODEFER, SA_RESETHAND, SA_RESTART, SIG_DFL, SIG_IGN, SigAction};
use super::info::{SI_KERNEL, SigInfo};
use super::set::{
    self, SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGSTOP, SIGTRAP, UNBLOCKABLE, bit,
};
use super::{frame, recalculate, stop};
use crate::arch::TrapFrame;
use crate::arch::trap::Exception;
use crate::errno::Errno;
use crate::mm::Fault;
use crate::task::thread::{self, Task};
use crate::task::{self, core_dump, exit, oom, ptrace};

/// Number of `restart_syscall`.
const RESTART_SYSCALL: usize = 219;
/// Bytes of a SYSCALL (and of an `int 0x80`) instruction.
const SYSCALL_BYTES: usize = 2;

/// What the interrupted system call asked for.
fn take_restart(task: &Task, frame: &TrapFrame) -> Option<Errno> {
    if task.work_flags() & thread::RESTART == 0 {
        return None;
    }
    task.clear_flags(thread::RESTART);
    Some(Errno::from_code((frame.rax as isize).unsigned_abs() as i32))
}

/// Have the program execute its system call again.
fn again(frame: &mut TrapFrame, number: usize) {
    frame.rax = number;
    frame.rip -= SYSCALL_BYTES;
}

/// Do all that the signals of the running task demand, before it returns to ring 3 with `frame`.
/// May stop for long, and may not return at all.
pub fn deliver(frame: &mut TrapFrame) {
    let me = task::current();
    let process = &*me.process;
    let mut restart = take_restart(me, frame);
    loop {
        let mut signals = process.signals.lock();
        if signals.exiting.is_some() || signals.exec_by.is_some_and(|tid| tid != me.tid()) {
            drop(signals);
            exit::exit_thread(0);
        }
        if ptrace::trap_due(me) {
            drop(signals);
            ptrace::trap(frame);
            restart = still(frame, restart);
            continue;
        }
        if signals.stop.is_active() && !ptrace::runs_in_stop(me) {
            drop(signals);
            stop::stop_here(frame);
            restart = still(frame, restart);
            continue;
        }
        let ready = !me.blocked();
        let Some(mut info) = super::take(me, &mut signals, ready) else {
            recalculate(me, &signals);
            break;
        };
        if me.is_traced() {
            drop(signals);
            let chosen = ptrace::before_signal(frame, info);
            restart = still(frame, restart);
            let Some(other) = chosen else { continue };
            info = other;
            signals = process.signals.lock();
        }
        let signo = info.signo;
        let action = *signals.actions.get(signo);
        match action.handler {
            SIG_IGN => {}
            SIG_DFL => match set::default_action(signo) {
                set::Default::Ignore => {}
                set::Default::Stop => {
                    drop(signals);
                    if signo == SIGSTOP || !stop::is_orphaned(process.pgid()) {
                        let mut signals = process.signals.lock();
                        stop::begin(process, &mut signals, signo);
                    }
                }
                set::Default::Core => {
                    drop(signals);
                    core_dump::dump(&info);
                    exit::exit_group(signo);
                }
                set::Default::Terminate => {
                    drop(signals);
                    exit::exit_group(signo);
                }
            },
            _ => {
                if action.flags & SA_RESETHAND != 0 {
                    signals.actions.get_mut(signo).handler = SIG_DFL;
                }
                drop(signals);
                if let Some(errno) = restart.take() {
                    restart_with_handler(frame, errno, &action);
                }
                handle(me, frame, &info, &action);
            }
        }
    }
    if let Some(errno) = restart {
        let number = if errno == Errno::ERESTART_RESTARTBLOCK {
            RESTART_SYSCALL
        } else {
            frame.orig_rax
        };
        again(frame, number);
    }
    // No handler: the temporary mask of the interrupted call has done its work.
    let saved = me.signals.lock().saved_mask.take();
    if let Some(mask) = saved {
        super::set_blocked(mask);
    }
}

/// A restart that is due, unless the tracer has taken it back by setting ORIG_RAX to -1.
fn still(frame: &TrapFrame, restart: Option<Errno>) -> Option<Errno> {
    restart.filter(|_| frame.orig_rax != usize::MAX)
}

fn restart_with_handler(frame: &mut TrapFrame, errno: Errno, action: &SigAction) {
    let number = frame.orig_rax;
    match errno {
        Errno::ERESTARTNOINTR => again(frame, number),
        Errno::ERESTARTSYS if action.flags & SA_RESTART != 0 => again(frame, number),
        _ => frame.rax = Errno::EINTR.to_ret(),
    }
}

/// Have the program continue in a handler.
fn handle(me: &Task, frame: &mut TrapFrame, info: &SigInfo, action: &SigAction) {
    let signo = info.signo;
    let mask = me
        .signals
        .lock()
        .saved_mask
        .take()
        .unwrap_or_else(|| me.blocked());
    let stepping = me.is_traced() && ptrace::leave_step(frame);
    match frame::push(me, frame, info, action, mask) {
        Ok(()) => {
            let mut blocked = me.blocked() | action.mask;
            if action.flags & SA_NODEFER == 0 {
                blocked |= bit(signo);
            }
            super::set_blocked(blocked);
            if stepping {
                ptrace::stepped_into_handler(frame);
            }
        }
        // The stack cannot take the frame. If that happens for SIGSEGV itself nothing can be told.
        Err(_) => {
            super::set_blocked(mask);
            if signo == SIGSEGV {
                me.process.signals.lock().actions.get_mut(SIGSEGV).handler = SIG_DFL;
            }
            force(SigInfo::kernel(SIGSEGV));
        }
    }
}

/// Send the running task a signal that it cannot evade: if it blocks or ignores it, the default
/// action is taken, which for these signals ends the process.
pub fn force(info: SigInfo) {
    let me = task::current();
    let mut signals = me.process.signals.lock();
    let signo = info.signo;
    let blocked = me.blocked() & bit(signo) != 0;
    let action = signals.actions.get_mut(signo);
    if blocked || action.handler == SIG_IGN {
        *action = SigAction::DEFAULT;
    }
    if blocked {
        me.blocked
            .store(me.blocked() & !bit(signo) & !UNBLOCKABLE, Ordering::Relaxed);
    }
    me.signals.lock().pending.push(info, usize::MAX);
    recalculate(me, &signals);
}

/// `si_code`: integer divide by zero.
const FPE_INTDIV: i32 = 1;
/// `si_code`: other floating-point faults by number.
const FPE_FLTDIV: i32 = 3;
const FPE_FLTOVF: i32 = 4;
const FPE_FLTUND: i32 = 5;
const FPE_FLTRES: i32 = 6;
const FPE_FLTINV: i32 = 7;
/// `si_code`: illegal operand.
const ILL_ILLOPN: i32 = 2;
/// `si_code`: single step.
const TRAP_TRACE: i32 = 2;
/// `si_code`: invalid address alignment.
const BUS_ADRALN: i32 = 1;
/// `si_code`: no such address in the file.
const BUS_ADRERR: i32 = 2;

/// The program has raised an exception that the kernel cannot resolve: a signal, as Linux sends it.
pub fn fault(frame: &mut TrapFrame, exception: Exception) {
    let me = task::current();
    let rip = frame.rip as u64;
    let addr = exception.addr as u64;
    me.note_fault(exception.vector, exception.error, exception.addr);
    let info = match exception.vector {
        0 => SigInfo::fault(SIGFPE, FPE_INTDIV, rip),
        1 => SigInfo::fault(SIGTRAP, TRAP_TRACE, rip),
        3 => SigInfo::kernel(SIGTRAP),
        6 => SigInfo::fault(SIGILL, ILL_ILLOPN, rip),
        11 | 12 => SigInfo::kernel(SIGBUS),
        14 => match exception.fault {
            Some(Fault::Segv { code }) => SigInfo::fault(SIGSEGV, code, addr),
            Some(Fault::Bus) => SigInfo::fault(SIGBUS, BUS_ADRERR, addr),
            Some(Fault::Oom) => {
                // If nobody else can be killed it is this one's end.
                if !oom::out_of_memory() {
                    exit::begin_group_exit(SIGKILL);
                }
                return;
            }
            None => SigInfo::fault(SIGSEGV, super::SI_KERNEL, addr),
        },
        16 | 19 => SigInfo::fault(SIGFPE, float_code(me, exception.vector), rip),
        17 => SigInfo::fault(SIGBUS, BUS_ADRALN, 0),
        _ => SigInfo::new(SIGSEGV, SI_KERNEL, [0; 4]),
    };
    force(info);
}

/// Which unmasked floating-point exception it was, from the x87 status or from MXCSR.
fn float_code(me: &Task, vector: u8) -> i32 {
    let image = crate::sched::fpu_image(me);
    let flags = if vector == 16 {
        let control = u16::from_le_bytes([image[0], image[1]]);
        let status = u16::from_le_bytes([image[2], image[3]]);
        status & !control
    } else {
        let mxcsr = u32::from_le_bytes([image[24], image[25], image[26], image[27]]);
        (mxcsr & !(mxcsr >> 7)) as u16
    };
    match flags {
        f if f & 0x01 != 0 => FPE_FLTINV,
        f if f & 0x04 != 0 => FPE_FLTDIV,
        f if f & 0x08 != 0 => FPE_FLTOVF,
        f if f & 0x12 != 0 => FPE_FLTUND,
        f if f & 0x20 != 0 => FPE_FLTRES,
        _ => 0,
    }
}
