//! Handlers of device interrupts.

use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::{apic, idt};
use crate::errno::{Errno, KResult};

/// Vectors that devices can have.
const VECTORS: usize = 64;

/// A handler: runs on the interrupted task's kernel stack with interrupts off and must not sleep.
pub type Handler = fn();

static HANDLERS: [AtomicPtr<()>; VECTORS] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; VECTORS];
static COUNTS: [AtomicU64; VECTORS] = [const { AtomicU64::new(0) }; VECTORS];

/// Calls `handler` at each interrupt of `vector` (from `idt::DEVICE_BASE` on, 64 of them).
/// Several handlers do not share a vector: `EBUSY`.
pub fn register(vector: u8, handler: Handler) -> KResult<()> {
    let slot = usize::from(vector).wrapping_sub(usize::from(idt::DEVICE_BASE));
    let slot = HANDLERS.get(slot).ok_or(Errno::EINVAL)?;
    slot.compare_exchange(
        core::ptr::null_mut(),
        handler as *mut (),
        Ordering::Release,
        Ordering::Relaxed,
    )
    .map(|_| ())
    .map_err(|_| Errno::EBUSY)
}

/// How often `vector` has come (for /proc/interrupts).
pub fn count(vector: u8) -> u64 {
    let slot = usize::from(vector).wrapping_sub(usize::from(idt::DEVICE_BASE));
    COUNTS.get(slot).map_or(0, |c| c.load(Ordering::Relaxed))
}

/// Runs the handler of a device vector and ends the interrupt.
pub(super) fn handle(vector: u8) {
    let slot = usize::from(vector).wrapping_sub(usize::from(idt::DEVICE_BASE));
    if let Some(handler) = HANDLERS.get(slot) {
        let handler = handler.load(Ordering::Acquire);
        COUNTS[slot].store(COUNTS[slot].load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        if !handler.is_null() {
            // SAFETY: `register` stored a `Handler`, nothing else ever does.
            let handler: Handler = unsafe { core::mem::transmute::<*mut (), Handler>(handler) };
            handler();
        }
    }
    apic::eoi();
}
