//! Waiting for children: wait4, waitid.

use super::limits::RUsage;
use super::pidfd;
use crate::errno::{Errno, KResult};
use crate::mm::user::{copy_to_user, write_user, zero_user};
use crate::task;
use crate::task::signal::SigInfo;
use crate::task::wait::{self, Target};

/// Whom `wait4` waits for. ESRCH: there can be no such group.
fn target_of(pid: i32) -> KResult<Target> {
    Ok(match pid {
        -1 => Target::Any,
        0 => Target::Group(task::current_process().pgid()),
        i32::MIN => return Err(Errno::ESRCH),
        pid if pid < 0 => Target::Group(pid.unsigned_abs()),
        pid => Target::Pid(pid as u32),
    })
}

/// `wait4(2)`
pub fn sys_wait4(pid: usize, status: usize, options: usize, usage: usize) -> KResult<usize> {
    let options = options as u32;
    let known = wait::WNOHANG
        | wait::WUNTRACED
        | wait::WCONTINUED
        | wait::WNOTHREAD
        | wait::WALL
        | wait::WCLONE;
    if options & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let Some(event) = wait::wait(target_of(pid as i32)?, options | wait::WEXITED)? else {
        return Ok(0);
    };
    if status != 0 {
        write_user(status, &event.status)?;
    }
    if usage != 0 {
        write_user(usage, &RUsage::from(event.usage))?;
    }
    Ok(event.pid as usize)
}

const P_ALL: usize = 0;
const P_PID: usize = 1;
const P_PGID: usize = 2;
const P_PIDFD: usize = 3;

/// `waitid(2)`
pub fn sys_waitid(
    kind: usize,
    id: usize,
    info: usize,
    options: usize,
    usage: usize,
) -> KResult<usize> {
    let options = options as u32;
    let states = wait::WEXITED | wait::WUNTRACED | wait::WCONTINUED;
    let known =
        states | wait::WNOHANG | wait::WNOWAIT | wait::WNOTHREAD | wait::WALL | wait::WCLONE;
    if options & !known != 0 || options & states == 0 {
        return Err(Errno::EINVAL);
    }
    let target = match kind {
        P_ALL => Target::Any,
        P_PID if id as i32 > 0 => Target::Pid(id as u32),
        P_PIDFD => {
            let (process, nonblocking) = pidfd::process_of(id)?;
            if nonblocking && options & wait::WNOHANG == 0 {
                let event = wait::wait(Target::Pid(process.pid()), options | wait::WNOHANG)?;
                return report(event.ok_or(Errno::EAGAIN)?, info, usage);
            }
            Target::Pid(process.pid())
        }
        P_PGID if id as i32 > 0 => Target::Group(id as u32),
        P_PGID if id as i32 == 0 => Target::Group(task::current_process().pgid()),
        _ => return Err(Errno::EINVAL),
    };
    match wait::wait(target, options)? {
        Some(event) => report(event, info, usage),
        None => {
            if info != 0 {
                // Nothing has happened: signal number and process number are zero.
                zero_user(info, 32)?;
            }
            Ok(0)
        }
    }
}

/// What waitid tells of an event.
fn report(e: wait::Event, info: usize, usage: usize) -> KResult<usize> {
    if info != 0 {
        let child = SigInfo::child(e.code, e.pid, e.uid, e.value, 0, 0);
        // The times are SIGCHLD's alone: waitid leaves them out.
        copy_to_user(info, &child.to_bytes()[..32])?;
    }
    if usage != 0 {
        write_user(usage, &RUsage::from(e.usage))?;
    }
    Ok(0)
}
