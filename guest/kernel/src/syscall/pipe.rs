//! Pipes, event counters, memory files.

use super::file::get_open;
use crate::errno::{Errno, KResult};
use crate::fs::tmpfs::TmpFs;
use crate::fs::{Dentry, File, OpenFlags, eventfd, perm, pipe};
use crate::mm::user::{read_user_string, write_user};
use crate::task;

/// `pipe(2)`
pub fn sys_pipe(fds: usize) -> KResult<usize> {
    sys_pipe2(fds, 0)
}

/// `pipe2(2)`
pub fn sys_pipe2(fds: usize, flags: usize) -> KResult<usize> {
    let flags = OpenFlags(flags as u32);
    let known = OpenFlags::CLOEXEC | OpenFlags::NONBLOCK | OpenFlags::DIRECT;
    if flags.0 & !known.0 != 0 {
        return Err(Errno::EINVAL);
    }
    let (reader, writer) = pipe::create(flags)?;
    let cloexec = flags.has(OpenFlags::CLOEXEC);
    let process = task::current_process();
    let read_fd = process.install_file(reader, cloexec)?;
    let write_fd = match process.install_file(writer, cloexec) {
        Ok(fd) => fd,
        Err(e) => {
            let file = process.files.lock().remove(read_fd);
            drop(file);
            return Err(e);
        }
    };
    let pair = [read_fd as u32, write_fd as u32];
    if let Err(e) = write_user(fds, &pair) {
        let mut files = process.files.lock();
        let closed = (files.remove(read_fd), files.remove(write_fd));
        drop(files);
        drop(closed);
        return Err(e);
    }
    Ok(0)
}

/// `eventfd(2)`
pub fn sys_eventfd(initial: usize) -> KResult<usize> {
    sys_eventfd2(initial, 0)
}

/// `eventfd2(2)`
pub fn sys_eventfd2(initial: usize, flags: usize) -> KResult<usize> {
    let file = eventfd::create(initial as u32, flags as u32)?;
    let cloexec = flags as u32 & OpenFlags::CLOEXEC.0 != 0;
    task::current_process().install_file(file, cloexec)
}

/// `memfd_create(2)`
pub fn sys_memfd_create(name: usize, flags: usize) -> KResult<usize> {
    const MFD_CLOEXEC: usize = 1;
    const MFD_ALLOW_SEALING: usize = 2;
    const MAX_NAME: usize = 249;
    if flags & !(MFD_CLOEXEC | MFD_ALLOW_SEALING) != 0 {
        return Err(Errno::EINVAL);
    }
    let text = match read_user_string(name, MAX_NAME + 1) {
        Err(Errno::ENAMETOOLONG) => return Err(Errno::EINVAL),
        text => text?,
    };
    let mut name = b"memfd:".to_vec();
    name.extend_from_slice(&text);
    let who = perm::Who::current();
    let inode = TmpFs::nameless(0o777, (who.uid, who.gid));
    let dentry = Dentry::new_unnamed(inode.clone(), &name);
    let file = File::new(inode, Some(dentry), None, OpenFlags::RDWR);
    task::current_process().install_file(file, flags & MFD_CLOEXEC != 0)
}

/// `tee(2)`: not offered; EINVAL, as for files that cannot do it.
pub fn sys_tee(in_fd: usize, out_fd: usize, _len: usize, _flags: usize) -> KResult<usize> {
    get_open(in_fd)?;
    get_open(out_fd)?;
    Err(Errno::EINVAL)
}

/// `vmsplice(2)`: not offered; EBADF, as for descriptors that are no pipes.
pub fn sys_vmsplice(fd: usize, _iov: usize, _count: usize, _flags: usize) -> KResult<usize> {
    get_open(fd)?;
    Err(Errno::EBADF)
}
