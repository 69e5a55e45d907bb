//! How a tracer learns of stops and ends (`wait(2)`).

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::attach::{self, tracer_of};
use super::state::{self, Kind, tracer};
use crate::task::signal::action::SA_NOCLDSTOP;
use crate::task::signal::{self, CLD_TRAPPED, SIGCHLD, SigInfo};
use crate::task::wait::{Event, Target, WEXITED, WNOWAIT, ended};
use crate::task::{Process, Task, exit, find_process};

/// SIGCHLD for something that happened to a traced thread, and an end to the tracer's wait.
fn tell(tracer: &Process, tid: u32, process: &Process, code: i32, value: i32) {
    let uid = process.creds.lock().uid;
    let usage = process.usage();
    let info = SigInfo::child(
        code,
        tid,
        uid,
        value,
        crate::time::ns_to_ticks(usage.user_ns),
        crate::time::ns_to_ticks(usage.system_ns),
    );
    // A standard signal: there is always room.
    let _ = signal::send_to_process(tracer, info);
    tracer.child_events.wake_all();
}

/// The running thread has stopped.
pub(super) fn tell_of_stop(me: &Task, code: u32) {
    let Some(tracer) = tracer(me) else { return };
    let quiet = tracer.signals.lock().actions.get(SIGCHLD).flags & SA_NOCLDSTOP != 0;
    if quiet {
        tracer.child_events.wake_all();
    } else {
        let signo = (code & 0x7f) as i32;
        tell(&tracer, me.tid(), &me.process, CLD_TRAPPED, signo);
    }
}

/// A thread has ended.
pub(super) fn tell_of_end(tracer: &Process, tid: u32, process: &Process, status: u32) {
    let (code, value) = ended(status);
    tell(tracer, tid, process, code, value);
}

/// `process` has become a zombie. True: its leader is traced by another than its parent, who has
/// been told, and the parent is to be told when that one knows.
pub fn tell_tracer_of_end(process: &Arc<Process>) -> bool {
    if !is_held_by_tracer(process) {
        return false;
    }
    let Some(tracer) = find_process(tracer_of(process)) else {
        return false;
    };
    tell_of_end(&tracer, process.pid(), process, process.exit_status());
    true
}

/// Whether a process is traced by another than its parent: that one learns first of its end.
pub fn is_held_by_tracer(process: &Process) -> bool {
    match tracer_of(process) {
        0 => false,
        pid => pid != process.ppid(),
    }
}

/// Whether the end of a process cannot be reported to its parent yet: its tracer does not know, or
/// there are traced threads whose ends have not been reported.
pub fn is_held(process: &Process) -> bool {
    match tracer_of(process) {
        0 => false,
        pid if pid != process.ppid() => true,
        pid => find_process(pid).is_some_and(|tracer| has_ended_threads(&tracer, process)),
    }
}

/// Whether `parent` traces the leader of its child `process`.
pub fn leader_is_traced_by(process: &Process, parent: &Process) -> bool {
    tracer_of(process) == parent.pid()
}

fn has_ended_threads(tracer: &Process, process: &Process) -> bool {
    tracer.tracees.lock().iter().any(|task| {
        core::ptr::eq(&*task.process, process)
            && state::with(task, |t| t.ended.is_some()) == Some(true)
    })
}

/// One look at the threads that a process traces.
pub enum Look {
    /// Something has happened to one.
    Event(Event),
    /// There are such threads, but nothing has happened to them.
    NotYet,
    /// There are none.
    None,
}

fn event(task: &Task, status: u32, code: i32, value: i32) -> Event {
    let process = &task.process;
    Event {
        pid: task.tid(),
        uid: process.creds.lock().uid,
        status,
        code,
        value,
        usage: task.usage(),
    }
}

/// What of a traced thread can be reported now; it is reported by that, unless WNOWAIT is asked
/// for.
fn event_of(tracer: &Process, task: &Arc<Task>, options: u32) -> Option<Event> {
    let process = &task.process;
    let keep = options & WNOWAIT != 0;
    if let Some(status) = state::with(task, |t| t.ended)? {
        if options & WEXITED == 0 {
            return None;
        }
        let (code, value) = ended(status);
        if !keep {
            attach::forget(tracer, task);
        }
        return Some(event(task, status, code, value));
    }
    if task.is_leader() && process.is_zombie() {
        // The parent's own wait sees to its child.
        if options & WEXITED == 0
            || process.ppid() == tracer.pid()
            || has_ended_threads(tracer, process)
        {
            return None;
        }
        let status = process.exit_status();
        let (code, value) = ended(status);
        let event = event(task, status, code, value);
        if !keep {
            attach::forget(tracer, task);
            exit::tell_parent(process, status);
        }
        return Some(event);
    }
    let code = state::with(task, |t| {
        let stop = t.stop.as_mut().filter(|stop| !stop.reported)?;
        stop.reported = !keep;
        Some((stop.code, stop.kind))
    })??;
    let (code, kind) = code;
    let si_code = if kind == Kind::Group && code < 0x100 {
        signal::CLD_STOPPED
    } else {
        CLD_TRAPPED
    };
    Some(event(task, code << 8 | 0x7f, si_code, code as i32))
}

/// Look at the threads that the running process traces and that `target` names.
pub fn look(tracer: &Process, target: Target, options: u32) -> Look {
    let tracees: Vec<Arc<Task>> = tracer.tracees.lock().clone();
    let mut any = false;
    for task in &tracees {
        let right = match target {
            Target::Any => true,
            Target::Pid(pid) => task.tid() == pid,
            Target::Group(pgid) => task.process.pgid() == pgid,
        };
        if !right {
            continue;
        }
        if let Some(event) = event_of(tracer, task, options) {
            return Look::Event(event);
        }
        any = true;
    }
    if any { Look::NotYet } else { Look::None }
}
