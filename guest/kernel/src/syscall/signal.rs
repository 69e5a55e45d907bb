//! Signals.

use crate::arch::TrapFrame;
use crate::errno::{Errno, KResult};
use crate::fs::OpenFlags;
use crate::mm::user::{self, read_user, write_user};
use crate::sync::WaitQueue;
use crate::task::signal::action::SigAction;
use crate::task::signal::signalfd;
use crate::task::signal::{
    self, AltStack, SI_TKILL, SI_USER, SigInfo, SigSet, UNBLOCKABLE, is_valid,
};
use crate::task::table::table;
use crate::task::{self, Process, find_process, find_task};
use crate::time;

use super::types::TimeSpec;

/// Bytes of the kernel's `sigset_t`.
const SET_SIZE: usize = 8;

fn check_size(size: usize) -> KResult<()> {
    if size == SET_SIZE {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// `rt_sigaction(2)`
pub fn sys_rt_sigaction(signo: usize, new: usize, old: usize, size: usize) -> KResult<usize> {
    check_size(size)?;
    let signo = signo as u32;
    if !is_valid(signo) {
        return Err(Errno::EINVAL);
    }
    let action = if new == 0 {
        None
    } else {
        Some(read_user::<SigAction>(new)?)
    };
    if action.is_some() && signal::bit(signo) & UNBLOCKABLE != 0 {
        return Err(Errno::EINVAL);
    }
    let previous = signal::change_action(signo, action);
    if old != 0 {
        write_user(old, &previous)?;
    }
    Ok(0)
}

const SIG_BLOCK: usize = 0;
const SIG_UNBLOCK: usize = 1;
const SIG_SETMASK: usize = 2;

/// `rt_sigprocmask(2)`
pub fn sys_rt_sigprocmask(how: usize, set: usize, old: usize, size: usize) -> KResult<usize> {
    check_size(size)?;
    let blocked = task::current().blocked();
    if set != 0 {
        let set: SigSet = read_user(set)?;
        signal::set_blocked(match how {
            SIG_BLOCK => blocked | set,
            SIG_UNBLOCK => blocked & !set,
            SIG_SETMASK => set,
            _ => return Err(Errno::EINVAL),
        });
    }
    if old != 0 {
        write_user(old, &blocked)?;
    }
    Ok(0)
}

/// `rt_sigreturn(2)`
pub fn sys_rt_sigreturn(frame: &mut TrapFrame) -> KResult<usize> {
    Ok(signal::sigreturn(frame))
}

/// `sigaltstack(2)`
pub fn sys_sigaltstack(frame: &mut TrapFrame) -> KResult<usize> {
    let (new, old) = (frame.rdi, frame.rsi);
    let stack = if new == 0 {
        None
    } else {
        Some(read_user::<AltStack>(new)?)
    };
    let previous = signal::set_altstack(stack, frame.rsp)?;
    if old != 0 {
        write_user(old, &previous)?;
    }
    Ok(0)
}

/// `rt_sigpending(2)`
pub fn sys_rt_sigpending(set: usize, size: usize) -> KResult<usize> {
    if size > SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let pending = signal::pending_set() & task::current().blocked();
    user::copy_to_user(set, &pending.to_le_bytes()[..size])?;
    Ok(0)
}

/// `signalfd(2)`
pub fn sys_signalfd(fd: usize, set: usize, size: usize) -> KResult<usize> {
    sys_signalfd4(fd, set, size, 0)
}

/// `signalfd4(2)`
pub fn sys_signalfd4(fd: usize, set: usize, size: usize, flags: usize) -> KResult<usize> {
    check_size(size)?;
    let flags = OpenFlags(flags as u32);
    if flags.0 & !(OpenFlags::NONBLOCK.0 | OpenFlags::CLOEXEC.0) != 0 {
        return Err(Errno::EINVAL);
    }
    let set: SigSet = read_user(set)?;
    let process = task::current_process();
    if fd as i32 == -1 {
        let file = signalfd::create(set, flags.has(OpenFlags::NONBLOCK));
        return process.install_file(file, flags.has(OpenFlags::CLOEXEC));
    }
    let file = process.files.lock().get(fd as u32 as usize)?;
    signalfd::change(&file, set)?;
    Ok(fd)
}

/// A queue that nobody wakes: for sleeps that only a signal ends.
static NOTHING: WaitQueue = WaitQueue::new();

/// `pause(2)`
pub fn sys_pause() -> KResult<usize> {
    match NOTHING.wait(|| None::<()>) {
        Ok(()) => Ok(0),
        Err(_) => Err(Errno::ERESTARTNOHAND),
    }
}

/// `rt_sigsuspend(2)`
pub fn sys_rt_sigsuspend(set: usize, size: usize) -> KResult<usize> {
    check_size(size)?;
    let mask: SigSet = read_user(set)?;
    signal::set_temporary_mask(mask);
    sys_pause()
}

/// `rt_sigtimedwait(2)`
pub fn sys_rt_sigtimedwait(set: usize, info: usize, timeout: usize, size: usize) -> KResult<usize> {
    check_size(size)?;
    let set = read_user::<SigSet>(set)? & !UNBLOCKABLE;
    let deadline = TimeSpec::read_optional(timeout)?.map(|ns| time::now_ns().saturating_add(ns));
    let found = signal::wait_for(set, deadline)?;
    if info != 0 {
        user::copy_to_user(info, &found.to_bytes())?;
    }
    Ok(found.signo as usize)
}

fn sender(signo: u32, code: i32) -> SigInfo {
    let process = task::current_process();
    let uid = process.creds.lock().uid;
    SigInfo::from_sender(signo, code, process.pid(), uid)
}

fn check_number(signo: usize) -> KResult<u32> {
    let signo = signo as u32;
    if signo <= signal::COUNT {
        Ok(signo)
    } else {
        Err(Errno::EINVAL)
    }
}

/// Send to one process, if that is allowed; signal 0 only asks.
fn send(process: &Process, info: SigInfo) -> KResult<()> {
    if !signal::may_signal(process, info.signo) {
        return Err(Errno::EPERM);
    }
    if info.signo == 0 {
        Ok(())
    } else {
        signal::send_to_process(process, info)
    }
}

/// `kill(2)`
pub fn sys_kill(pid: usize, signo: usize) -> KResult<usize> {
    let signo = check_number(signo)?;
    let info = sender(signo, SI_USER);
    let me = task::current_process();
    match pid as i32 {
        pid if pid > 0 => {
            let process = find_process(pid as u32)
                .or_else(|| find_task(pid as u32).map(|t| t.process.clone()));
            send(&*process.ok_or(Errno::ESRCH)?, info)?;
        }
        -1 => send_to_all(info, |p| p.pid() > 1 && p.pid() != me.pid())?,
        0 => send_to_all(info, |p| p.pgid() == me.pgid())?,
        i32::MIN => return Err(Errno::ESRCH),
        pid => send_to_all(info, |p| p.pgid() == pid.unsigned_abs())?,
    }
    Ok(0)
}

/// Send to all that `wanted` chooses: an error only if nobody could be sent to.
fn send_to_all(info: SigInfo, wanted: impl Fn(&Process) -> bool) -> KResult<()> {
    let mut result = Err(Errno::ESRCH);
    let table = table();
    for process in table.processes().filter(|p| wanted(p)) {
        match send(process, info) {
            Ok(()) => result = Ok(()),
            Err(e) if result == Err(Errno::ESRCH) => result = Err(e),
            Err(_) => {}
        }
    }
    result
}

/// Send to one thread; `group`: it must belong to that process.
fn send_to_thread(group: Option<u32>, tid: usize, info: SigInfo) -> KResult<usize> {
    if (tid as i32) <= 0 || group.is_some_and(|pid| (pid as i32) <= 0) {
        return Err(Errno::EINVAL);
    }
    let task = find_task(tid as u32).ok_or(Errno::ESRCH)?;
    if group.is_some_and(|pid| task.process.pid() != pid) {
        return Err(Errno::ESRCH);
    }
    if !signal::may_signal(&task.process, info.signo) {
        return Err(Errno::EPERM);
    }
    if info.signo != 0 {
        signal::send_to_task(&task, info)?;
    }
    Ok(0)
}

/// `tkill(2)`
pub fn sys_tkill(tid: usize, signo: usize) -> KResult<usize> {
    let signo = check_number(signo)?;
    send_to_thread(None, tid, sender(signo, SI_TKILL))
}

/// `tgkill(2)`
pub fn sys_tgkill(pid: usize, tid: usize, signo: usize) -> KResult<usize> {
    let signo = check_number(signo)?;
    send_to_thread(Some(pid as u32), tid, sender(signo, SI_TKILL))
}

/// What a program sends as `siginfo_t`: it may not pretend to be the kernel or kill(2), except to
/// itself.
fn queued_info(signo: u32, at: usize, to_self: bool) -> KResult<SigInfo> {
    let mut info: SigInfo = read_user(at)?;
    info.signo = signo;
    if (info.code >= 0 || info.code == SI_TKILL) && !to_self {
        return Err(Errno::EPERM);
    }
    Ok(info)
}

/// `rt_sigqueueinfo(2)`
pub fn sys_rt_sigqueueinfo(pid: usize, signo: usize, info: usize) -> KResult<usize> {
    let signo = check_number(signo)?;
    let info = queued_info(signo, info, pid as u32 == task::current_process().pid())?;
    let process = find_process(pid as u32).ok_or(Errno::ESRCH)?;
    send(&process, info)?;
    Ok(0)
}

/// The work of `pidfd_send_signal(2)`: without `info` as kill(2) sends it.
pub fn send_by_pidfd(process: &Process, signo: usize, info: usize) -> KResult<usize> {
    let signo = check_number(signo)?;
    let to_self = core::ptr::eq(process, task::current_process());
    let info = match info {
        0 => sender(signo, SI_USER),
        at => {
            if read_user::<SigInfo>(at)?.signo != signo {
                return Err(Errno::EINVAL);
            }
            queued_info(signo, at, to_self)?
        }
    };
    if process.is_dead() && !process.is_zombie() {
        return Err(Errno::ESRCH);
    }
    send(process, info)?;
    Ok(0)
}

/// `rt_tgsigqueueinfo(2)`
pub fn sys_rt_tgsigqueueinfo(pid: usize, tid: usize, signo: usize, info: usize) -> KResult<usize> {
    let signo = check_number(signo)?;
    let info = queued_info(signo, info, pid as u32 == task::current_process().pid())?;
    send_to_thread(Some(pid as u32), tid, info)
}
