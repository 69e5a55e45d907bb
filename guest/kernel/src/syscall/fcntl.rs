//! `fcntl(2)` and `flock(2)`: flags of descriptors, and advisory locks.

use alloc::sync::Arc;

use super::file::{get, get_open};
use crate::errno::{Errno, KResult};
use crate::fs::lock::{self, Lock, Owner};
use crate::fs::pipe::PipeEnd;
use crate::fs::{File, OpenFlags, seal};
use crate::mm::user::{read_user, write_user};
use crate::task;

const F_DUPFD: u32 = 0;
const F_GETFD: u32 = 1;
const F_SETFD: u32 = 2;
const F_GETFL: u32 = 3;
const F_SETFL: u32 = 4;
const F_GETLK: u32 = 5;
const F_SETLK: u32 = 6;
const F_SETLKW: u32 = 7;
const F_SETOWN: u32 = 8;
const F_GETOWN: u32 = 9;
const F_SETSIG: u32 = 10;
const F_GETSIG: u32 = 11;
const F_OFD_GETLK: u32 = 36;
const F_OFD_SETLK: u32 = 37;
const F_OFD_SETLKW: u32 = 38;
const F_DUPFD_CLOEXEC: u32 = 1030;
const F_SETPIPE_SZ: u32 = 1031;
const F_GETPIPE_SZ: u32 = 1032;
const F_ADD_SEALS: u32 = 1033;
const F_GET_SEALS: u32 = 1034;
const FD_CLOEXEC: usize = 1;

/// `fcntl(2)`
pub fn sys_fcntl(fd: usize, cmd: usize, arg: usize) -> KResult<usize> {
    let process = task::current_process();
    let fd = fd as u32 as usize;
    let cmd = cmd as u32;
    let file = get(fd)?;
    let allowed_on_path = matches!(cmd, F_DUPFD | F_DUPFD_CLOEXEC | F_GETFD | F_SETFD | F_GETFL);
    if file.flags().has(OpenFlags::PATH) && !allowed_on_path {
        return Err(Errno::EBADF);
    }
    match cmd {
        F_DUPFD | F_DUPFD_CLOEXEC => {
            let limit = process.max_files();
            let min = arg as u32 as usize;
            if min >= limit {
                return Err(Errno::EINVAL);
            }
            process
                .files
                .lock()
                .install(file, cmd == F_DUPFD_CLOEXEC, min, limit)
        }
        F_GETFD => Ok(usize::from(process.files.lock().cloexec(fd)?)),
        F_SETFD => {
            process
                .files
                .lock()
                .set_cloexec(fd, arg & FD_CLOEXEC != 0)?;
            Ok(0)
        }
        F_GETFL => Ok(file.flags().0 as usize),
        F_SETFL => {
            file.set_flags(OpenFlags(arg as u32));
            Ok(0)
        }
        F_GETLK | F_SETLK | F_SETLKW => {
            record_lock(&file, cmd - F_GETLK, arg, Owner::Process(process.pid()))
        }
        F_OFD_GETLK | F_OFD_SETLK | F_OFD_SETLKW => {
            file.note_flock();
            record_lock(&file, cmd - F_OFD_GETLK, arg, Owner::Description(file.id()))
        }
        // Signal-driven input is not offered; programs may say who would get the signals.
        F_SETOWN | F_SETSIG => Ok(0),
        F_GETOWN | F_GETSIG => Ok(0),
        F_ADD_SEALS => {
            seal::add(&file, arg as u32)?;
            Ok(0)
        }
        F_GET_SEALS => seal::get(&file).map(|seals| seals as usize),
        F_GETPIPE_SZ => Ok(pipe_of(&file)?.pipe().capacity()),
        F_SETPIPE_SZ => pipe_of(&file)?.pipe().set_capacity(arg as u32 as usize),
        _ => Err(Errno::EINVAL),
    }
}

fn pipe_of(file: &File) -> KResult<&PipeEnd> {
    file.ops_as::<PipeEnd>().ok_or(Errno::EBADF)
}

/// `struct flock` on x86-64.
#[derive(Clone, Copy)]
#[repr(C)]
struct Flock {
    kind: i16,
    whence: i16,
    pad: u32,
    start: i64,
    len: i64,
    pid: i32,
    pad2: u32,
}

// SAFETY: integers only; the gaps are fields of their own.
unsafe impl crate::mm::user::Pod for Flock {}

const F_RDLCK: i16 = 0;
const F_WRLCK: i16 = 1;
const F_UNLCK: i16 = 2;

/// `F_GETLK` (0), `F_SETLK` (1), `F_SETLKW` (2) and their kin for descriptions.
fn record_lock(file: &Arc<File>, what: u32, arg: usize, owner: Owner) -> KResult<usize> {
    let mut request: Flock = read_user(arg)?;
    // A description belongs to no process.
    if matches!(owner, Owner::Description(_)) && request.pid != 0 {
        return Err(Errno::EINVAL);
    }
    let base = match request.whence {
        0 => 0,
        1 => file.seek(0, 1)? as i64,
        2 => file.inode().size() as i64,
        _ => return Err(Errno::EINVAL),
    };
    let mut start = base.checked_add(request.start).ok_or(Errno::EOVERFLOW)?;
    let end = if request.len == 0 {
        u64::MAX
    } else {
        let end = start.checked_add(request.len).ok_or(Errno::EOVERFLOW)?;
        if request.len < 0 {
            let first = end;
            let end = start;
            start = first;
            end as u64
        } else {
            end as u64
        }
    };
    if start < 0 {
        return Err(Errno::EINVAL);
    }
    let wanted = Lock {
        start: start as u64,
        end,
        exclusive: request.kind == F_WRLCK,
        owner,
    };
    if !matches!(request.kind, F_RDLCK | F_WRLCK | F_UNLCK) {
        return Err(Errno::EINVAL);
    }
    if what == 0 {
        if request.kind == F_UNLCK {
            return Err(Errno::EINVAL);
        }
        match lock::blocker(file.inode(), &wanted) {
            None => request.kind = F_UNLCK,
            Some(held) => {
                request.kind = if held.exclusive { F_WRLCK } else { F_RDLCK };
                request.whence = 0;
                request.start = held.start as i64;
                request.len = if held.end == u64::MAX {
                    0
                } else {
                    (held.end - held.start) as i64
                };
                request.pid = match held.owner {
                    Owner::Process(pid) => pid as i32,
                    _ => -1,
                };
            }
        }
        write_user(arg, &request)?;
        return Ok(0);
    }
    match request.kind {
        F_UNLCK => lock::release(file.inode(), &wanted),
        F_RDLCK if !file.flags().readable() => return Err(Errno::EBADF),
        F_WRLCK if !file.flags().writable() => return Err(Errno::EBADF),
        _ => lock::acquire(file.inode(), wanted, what == 2)?,
    }
    Ok(0)
}

/// `flock(2)`
pub fn sys_flock(fd: usize, operation: usize) -> KResult<usize> {
    const LOCK_SH: usize = 1;
    const LOCK_EX: usize = 2;
    const LOCK_NB: usize = 4;
    const LOCK_UN: usize = 8;
    let file = get_open(fd)?;
    let exclusive = match operation & !LOCK_NB {
        LOCK_SH => Some(false),
        LOCK_EX => Some(true),
        LOCK_UN => None,
        _ => return Err(Errno::EINVAL),
    };
    lock::flock(&file, exclusive, operation & LOCK_NB == 0)?;
    Ok(0)
}
