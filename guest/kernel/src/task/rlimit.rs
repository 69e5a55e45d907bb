//! Resource limits (`getrlimit(2)`).

use crate::errno::{Errno, KResult};
use crate::task;
use crate::task::signal::{self, SIGXFSZ, SigInfo};

/// No limit.
pub const INFINITY: u64 = u64::MAX;

/// Resources, with Linux's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
#[allow(clippy::upper_case_acronyms)]
pub enum Resource {
    /// Seconds of processor time.
    Cpu = 0,
    /// Bytes of the largest file that may be written.
    FileSize = 1,
    /// Bytes of data segment.
    Data = 2,
    /// Bytes of stack.
    Stack = 3,
    /// Bytes of core file.
    Core = 4,
    /// Processes of the user.
    Processes = 6,
    /// One more than the highest descriptor.
    Files = 7,
    /// Bytes of locked memory.
    LockedMemory = 8,
    /// Bytes of address space.
    AddressSpace = 9,
    /// Signals that may be queued.
    PendingSignals = 11,
    /// Bytes of POSIX message queues.
    MessageQueues = 12,
}

/// Number of resources (`RLIM_NLIMITS`).
pub const COUNT: usize = 16;

/// A soft and a hard limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RLimit {
    /// What is enforced.
    pub cur: u64,
    /// Up to where `cur` may be raised without privilege.
    pub max: u64,
}

// SAFETY: two integers; any bit pattern is valid and there is no padding.
unsafe impl crate::mm::user::Pod for RLimit {}

/// How many bytes the running process may write to a regular file at `offset` (RLIMIT_FSIZE).
///
/// # Errors
/// EFBIG: none; SIGXFSZ has been sent.
pub fn file_room(offset: u64) -> KResult<u64> {
    let me = task::current();
    let limit = me.process.rlimit(Resource::FileSize);
    if offset >= limit {
        // A standard signal: there is always room.
        let _ = signal::send_to_task(me, SigInfo::kernel(SIGXFSZ));
        return Err(Errno::EFBIG);
    }
    Ok(limit - offset)
}

/// How many bytes of memory the running process may lock (RLIMIT_MEMLOCK); root: any number.
pub fn lockable_bytes() -> usize {
    let process = task::current_process();
    if process.creds.lock().is_privileged() {
        return usize::MAX;
    }
    usize::try_from(process.rlimit(Resource::LockedMemory)).unwrap_or(usize::MAX)
}

/// All limits of a process.
#[derive(Clone, Copy, Debug)]
pub struct RLimits([RLimit; COUNT]);

impl RLimits {
    /// Limits of the first process.
    pub fn initial() -> Self {
        const fn both(cur: u64, max: u64) -> RLimit {
            RLimit { cur, max }
        }
        let mut limits = [both(INFINITY, INFINITY); COUNT];
        limits[Resource::Stack as usize] = both(8 << 20, INFINITY);
        limits[Resource::Core as usize] = both(0, INFINITY);
        limits[Resource::Processes as usize] = both(1024, 1024);
        limits[Resource::Files as usize] = both(1024, 4096);
        limits[Resource::LockedMemory as usize] = both(8 << 20, 8 << 20);
        limits[Resource::PendingSignals as usize] = both(1024, 1024);
        limits[Resource::MessageQueues as usize] = both(819_200, 819_200);
        // Nice, real-time priority.
        limits[13] = both(0, 0);
        limits[14] = both(0, 0);
        Self(limits)
    }

    /// The soft limit of a resource.
    #[inline]
    pub fn soft(&self, resource: Resource) -> u64 {
        self.0[resource as usize].cur
    }

    /// The limit with Linux's number.
    ///
    /// # Errors
    /// EINVAL: there is no such resource.
    pub fn get(&self, number: usize) -> KResult<RLimit> {
        self.0.get(number).copied().ok_or(Errno::EINVAL)
    }

    /// Change a limit.
    ///
    /// # Errors
    /// EINVAL: no such resource, or soft above hard. EPERM: raising the hard limit without
    /// privilege.
    pub fn set(&mut self, number: usize, limit: RLimit, privileged: bool) -> KResult<()> {
        let old = self.0.get_mut(number).ok_or(Errno::EINVAL)?;
        if limit.cur > limit.max {
            return Err(Errno::EINVAL);
        }
        if limit.max > old.max && !privileged {
            return Err(Errno::EPERM);
        }
        *old = limit;
        Ok(())
    }
}
