//! A value that its owner reads without a lock, while others may look at it too.

use core::cell::UnsafeCell;

use super::SpinLock;

/// A value that only its owner replaces. The owner reads it for nothing (no lock, no reference
/// count); anybody else takes a copy under the lock.
///
/// Used for what a task asks for in every system call (descriptors, address space) and what
/// others rarely look at (`/proc`).
pub struct OwnerCell<T> {
    value: UnsafeCell<T>,
    lock: SpinLock<()>,
}

// SAFETY: others than the owner only clone the value, under the lock that the owner takes to
// replace it; the owner alone reads without it, and never while it replaces it itself.
unsafe impl<T: Send + Sync> Sync for OwnerCell<T> {}
// SAFETY: owning the cell is owning the value.
unsafe impl<T: Send> Send for OwnerCell<T> {}

impl<T> OwnerCell<T> {
    /// A cell that holds `value`.
    pub const fn new(value: T) -> Self {
        Self {
            value: UnsafeCell::new(value),
            lock: SpinLock::new(()),
        }
    }

    /// The value.
    ///
    /// # Safety
    /// The caller is the owner, and does not replace the value while it uses the reference.
    #[inline]
    pub unsafe fn owner_ref(&self) -> &T {
        // SAFETY: only the owner writes, and it does not do so now.
        unsafe { &*self.value.get() }
    }

    /// Put in another value; the old one comes back.
    ///
    /// # Safety
    /// The caller is the owner and holds no reference to the value.
    pub unsafe fn replace(&self, value: T) -> T {
        let _guard = self.lock.lock();
        // SAFETY: others read under the lock; the owner is here.
        unsafe { core::mem::replace(&mut *self.value.get(), value) }
    }

    /// A copy, for others than the owner.
    pub fn get(&self) -> T
    where
        T: Clone,
    {
        let _guard = self.lock.lock();
        // SAFETY: the owner replaces the value only under the lock.
        unsafe { (*self.value.get()).clone() }
    }
}
