//! Locks and sleeping: what the rest of the kernel waits with.
//!
//! | type | holder may sleep | for |
//! |---|---|---|
//! | [`SpinLock`] | no | short critical sections, interrupt handlers |
//! | [`Mutex`] | yes | sections that do input and output |
//! | [`WaitQueue`] | — | waiting until a condition holds |
//! | [`Once`] | no | values made at first use |
//! | [`OwnerCell`] | no | values that one task owns and others rarely look at |
//!
//! The kernel runs with interrupts disabled and is never preempted, so on one processor a spin lock
//! is never found taken; nothing here relies on that for exclusion, though, only for speed.
//!
//! Lock order, outermost first: process table, a process's children, a process's signals, a task's
//! signals, a futex bucket, a wait queue, the timer queue, a run queue.

mod mutex;
mod once;
mod owned;
mod spin;
mod wait;

pub use mutex::{Mutex, MutexGuard};
pub use once::Once;
pub use owned::OwnerCell;
pub use spin::{SpinLock, SpinLockGuard};
pub use wait::{WaitQueue, Waiter};
