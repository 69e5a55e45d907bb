//! Readiness: what `poll(2)` and its relatives ask of a file.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::{BitAnd, BitOr, BitOrAssign};

use crate::sync::{WaitQueue, Waiter};

/// A set of readiness events, with the bits of `poll(2)` and `epoll_ctl(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PollEvents(pub u32);

impl PollEvents {
    /// Something urgent can be read.
    pub const PRI: Self = Self(0x2);
    /// An error; for the write end of a pipe: nobody reads.
    pub const ERR: Self = Self(0x8);
    /// The other side is gone.
    pub const HUP: Self = Self(0x10);
    /// The descriptor is not open.
    pub const NVAL: Self = Self(0x20);
    /// The peer has shut down its writing half.
    pub const RDHUP: Self = Self(0x2000);
    /// Readable and writable, as regular files always are.
    pub const ALWAYS: Self = Self(0x1 | 0x4 | 0x40 | 0x100);
    /// IN and RDNORM.
    pub const READABLE: Self = Self(0x1 | 0x40);
    /// OUT and WRNORM.
    pub const WRITABLE: Self = Self(0x4 | 0x100);

    /// No event.
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Whether there is no event.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `self` and `other` share an event.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for PollEvents {
    type Output = Self;
    fn bitor(self, rhs: Self) -> Self {
        Self(self.0 | rhs.0)
    }
}

impl BitAnd for PollEvents {
    type Output = Self;
    fn bitand(self, rhs: Self) -> Self {
        Self(self.0 & rhs.0)
    }
}

impl BitOrAssign for PollEvents {
    fn bitor_assign(&mut self, rhs: Self) {
        self.0 |= rhs.0;
    }
}

/// The queues on which one `poll` call waits.
///
/// A file's `poll` adds its queues *before* it looks at its state, so that no wake-up between the
/// two is lost. All are left again when the table is dropped.
pub struct PollTable {
    waiter: Arc<Waiter>,
    queues: Vec<Arc<WaitQueue>>,
}

impl PollTable {
    /// A table for the running task.
    pub fn new() -> Self {
        Self {
            waiter: Waiter::new(),
            queues: Vec::new(),
        }
    }

    /// Wake the table's owner when `queue` is woken.
    pub fn add(&mut self, queue: &Arc<WaitQueue>) {
        queue.register(&self.waiter);
        self.queues.push(queue.clone());
    }

    /// Sleep until one of the queues is woken (true), or the monotonic clock reaches
    /// `deadline_ns` (false). EINTR-like error if a signal is pending.
    pub fn wait(&self, deadline_ns: Option<u64>) -> crate::errno::KResult<bool> {
        self.waiter.wait(deadline_ns)
    }
}

impl PollTable {
    /// Whether one of the queues has been woken since the last call.
    pub fn take_woken(&self) -> bool {
        let woken = self.waiter.is_woken();
        if woken {
            self.waiter.reset();
        }
        woken
    }
}

impl Default for PollTable {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for PollTable {
    fn drop(&mut self) {
        for queue in &self.queues {
            queue.unregister(&self.waiter);
        }
    }
}
