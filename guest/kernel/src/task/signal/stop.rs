//! Job control: stop and continue.
//!
//! The thread that takes a stop signal starts the stop; every thread then stops as it comes by on
//! its way to ring 3. The last one tells the parent. SIGCONT ends it the moment that it is sent, and
//! SIGKILL too.

use alloc::sync::Arc;

use super::action::SA_NOCLDSTOP;
use super::info::{CLD_CONTINUED, CLD_STOPPED, SigInfo};
use super::set::{SIGCHLD, SIGCONT};
use super::state::{ProcessSignals, Stop, Unreported};
use super::{recalculate, send};
use crate::arch::TrapFrame;
use crate::sched;
use crate::task::thread::state;
use crate::task::{self, Process, ptrace};

/// The running thread has taken a stop signal: all threads shall stop. The caller holds the lock.
pub(super) fn begin(process: &Process, signals: &mut ProcessSignals, signo: u32) {
    if signals.stop.is_active() || signals.exiting.is_some() {
        return;
    }
    let threads = process.threads.lock();
    signals.stop = Stop::Stopping {
        signo,
        left: threads.len(),
    };
    for thread in threads.iter() {
        thread.signals.lock().stopped = false;
        thread.set_flags(crate::task::thread::SIGNAL);
        if !core::ptr::eq(&**thread, task::current()) {
            sched::wake_interruptible(thread, false);
        }
    }
}

/// The running thread stops, if its process is to stop, until it is continued or killed.
pub(super) fn stop_here(frame: &mut TrapFrame) {
    let me = task::current();
    let process = &*me.process;
    loop {
        let mut signals = process.signals.lock();
        if !signals.stop.is_active() || signals.exiting.is_some() || signals.exec_by.is_some() {
            me.signals.lock().stopped = false;
            recalculate(me, &signals);
            return;
        }
        let mut all = None;
        if !me.signals.lock().stopped {
            me.signals.lock().stopped = true;
            if let Stop::Stopping { signo, left } = signals.stop {
                if left <= 1 {
                    signals.stop = Stop::Stopped { signo };
                    signals.unreported = Some(Unreported::Stopped(signo));
                    all = Some(signo);
                } else {
                    signals.stop = Stop::Stopping {
                        signo,
                        left: left - 1,
                    };
                }
            }
        }
        recalculate(me, &signals);
        if me.is_traced() {
            let signo = signals.stop.signo();
            drop(signals);
            if let Some(signo) = all {
                tell_parent(process, CLD_STOPPED, signo as i32);
            }
            ptrace::in_group_stop(frame, signo);
            return;
        }
        me.state
            .swap(state::STOPPED, core::sync::atomic::Ordering::SeqCst);
        drop(signals);
        if let Some(signo) = all {
            tell_parent(process, CLD_STOPPED, signo as i32);
        }
        sched::schedule();
    }
}

/// A thread of a stopping process ends: it needs not be waited for. The caller holds the lock.
pub(in crate::task) fn thread_ended(
    process: &Process,
    signals: &mut ProcessSignals,
    counted: bool,
) -> bool {
    if counted {
        return false;
    }
    if let Stop::Stopping { signo, left } = signals.stop {
        if left <= 1 {
            signals.stop = Stop::Stopped { signo };
            signals.unreported = Some(Unreported::Stopped(signo));
            return !process.threads.lock().is_empty();
        }
        signals.stop = Stop::Stopping {
            signo,
            left: left - 1,
        };
    }
    false
}

/// End a stop. True: all threads had stopped, and `report` (SIGCONT) asks that the parent learns of
/// the continuation ([`tell_continued`], once the lock is released). The caller holds the lock.
pub(super) fn resume(process: &Process, signals: &mut ProcessSignals, report: bool) -> bool {
    if !signals.stop.is_active() {
        return false;
    }
    let tell = report && signals.is_stopped();
    signals.stop = Stop::Running;
    if tell {
        signals.unreported = Some(Unreported::Continued);
    }
    for thread in process.threads.lock().iter() {
        thread.signals.lock().stopped = false;
        thread.set_flags(crate::task::thread::SIGNAL);
        sched::wake_stopped(thread);
        if thread.is_traced() {
            ptrace::continued(thread);
        }
    }
    tell
}

/// Send SIGCHLD for a stop or a continuation, and wake the parent's `wait`.
pub(in crate::task) fn tell_parent(process: &Process, code: i32, status: i32) {
    let Some(parent) = process.parent() else {
        return;
    };
    if ptrace::leader_is_traced_by(process, &parent) {
        // It learns of each thread by itself.
        return;
    }
    let wanted = {
        let signals = parent.signals.lock();
        signals.actions.get(SIGCHLD).flags & SA_NOCLDSTOP == 0
    };
    if wanted {
        let uid = process.creds.lock().uid;
        let usage = process.usage();
        let info = SigInfo::child(
            code,
            process.pid(),
            uid,
            status,
            crate::time::ns_to_ticks(usage.user_ns),
            crate::time::ns_to_ticks(usage.system_ns),
        );
        // SIGCHLD is a standard signal: there is always room.
        let _ = send::send_to_process(&parent, info);
    }
    parent.child_events.wake_all();
}

/// Report a continuation to the parent (CLD_CONTINUED).
pub(in crate::task) fn tell_continued(process: &Process) {
    tell_parent(process, CLD_CONTINUED, SIGCONT as i32);
}

/// Whether process group `pgid` is orphaned (no member has a parent outside the group but inside
/// the session) once `leaving` is gone, and has a stopped member (`setpgid(2)`, `exit(3)`).
pub fn orphaned_stopped(
    table: &crate::task::table::Table,
    pgid: u32,
    leaving: Option<&Arc<Process>>,
) -> bool {
    let mut stopped = false;
    for member in table.group(pgid) {
        if leaving.is_some_and(|p| Arc::ptr_eq(p, member)) || member.is_dead() {
            continue;
        }
        if let Some(parent) = member.parent()
            && parent.pgid() != pgid
            && parent.sid() == member.sid()
            && !parent.is_dead()
            && parent.pid() != 1
        {
            return false;
        }
        stopped |= member.is_stopped();
    }
    stopped
}

/// Whether process group `pgid` is orphaned: stop signals from the terminal are then discarded.
pub fn is_orphaned(pgid: u32) -> bool {
    let table = crate::task::table::table();
    table.group(pgid).all(|member| {
        member.is_dead()
            || member
                .parent()
                .is_none_or(|parent| parent.pgid() == pgid || parent.sid() != member.sid())
    })
}
