//! A sleeping lock: exclusion between tasks, for sections that may wait for a device.

use core::cell::UnsafeCell;
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU8, Ordering};

use super::WaitQueue;

/// Nobody holds the lock.
const FREE: u8 = 0;
/// Somebody holds it, and nobody waits.
const HELD: u8 = 1;
/// Somebody holds it, and others may wait.
const WAITED_FOR: u8 = 2;

/// A value that one task at a time may use. The holder may sleep; interrupt handlers may not take it.
///
/// Not fair: a task that comes by when the lock has just been released may get it before one that
/// has been woken for it.
pub struct Mutex<T: ?Sized> {
    /// [`FREE`], [`HELD`] or [`WAITED_FOR`]: who takes the lock after a wait leaves the last, since it
    /// does not know of others.
    state: AtomicU8,
    waiters: WaitQueue,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands the value to one task at a time, which may run on another processor.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
// SAFETY: owning the lock is owning the value.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}

impl<T> Mutex<T> {
    /// An unlocked lock around `value`.
    pub const fn new(value: T) -> Self {
        Self {
            state: AtomicU8::new(FREE),
            waiters: WaitQueue::new(),
            value: UnsafeCell::new(value),
        }
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Take the lock, sleeping (not interruptible) until it is free.
    #[inline(always)]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        if !self.take() {
            self.wait();
        }
        MutexGuard { lock: self }
    }

    /// Take the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.take().then(|| MutexGuard { lock: self })
    }

    #[inline(always)]
    fn take(&self) -> bool {
        self.state
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    #[cold]
    #[inline(never)]
    fn wait(&self) {
        self.waiters.wait_uninterruptible(|| {
            (self.state.swap(WAITED_FOR, Ordering::AcqRel) == FREE).then_some(())
        });
    }

    #[cold]
    #[inline(never)]
    fn wake(&self) {
        self.waiters.wake_one();
    }

    /// The value, without locking: nobody else can have a reference to it.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(guard) => f.debug_tuple("Mutex").field(&&*guard).finish(),
            None => f.write_str("Mutex(<locked>)"),
        }
    }
}

/// Access to the value of a [`Mutex`] that is held.
#[must_use = "the lock is released when the guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    lock: &'a Mutex<T>,
}

// SAFETY: a shared guard gives out shared references only.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard exists only while its holder has the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard exists only while its holder has the lock.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.lock.state.swap(FREE, Ordering::AcqRel) == WAITED_FOR {
            self.lock.wake();
        }
    }
}
