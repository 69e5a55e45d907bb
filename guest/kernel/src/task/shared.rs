//! Parts of a process that `clone(2)` may share with another one, and how it gets its own again.

use alloc::sync::Arc;

use super::Process;
use crate::errno::KResult;
use crate::sync::{OwnerCell, SpinLock, SpinLockGuard};

/// A part of a process that `clone` may share with another process.
pub struct Shared<T> {
    cell: OwnerCell<Arc<SpinLock<T>>>,
}

impl<T> Shared<T> {
    /// A part that begins as `value`.
    pub fn new(value: Arc<SpinLock<T>>) -> Self {
        Self {
            cell: OwnerCell::new(value),
        }
    }

    /// Lock the part.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> SpinLockGuard<'_, T> {
        // SAFETY: the part is replaced only by the process's last thread in exec and exit, and
        // those who look at other processes do it without sleeping.
        unsafe { self.cell.owner_ref() }.lock()
    }

    /// The part, to be shared with another process.
    pub fn share(&self) -> Arc<SpinLock<T>> {
        self.cell.get()
    }

    /// Whether another process uses the same part.
    pub fn is_shared(&self) -> bool {
        // SAFETY: as in `lock`.
        Arc::strong_count(unsafe { self.cell.owner_ref() }) > 1
    }

    /// Leave the part to the others, and go on with `value`.
    ///
    /// # Safety
    /// The caller is the only thread of the process and holds no lock of the part.
    pub unsafe fn replace(&self, value: T) -> Arc<SpinLock<T>> {
        // SAFETY: by the caller's promise.
        unsafe { self.cell.replace(Arc::new(SpinLock::new(value))) }
    }
}

impl Process {
    /// Get a copy of the descriptors, if another process uses the same.
    ///
    /// # Errors
    /// ENOMEM: memory is short.
    ///
    /// # Safety
    /// The caller is the only thread of the process and does not hold the descriptors' lock.
    pub unsafe fn part_files(&self) -> KResult<()> {
        if self.files.is_shared() {
            let copy = self.files.lock().fork()?;
            // SAFETY: by the caller's promise; the lock of the line above is free again.
            drop(unsafe { self.files.replace(copy) });
        }
        Ok(())
    }

    /// Get a copy of root, working directory and umask, if another process uses the same.
    ///
    /// # Safety
    /// As for [`Self::part_files`], with the lock of these.
    pub unsafe fn part_fs(&self) {
        if self.fs.is_shared() {
            let copy = self.fs.lock().clone();
            // SAFETY: as in `part_files`.
            drop(unsafe { self.fs.replace(copy) });
        }
    }
}
