//! Sending signals.

use super::info::SigInfo;
use super::set::{SIGCONT, SIGKILL, SIGSTOP, STOPPING, bit};
use super::state::ProcessSignals;
use super::{recalculate, stop};
use crate::errno::{Errno, KResult};
use crate::sched;
use crate::task::rlimit::Resource;
use crate::task::table;
use crate::task::{self, Process, Task, thread};

/// Whether the running process may send `signo` to `target` (`kill(2)`): root may, the same user
/// may, and SIGCONT may be sent within a session.
pub fn may_signal(target: &Process, signo: u32) -> bool {
    let sender = task::current_process();
    if core::ptr::eq(sender, target) {
        return true;
    }
    let (uid, euid) = {
        let creds = sender.creds.lock();
        (creds.uid, creds.euid)
    };
    if euid == 0 {
        return true;
    }
    let (ruid, suid) = {
        let creds = target.creds.lock();
        (creds.uid, creds.suid)
    };
    uid == ruid
        || uid == suid
        || euid == ruid
        || euid == suid
        || (signo == SIGCONT && sender.sid() == target.sid())
}

/// How many signals may be queued for a process.
pub fn queued_limit(process: &Process) -> usize {
    process.rlimit(Resource::PendingSignals).min(1 << 16) as usize
}

/// What has to happen the moment that a signal is sent, whoever will get it: SIGCONT and SIGKILL
/// continue a stopped process, stop signals and SIGCONT cancel each other.
///
/// True: the process goes on after a stop, and its parent is to be told once the lock is released.
fn prepare(process: &Process, signals: &mut ProcessSignals, signo: u32) -> bool {
    if bit(signo) & STOPPING != 0 {
        discard_everywhere(process, signals, bit(SIGCONT));
    } else if signo == SIGCONT {
        discard_everywhere(process, signals, STOPPING);
        return stop::resume(process, signals, true);
    } else if signo == SIGKILL {
        stop::resume(process, signals, false);
    }
    false
}

fn discard_everywhere(process: &Process, signals: &mut ProcessSignals, set: u64) {
    signals.pending.discard(set);
    for thread in process.threads.lock().iter() {
        thread.signals.lock().pending.discard(set);
    }
}

/// Whether the signal can be dropped at once: it is ignored, and not blocked (a blocked one waits:
/// the action may change before it is unblocked). The first process gets only signals that it
/// has handlers for: nobody can end it.
fn is_dropped(process: &Process, signals: &ProcessSignals, blocked: u64, signo: u32) -> bool {
    let action = signals.actions.get(signo);
    if process.pid() == 1 && !action.has_handler() {
        return blocked & bit(signo) == 0;
    }
    blocked & bit(signo) == 0 && signo != SIGKILL && signo != SIGSTOP && action.ignores(signo)
}

/// The signals that a tracer is shown even if they are ignored: all.
fn shown(task: &Task) -> u64 {
    if task.is_traced() { u64::MAX } else { 0 }
}

/// Have a task look at its signals: set its flag, and end its sleep.
fn notify(task: &Task, signo: u32) {
    task.set_flags(thread::SIGNAL);
    sched::wake_interruptible(task, signo == SIGKILL);
}

/// Tell a thread of a signal that it does not block, or that it waits for in `sigtimedwait`.
fn notify_ready(task: &Task, signals: &ProcessSignals, signo: u32) {
    if task.signals.lock().awaited & bit(signo) != 0 {
        // The sleeper looks for itself; the flag is for delivery alone.
        recalculate(task, signals);
        sched::wake_interruptible(task, false);
    } else {
        notify(task, signo);
    }
}

/// Whether a thread would act on a signal.
fn wants(task: &Task, signo: u32) -> bool {
    task.blocked() & bit(signo) == 0 || task.signals.lock().awaited & bit(signo) != 0
}

/// Send a signal to one task. Permission has been checked.
///
/// # Errors
/// EAGAIN: the queue of a real-time signal is full.
pub fn send_to_task(task: &Task, info: SigInfo) -> KResult<()> {
    let process = &*task.process;
    let signo = info.signo;
    let limit = queued_limit(process);
    let mut signals = process.signals.lock();
    let continued = prepare(process, &mut signals, signo);
    let mut result = Ok(());
    let awaited = task.signals.lock().awaited | shown(task);
    if is_dropped(process, &signals, task.blocked() | awaited, signo) {
        // Nothing to deliver.
    } else if signo == SIGKILL {
        kill_all(process, &mut signals);
    } else if task.signals.lock().pending.push(info, limit) {
        process.signal_arrival.wake_all();
        if wants(task, signo) {
            notify_ready(task, &signals, signo);
        }
    } else {
        result = Err(Errno::EAGAIN);
    }
    drop(signals);
    if continued {
        stop::tell_continued(process);
    }
    result
}

/// Send a signal to a process. Permission has been checked.
///
/// # Errors
/// EAGAIN: the queue of a real-time signal is full.
pub fn send_to_process(process: &Process, info: SigInfo) -> KResult<()> {
    if process.is_dead() {
        return Ok(());
    }
    let signo = info.signo;
    let limit = queued_limit(process);
    let mut signals = process.signals.lock();
    let continued = prepare(process, &mut signals, signo);
    let result = queue_for_process(process, &mut signals, info, limit);
    drop(signals);
    if continued {
        stop::tell_continued(process);
    }
    result
}

fn queue_for_process(
    process: &Process,
    signals: &mut ProcessSignals,
    info: SigInfo,
    limit: usize,
) -> KResult<()> {
    let signo = info.signo;
    // A signal that one thread blocks or waits for is kept: that thread may be the one to get it.
    let kept = process.threads.lock().iter().fold(0, |set, t| {
        set | t.blocked() | t.signals.lock().awaited | shown(t)
    });
    if is_dropped(process, signals, kept, signo) {
        return Ok(());
    }
    if signo == SIGKILL {
        kill_all(process, signals);
        return Ok(());
    }
    if !signals.pending.push(info, limit) {
        return Err(Errno::EAGAIN);
    }
    process.signal_arrival.wake_all();
    // One thread is told: one that waits for the signal, else the first that does not block it.
    let threads = process.threads.lock();
    let waiting = threads
        .iter()
        .find(|t| t.signals.lock().awaited & bit(signo) != 0);
    if let Some(thread) = waiting.or_else(|| threads.iter().find(|t| wants(t, signo))) {
        notify_ready(thread, signals, signo);
    }
    Ok(())
}

/// SIGKILL: every thread ends, whatever it does.
fn kill_all(process: &Process, signals: &mut ProcessSignals) {
    if signals.exiting.is_none() {
        signals.exiting = Some(SIGKILL);
    }
    wake_exiting(process);
}

/// Have all threads notice that the process is ending.
pub fn wake_exiting(process: &Process) {
    for thread in process.threads.lock().iter() {
        notify(thread, SIGKILL);
    }
}

/// Send a signal to every process of a group. Gives the number of processes that got it.
/// Permission is not checked: the terminal's and the kernel's own signals.
pub fn send_to_group(pgid: u32, info: SigInfo) -> usize {
    let table = table::table();
    let mut count = 0;
    for process in table.group(pgid) {
        if !process.is_dead() && send_to_process(process, info).is_ok() {
            count += 1;
        }
    }
    count
}
