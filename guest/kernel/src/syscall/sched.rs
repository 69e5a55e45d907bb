//! Scheduling: nice values, policies, affinity, and what threads may rely on when they take turns.
//!
//! The real-time policies of Linux are accepted and remembered, but everybody is scheduled by the
//! kernel's one policy.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::types::TimeSpec;
use crate::errno::{Errno, KResult};
use crate::mm::user::{self, read_user, write_user};
use crate::sched;
use crate::task::signal;
use crate::task::table::table;
use crate::task::{self, Process, Task, find_task};

/// `sched_yield(2)`
pub fn sys_sched_yield() -> KResult<usize> {
    sched::yield_now();
    Ok(0)
}

/// The task with number `tid`; 0: the running one.
fn task_of(tid: usize) -> KResult<Arc<Task>> {
    if (tid as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    if tid as u32 == 0 {
        Ok(task::current_arc())
    } else {
        find_task(tid as u32).ok_or(Errno::ESRCH)
    }
}

const PRIO_PROCESS: usize = 0;
const PRIO_PGRP: usize = 1;
const PRIO_USER: usize = 2;

/// Call `act` for every task that `which` and `who` name; false if there is none.
fn each(which: usize, who: usize, mut act: impl FnMut(&Task)) -> KResult<bool> {
    let me = task::current();
    let who = who as u32;
    let mut any = false;
    if which == PRIO_PROCESS {
        if let Some(task) = if who == 0 {
            Some(task::current_arc())
        } else {
            find_task(who)
        } {
            act(&task);
            any = true;
        }
        return Ok(any);
    }
    let wanted: alloc::boxed::Box<dyn Fn(&Process) -> bool> = match which {
        PRIO_PGRP => {
            let pgid = if who == 0 { me.process.pgid() } else { who };
            alloc::boxed::Box::new(move |p| p.pgid() == pgid)
        }
        PRIO_USER => {
            let uid = if who == 0 {
                me.process.creds.lock().uid
            } else {
                who
            };
            alloc::boxed::Box::new(move |p| p.creds.lock().uid == uid)
        }
        _ => return Err(Errno::EINVAL),
    };
    let table = table();
    for process in table.processes().filter(|p| wanted(p)) {
        for thread in process.threads() {
            act(&thread);
            any = true;
        }
    }
    Ok(any)
}

/// `getpriority(2)`: the system call gives 20 - nice, so that no value looks like an error.
pub fn sys_getpriority(which: usize, who: usize) -> KResult<usize> {
    let mut lowest = i8::MAX;
    if !each(which, who, |task| lowest = lowest.min(task.nice()))? {
        return Err(Errno::ESRCH);
    }
    Ok((20 - isize::from(lowest)) as usize)
}

/// `setpriority(2)`
pub fn sys_setpriority(which: usize, who: usize, nice: usize) -> KResult<usize> {
    let nice = (nice as i32).clamp(-20, 19) as i8;
    let (euid, privileged) = {
        let creds = task::current_process().creds.lock();
        (creds.euid, creds.is_privileged())
    };
    let mut result = Ok(0);
    let any = each(which, who, |task| {
        let (uid, owner) = {
            let creds = task.process.creds.lock();
            (creds.uid, creds.euid)
        };
        if !privileged && euid != uid && euid != owner {
            result = Err(Errno::EPERM);
        } else if !privileged && nice < task.nice() {
            result = Err(Errno::EACCES);
        } else {
            sched::set_nice(task, nice);
        }
    })?;
    if any { result } else { Err(Errno::ESRCH) }
}

const SCHED_OTHER: u32 = 0;
const SCHED_FIFO: u32 = 1;
const SCHED_RR: u32 = 2;
const SCHED_BATCH: u32 = 3;
const SCHED_IDLE: u32 = 5;
const SCHED_RESET_ON_FORK: u32 = 0x4000_0000;

/// Lowest and highest priority of a policy.
fn range_of(policy: u32) -> KResult<(u32, u32)> {
    match policy {
        SCHED_FIFO | SCHED_RR => Ok((1, 99)),
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE => Ok((0, 0)),
        _ => Err(Errno::EINVAL),
    }
}

/// `sched_get_priority_max(2)`
pub fn sys_sched_get_priority_max(policy: usize) -> KResult<usize> {
    range_of(policy as u32).map(|(_, max)| max as usize)
}

/// `sched_get_priority_min(2)`
pub fn sys_sched_get_priority_min(policy: usize) -> KResult<usize> {
    range_of(policy as u32).map(|(min, _)| min as usize)
}

fn set_policy(task: &Task, policy: u32, priority: u32) -> KResult<usize> {
    let (min, max) = range_of(policy)?;
    if priority < min || priority > max {
        return Err(Errno::EINVAL);
    }
    let privileged = task::current_process().creds.lock().is_privileged();
    if !privileged && (max > 0 || !signal::may_signal(&task.process, 0)) {
        return Err(Errno::EPERM);
    }
    task.sched_policy.store(policy, Ordering::Relaxed);
    task.sched_priority.store(priority, Ordering::Relaxed);
    Ok(0)
}

/// `sched_setscheduler(2)`
pub fn sys_sched_setscheduler(tid: usize, policy: usize, param: usize) -> KResult<usize> {
    if (policy as i32) < 0 || param == 0 {
        return Err(Errno::EINVAL);
    }
    let priority: u32 = read_user(param)?;
    let task = task_of(tid)?;
    set_policy(&task, policy as u32 & !SCHED_RESET_ON_FORK, priority)
}

/// `sched_getscheduler(2)`
pub fn sys_sched_getscheduler(tid: usize) -> KResult<usize> {
    Ok(task_of(tid)?.sched_policy.load(Ordering::Relaxed) as usize)
}

/// `sched_setparam(2)`
pub fn sys_sched_setparam(tid: usize, param: usize) -> KResult<usize> {
    if param == 0 {
        return Err(Errno::EINVAL);
    }
    let task = task_of(tid)?;
    set_policy(
        &task,
        task.sched_policy.load(Ordering::Relaxed),
        read_user(param)?,
    )
}

/// `sched_getparam(2)`
pub fn sys_sched_getparam(tid: usize, param: usize) -> KResult<usize> {
    if param == 0 {
        return Err(Errno::EINVAL);
    }
    write_user(param, &task_of(tid)?.sched_priority.load(Ordering::Relaxed))?;
    Ok(0)
}

/// `sched_rr_get_interval(2)`
pub fn sys_sched_rr_get_interval(tid: usize, at: usize) -> KResult<usize> {
    /// What Linux says for SCHED_RR: 100 ms.
    const RR_NS: u64 = 100_000_000;
    /// About a turn of the policy.
    const TURN_NS: u64 = 12_000_000;
    let ns = match task_of(tid)?.sched_policy.load(Ordering::Relaxed) {
        SCHED_RR => RR_NS,
        SCHED_FIFO => 0,
        _ => TURN_NS,
    };
    write_user(at, &TimeSpec::from_ns(ns))?;
    Ok(0)
}

/// Bytes of the kernel's processor mask.
const MASK_SIZE: usize = 8;

/// The processors in use, one bit each: the boot processor.
const ONLINE: u64 = 1;

/// `sched_getaffinity(2)`
pub fn sys_sched_getaffinity(tid: usize, size: usize, mask: usize) -> KResult<usize> {
    if size < MASK_SIZE || !size.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    task_of(tid)?;
    write_user(mask, &ONLINE)?;
    Ok(MASK_SIZE)
}

/// `sched_setaffinity(2)`
pub fn sys_sched_setaffinity(tid: usize, size: usize, mask: usize) -> KResult<usize> {
    let mut bytes = [0; MASK_SIZE];
    let known = size.min(MASK_SIZE);
    user::copy_from_user(&mut bytes[..known], mask)?;
    let task = task_of(tid)?;
    if !signal::may_signal(&task.process, 0) {
        return Err(Errno::EPERM);
    }
    if u64::from_le_bytes(bytes) & ONLINE == 0 {
        return Err(Errno::EINVAL);
    }
    Ok(0)
}

/// `getcpu(2)`
pub fn sys_getcpu(cpu: usize, node: usize, _cache: usize) -> KResult<usize> {
    if cpu != 0 {
        write_user(cpu, &crate::arch::this_cpu().id.get())?;
    }
    if node != 0 {
        write_user(node, &0u32)?;
    }
    Ok(0)
}

/// `struct sched_attr`, as far as it concerns these policies.
#[derive(Clone, Copy)]
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    deadline: [u64; 3],
}

// SAFETY: integers without padding; any bit pattern is valid.
unsafe impl user::Pod for SchedAttr {}

/// `sched_setattr(2)`
pub fn sys_sched_setattr(tid: usize, attr: usize, flags: usize) -> KResult<usize> {
    if attr == 0 || flags != 0 {
        return Err(Errno::EINVAL);
    }
    let attr: SchedAttr = read_user(attr)?;
    if (attr.size as usize) < size_of::<SchedAttr>() {
        return Err(Errno::EINVAL);
    }
    let task = task_of(tid)?;
    set_policy(&task, attr.policy, attr.priority)?;
    if range_of(attr.policy)?.1 == 0 {
        sys_setpriority(PRIO_PROCESS, task.tid() as usize, attr.nice as usize)?;
    }
    Ok(0)
}

/// `sched_getattr(2)`
pub fn sys_sched_getattr(tid: usize, at: usize, size: usize, flags: usize) -> KResult<usize> {
    if at == 0 || flags != 0 || size < size_of::<SchedAttr>() {
        return Err(Errno::EINVAL);
    }
    let task = task_of(tid)?;
    let attr = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: task.sched_policy.load(Ordering::Relaxed),
        flags: 0,
        nice: i32::from(task.nice()),
        priority: task.sched_priority.load(Ordering::Relaxed),
        deadline: [0; 3],
    };
    write_user(at, &attr)?;
    Ok(0)
}

/// `ioprio_set(2)`: priorities of input and output: accepted, without effect.
pub fn sys_ioprio_set(_which: usize, _who: usize, _priority: usize) -> KResult<usize> {
    Ok(0)
}

/// `ioprio_get(2)`: priorities of input and output: none is set.
pub fn sys_ioprio_get(_which: usize, _who: usize) -> KResult<usize> {
    Ok(0)
}

/// `membarrier(2)`: threads take turns on one processor, and whoever is switched to has seen what ran
/// before. Nothing has to be registered for that.
pub fn sys_membarrier(command: usize, flags: usize, _cpu: usize) -> KResult<usize> {
    const QUERY: u32 = 0;
    /// GLOBAL, GLOBAL_EXPEDITED, PRIVATE_EXPEDITED, PRIVATE_EXPEDITED_SYNC_CORE, and the last three's
    /// registrations.
    const KNOWN: u32 = 0x7f;
    let command = command as u32;
    if flags as u32 != 0 {
        return Err(Errno::EINVAL);
    }
    match command {
        QUERY => Ok(KNOWN as usize),
        _ if command.is_power_of_two() && command & KNOWN != 0 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// `rseq(2)`
pub fn sys_rseq(_area: usize, _len: usize, _flags: usize, _signature: usize) -> KResult<usize> {
    Err(Errno::ENOSYS)
}
