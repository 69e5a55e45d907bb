//! Pipes, event counters, memory files.

use alloc::sync::Arc;

use super::file::{get_open, install_pair, read_iovec};
use crate::errno::{Errno, KResult};
use crate::fs::tmpfs::TmpFs;
use crate::fs::{Dentry, File, OpenFlags, ReadBuf, WriteBuf, eventfd, perm, pipe};
use crate::mm::user::read_user_string;
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
    install_pair(pipe::create(flags)?, flags.has(OpenFlags::CLOEXEC), fds)
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
    let inode = TmpFs::nameless(0o777, (who.uid, who.gid), flags & MFD_ALLOW_SEALING != 0);
    let dentry = Dentry::new_unnamed(inode.clone(), &name);
    let file = File::new(inode, Some(dentry), None, OpenFlags::RDWR);
    task::current_process().install_file(file, flags & MFD_CLOEXEC != 0)
}

/// Flags of `splice(2)` and its relatives: MOVE, NONBLOCK, MORE, GIFT.
const SPLICE_KNOWN: usize = 0xf;
/// Do not wait.
const SPLICE_NONBLOCK: usize = 2;

/// `tee(2)`
pub fn sys_tee(in_fd: usize, out_fd: usize, len: usize, flags: usize) -> KResult<usize> {
    if flags & !SPLICE_KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(0);
    }
    let input = get_open(in_fd)?;
    let output = get_open(out_fd)?;
    if !input.flags().readable() || !output.flags().writable() {
        return Err(Errno::EBADF);
    }
    let pipe = |file: &'_ File| {
        let end = file.ops_as::<pipe::PipeEnd>().ok_or(Errno::EINVAL)?;
        KResult::Ok(end.pipe().clone())
    };
    let (from, to) = (pipe(&input)?, pipe(&output)?);
    if Arc::ptr_eq(&from, &to) {
        return Err(Errno::EINVAL);
    }
    let nonblock = flags & SPLICE_NONBLOCK != 0 || input.nonblocking() || output.nonblocking();
    from.tee(&to, len, nonblock)
}

/// `vmsplice(2)`: memory into a pipe, or out of one into memory. Bytes are copied.
pub fn sys_vmsplice(fd: usize, iov: usize, count: usize, flags: usize) -> KResult<usize> {
    if flags & !SPLICE_KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    let file = get_open(fd)?;
    let pipe = file.ops_as::<pipe::PipeEnd>().ok_or(Errno::EBADF)?.pipe();
    let iov = read_iovec(iov, count)?;
    let nonblock = flags & SPLICE_NONBLOCK != 0 || file.nonblocking();
    if file.flags().writable() {
        pipe.write(&mut WriteBuf::user_vec(&iov), nonblock)
    } else {
        pipe.read(&mut ReadBuf::user_vec(&iov), nonblock)
    }
}
