//! Stops at clone, exec and exit; children are traced as well.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::attach::link;
use super::state::{
    self, EVENT_CLONE, EVENT_EXEC, EVENT_EXIT, EVENT_FORK, EVENT_VFORK, EVENT_VFORK_DONE, Kind,
    O_TRACECLONE, O_TRACEEXEC, O_TRACEEXIT, O_TRACEFORK, O_TRACEVFORK, O_TRACEVFORKDONE, tracer,
};
use super::stop::stop;
use super::wait;
use crate::task::fork::{CLONE_PTRACE, CLONE_UNTRACED, CLONE_VFORK, CloneArgs};
use crate::task::signal::{self, SI_USER, SIGCHLD, SIGSTOP, SIGTRAP, SigInfo};
use crate::task::{self, Task, thread};

/// Stop for an event (`PTRACE_EVENT_…`) that tells `message`.
pub fn event(number: u32, message: u64) {
    stop_for(Kind::Event, number, message);
}

fn stop_for(kind: Kind, number: u32, message: u64) {
    let me = task::current();
    let Some(frame) = me.frame() else { return };
    state::with(me, |t| t.message = message);
    let code = SIGTRAP | number << 8;
    let info = SigInfo::from_sender(SIGTRAP, code as i32, me.tid(), 0);
    stop(frame, kind, code, Some(info));
}

fn options(task: &Task) -> u32 {
    state::with(task, |t| t.options).unwrap_or(0)
}

/// The running thread, which is traced, has made a child that has not run yet: the child is traced
/// as well if the tracer has asked for that. Gives the event that the parent has to stop for.
pub fn follow_child(me: &Task, child: &Arc<Task>, args: &CloneArgs) -> Option<u32> {
    if args.flags & CLONE_UNTRACED != 0 {
        return None;
    }
    let (event, option) = if args.flags & CLONE_VFORK != 0 {
        (EVENT_VFORK, O_TRACEVFORK)
    } else if args.exit_signal != SIGCHLD {
        (EVENT_CLONE, O_TRACECLONE)
    } else {
        (EVENT_FORK, O_TRACEFORK)
    };
    let (options, seized) = state::with(me, |t| (t.options, t.seized))?;
    let event = (options & option != 0).then_some(event);
    if event.is_none() && args.flags & CLONE_PTRACE == 0 {
        return None;
    }
    let tracer = tracer(me)?;
    link(child, &tracer, seized, options);
    if seized {
        child.set_flags(thread::TRAP);
    } else {
        // A standard signal: there is always room.
        let _ = signal::send_to_task(child, SigInfo::kernel(SIGSTOP));
    }
    event
}

/// The child of a vfork has released the running thread.
pub fn vfork_done(child: u32) {
    if options(task::current()) & O_TRACEVFORKDONE != 0 {
        event(EVENT_VFORK_DONE, u64::from(child));
    }
}

/// Whether set-user-id programs that the thread runs get no privileges: its tracer could take them
/// over.
pub fn denies_privileges(me: &Task) -> bool {
    me.is_traced() && tracer(me).is_some_and(|t| !t.creds.lock().is_privileged())
}

/// The running thread has taken the place of its process's first one, which is gone (exec).
pub fn became_leader(me: &Task) {
    let pid = tracer(me).map_or(0, |tracer| tracer.pid());
    me.process.leader_tracer.store(pid, Ordering::Relaxed);
}

/// The running thread, which is traced and was `old_tid`, has become another program.
pub fn executed(old_tid: u32) {
    let me = task::current();
    if options(me) & O_TRACEEXEC != 0 {
        event(EVENT_EXEC, u64::from(old_tid));
    } else if state::with(me, |t| t.seized) == Some(false) {
        let info = SigInfo::from_sender(SIGTRAP, SI_USER, me.tid(), 0);
        // A standard signal: there is always room.
        let _ = signal::send_to_task(me, info);
    }
}

/// The running thread is about to end with a wait status.
pub fn exiting(me: &Task, status: u32) {
    let status = me.process.signals.lock().exiting.unwrap_or(status);
    if options(me) & O_TRACEEXIT != 0 {
        stop_for(Kind::End, EVENT_EXIT, u64::from(status));
    }
}

/// The running thread has left its process. The end of a leader is its process's.
pub fn ended(me: &Arc<Task>, status: u32) {
    if me.is_leader() {
        return;
    }
    let status = me.process.signals.lock().exiting.unwrap_or(status);
    let Some(tracer) = tracer(me) else {
        return;
    };
    state::with(me, |t| t.ended = Some(status));
    wait::tell_of_end(&tracer, me.tid(), &me.process, status);
}
