//! Sleeping until a condition holds.
//!
//! The protocol that loses no wake-up: the sleeper enters the queue, clears its `woken` flag, tests
//! the condition, and sleeps only while the flag stays clear; whoever makes the condition true does
//! so first and then sets the flag of those in the queue. Whichever order the two interleave in, the
//! sleeper either sees the condition or finds its flag set.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use super::SpinLock;
use crate::errno::{Errno, KResult};
use crate::sched;
use crate::task::{self, Task};
use crate::time::timer;

/// One task's readiness to be woken by the queues it is registered with.
pub struct Waiter {
    task: *const Task,
    /// Keeps `task` alive; none in the waiter that lives inside its own task.
    _keep: Option<Arc<Task>>,
    woken: AtomicBool,
}

// SAFETY: the task is shared by all processors anyway, and outlives the waiter (`_keep`, or the
// waiter is a part of the task).
unsafe impl Send for Waiter {}
// SAFETY: as above; the flag is atomic.
unsafe impl Sync for Waiter {}

impl Waiter {
    /// A waiter for the current task, to be registered with any number of queues (poll).
    #[allow(clippy::new_without_default)]
    pub fn new() -> Arc<Self> {
        let task = task::current_arc();
        Arc::new(Self {
            task: Arc::as_ptr(&task),
            _keep: Some(task),
            woken: AtomicBool::new(false),
        })
    }

    /// The waiter that is a part of `task`.
    ///
    /// # Safety
    /// `task` outlives every use of the waiter by a queue: it may sleep with it, but must have left
    /// all queues before it dies.
    pub(crate) unsafe fn embedded(task: *const Task) -> Self {
        Self {
            task,
            _keep: None,
            woken: AtomicBool::new(false),
        }
    }

    /// Forget earlier wake-ups. Call it *before* the conditions are tested.
    #[inline]
    pub fn reset(&self) {
        // A swap, not a store: the tests that follow must not be done before it.
        self.woken.swap(false, Ordering::SeqCst);
    }

    /// True if a queue has woken this waiter since [`Self::reset`].
    #[inline]
    pub fn is_woken(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }

    /// Sleep until woken, or until `deadline_ns` (monotonic clock). Ok(true): woken (possibly
    /// before the call), and that wake-up is now forgotten, so that the caller tests its conditions
    /// anew before it waits again; Ok(false): the deadline has passed.
    ///
    /// # Errors
    /// ERESTARTSYS: a signal is pending.
    pub fn wait(&self, deadline_ns: Option<u64>) -> KResult<bool> {
        let woken = self.park(true, deadline_ns)?;
        if woken {
            self.reset();
        }
        Ok(woken)
    }

    /// Wake the task; true if this call did it.
    #[inline]
    pub(crate) fn wake(&self) -> bool {
        if self.woken.swap(true, Ordering::SeqCst) {
            return false;
        }
        // SAFETY: the task outlives the waiter.
        sched::wake(unsafe { &*self.task });
        true
    }

    fn park(&self, interruptible: bool, deadline: Option<u64>) -> KResult<bool> {
        let me = task::current();
        loop {
            if self.is_woken() {
                return Ok(true);
            }
            if interruptible && me.has_signal() {
                return Err(Errno::ERESTARTSYS);
            }
            if let Some(at) = deadline
                && crate::time::now_ns() >= at
            {
                return Ok(false);
            }
            let alarm = deadline.map(|at| timer::wake_at(at, me));
            me.prepare_sleep(interruptible);
            if self.is_woken() || (interruptible && me.has_signal()) {
                me.cancel_sleep();
            } else {
                sched::schedule();
            }
            if let Some(alarm) = alarm {
                timer::cancel(alarm);
            }
        }
    }
}

/// Tasks that wait for something.
pub struct WaitQueue {
    waiters: SpinLock<Vec<Arc<Waiter>>>,
}

impl WaitQueue {
    /// An empty queue.
    pub const fn new() -> Self {
        Self {
            waiters: SpinLock::new(Vec::new()),
        }
    }

    /// Sleep until `cond` gives a value. It is called at least once, also again after each wake-up.
    ///
    /// # Errors
    /// ERESTARTSYS: a signal is pending and `cond` does not hold.
    #[inline]
    pub fn wait<T>(&self, mut cond: impl FnMut() -> Option<T>) -> KResult<T> {
        if let Some(value) = cond() {
            return Ok(value);
        }
        match self.sleep(true, None, cond)? {
            Some(value) => Ok(value),
            // Without a deadline nothing times out.
            None => Err(Errno::EINTR),
        }
    }

    /// As [`Self::wait`], but signals do not end it: only for waits that are sure to be short.
    #[inline]
    pub fn wait_uninterruptible<T>(&self, mut cond: impl FnMut() -> Option<T>) -> T {
        if let Some(value) = cond() {
            return value;
        }
        loop {
            if let Ok(Some(value)) = self.sleep(false, None, &mut cond) {
                return value;
            }
        }
    }

    /// As [`Self::wait`], until `deadline_ns` of the monotonic clock; None: it has passed.
    ///
    /// # Errors
    /// ERESTARTSYS: a signal is pending and `cond` does not hold.
    #[inline]
    pub fn wait_deadline<T>(
        &self,
        deadline_ns: Option<u64>,
        mut cond: impl FnMut() -> Option<T>,
    ) -> KResult<Option<T>> {
        if let Some(value) = cond() {
            return Ok(Some(value));
        }
        self.sleep(true, deadline_ns, cond)
    }

    fn sleep<T>(
        &self,
        interruptible: bool,
        deadline: Option<u64>,
        mut cond: impl FnMut() -> Option<T>,
    ) -> KResult<Option<T>> {
        let waiter = task::current().waiter();
        self.register(waiter);
        let result = loop {
            waiter.reset();
            if let Some(value) = cond() {
                break Ok(Some(value));
            }
            match waiter.park(interruptible, deadline) {
                Ok(true) => {}
                // Woken or not, the condition may have come true together with the signal or the
                // end of the time: it goes first, so that a `wake_one` is never swallowed.
                Ok(false) => break Ok(cond()),
                Err(errno) => break cond().map_or(Err(errno), |value| Ok(Some(value))),
            }
        };
        self.unregister(waiter);
        // A wait inside the condition of another wait of this task may have taken that one's
        // wake-up: make it look again.
        waiter.woken.store(true, Ordering::SeqCst);
        result
    }

    /// Wake all that wait.
    #[inline]
    pub fn wake_all(&self) {
        let waiters = self.waiters.lock();
        for waiter in waiters.iter() {
            waiter.wake();
        }
    }

    /// Wake the one that has waited longest and has not been woken yet.
    #[inline]
    pub fn wake_one(&self) {
        let waiters = self.waiters.lock();
        for waiter in waiters.iter() {
            if waiter.wake() {
                break;
            }
        }
    }

    /// Have this queue wake `waiter` from now on.
    pub fn register(&self, waiter: &Arc<Waiter>) {
        self.waiters.lock().push(waiter.clone());
    }

    /// Undo one [`Self::register`].
    pub fn unregister(&self, waiter: &Arc<Waiter>) {
        let mut waiters = self.waiters.lock();
        // From the back: the one that leaves is mostly the one that came last.
        if let Some(at) = waiters.iter().rposition(|w| Arc::ptr_eq(w, waiter)) {
            waiters.remove(at);
        }
    }
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self::new()
    }
}
