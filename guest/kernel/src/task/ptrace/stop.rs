//! The stops of a traced thread, and where it makes them.

use core::sync::atomic::Ordering;

use super::state::{self, EVENT_STOP, Kind, Mode, Stop, tracer};
use super::wait;
use crate::arch::TrapFrame;
use crate::sched;
use crate::task::signal::{self, SI_USER, SIGTRAP, SigInfo, bit, state::ProcessSignals};
use crate::task::thread::{self, state as run_state};
use crate::task::{self, Task};

/// The trap flag of RFLAGS: an exception after each instruction.
const TF: usize = 1 << 8;

/// The process of the running thread is ending, or another thread runs a new program.
fn is_ending(me: &Task, signals: &ProcessSignals, kind: Kind) -> bool {
    kind != Kind::End
        && (signals.exiting.is_some() || signals.exec_by.is_some_and(|tid| tid != me.tid()))
}

/// The running thread stops for its tracer until that continues it, lets it go or ends, or until
/// it is killed. Gives the signal that the tracer has chosen (0: none) and what it tells.
pub(super) fn stop(
    frame: *mut TrapFrame,
    kind: Kind,
    code: u32,
    info: Option<SigInfo>,
) -> (u32, Option<SigInfo>) {
    let me = task::current();
    let process = &*me.process;
    sched::put_aside(me);
    end_step(me);
    {
        let signals = process.signals.lock();
        if is_ending(me, &signals, kind) {
            return (0, None);
        }
        let begun = state::with(me, |t| {
            t.signal = 0;
            t.stop = Some(Stop {
                kind,
                code,
                info,
                frame,
                reported: false,
                listening: false,
            });
            me.state.swap(run_state::TRACED, Ordering::SeqCst);
        });
        if begun.is_none() {
            // The tracer has gone meanwhile.
            return (info.map_or(0, |info| info.signo), info);
        }
    }
    wait::tell_of_stop(me, code);
    loop {
        sched::schedule();
        let signals = process.signals.lock();
        let mut slot = me.tracing.lock();
        let Some(tracing) = slot.as_deref_mut() else {
            return (0, None);
        };
        let ending = is_ending(me, &signals, kind);
        if let Some(stop) = tracing.stop
            && !ending
        {
            debug_assert!(stop.kind == kind);
            me.state.swap(run_state::TRACED, Ordering::SeqCst);
            continue;
        }
        tracing.stop = None;
        let signal = core::mem::take(&mut tracing.signal);
        let info = tracing.info.take();
        drop(slot);
        // Its registers may be others than before.
        me.set_flags(thread::RELOAD);
        return (if ending { 0 } else { signal }, info);
    }
}

/// A signal that the tracer has named, as if it had sent it.
fn from_tracer(me: &Task, signo: u32) -> SigInfo {
    let (pid, uid) = tracer(me).map_or((0, 0), |t| (t.pid(), t.creds.lock().uid));
    SigInfo::from_sender(signo, SI_USER, pid, uid)
}

/// Before a signal is taken. None: the tracer has swallowed it, or it waits because the signal
/// that the tracer has put in its place is blocked.
pub fn before_signal(frame: &mut TrapFrame, info: SigInfo) -> Option<SigInfo> {
    let me = task::current();
    let (signo, changed) = stop(frame, Kind::Signal, info.signo, Some(info));
    if signo == 0 {
        return None;
    }
    let info = match changed {
        Some(changed) if changed.signo == signo => changed,
        _ => from_tracer(me, signo),
    };
    if me.blocked() & bit(signo) != 0 {
        // What has no room is lost, as Linux loses it.
        let _ = signal::send_to_task(me, info);
        return None;
    }
    Some(info)
}

/// The process is stopped by `signo`, and the running thread takes part in that under its tracer's
/// eyes.
pub fn in_group_stop(frame: &mut TrapFrame, signo: u32) {
    let me = task::current();
    let seized = state::with(me, |t| t.seized).unwrap_or(false);
    let (code, info) = if seized {
        let code = signo | EVENT_STOP << 8;
        (code, Some(SigInfo::new(signo, code as i32, [0; 4])))
    } else {
        (signo, None)
    };
    stop(frame, Kind::Group, code, info);
}

/// Whether a thread goes on although its process is stopped: its tracer has continued it.
pub fn runs_in_stop(task: &Task) -> bool {
    task.is_traced() && task.signals.lock().stopped
}

/// Whether the thread owes its tracer a stop (PTRACE_INTERRUPT, the end of a group stop).
pub fn trap_due(task: &Task) -> bool {
    task.work_flags() & thread::TRAP != 0
}

/// Make that stop, if the tracer is still there.
pub fn trap(frame: &mut TrapFrame) {
    let me = task::current();
    me.clear_flags(thread::TRAP);
    if !me.is_traced() {
        return;
    }
    let signo = match me.process.signals.lock().stop.signo() {
        0 => SIGTRAP,
        signo => signo,
    };
    let code = signo | EVENT_STOP << 8;
    let info = SigInfo::new(signo, code as i32, [0; 4]);
    stop(frame, Kind::Trap, code, Some(info));
}

/// SIGCONT has ended the stop of a traced thread's process. A thread that was attached by
/// PTRACE_SEIZE tells its tracer by another stop. The caller holds the signal lock.
pub fn continued(task: &Task) {
    let wake = state::with(task, |t| {
        if !t.seized {
            return false;
        }
        task.set_flags(thread::TRAP);
        let listening = t.stop.is_some_and(|stop| stop.listening);
        if listening {
            t.stop = None;
        }
        listening
    });
    if wake == Some(true) {
        sched::wake_traced(task);
    }
}

/// Have a stopped thread go on in a way that its tracer has chosen.
pub(super) fn resume(task: &Task, mode: Mode, signal: u32) {
    if mode == Mode::Run {
        task.clear_flags(thread::TRACE_CALLS);
    } else {
        // A step over a system call ends behind it.
        task.set_flags(thread::TRACE_CALLS);
    }
    state::with(task, |t| {
        let Some(stop) = t.stop.take() else { return };
        t.mode = mode;
        t.signal = signal;
        t.info = stop.info;
        if mode == Mode::Step {
            // SAFETY: the thread is in the stop until it is woken below, and its tracer alone
            // touches its registers.
            let frame = unsafe { &mut *stop.frame };
            t.stepping = frame.rflags & TF == 0;
            frame.rflags |= TF;
        }
    });
    sched::wake_traced(task);
}

/// The thread is not to be stepped any more: the trap flag goes if it is the tracer's.
pub(super) fn end_step(task: &Task) {
    let stepping = state::with(task, |t| core::mem::take(&mut t.stepping));
    if stepping == Some(true)
        && let Some(frame) = task.frame()
    {
        // SAFETY: the thread is in the kernel, and its registers lie there.
        unsafe { (*frame).rflags &= !TF };
    }
}

/// A handler is about to be called: the trap flag must not get into its frame. True: the thread is
/// being stepped.
pub fn leave_step(frame: &mut TrapFrame) -> bool {
    let me = task::current();
    let stepping = state::with(me, |t| core::mem::take(&mut t.stepping)) == Some(true);
    if stepping {
        frame.rflags &= !TF;
    }
    stepping
}

/// A step has led to the first instruction of a handler.
pub fn stepped_into_handler(frame: &mut TrapFrame) {
    let info = SigInfo::new(SIGTRAP, SIGTRAP as i32, [0; 4]);
    stop(frame, Kind::Event, SIGTRAP, Some(info));
}
