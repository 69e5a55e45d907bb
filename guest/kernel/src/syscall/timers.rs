//! Timers as files, and POSIX timers.

use alloc::sync::Arc;

use super::types::TimeSpec;
use crate::errno::{Errno, KResult};
use crate::fs::OpenFlags;
use crate::mm::user::{Pod, read_user, write_user};
use crate::task::signal::{self, SIGALRM};
use crate::task::{self, find_task};
use crate::time::itimer::Setting;
use crate::time::posix::{self, Notify};
use crate::time::timerfd;

/// `struct itimerspec`.
#[derive(Clone, Copy)]
#[repr(C)]
struct ITimerSpec {
    interval: TimeSpec,
    value: TimeSpec,
}

// SAFETY: integers without padding; any bit pattern is valid.
unsafe impl Pod for ITimerSpec {}

impl ITimerSpec {
    fn to_setting(self) -> KResult<Setting> {
        Ok(Setting {
            value: self.value.to_ns()?,
            interval: self.interval.to_ns()?,
        })
    }
}

impl From<Setting> for ITimerSpec {
    fn from(setting: Setting) -> Self {
        Self {
            interval: TimeSpec::from_ns(setting.interval),
            value: TimeSpec::from_ns(setting.value),
        }
    }
}

/// Whether a timer of this clock goes by the wall clock.
fn is_wall(clock: usize) -> KResult<bool> {
    const REALTIME: usize = 0;
    const MONOTONIC: usize = 1;
    const BOOTTIME: usize = 7;
    const REALTIME_ALARM: usize = 8;
    const BOOTTIME_ALARM: usize = 9;
    const TAI: usize = 11;
    match clock {
        REALTIME | REALTIME_ALARM | TAI => Ok(true),
        MONOTONIC | BOOTTIME | BOOTTIME_ALARM => Ok(false),
        _ => Err(Errno::EINVAL),
    }
}

const TIMER_ABSTIME: usize = 1;
/// Tell when the wall clock is set: accepted, and never told.
const TFD_TIMER_CANCEL_ON_SET: usize = 2;

/// `timerfd_create(2)`
pub fn sys_timerfd_create(clock: usize, flags: usize) -> KResult<usize> {
    let flags = OpenFlags(flags as u32);
    if flags.0 & !(OpenFlags::NONBLOCK.0 | OpenFlags::CLOEXEC.0) != 0 {
        return Err(Errno::EINVAL);
    }
    let file = timerfd::create(is_wall(clock)?, flags.has(OpenFlags::NONBLOCK));
    task::current_process().install_file(file, flags.has(OpenFlags::CLOEXEC))
}

/// `timerfd_settime(2)`
pub fn sys_timerfd_settime(fd: usize, flags: usize, new: usize, old: usize) -> KResult<usize> {
    if flags & !(TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL);
    }
    let setting = read_user::<ITimerSpec>(new)?.to_setting()?;
    let file = task::current_process()
        .files
        .lock()
        .get(fd as u32 as usize)?;
    let previous = timerfd::set(&file, setting, flags & TIMER_ABSTIME != 0)?;
    if old != 0 {
        write_user(old, &ITimerSpec::from(previous))?;
    }
    Ok(0)
}

/// `timerfd_gettime(2)`
pub fn sys_timerfd_gettime(fd: usize, at: usize) -> KResult<usize> {
    let file = task::current_process()
        .files
        .lock()
        .get(fd as u32 as usize)?;
    write_user(at, &ITimerSpec::from(timerfd::get(&file)?))?;
    Ok(0)
}

/// The part of `struct sigevent` that the kernel reads.
#[derive(Clone, Copy)]
#[repr(C)]
struct SigEvent {
    value: u64,
    signo: u32,
    notify: u32,
    tid: u32,
    pad: u32,
}

// SAFETY: integers without implicit padding; any bit pattern is valid.
unsafe impl Pod for SigEvent {}

const SIGEV_SIGNAL: u32 = 0;
const SIGEV_NONE: u32 = 1;
const SIGEV_THREAD: u32 = 2;
const SIGEV_THREAD_ID: u32 = 4;

/// `timer_create(2)`
pub fn sys_timer_create(clock: usize, event: usize, id: usize) -> KResult<usize> {
    let wall = is_wall(clock)?;
    let (signo, value, notify) = if event == 0 {
        (SIGALRM, None, Notify::Process)
    } else {
        let event: SigEvent = read_user(event)?;
        let notify = match event.notify {
            SIGEV_NONE => Notify::Nothing,
            // SIGEV_THREAD is the C library's: the kernel sees a signal.
            SIGEV_SIGNAL | SIGEV_THREAD => Notify::Process,
            SIGEV_THREAD_ID => {
                let task = find_task(event.tid).ok_or(Errno::EINVAL)?;
                if !core::ptr::eq(&*task.process, task::current_process()) {
                    return Err(Errno::EINVAL);
                }
                Notify::Thread(Arc::downgrade(&task))
            }
            _ => return Err(Errno::EINVAL),
        };
        if event.notify != SIGEV_NONE && !signal::is_valid(event.signo) {
            return Err(Errno::EINVAL);
        }
        (event.signo, Some(event.value), notify)
    };
    let number = posix::create(wall, signo, value, notify)?;
    if let Err(e) = write_user(id, &number) {
        posix::delete(number)?;
        return Err(e);
    }
    Ok(0)
}

/// `timer_settime(2)`
pub fn sys_timer_settime(id: usize, flags: usize, new: usize, old: usize) -> KResult<usize> {
    if new == 0 {
        return Err(Errno::EINVAL);
    }
    let setting = read_user::<ITimerSpec>(new)?.to_setting()?;
    let previous = posix::set(id as u32, setting, flags & TIMER_ABSTIME != 0)?;
    if old != 0 {
        write_user(old, &ITimerSpec::from(previous))?;
    }
    Ok(0)
}

/// `timer_gettime(2)`
pub fn sys_timer_gettime(id: usize, at: usize) -> KResult<usize> {
    write_user(at, &ITimerSpec::from(posix::get(id as u32)?))?;
    Ok(0)
}

/// `timer_getoverrun(2)`
pub fn sys_timer_getoverrun(id: usize) -> KResult<usize> {
    posix::overrun(id as u32).map(|count| count as usize)
}

/// `timer_delete(2)`
pub fn sys_timer_delete(id: usize) -> KResult<usize> {
    posix::delete(id as u32)?;
    Ok(0)
}
