//! How a tracer comes and goes; who may.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::state::{self, O_EXITKILL, OPTIONS, Tracing};
use super::stop;
use crate::errno::{Errno, KResult};
use crate::sched;
use crate::task::signal::{self, SIGKILL, SIGSTOP, SigInfo};
use crate::task::{
    self, Process, Task, current_arc, current_process, exit, find_process, find_task, thread,
};

/// Give `tracer` the hold on a thread that has no tracer.
pub(super) fn link(task: &Arc<Task>, tracer: &Arc<Process>, seized: bool, options: u32) {
    {
        let mut slot = task.tracing.lock();
        let mut hold = Tracing::by(tracer, seized, options);
        match &mut *slot {
            // It may still be on its way out of a stop that an earlier tracer has ended.
            Some(old) => {
                (hold.signal, hold.info) = (old.signal, old.info);
                **old = hold;
            }
            none => *none = Some(Box::new(hold)),
        }
    }
    if task.is_leader() {
        task.process
            .leader_tracer
            .store(tracer.pid(), Ordering::Relaxed);
    }
    task.set_flags(thread::TRACED);
    tracer.tracees.lock().push(task.clone());
}

/// End the hold; the caller has taken the thread off its tracer's list. A thread in a stop goes on
/// with `signal`.
fn let_go(task: &Task, signal: u32) {
    task.clear_flags(thread::TRACED | thread::TRACE_CALLS | thread::TRAP);
    {
        let mut slot = task.tracing.lock();
        if let Some(tracing) = slot.as_deref_mut() {
            tracing.tracer = None;
            tracing.ended = None;
            if let Some(stop) = tracing.stop.take() {
                tracing.signal = signal;
                tracing.info = stop.info;
            }
        }
    }
    if task.is_leader() {
        task.process.leader_tracer.store(0, Ordering::Relaxed);
    }
    // It looks again whether its process is stopped.
    task.set_flags(thread::SIGNAL);
    sched::wake_traced(task);
}

/// Take a thread off the list of its tracer.
pub(super) fn unlist(tracer: &Process, task: &Task) {
    tracer.tracees.lock().retain(|t| !core::ptr::eq(&**t, task));
}

/// PTRACE_DETACH: the thread goes on without a tracer, with `signal`.
pub(super) fn detach(task: &Arc<Task>, signal: u32) {
    stop::end_step(task);
    unlist(current_process(), task);
    let_go(task, signal);
}

/// Forget a thread that has ended and whose tracer knows.
pub(super) fn forget(tracer: &Process, task: &Task) {
    unlist(tracer, task);
    let_go(task, 0);
}

/// Whether the running process may look into another (`ptrace(2)`, "Ptrace access mode checking"):
/// root may; others if all ids are theirs and the program has not been made undumpable.
pub fn may_access(target: &Process) -> bool {
    let me = current_process();
    if core::ptr::eq(me, target) {
        return true;
    }
    let (uid, gid, privileged) = {
        let creds = me.creds.lock();
        (creds.uid, creds.gid, creds.is_privileged())
    };
    if privileged {
        return true;
    }
    let same = {
        let creds = target.creds.lock();
        creds.uid == uid
            && creds.euid == uid
            && creds.suid == uid
            && creds.gid == gid
            && creds.egid == gid
            && creds.sgid == gid
    };
    same && target.dumpable().load(Ordering::Relaxed) == 1
}

/// PTRACE_TRACEME: the parent becomes the tracer.
///
/// # Errors
/// EPERM: there is a tracer already, or no parent.
pub(super) fn trace_me() -> KResult<()> {
    let me = current_arc();
    if me.is_traced() {
        return Err(Errno::EPERM);
    }
    let parent = me.process.parent().ok_or(Errno::EPERM)?;
    if parent.is_dead() {
        return Err(Errno::EPERM);
    }
    link(&me, &parent, false, 0);
    Ok(())
}

/// PTRACE_ATTACH, which stops the thread by SIGSTOP, and PTRACE_SEIZE, which does not stop it.
///
/// # Errors
/// ESRCH: there is no such thread. EPERM: it may not be traced by the running process, or is
/// already. EIO: unknown options.
pub(super) fn attach(tid: u32, seize: bool, options: usize) -> KResult<()> {
    let options = u32::try_from(options)
        .ok()
        .filter(|options| options & !OPTIONS == 0)
        .ok_or(Errno::EIO)?;
    let task = find_task(tid).ok_or(Errno::ESRCH)?;
    let me = &task::current().process;
    if Arc::ptr_eq(me, &task.process) || !may_access(&task.process) {
        return Err(Errno::EPERM);
    }
    if task.is_traced() || task.process.is_exiting() || task.process.space().is_none() {
        return Err(Errno::EPERM);
    }
    link(&task, me, seize, options);
    if !seize {
        // A standard signal: there is always room.
        let _ = signal::send_to_task(&task, SigInfo::kernel(SIGSTOP));
    }
    // A thread that is stopped already tells its tracer.
    sched::wake_stopped(&task);
    Ok(())
}

/// The number of the process that traces the first thread of `process`; 0: none.
pub(super) fn tracer_of(process: &Process) -> u32 {
    process.leader_tracer.load(Ordering::Relaxed)
}

/// The number of the process that traces a thread; 0: none (`TracerPid`).
pub fn tracer_pid(task: &Task) -> u32 {
    state::tracer(task).map_or(0, |tracer| tracer.pid())
}

/// A process that traces others ends: they go on without it, or are killed (PTRACE_O_EXITKILL).
pub fn release_all(tracer: &Process) {
    let tracees: Vec<Arc<Task>> = core::mem::take(&mut *tracer.tracees.lock());
    for task in tracees {
        let kill = state::with(&task, |t| t.options & O_EXITKILL != 0).unwrap_or(false);
        stop::end_step(&task);
        let_go(&task, 0);
        let process = &task.process;
        if kill {
            // SIGKILL needs no room.
            let _ = signal::send_to_process(process, SigInfo::kernel(SIGKILL));
        }
        let own_child = process
            .parent()
            .is_some_and(|parent| core::ptr::eq(&*parent, tracer));
        if task.is_leader() && process.is_zombie() && !own_child {
            exit::tell_parent(process, process.exit_status());
        }
    }
}

/// The leader of `process` is gone for good, or another thread takes its place: its tracer forgets
/// it.
pub fn forget_leader(process: &Process) {
    let pid = tracer_of(process);
    if pid == 0 {
        return;
    }
    let Some(tracer) = find_process(pid) else {
        return;
    };
    let leader = tracer
        .tracees
        .lock()
        .iter()
        .find(|t| core::ptr::eq(&*t.process, process) && t.is_leader())
        .cloned();
    if let Some(leader) = leader {
        forget(&tracer, &leader);
    }
}
