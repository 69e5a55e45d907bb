//! The context switch, and the registers that only programs use.
//!
//! Address space, FS and GS bases and FPU are exchanged only when another *program* gets the
//! processor: a detour through the idle task leaves them alone.

use core::cell::Cell;
use core::sync::atomic::Ordering;

use gnomon_sched::Arrival;

use super::{MAX_CPUS, drop_dead, enqueue, fpu};
use crate::arch::{context, percpu, tls};
use crate::task::Task;
use crate::task::thread::state;

/// What one processor holds of programs.
struct Loaded {
    /// The task whose FS and GS bases are in the registers; null: nobody's.
    bases: Cell<*const Task>,
    /// The task that has just been switched away from.
    prev: Cell<*const Task>,
}

/// One for each processor.
struct PerProcessor([Loaded; MAX_CPUS]);

// SAFETY: each processor uses its own element only.
unsafe impl Sync for PerProcessor {}

static LOADED: PerProcessor = PerProcessor(
    [const {
        Loaded {
            bases: Cell::new(core::ptr::null()),
            prev: Cell::new(core::ptr::null()),
        }
    }; MAX_CPUS],
);

#[inline]
fn loaded() -> &'static Loaded {
    &LOADED.0[percpu::this_cpu().id.get() as usize % MAX_CPUS]
}

/// Give the processor to `next`; returns when somebody gives it back to `prev`.
pub(super) fn switch(prev: &Task, next: &Task) {
    if let Some(space) = next.process.own_space() {
        space.activate();
        load_bases(next);
        fpu::load(next);
        percpu::set_kernel_stack(next.stack_top());
    }
    percpu::set_current(core::ptr::from_ref(next).cast());
    if next.work_flags() != 0 || super::slice_due() {
        percpu::set_work();
    } else {
        percpu::clear_work();
    }
    loaded().prev.set(prev);
    // SAFETY: `next` was saved by an earlier switch, or is new; its run queue gave it to this
    // processor alone. `prev` runs on this processor.
    unsafe { context::switch(prev.context.get(), next.context.get()) };
    finish_switch();
}

/// Second half of a switch, on the stack of the task that now runs: the one before is off the
/// processor.
pub fn finish_switch() {
    let prev = loaded().prev.replace(core::ptr::null());
    if !prev.is_null() {
        // SAFETY: a task that has ended is dropped below, after this; others are alive.
        let prev = unsafe { &*prev };
        prev.on_cpu.swap(false, Ordering::SeqCst);
        if prev.state.load(Ordering::SeqCst) == state::WAKING {
            enqueue(prev, Arrival::Woken);
        }
        if prev.state.load(Ordering::SeqCst) == state::DEAD {
            drop_dead();
        }
    }
}

/// Exchange the FS and GS bases for those of `next`.
fn load_bases(next: &Task) {
    let loaded = loaded();
    let old = loaded.bases.replace(next);
    if core::ptr::eq(old, next) {
        return;
    }
    let mut old_gs = 0;
    if !old.is_null() {
        // SAFETY: `forget` clears the pointer before a task is dropped.
        let old = unsafe { &*old };
        if tls::programs_can_set_bases() {
            old.fs_base.store(tls::fs_base(), Ordering::Relaxed);
        }
        old_gs = old.gs_base.load(Ordering::Relaxed);
    }
    tls::set_fs_base(next.fs_base.load(Ordering::Relaxed));
    let gs = next.gs_base.load(Ordering::Relaxed);
    if gs != old_gs {
        tls::set_gs_base(gs);
    }
}

/// The processor holds nothing of `task` any more: it has ended.
pub fn forget(task: &Task) {
    let loaded = loaded();
    if core::ptr::eq(loaded.bases.get(), task) {
        loaded.bases.set(core::ptr::null());
        if task.gs_base.load(Ordering::Relaxed) != 0 {
            tls::set_gs_base(0);
        }
    }
    fpu::forget(task);
}

/// Bring all registers of the running program that the processor still holds to where others can
/// see and change them ([`super::with_stopped_fpu`]); they are loaded anew when it runs again.
pub fn put_aside(task: &Task) {
    task.fs_base.store(user_fs_base(task), Ordering::Relaxed);
    super::with_saved_fpu(task, |_| ());
    forget(task);
}

/// Set the running program's FS base, which must be canonical.
pub fn set_fs_base(task: &Task, base: usize) {
    task.fs_base.store(base, Ordering::Relaxed);
    tls::set_fs_base(base);
}

/// Set the running program's GS base, which must be canonical.
pub fn set_gs_base(task: &Task, base: usize) {
    task.gs_base.store(base, Ordering::Relaxed);
    tls::set_gs_base(base);
}

/// The running program's FS base.
pub fn user_fs_base(task: &Task) -> usize {
    if tls::programs_can_set_bases() {
        tls::fs_base()
    } else {
        task.fs_base.load(Ordering::Relaxed)
    }
}

/// The running program's GS base.
pub fn user_gs_base(task: &Task) -> usize {
    task.gs_base.load(Ordering::Relaxed)
}
