//! Processes and threads: numbers, birth, death, groups, sessions.

use core::sync::atomic::Ordering;

use super::limits::RUsage;
use super::pidfd;
use crate::arch::TrapFrame;
use crate::errno::{Errno, KResult};
use crate::fs::Lookup;
use crate::fs::path::{self, AT_FDCWD};
use crate::mm::layout::USER_END;
use crate::mm::user::{self, Pod, read_user, read_user_string, write_user};
use crate::sched;
use crate::task::exec::Strings;
use crate::task::exec::{self, Request};
use crate::task::fork::{self, CloneArgs};
use crate::task::signal::{SIGCHLD, SigInfo};
use crate::task::wait::{self, Target};
use crate::task::{self, exit, find_process, find_task};

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

/// The low byte of `CLONE_` flags is the exit signal.
const CSIGNAL: u64 = 0xff;

/// `clone(2)`
pub fn sys_clone(frame: &mut TrapFrame) -> KResult<usize> {
    let flags = frame.rdi as u64;
    // Both would be stored in the same place.
    let both = fork::CLONE_PIDFD | fork::CLONE_PARENT_SETTID;
    if flags & both == both {
        return Err(Errno::EINVAL);
    }
    fork::clone(
        frame,
        &CloneArgs {
            flags: flags & !CSIGNAL & 0xffff_ffff,
            stack: frame.rsi,
            pidfd: frame.rdx,
            parent_tid: frame.rdx,
            child_tid: frame.r10,
            tls: frame.r8,
            exit_signal: (flags & CSIGNAL) as u32,
        },
    )
}

/// `fork(2)`
pub fn sys_fork(frame: &mut TrapFrame) -> KResult<usize> {
    fork::clone(
        frame,
        &CloneArgs {
            exit_signal: SIGCHLD,
            ..CloneArgs::default()
        },
    )
}

/// `vfork(2)`
pub fn sys_vfork(frame: &mut TrapFrame) -> KResult<usize> {
    let flags = fork::CLONE_VFORK | fork::CLONE_VM;
    fork::clone(
        frame,
        &CloneArgs {
            flags,
            exit_signal: SIGCHLD,
            ..CloneArgs::default()
        },
    )
}

/// `struct clone_args`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Clone3 {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

// SAFETY: integers without padding; any bit pattern is valid.
unsafe impl Pod for Clone3 {}

/// Smallest `struct clone_args` (`CLONE_ARGS_SIZE_VER0`).
const CLONE3_MIN: usize = 64;

/// `clone3(2)`
pub fn sys_clone3(frame: &mut TrapFrame) -> KResult<usize> {
    let (at, size) = (frame.rdi, frame.rsi);
    if size > 4096 {
        return Err(Errno::E2BIG);
    }
    if size < CLONE3_MIN {
        return Err(Errno::EINVAL);
    }
    let mut bytes = [0; size_of::<Clone3>()];
    let known = size.min(bytes.len());
    user::copy_from_user(&mut bytes[..known], at)?;
    // A newer program may pass more, as long as it is zero.
    for extra in (at + known)..(at + size) {
        if read_user::<u8>(extra)? != 0 {
            return Err(Errno::E2BIG);
        }
    }
    let word = |index: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[index * 8..index * 8 + 8]);
        u64::from_le_bytes(word)
    };
    let args = Clone3 {
        flags: word(0),
        pidfd: word(1),
        child_tid: word(2),
        parent_tid: word(3),
        exit_signal: word(4),
        stack: word(5),
        stack_size: word(6),
        tls: word(7),
        set_tid: word(8),
        set_tid_size: word(9),
        cgroup: word(10),
    };
    if args.flags & CSIGNAL != 0
        || args.exit_signal > 64
        || args.set_tid != 0
        || args.set_tid_size != 0
        || (args.flags & (fork::CLONE_THREAD | fork::CLONE_PARENT) != 0 && args.exit_signal != 0)
        || (args.stack == 0) != (args.stack_size == 0)
        || args
            .stack
            .checked_add(args.stack_size)
            .is_none_or(|top| top as usize > USER_END)
    {
        return Err(Errno::EINVAL);
    }
    fork::clone(
        frame,
        &CloneArgs {
            flags: args.flags,
            stack: (args.stack + args.stack_size) as usize,
            pidfd: args.pidfd as usize,
            parent_tid: args.parent_tid as usize,
            child_tid: args.child_tid as usize,
            tls: args.tls as usize,
            exit_signal: args.exit_signal as u32,
        },
    )
}

/// `execve(2)`
pub fn sys_execve(frame: &mut TrapFrame) -> KResult<usize> {
    let name = read_user_string(frame.rdi, path::PATH_MAX)?;
    let file = path::lookup_exec(AT_FDCWD, &name, Lookup::Follow)?;
    let (args, env) = (frame.rsi, frame.rdx);
    run(frame, file, name, args, env)
}

/// `AT_EMPTY_PATH`: the descriptor itself.
const AT_EMPTY_PATH: usize = 0x1000;
/// `AT_SYMLINK_NOFOLLOW`.
const AT_SYMLINK_NOFOLLOW: usize = 0x100;

/// `execveat(2)`
pub fn sys_execveat(frame: &mut TrapFrame) -> KResult<usize> {
    let (dirfd, at, args, env, flags) = (frame.rdi, frame.rsi, frame.rdx, frame.r10, frame.r8);
    if flags & !(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = read_user_string(at, path::PATH_MAX)?;
    if name.is_empty() && flags & AT_EMPTY_PATH != 0 {
        let file = task::current_process()
            .files
            .lock()
            .get(dirfd as u32 as usize)?;
        let dentry = file.dentry().ok_or(Errno::EACCES)?.clone();
        path::check_exec(&dentry)?;
        let name = alloc::format!("/dev/fd/{}", dirfd as u32).into_bytes();
        return run(frame, dentry, name, args, env);
    }
    let lookup = if flags & AT_SYMLINK_NOFOLLOW != 0 {
        Lookup::NoFollow
    } else {
        Lookup::Follow
    };
    let file = path::lookup_exec(dirfd as i32, &name, lookup)?;
    run(frame, file, name, args, env)
}

fn run(
    frame: &mut TrapFrame,
    file: alloc::sync::Arc<crate::fs::Dentry>,
    name: alloc::vec::Vec<u8>,
    args: usize,
    env: usize,
) -> KResult<usize> {
    let limit = exec::string_limit();
    let mut used = name.len() + 1;
    let mut args = Strings::from_user(args, &mut used, limit)?;
    let env = Strings::from_user(env, &mut used, limit)?;
    if args.count() == 0 {
        // As Linux since 5.18: a program always has a name.
        args.push(b"")?;
    }
    exec::exec(
        frame,
        Request {
            file,
            name,
            args,
            env,
        },
    )?;
    Ok(0)
}

/// `exit(2)`
pub fn sys_exit(status: usize) -> KResult<usize> {
    exit::exit_thread((status as u32 & 0xff) << 8)
}

/// `exit_group(2)`
pub fn sys_exit_group(status: usize) -> KResult<usize> {
    exit::exit_group((status as u32 & 0xff) << 8)
}

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
                user::zero_user(info, 32)?;
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
        user::copy_to_user(info, &child.to_bytes()[..32])?;
    }
    if usage != 0 {
        write_user(usage, &RUsage::from(e.usage))?;
    }
    Ok(0)
}

/// `set_robust_list(2)`
pub fn sys_set_robust_list(head: usize, len: usize) -> KResult<usize> {
    if len != task::ROBUST_HEAD_SIZE {
        return Err(Errno::EINVAL);
    }
    task::current().robust_list.store(head, Ordering::Relaxed);
    Ok(0)
}

/// `get_robust_list(2)`
pub fn sys_get_robust_list(tid: usize, head: usize, len: usize) -> KResult<usize> {
    let value = if tid as u32 == 0 {
        task::current().robust_list.load(Ordering::Relaxed)
    } else {
        let task = find_task(tid as u32).ok_or(Errno::ESRCH)?;
        if !crate::task::signal::may_signal(&task.process, 0) {
            return Err(Errno::EPERM);
        }
        task.robust_list.load(Ordering::Relaxed)
    };
    write_user(len, &task::ROBUST_HEAD_SIZE)?;
    write_user(head, &value)?;
    Ok(0)
}

const ARCH_SET_GS: usize = 0x1001;
const ARCH_SET_FS: usize = 0x1002;
const ARCH_GET_FS: usize = 0x1003;
const ARCH_GET_GS: usize = 0x1004;

/// `arch_prctl(2)`
pub fn sys_arch_prctl(code: usize, value: usize) -> KResult<usize> {
    let me = task::current();
    match code {
        ARCH_SET_FS | ARCH_SET_GS if value >= USER_END => return Err(Errno::EPERM),
        ARCH_SET_FS => sched::set_fs_base(me, value),
        ARCH_SET_GS => sched::set_gs_base(me, value),
        ARCH_GET_FS => write_user(value, &sched::user_fs_base(me))?,
        ARCH_GET_GS => write_user(value, &sched::user_gs_base(me))?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

const PR_SET_PDEATHSIG: usize = 1;
const PR_GET_PDEATHSIG: usize = 2;
const PR_GET_DUMPABLE: usize = 3;
const PR_SET_DUMPABLE: usize = 4;
const PR_GET_KEEPCAPS: usize = 7;
const PR_SET_KEEPCAPS: usize = 8;
const PR_SET_NAME: usize = 15;
const PR_GET_NAME: usize = 16;
const PR_GET_SECCOMP: usize = 21;
const PR_CAPBSET_READ: usize = 23;
const PR_GET_SECUREBITS: usize = 27;
const PR_SET_TIMERSLACK: usize = 29;
const PR_GET_TIMERSLACK: usize = 30;
const PR_SET_CHILD_SUBREAPER: usize = 36;
const PR_GET_CHILD_SUBREAPER: usize = 37;
const PR_SET_NO_NEW_PRIVS: usize = 38;
const PR_GET_NO_NEW_PRIVS: usize = 39;
const PR_GET_TID_ADDRESS: usize = 40;
const PR_SET_VMA: usize = 0x5356_4d41;

/// Highest capability (`CAP_LAST_CAP`).
const CAP_LAST: usize = 40;
/// Timer slack that every task has, in nanoseconds; timers are exact all the same.
const TIMER_SLACK: usize = 50_000;

/// `prctl(2)`
pub fn sys_prctl(option: usize, a: usize, b: usize, c: usize, d: usize) -> KResult<usize> {
    let me = task::current();
    let process = &*me.process;
    match option {
        PR_SET_PDEATHSIG => {
            if a > 64 {
                return Err(Errno::EINVAL);
            }
            process
                .parent_death_signal()
                .store(a as u32, Ordering::Relaxed);
        }
        PR_GET_PDEATHSIG => write_user(a, &process.parent_death_signal().load(Ordering::Relaxed))?,
        PR_GET_DUMPABLE => return Ok(process.dumpable().load(Ordering::Relaxed) as usize),
        PR_SET_DUMPABLE => {
            if a > 1 {
                return Err(Errno::EINVAL);
            }
            process.dumpable().store(a as u32, Ordering::Relaxed);
        }
        PR_GET_KEEPCAPS | PR_GET_SECCOMP | PR_GET_SECUREBITS => return Ok(0),
        PR_SET_KEEPCAPS => {
            if a > 1 {
                return Err(Errno::EINVAL);
            }
        }
        PR_SET_NAME => {
            let mut name = [0; task::COMM_LEN];
            for (i, byte) in name[..task::COMM_LEN - 1].iter_mut().enumerate() {
                *byte = read_user(a.wrapping_add(i))?;
                if *byte == 0 {
                    break;
                }
            }
            let len = name.iter().position(|&b| b == 0).unwrap_or(name.len());
            me.set_comm(&name[..len]);
        }
        PR_GET_NAME => write_user(a, &me.comm().0)?,
        PR_CAPBSET_READ => {
            return if a <= CAP_LAST {
                Ok(1)
            } else {
                Err(Errno::EINVAL)
            };
        }
        PR_SET_TIMERSLACK => {}
        PR_GET_TIMERSLACK => return Ok(TIMER_SLACK),
        PR_SET_CHILD_SUBREAPER => process.subreaper().store(a != 0, Ordering::Relaxed),
        PR_GET_CHILD_SUBREAPER => {
            write_user(a, &u32::from(process.subreaper().load(Ordering::Relaxed)))?
        }
        PR_SET_NO_NEW_PRIVS => {
            if a != 1 || b != 0 || c != 0 || d != 0 {
                return Err(Errno::EINVAL);
            }
            process.set_no_new_privs();
        }
        PR_GET_NO_NEW_PRIVS => return Ok(usize::from(process.no_new_privs())),
        PR_GET_TID_ADDRESS => write_user(a, &me.clear_child_tid.load(Ordering::Relaxed))?,
        // Names of anonymous areas are not kept (as a kernel without CONFIG_ANON_VMA_NAME).
        PR_SET_VMA => return Err(Errno::EINVAL),
        _ => return Err(Errno::EINVAL),
    }
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

/// `personality(2)`: of the bits ADDR_NO_RANDOMIZE alone changes anything, from the next exec on.
pub fn sys_personality(persona: usize) -> KResult<usize> {
    const ASK: u32 = u32::MAX;
    let mine = task::current_process().personality();
    let old = mine.load(Ordering::Relaxed);
    if persona as u32 != ASK {
        mine.store(persona as u32, Ordering::Relaxed);
    }
    Ok(old as usize)
}

/// `unshare(2)`: descriptors and working directory can be parted; there are no namespaces.
pub fn sys_unshare(flags: usize) -> KResult<usize> {
    let flags = flags as u64;
    let parts = fork::CLONE_FILES | fork::CLONE_FS;
    let same = fork::CLONE_VM | fork::CLONE_SIGHAND | fork::CLONE_THREAD;
    if flags & !(parts | same) != 0 {
        return Err(Errno::EINVAL);
    }
    let process = task::current_process();
    if flags != 0 && process.thread_count() > 1 {
        return Err(Errno::EINVAL);
    }
    if flags & fork::CLONE_FILES != 0 {
        // SAFETY: the only thread of the process, as was seen above, and it holds no lock.
        unsafe { process.part_files()? };
    }
    if flags & fork::CLONE_FS != 0 {
        // SAFETY: as above.
        unsafe { process.part_fs() };
    }
    Ok(0)
}
