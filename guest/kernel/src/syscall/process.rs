//! Processes and threads: their numbers, groups and sessions, and their end.

use core::sync::atomic::Ordering;

use crate::errno::{Errno, KResult};
use crate::task::{self, exit, find_process};

/// `getpid(2)`
pub fn sys_getpid() -> KResult<usize> {
    Ok(task::current_process().pid() as usize)
}

/// `gettid(2)`
pub fn sys_gettid() -> KResult<usize> {
    Ok(task::current().tid() as usize)
}

/// `getppid(2)`
pub fn sys_getppid() -> KResult<usize> {
    Ok(task::current_process().ppid() as usize)
}

/// `getpgrp(2)`
pub fn sys_getpgrp() -> KResult<usize> {
    Ok(task::current_process().pgid() as usize)
}

/// `getpgid(2)`
pub fn sys_getpgid(pid: usize) -> KResult<usize> {
    if pid as u32 == 0 {
        return sys_getpgrp();
    }
    find_process(pid as u32)
        .map(|p| p.pgid() as usize)
        .ok_or(Errno::ESRCH)
}

/// `getsid(2)`
pub fn sys_getsid(pid: usize) -> KResult<usize> {
    if pid as u32 == 0 {
        return Ok(task::current_process().sid() as usize);
    }
    find_process(pid as u32)
        .map(|p| p.sid() as usize)
        .ok_or(Errno::ESRCH)
}

/// `setpgid(2)`
pub fn sys_setpgid(pid: usize, pgid: usize) -> KResult<usize> {
    if (pgid as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    if (pid as i32) < 0 {
        return Err(Errno::ESRCH);
    }
    task::set_process_group(pid as u32, pgid as u32)?;
    Ok(0)
}

/// `setsid(2)`
pub fn sys_setsid() -> KResult<usize> {
    task::start_session().map(|sid| sid as usize)
}

/// `set_tid_address(2)`
pub fn sys_set_tid_address(at: usize) -> KResult<usize> {
    let me = task::current();
    me.clear_child_tid.store(at, Ordering::Relaxed);
    Ok(me.tid() as usize)
}

/// `exit(2)`
pub fn sys_exit(status: usize) -> KResult<usize> {
    exit::exit_thread((status as u32 & 0xff) << 8)
}

/// `exit_group(2)`
pub fn sys_exit_group(status: usize) -> KResult<usize> {
    exit::exit_group((status as u32 & 0xff) << 8)
}
