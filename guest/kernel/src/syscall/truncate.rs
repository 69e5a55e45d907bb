//! The size of files: truncate, fallocate.

use alloc::sync::Arc;

use super::attr::check_writable;
use super::file::get_open;
use super::open::check_not_running;
use super::stat::inode_at;
use crate::errno::{Errno, KResult};
use crate::fs::path::AT_FDCWD;
use crate::fs::perm::{WRITE, Who};
use crate::fs::{FileType, Inode, truncate};
use crate::task::rlimit;

/// Cut or extend a file. EFBIG and SIGXFSZ above RLIMIT_FSIZE, and the errors of the file system.
fn set_size(inode: &Arc<dyn Inode>, len: u64) -> KResult<usize> {
    if len > inode.size() {
        rlimit::file_room(len - 1)?;
    }
    truncate(inode, len)?;
    Ok(0)
}

/// `truncate(2)`
pub fn sys_truncate(path: usize, len: usize) -> KResult<usize> {
    if (len as i64) < 0 {
        return Err(Errno::EINVAL);
    }
    let inode = inode_at(AT_FDCWD as usize, path, 0)?;
    let meta = inode.metadata();
    match meta.kind {
        FileType::Regular => {}
        FileType::Directory => return Err(Errno::EISDIR),
        _ => return Err(Errno::EINVAL),
    }
    Who::current().check(&meta, WRITE)?;
    check_writable(&inode)?;
    check_not_running(&meta)?;
    set_size(&inode, len as u64)
}

/// `ftruncate(2)`
pub fn sys_ftruncate(fd: usize, len: usize) -> KResult<usize> {
    if (len as i64) < 0 {
        return Err(Errno::EINVAL);
    }
    let file = get_open(fd)?;
    if !file.flags().writable() || file.kind() != FileType::Regular {
        return Err(Errno::EINVAL);
    }
    set_size(file.inode(), len as u64)
}

/// `fallocate(2)`: plain allocation, with or without `FALLOC_FL_KEEP_SIZE`.
pub fn sys_fallocate(fd: usize, mode: usize, offset: usize, len: usize) -> KResult<usize> {
    const KEEP_SIZE: usize = 1;
    let file = get_open(fd)?;
    if (offset as i64) < 0 || len as i64 <= 0 {
        return Err(Errno::EINVAL);
    }
    if !file.flags().writable() {
        return Err(Errno::EBADF);
    }
    if mode & !KEEP_SIZE != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    match file.kind() {
        FileType::Regular => {}
        FileType::Fifo => return Err(Errno::ESPIPE),
        _ => return Err(Errno::ENODEV),
    }
    let end = (offset as u64)
        .checked_add(len as u64)
        .ok_or(Errno::EFBIG)?;
    if end > i64::MAX as u64 {
        return Err(Errno::EFBIG);
    }
    rlimit::file_room(end - 1)?;
    file.inode()
        .allocate(offset as u64, len as u64, mode & KEEP_SIZE != 0)?;
    Ok(0)
}
