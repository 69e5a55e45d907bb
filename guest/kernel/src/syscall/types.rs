//! Structures that several calls exchange with programs.

use crate::errno::{Errno, KResult};
use crate::mm::user::{self, Pod};
use crate::time::SECOND;

/// `struct timespec`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct TimeSpec {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds.
    pub nsec: i64,
}

// SAFETY: integers without padding; any bit pattern is valid.
unsafe impl Pod for TimeSpec {}

impl TimeSpec {
    /// From nanoseconds.
    pub const fn from_ns(ns: u64) -> Self {
        Self {
            sec: (ns / SECOND) as i64,
            nsec: (ns % SECOND) as i64,
        }
    }

    /// In nanoseconds, at most u64::MAX / 2 (far beyond any clock here).
    ///
    /// # Errors
    /// EINVAL: negative, or a whole second or more of nanoseconds.
    pub fn to_ns(self) -> KResult<u64> {
        if self.sec < 0 || self.nsec < 0 || self.nsec >= SECOND as i64 {
            return Err(Errno::EINVAL);
        }
        Ok((self.sec as u64)
            .saturating_mul(SECOND)
            .saturating_add(self.nsec as u64)
            .min(u64::MAX / 2))
    }

    /// Read from user memory and convert; None for a null pointer.
    ///
    /// # Errors
    /// EFAULT, EINVAL.
    pub fn read_optional(at: usize) -> KResult<Option<u64>> {
        if at == 0 {
            Ok(None)
        } else {
            user::read_user::<Self>(at)?.to_ns().map(Some)
        }
    }
}

/// `struct timeval`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct TimeVal {
    /// Seconds.
    pub sec: i64,
    /// Microseconds.
    pub usec: i64,
}

// SAFETY: integers without padding; any bit pattern is valid.
unsafe impl Pod for TimeVal {}

impl TimeVal {
    /// From nanoseconds, rounded down.
    pub const fn from_ns(ns: u64) -> Self {
        Self {
            sec: (ns / SECOND) as i64,
            usec: (ns % SECOND / 1000) as i64,
        }
    }

    /// In nanoseconds.
    ///
    /// # Errors
    /// EINVAL: negative, or a whole second or more of microseconds.
    pub fn to_ns(self) -> KResult<u64> {
        if self.sec < 0 || self.usec < 0 || self.usec >= 1_000_000 {
            return Err(Errno::EINVAL);
        }
        Ok((self.sec as u64)
            .saturating_mul(SECOND)
            .saturating_add(self.usec as u64 * 1000)
            .min(u64::MAX / 2))
    }
}
