//! Signals (`signal(7)`).
//!
//! | step | where |
//! |---|---|
//! | a signal is sent: permission, ignored or not, queued, its receiver woken | `send.rs` |
//! | it is taken before the receiver returns to ring 3, and acted upon | `deliver.rs` |
//! | a handler's frame is built, and taken apart by sigreturn | `frame.rs` |
//! | stop and continue | `stop.rs` |
//!
//! Everything is guarded by the receiver's process's signal lock; a task's `SIGNAL` flag says that it
//! has something to look at, and interrupts its sleep.

pub mod action;
mod deliver;
mod frame;
pub mod info;
mod pending;
mod send;
mod set;
pub mod signalfd;
pub(in crate::task) mod state;
mod stop;

pub use deliver::{deliver, fault, force};
pub use frame::{max_size as max_frame_size, sigreturn};
pub use info::*;
pub use send::{
    may_signal, queued_limit, send_to_group, send_to_process, send_to_task, wake_exiting,
};
pub use set::*;
pub use state::{AltStack, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK, Stop, Unreported};
pub use stop::{is_orphaned, orphaned_stopped};
pub(in crate::task) use stop::{tell_parent, thread_ended};

use core::sync::atomic::Ordering;

use super::Process;
use super::thread::{self, Task};
use crate::task;

/// Bring a task's `SIGNAL` flag up to date: whether there is anything to look at. The caller holds
/// the signal lock of its process, whose contents are `process`.
pub(in crate::task) fn recalculate(task: &Task, process: &state::ProcessSignals) {
    let signals = task.signals.lock();
    let ready =
        (signals.pending.set() | process.pending.set()) & !task.blocked.load(Ordering::Relaxed);
    let must_look = ready != 0
        || process.exiting.is_some()
        || process.exec_by.is_some_and(|tid| tid != task.tid())
        || (matches!(
            process.stop,
            state::Stop::Stopping { .. } | state::Stop::Stopped { .. }
        ) && !signals.stopped);
    drop(signals);
    if must_look {
        task.set_flags(thread::SIGNAL);
    } else {
        task.clear_flags(thread::SIGNAL);
    }
}

/// Change the blocked signals of the running task.
pub fn set_blocked(mask: SigSet) {
    let task = task::current();
    let process = task.process.signals.lock();
    task.blocked.store(mask & !UNBLOCKABLE, Ordering::Relaxed);
    recalculate(task, &process);
}

/// Block `mask` for the rest of a system call that ends by a signal (`sigsuspend`, `ppoll`,
/// `pselect6`, `epoll_pwait`): the old mask comes back when that signal has been dealt with, or by
/// [`restore_saved_mask`].
pub fn set_temporary_mask(mask: SigSet) {
    let task = task::current();
    let old = task.blocked();
    task.signals.lock().saved_mask = Some(old);
    set_blocked(mask);
}

/// Go back to the mask before [`set_temporary_mask`], unless a signal is about to be handled, which
/// will then do it.
pub fn restore_saved_mask(interrupted: bool) {
    if interrupted {
        return;
    }
    let saved = task::current().signals.lock().saved_mask.take();
    if let Some(mask) = saved {
        set_blocked(mask);
    }
}

/// Signals that are pending for the running task or its process, blocked ones included.
pub fn pending_set() -> SigSet {
    let task = task::current();
    let process = task.process.signals.lock();
    task.signals.lock().pending.set() | process.pending.set()
}

/// What `/proc` tells of a thread's signals.
pub struct Facts {
    /// Pending for the thread alone.
    pub own: SigSet,
    /// Pending for the process.
    pub shared: SigSet,
    /// How many are queued.
    pub queued: u32,
    /// Ignored.
    pub ignored: SigSet,
    /// Caught by a handler.
    pub caught: SigSet,
}

/// The signals of a thread.
pub fn facts(process: &Process, task: &Task) -> Facts {
    let signals = process.signals.lock();
    let own = task.signals.lock().pending.set();
    let shared = signals.pending.set();
    let (mut ignored, mut caught) = (0, 0);
    for signo in 1..=COUNT {
        let action = signals.actions.get(signo);
        if action.has_handler() {
            caught |= bit(signo);
        } else if action.handler == action::SIG_IGN {
            ignored |= bit(signo);
        }
    }
    Facts {
        own,
        shared,
        queued: (own | shared).count_ones(),
        ignored,
        caught,
    }
}

/// Take the next signal of `set` from a task or its process. The caller holds the lock.
fn take(task: &Task, process: &mut state::ProcessSignals, set: SigSet) -> Option<SigInfo> {
    let own = task.signals.lock().pending.take(set);
    let mut info = own.or_else(|| process.pending.take(set))?;
    if info.code == SI_TIMER {
        crate::time::posix::taken(&task.process, &mut info);
    }
    Some(info)
}

/// Take a pending signal of `set` although it is blocked (`sigtimedwait`, signalfd).
pub fn take_pending(set: SigSet) -> Option<SigInfo> {
    let task = task::current();
    let mut process = task.process.signals.lock();
    let info = take(task, &mut process, set);
    if info.is_some() {
        recalculate(task, &process);
    }
    info
}

/// Set the action for a signal (None: leave it); the old one comes back. Signals that are ignored
/// under the new action are forgotten.
pub fn change_action(signo: u32, new: Option<action::SigAction>) -> action::SigAction {
    let process = task::current_process();
    let mut signals = process.signals.lock();
    let old = *signals.actions.get(signo);
    if let Some(mut new) = new {
        new.mask &= !UNBLOCKABLE;
        *signals.actions.get_mut(signo) = new;
        if new.ignores(signo) {
            signals.pending.discard(bit(signo));
            for thread in process.threads.lock().iter() {
                thread.signals.lock().pending.discard(bit(signo));
            }
        }
    }
    old
}

/// Whether the running task ignores or blocks a signal.
pub fn is_ignored_or_blocked(signo: u32) -> bool {
    let task = task::current();
    task.blocked() & bit(signo) != 0
        || task.process.signals.lock().actions.get(signo).handler == action::SIG_IGN
}

/// `sigtimedwait`: take a pending signal of `set`, waiting for one until `deadline` (monotonic).
///
/// # Errors
/// EAGAIN: the time is over. EINTR: another signal was handled.
pub fn wait_for(set: SigSet, deadline: Option<u64>) -> crate::errno::KResult<SigInfo> {
    use crate::errno::Errno;
    if let Some(info) = take_pending(set) {
        return Ok(info);
    }
    let task = task::current();
    task.signals.lock().awaited = set;
    let result = task
        .process
        .signal_arrival
        .wait_deadline(deadline, || take_pending(set));
    task.signals.lock().awaited = 0;
    match result {
        Ok(Some(info)) => Ok(info),
        Ok(None) => Err(Errno::EAGAIN),
        Err(_) => Err(Errno::EINTR),
    }
}

/// Smallest alternate stack (`MINSIGSTKSZ`).
const MINSIGSTKSZ: usize = 2048;

/// `sigaltstack(2)` of the running task, whose stack pointer is `sp`: the stack in use comes back,
/// `new` takes its place.
///
/// # Errors
/// EPERM: it runs on the stack right now. EINVAL: unknown flags. ENOMEM: too small.
pub fn set_altstack(new: Option<AltStack>, sp: usize) -> crate::errno::KResult<AltStack> {
    use crate::errno::Errno;
    let mut signals = task::current().signals.lock();
    let on_stack = signals.alt.holds(sp);
    let mut old = signals.alt;
    old.flags = if !old.is_enabled() {
        SS_DISABLE
    } else if on_stack {
        SS_ONSTACK
    } else {
        old.flags & SS_AUTODISARM
    };
    if let Some(new) = new {
        if on_stack {
            return Err(Errno::EPERM);
        }
        let mode = new.flags & !SS_AUTODISARM;
        if mode != 0 && mode != SS_DISABLE && mode != SS_ONSTACK {
            return Err(Errno::EINVAL);
        }
        signals.alt = if mode == SS_DISABLE {
            AltStack::NONE
        } else if new.size < MINSIGSTKSZ {
            return Err(Errno::ENOMEM);
        } else {
            AltStack::new(new.base, new.flags & SS_AUTODISARM, new.size)
        };
    }
    Ok(old)
}

/// Sigreturn's part of [`set_altstack`].
pub(in crate::task) fn restore_altstack(stack: AltStack, sp: usize) -> crate::errno::KResult<()> {
    let current = task::current().signals.lock().alt;
    if current.is_enabled() && current.base == stack.base && current.size == stack.size {
        return Ok(());
    }
    set_altstack(Some(stack), sp).map(|_| ())
}
