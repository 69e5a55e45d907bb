//! All threads hold still while a core image is written.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::sched;
use crate::task::signal;
use crate::task::{Task, current};

/// A core image is being written.
pub struct Dump {
    /// Number of the thread that writes it.
    writer: u32,
    /// The other threads that hold still.
    held: Vec<Arc<Task>>,
}

/// The process ends by `signo`, and all its other threads hold still: they come back, with their
/// registers put aside. None: the process is ending already.
pub(super) fn stop_others(signo: u32) -> Option<Vec<Arc<Task>>> {
    let me = current();
    let process = &*me.process;
    {
        let mut signals = process.signals.lock();
        if signals.exiting.is_some() || signals.exec_by.is_some() {
            return None;
        }
        signals.exiting = Some(signo);
        *process.dump.lock() = Some(Dump {
            writer: me.tid(),
            held: Vec::new(),
        });
        signal::wake_exiting(process);
    }
    sched::put_aside(me);
    // Each of them is on its way out, and either holds still or was past that point and is gone.
    process.thread_exit.wait_uninterruptible(|| {
        let dump = process.dump.lock();
        let held = dump.as_ref().map_or(0, |dump| dump.held.len());
        (held + 1 >= process.thread_count()).then_some(())
    });
    let held = process.dump.lock().as_ref().map(|dump| dump.held.clone());
    Some(held.unwrap_or_default())
}

/// The image is `written`, or cannot be: the threads go on to their end.
pub(super) fn release(written: bool) {
    let process = &*current().process;
    if written && let Some(status) = &mut process.signals.lock().exiting {
        *status |= super::DUMPED;
    }
    process.dump.lock().take();
    process.thread_exit.wake_all();
}

/// A thread is about to end: if a core image of its process is being written it waits until that
/// is done.
pub fn hold_still(me: &Arc<Task>) {
    let process = &*me.process;
    let waits = process
        .dump
        .lock()
        .as_ref()
        .is_some_and(|dump| dump.writer != me.tid());
    if !waits {
        return;
    }
    sched::put_aside(me);
    if let Some(dump) = &mut *process.dump.lock() {
        dump.held.push(me.clone());
    }
    process.thread_exit.wake_all();
    process
        .thread_exit
        .wait_uninterruptible(|| process.dump.lock().is_none().then_some(()));
}
