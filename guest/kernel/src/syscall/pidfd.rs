//! Processes as descriptors: `pidfd_open(2)`, `pidfd_send_signal(2)`, `pidfd_getfd(2)`.

use alloc::sync::Arc;

use super::file::get_open;
use super::signal::send_by_pidfd;
use crate::errno::{Errno, KResult};
use crate::fs::OpenFlags;
use crate::fs::procfs::check_inspect;
use crate::task::{self, Process, find_process, find_task, pidfd};

/// The process behind descriptor `fd`, and whether waits for it shall not sleep. EBADF.
pub fn process_of(fd: usize) -> KResult<(Arc<Process>, bool)> {
    let file = get_open(fd)?;
    Ok((pidfd::process_of(&file)?.clone(), file.nonblocking()))
}

/// `pidfd_open(2)`
pub fn sys_pidfd_open(pid: usize, flags: usize) -> KResult<usize> {
    let nonblock = OpenFlags::NONBLOCK.0 as usize;
    let pid = u32::try_from(pid as i32).map_err(|_| Errno::EINVAL)?;
    if flags & !nonblock != 0 || pid == 0 {
        return Err(Errno::EINVAL);
    }
    let Some(process) = find_process(pid) else {
        // A thread that leads no process.
        let known = find_task(pid).is_some();
        return Err(if known { Errno::EINVAL } else { Errno::ESRCH });
    };
    let file = pidfd::create(&process, flags & nonblock != 0);
    task::current_process().install_file(file, true)
}

/// `pidfd_send_signal(2)`
pub fn sys_pidfd_send_signal(fd: usize, signo: usize, info: usize, flags: usize) -> KResult<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let (process, _) = process_of(fd)?;
    send_by_pidfd(&process, signo, info)
}

/// `pidfd_getfd(2)`
pub fn sys_pidfd_getfd(fd: usize, target: usize, flags: usize) -> KResult<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let (process, _) = process_of(fd)?;
    if process.is_dead() {
        return Err(Errno::ESRCH);
    }
    check_inspect(&process).map_err(|_| Errno::EPERM)?;
    let file = process.files.lock().get(target as u32 as usize)?;
    task::current_process().install_file(file, true)
}
