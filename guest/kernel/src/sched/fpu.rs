//! Whose floating-point registers the processor holds.
//!
//! The registers stay with a task while others that use none (the idle task) run. They are saved
//! when another program gets the processor, or when somebody wants to see them.

use core::cell::Cell;

use super::MAX_CPUS;
use crate::arch::fpu::FpuState;
use crate::arch::percpu;
use crate::errno::KResult;
use crate::mm::user;
use crate::task::Task;

/// The owner of each processor's registers; null: nobody.
struct Owners([Cell<*const Task>; MAX_CPUS]);

// SAFETY: each processor uses its own element only.
unsafe impl Sync for Owners {}

static OWNERS: Owners = Owners([const { Cell::new(core::ptr::null()) }; MAX_CPUS]);

#[inline]
fn owner() -> &'static Cell<*const Task> {
    &OWNERS.0[percpu::this_cpu().id.get() as usize % MAX_CPUS]
}

/// The saved registers of a task.
///
/// # Safety
/// The task runs on this processor or on none, and there is no other reference.
#[allow(clippy::mut_from_ref)]
unsafe fn state(task: &Task) -> &mut FpuState {
    // SAFETY: by the caller's promise.
    unsafe { &mut *task.fpu.get() }
}

/// Put the registers of `next` into the processor.
pub(super) fn load(next: &Task) {
    let owner = owner();
    let old = owner.replace(next);
    if core::ptr::eq(old, next) {
        return;
    }
    // SAFETY: `forget` clears the pointer before a task is dropped; the two tasks differ, and both
    // belong to this processor now.
    unsafe {
        if !old.is_null() {
            state(&*old).save();
        }
        state(next).restore();
    }
}

/// The processor holds nothing of `task` any more.
pub(super) fn forget(task: &Task) {
    let owner = owner();
    if core::ptr::eq(owner.get(), task) {
        owner.set(core::ptr::null());
    }
}

/// Save the registers if the processor holds them, and look at them. `task` is the running one.
pub fn with_saved_fpu<T>(task: &Task, look: impl FnOnce(&FpuState) -> T) -> T {
    // SAFETY: the task is the running one.
    let state = unsafe { state(task) };
    if core::ptr::eq(owner().get(), task) {
        state.save();
    }
    look(state)
}

/// The saved registers of a task that has put them aside ([`super::put_aside`]).
///
/// # Safety
/// The task is stopped and stays so meanwhile; nobody else looks at its registers.
pub unsafe fn with_stopped_fpu<T>(task: &Task, look: impl FnOnce(&mut FpuState) -> T) -> T {
    // SAFETY: by the caller's promise.
    look(unsafe { state(task) })
}

/// The running task's registers as a signal frame shows them, freshly saved.
pub fn fpu_image(task: &Task) -> &[u8] {
    // SAFETY: the task is the running one; the image is only read.
    let state = unsafe { state(task) };
    if core::ptr::eq(owner().get(), task) {
        state.save();
    }
    state.signal_image()
}

/// Bytes of [`fpu_image`].
pub fn fpu_image_size() -> usize {
    FpuState::signal_image_size()
}

/// Load the running task's registers from a signal frame at user address `at`.
///
/// # Errors
/// EFAULT: not readable. EINVAL: reserved bits are set; the registers are as before.
pub fn load_fpu_image(task: &Task, at: usize) -> KResult<()> {
    /// Bytes of the FXSAVE image, which is all that many machines have.
    const FXSAVE: usize = 512;
    if fpu_image_size() <= FXSAVE {
        load_image_of::<FXSAVE>(task, at)
    } else {
        load_image_of::<{ FpuState::MAX_SIGNAL_IMAGE }>(task, at)
    }
}

fn load_image_of<const MAX: usize>(task: &Task, at: usize) -> KResult<()> {
    let mut image = [0; MAX];
    let image = &mut image[..fpu_image_size()];
    user::copy_from_user(image, at)?;
    // SAFETY: the task is the running one.
    let state = unsafe { state(task) };
    state.set_signal_image(image)?;
    owner().set(task);
    state.restore();
    Ok(())
}

/// Start values for the running task's registers (exec).
pub fn reset_fpu(task: &Task) {
    // SAFETY: the task is the running one.
    let state = unsafe { state(task) };
    state.reset();
    owner().set(task);
    state.restore();
}
