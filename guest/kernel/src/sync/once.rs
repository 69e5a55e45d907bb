//! Values that are made once, at first use or at boot.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU8, Ordering};

const EMPTY: u8 = 0;
const FILLING: u8 = 1;
const FULL: u8 = 2;

/// A cell that is filled at most once and read freely afterwards.
pub struct Once<T> {
    state: AtomicU8,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value is written once, before `state` becomes FULL, and only read afterwards.
unsafe impl<T: Send + Sync> Sync for Once<T> {}
// SAFETY: owning the cell is owning the value.
unsafe impl<T: Send> Send for Once<T> {}

impl<T> Once<T> {
    /// An empty cell.
    pub const fn new() -> Self {
        Self {
            state: AtomicU8::new(EMPTY),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// The value, if there is one.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        if self.state.load(Ordering::Acquire) == FULL {
            // SAFETY: FULL says that the value has been written, and nobody writes it again.
            Some(unsafe { (*self.value.get()).assume_init_ref() })
        } else {
            None
        }
    }

    /// The value; `make` is called if there is none yet. Another processor that comes at the same
    /// time waits. `make` must not ask for the same cell.
    pub fn call_once(&self, make: impl FnOnce() -> T) -> &T {
        if self.state.load(Ordering::Acquire) != FULL {
            match self
                .state
                .compare_exchange(EMPTY, FILLING, Ordering::Acquire, Ordering::Acquire)
            {
                Ok(_) => {
                    let value = make();
                    // SAFETY: FILLING keeps all others away from the cell.
                    unsafe { (*self.value.get()).write(value) };
                    self.state.store(FULL, Ordering::Release);
                }
                Err(_) => {
                    while self.state.load(Ordering::Acquire) != FULL {
                        core::hint::spin_loop();
                    }
                }
            }
        }
        // SAFETY: FULL has been seen, or written by this very call.
        unsafe { (*self.value.get()).assume_init_ref() }
    }

    /// Fill the cell; the value comes back if there was one already.
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.call_once(|| value.take().expect("the closure is called at most once"));
        match value {
            None => Ok(()),
            Some(value) => Err(value),
        }
    }
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for Once<T> {
    fn drop(&mut self) {
        if *self.state.get_mut() == FULL {
            // SAFETY: FULL says that the value has been written.
            unsafe { self.value.get_mut().assume_init_drop() };
        }
    }
}
