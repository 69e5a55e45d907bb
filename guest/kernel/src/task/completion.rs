//! An event that happens once, and the wait for it: how `vfork(2)` waits for exec or exit.

use core::sync::atomic::{AtomicBool, Ordering};

use crate::sync::WaitQueue;

/// A `vfork` parent's wait for its child.
pub struct Completion {
    done: AtomicBool,
    queue: WaitQueue,
}

impl Completion {
    /// Not done yet.
    pub const fn new() -> Self {
        Self {
            done: AtomicBool::new(false),
            queue: WaitQueue::new(),
        }
    }

    /// Let those who wait go on.
    pub fn complete(&self) {
        self.done.store(true, Ordering::SeqCst);
        self.queue.wake_all();
    }

    /// Wait; nothing but the end of the waiting process ends it early. (The child goes on to use the
    /// memory then, which it holds too.)
    pub fn wait(&self) {
        let me = super::current();
        me.killable.store(true, Ordering::SeqCst);
        self.queue.wait_uninterruptible(|| {
            let over = self.done.load(Ordering::SeqCst) || me.must_end();
            over.then_some(())
        });
        me.killable.store(false, Ordering::SeqCst);
    }
}
