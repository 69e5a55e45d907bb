//! A counting semaphore made of a futex.

use libc::{FUTEX_PRIVATE_FLAG, FUTEX_WAIT, FUTEX_WAKE, SYS_futex};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// Counts what may be taken; who finds none sleeps.
pub struct Semaphore(AtomicU32);

impl Semaphore {
    /// One that so many may pass at first.
    pub const fn new(value: u32) -> Self {
        Semaphore(AtomicU32::new(value))
    }

    /// Take one, and sleep until there is one (P, down).
    pub fn wait(&self) {
        while self
            .0
            .fetch_update(SeqCst, SeqCst, |value| value.checked_sub(1))
            .is_err()
        {
            let _ = call!(SYS_futex, &self.0, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, 0);
        }
    }

    /// Give one, and wake a sleeper (V, up).
    pub fn signal(&self) {
        self.0.fetch_add(1, SeqCst);
        ok!(SYS_futex, &self.0, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1);
    }
}
