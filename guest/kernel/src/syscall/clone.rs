//! The birth of processes and threads: clone, fork, vfork; and what they share: unshare.

use crate::arch::TrapFrame;
use crate::errno::{Errno, KResult};
use crate::mm::layout::USER_END;
use crate::mm::user::{copy_from_user, read_user};
use crate::task;
use crate::task::fork::{self, CloneArgs};
use crate::task::signal::SIGCHLD;

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

/// Words of `struct clone_args`.
const CLONE3_WORDS: usize = 11;
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
    let mut bytes = [0; CLONE3_WORDS * 8];
    let known = size.min(bytes.len());
    copy_from_user(&mut bytes[..known], at)?;
    // A newer program may pass more, as long as it is zero.
    for extra in (at + known)..(at + size) {
        if read_user::<u8>(extra)? != 0 {
            return Err(Errno::E2BIG);
        }
    }
    let [
        flags,
        pidfd,
        child_tid,
        parent_tid,
        exit_signal,
        stack,
        stack_size,
        tls,
        set_tid,
        set_tid_size,
        _cgroup,
    ]: [u64; CLONE3_WORDS] = core::array::from_fn(|index| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[index * 8..index * 8 + 8]);
        u64::from_le_bytes(word)
    });
    if flags & CSIGNAL != 0
        || exit_signal > 64
        || set_tid != 0
        || set_tid_size != 0
        || (flags & (fork::CLONE_THREAD | fork::CLONE_PARENT) != 0 && exit_signal != 0)
        || (stack == 0) != (stack_size == 0)
        || stack
            .checked_add(stack_size)
            .is_none_or(|top| top as usize > USER_END)
    {
        return Err(Errno::EINVAL);
    }
    fork::clone(
        frame,
        &CloneArgs {
            flags,
            stack: (stack + stack_size) as usize,
            pidfd: pidfd as usize,
            parent_tid: parent_tid as usize,
            child_tid: child_tid as usize,
            tls: tls as usize,
            exit_signal: exit_signal as u32,
        },
    )
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
