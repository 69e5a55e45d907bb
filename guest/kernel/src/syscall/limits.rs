//! Resource limits and usage.

use super::types::TimeVal;
use crate::errno::{Errno, KResult};
use crate::mm::layout::PAGE;
use crate::mm::user::{Pod, read_user, write_user};
use crate::task::rlimit::{INFINITY, RLimit, Resource};
use crate::task::{self, Process, Usage, find_process};
use crate::time::itimer;

/// `struct rusage`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct RUsage {
    user: TimeVal,
    system: TimeVal,
    max_rss_kib: u64,
    ix_rss: u64,
    id_rss: u64,
    is_rss: u64,
    minor_faults: u64,
    major_faults: u64,
    swaps: u64,
    in_blocks: u64,
    out_blocks: u64,
    messages_sent: u64,
    messages_received: u64,
    signals: u64,
    voluntary: u64,
    involuntary: u64,
}

// SAFETY: integers without padding; any bit pattern is valid.
unsafe impl Pod for RUsage {}

const _: () = assert!(size_of::<RUsage>() == 144);

impl From<Usage> for RUsage {
    fn from(usage: Usage) -> Self {
        Self {
            user: TimeVal::from_ns(usage.user_ns),
            system: TimeVal::from_ns(usage.system_ns),
            max_rss_kib: usage.max_rss_kib,
            minor_faults: usage.minor_faults,
            major_faults: usage.major_faults,
            voluntary: usage.voluntary_switches,
            involuntary: usage.involuntary_switches,
            ..Self::default()
        }
    }
}

const RUSAGE_CHILDREN: i32 = -1;
const RUSAGE_SELF: i32 = 0;
const RUSAGE_THREAD: i32 = 1;

/// `getrusage(2)`
pub fn sys_getrusage(who: usize, at: usize) -> KResult<usize> {
    let me = task::current();
    let mut usage = match who as i32 {
        RUSAGE_SELF => me.process.usage(),
        RUSAGE_CHILDREN => me.process.child_usage(),
        RUSAGE_THREAD => me.usage(),
        _ => return Err(Errno::EINVAL),
    };
    if who as i32 != RUSAGE_CHILDREN
        && let Some(space) = me.process.own_space()
    {
        usage.max_rss_kib = usage.max_rss_kib.max((space.peak() * PAGE / 1024) as u64);
    }
    write_user(at, &RUsage::from(usage))?;
    Ok(0)
}

/// `getrlimit(2)`
pub fn sys_getrlimit(resource: usize, at: usize) -> KResult<usize> {
    let limit = task::current_process().rlimits.lock().get(resource)?;
    write_user(at, &limit)?;
    Ok(0)
}

/// `setrlimit(2)`
pub fn sys_setrlimit(resource: usize, at: usize) -> KResult<usize> {
    let limit: RLimit = read_user(at)?;
    set(task::current_process(), resource, limit)?;
    Ok(0)
}

/// `prlimit64(2)`
pub fn sys_prlimit64(pid: usize, resource: usize, new: usize, old: usize) -> KResult<usize> {
    let me = task::current_process();
    let other;
    let process: &Process = if pid as u32 == 0 || pid as u32 == me.pid() {
        me
    } else {
        other = find_process(pid as u32).ok_or(Errno::ESRCH)?;
        // The same user on both sides, or root.
        let (mine, theirs) = (me.creds.lock().clone(), other.creds.lock().clone());
        let same = [theirs.uid, theirs.euid, theirs.suid]
            .iter()
            .all(|&uid| uid == mine.uid)
            && [theirs.gid, theirs.egid, theirs.sgid]
                .iter()
                .all(|&gid| gid == mine.gid);
        if !mine.is_privileged() && !same {
            return Err(Errno::EPERM);
        }
        &other
    };
    let previous = process.rlimits.lock().get(resource)?;
    if new != 0 {
        set(process, resource, read_user(new)?)?;
    }
    if old != 0 {
        write_user(old, &previous)?;
    }
    Ok(0)
}

fn set(process: &Process, resource: usize, limit: RLimit) -> KResult<()> {
    let privileged = task::current_process().creds.lock().is_privileged();
    if resource == Resource::Files as usize && limit.max > crate::fs::MAX_FDS as u64 {
        return Err(Errno::EPERM);
    }
    process.rlimits.lock().set(resource, limit, privileged)?;
    if resource == Resource::Cpu as usize {
        itimer::cpu_limit_changed(process);
    }
    let memory = [Resource::AddressSpace, Resource::Stack, Resource::Data];
    if memory.iter().any(|&r| r as usize == resource)
        && let Some(space) = process.space()
    {
        let limits = *process.rlimits.lock();
        let bytes = |resource| match limits.soft(resource) {
            INFINITY => usize::MAX,
            limit => limit as usize,
        };
        space.set_limits(
            bytes(Resource::AddressSpace),
            bytes(Resource::Stack),
            bytes(Resource::Data),
        );
    }
    Ok(())
}
