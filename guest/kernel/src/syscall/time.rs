//! Clocks, sleeps and timers.

use super::types::{TimeSpec, TimeVal};
use crate::errno::{Errno, KResult};
use crate::mm::user::{Pod, read_user, write_user};
use crate::task::{self, RestartBlock, find_process, find_task};
use crate::time::itimer::{self, Setting};
use crate::time::{self, SECOND};

const CLOCK_REALTIME: i32 = 0;
const CLOCK_MONOTONIC: i32 = 1;
const CLOCK_PROCESS_CPUTIME_ID: i32 = 2;
const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
const CLOCK_MONOTONIC_RAW: i32 = 4;
const CLOCK_REALTIME_COARSE: i32 = 5;
const CLOCK_MONOTONIC_COARSE: i32 = 6;
const CLOCK_BOOTTIME: i32 = 7;
const CLOCK_REALTIME_ALARM: i32 = 8;
const CLOCK_BOOTTIME_ALARM: i32 = 9;
const CLOCK_TAI: i32 = 11;

/// Latest time that a clock can be set to: year 2232, so that files can record it.
const LATEST: u64 = 1 << 63;

fn clock_ns(clock: i32) -> KResult<u64> {
    Ok(match clock {
        CLOCK_REALTIME | CLOCK_REALTIME_COARSE | CLOCK_REALTIME_ALARM | CLOCK_TAI => {
            time::wall_ns()
        }
        CLOCK_MONOTONIC
        | CLOCK_MONOTONIC_RAW
        | CLOCK_MONOTONIC_COARSE
        | CLOCK_BOOTTIME
        | CLOCK_BOOTTIME_ALARM => time::now_ns(),
        CLOCK_PROCESS_CPUTIME_ID => task::current_process().usage().cpu_ns(),
        CLOCK_THREAD_CPUTIME_ID => task::current().cpu_ns(),
        clock if clock < 0 => return dynamic_clock(clock),
        _ => return Err(Errno::EINVAL),
    })
}

/// The processor-time clock of a process or thread (`clock_getcpuclockid(3)`): the number's
/// complement is in the upper bits, bit 2 says that it is a thread's.
fn dynamic_clock(clock: i32) -> KResult<u64> {
    const KIND: i32 = 3;
    const THREAD: i32 = 4;
    let number = !(clock >> 3) as u32;
    if clock & KIND == KIND {
        return Err(Errno::EINVAL);
    }
    if clock & THREAD != 0 {
        if number == 0 {
            return Ok(task::current().cpu_ns());
        }
        let task = find_task(number).ok_or(Errno::EINVAL)?;
        if !core::ptr::eq(&*task.process, task::current_process()) {
            return Err(Errno::EINVAL);
        }
        return Ok(task.cpu_ns());
    }
    if number == 0 {
        return Ok(task::current_process().usage().cpu_ns());
    }
    find_process(number)
        .map(|p| p.usage().cpu_ns())
        .ok_or(Errno::EINVAL)
}

/// `clock_gettime(2)`
pub fn sys_clock_gettime(clock: usize, at: usize) -> KResult<usize> {
    let ns = clock_ns(clock as i32)?;
    write_user(at, &TimeSpec::from_ns(ns))?;
    Ok(0)
}

/// `clock_getres(2)`
pub fn sys_clock_getres(clock: usize, at: usize) -> KResult<usize> {
    clock_ns(clock as i32)?;
    if at != 0 {
        write_user(at, &TimeSpec { sec: 0, nsec: 1 })?;
    }
    Ok(0)
}

fn set_wall(ns: u64) -> KResult<usize> {
    if !task::current_process().creds.lock().is_privileged() {
        return Err(Errno::EPERM);
    }
    if ns >= LATEST {
        return Err(Errno::EINVAL);
    }
    time::set_wall_ns(ns);
    Ok(0)
}

/// `clock_settime(2)`
pub fn sys_clock_settime(clock: usize, at: usize) -> KResult<usize> {
    if clock as i32 != CLOCK_REALTIME {
        return Err(Errno::EINVAL);
    }
    set_wall(read_user::<TimeSpec>(at)?.to_ns()?)
}

/// `struct timezone`: UTC.
const UTC: [i32; 2] = [0; 2];

/// `gettimeofday(2)`
pub fn sys_gettimeofday(at: usize, zone: usize) -> KResult<usize> {
    if at != 0 {
        write_user(at, &TimeVal::from_ns(time::wall_ns()))?;
    }
    if zone != 0 {
        write_user(zone, &UTC)?;
    }
    Ok(0)
}

/// `settimeofday(2)`
pub fn sys_settimeofday(at: usize, _zone: usize) -> KResult<usize> {
    if at == 0 {
        return Ok(0);
    }
    set_wall(read_user::<TimeVal>(at)?.to_ns()?)
}

/// `time(2)`
pub fn sys_time(at: usize) -> KResult<usize> {
    let seconds = time::wall_seconds();
    if at != 0 {
        write_user(at, &seconds)?;
    }
    Ok(seconds as usize)
}

/// Sleep for a time; interrupted, the rest is stored at `rest` (if not null) and the call can be
/// continued by `restart_syscall`.
fn sleep_relative(deadline: u64, rest: usize) -> KResult<usize> {
    if time::sleep_until(deadline).is_ok() {
        return Ok(0);
    }
    if rest != 0 {
        write_user(
            rest,
            &TimeSpec::from_ns(deadline.saturating_sub(time::now_ns())),
        )?;
    }
    task::current().set_restart(RestartBlock {
        call: |args| sleep_relative(args[0] as u64, args[1]),
        args: [deadline as usize, rest, 0, 0],
    });
    Err(Errno::ERESTART_RESTARTBLOCK)
}

/// `nanosleep(2)`
pub fn sys_nanosleep(time: usize, rest: usize) -> KResult<usize> {
    let ns = read_user::<TimeSpec>(time)?.to_ns()?;
    sleep_relative(time::now_ns().saturating_add(ns), rest)
}

const TIMER_ABSTIME: usize = 1;

/// `clock_nanosleep(2)`
pub fn sys_clock_nanosleep(clock: usize, flags: usize, at: usize, rest: usize) -> KResult<usize> {
    let clock = clock as i32;
    match clock {
        CLOCK_REALTIME | CLOCK_MONOTONIC | CLOCK_BOOTTIME | CLOCK_TAI => {}
        CLOCK_PROCESS_CPUTIME_ID => return Err(Errno::EOPNOTSUPP),
        CLOCK_REALTIME_ALARM | CLOCK_BOOTTIME_ALARM => {}
        CLOCK_MONOTONIC_RAW | CLOCK_REALTIME_COARSE | CLOCK_MONOTONIC_COARSE => {
            return Err(Errno::EOPNOTSUPP);
        }
        _ => return Err(Errno::EINVAL),
    }
    let ns = read_user::<TimeSpec>(at)?.to_ns()?;
    if flags & TIMER_ABSTIME == 0 {
        return sleep_relative(time::now_ns().saturating_add(ns), rest);
    }
    loop {
        let offset = match clock {
            CLOCK_REALTIME | CLOCK_TAI | CLOCK_REALTIME_ALARM => time::wall_offset(),
            _ => 0,
        };
        let deadline = ns.saturating_sub(offset);
        time::sleep_until(deadline).map_err(|_| Errno::ERESTARTNOHAND)?;
        // The wall clock may have been set meanwhile.
        if clock_ns(clock)? >= ns {
            return Ok(0);
        }
    }
}

/// `restart_syscall(2)`
pub fn sys_restart_syscall() -> KResult<usize> {
    match task::current().take_restart() {
        Some(block) => (block.call)(block.args),
        None => Err(Errno::EINTR),
    }
}

/// `struct itimerval`.
#[derive(Clone, Copy)]
#[repr(C)]
struct ITimerVal {
    interval: TimeVal,
    value: TimeVal,
}

// SAFETY: integers without padding; any bit pattern is valid.
unsafe impl Pod for ITimerVal {}

impl From<Setting> for ITimerVal {
    fn from(setting: Setting) -> Self {
        Self {
            interval: TimeVal::from_ns(setting.interval),
            value: TimeVal::from_ns(setting.value),
        }
    }
}

const ITIMER_REAL: usize = 0;
const ITIMER_VIRTUAL: usize = 1;
const ITIMER_PROF: usize = 2;

/// `getitimer(2)`
pub fn sys_getitimer(which: usize, at: usize) -> KResult<usize> {
    let process = task::current_process();
    let setting = match which {
        ITIMER_REAL => itimer::real(process),
        ITIMER_VIRTUAL => itimer::cpu(process, false),
        ITIMER_PROF => itimer::cpu(process, true),
        _ => return Err(Errno::EINVAL),
    };
    write_user(at, &ITimerVal::from(setting))?;
    Ok(0)
}

/// `setitimer(2)`
pub fn sys_setitimer(which: usize, new: usize, old: usize) -> KResult<usize> {
    let setting = if new == 0 {
        Setting::default()
    } else {
        let new: ITimerVal = read_user(new)?;
        Setting {
            value: new.value.to_ns()?,
            interval: new.interval.to_ns()?,
        }
    };
    let previous = match which {
        ITIMER_REAL => itimer::set_real(setting),
        ITIMER_VIRTUAL => itimer::set_cpu(false, setting),
        ITIMER_PROF => itimer::set_cpu(true, setting),
        _ => return Err(Errno::EINVAL),
    };
    if old != 0 {
        write_user(old, &ITimerVal::from(previous))?;
    }
    Ok(0)
}

/// `alarm(2)`
pub fn sys_alarm(seconds: usize) -> KResult<usize> {
    let value = u64::from(seconds as u32) * SECOND;
    let old = itimer::set_real(Setting { value, interval: 0 });
    // Rounded, but never to 0 while a timer was set.
    let left = (old.value + SECOND / 2) / SECOND;
    Ok(if old.value != 0 { left.max(1) } else { 0 } as usize)
}

/// `struct tms`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Tms {
    user: u64,
    system: u64,
    children_user: u64,
    children_system: u64,
}

// SAFETY: integers without padding; any bit pattern is valid.
unsafe impl Pod for Tms {}

/// `times(2)`
pub fn sys_times(at: usize) -> KResult<usize> {
    let process = task::current_process();
    if at != 0 {
        let (own, children) = (process.usage(), process.child_usage());
        let tms = Tms {
            user: time::ns_to_ticks(own.user_ns),
            system: time::ns_to_ticks(own.system_ns),
            children_user: time::ns_to_ticks(children.user_ns),
            children_system: time::ns_to_ticks(children.system_ns),
        };
        write_user(at, &tms)?;
    }
    Ok(time::ns_to_ticks(time::now_ns()) as usize)
}
