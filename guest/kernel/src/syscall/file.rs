//! System calls on descriptors: reading, writing, duplicating, closing, syncing.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::errno::{Errno, KResult};
use crate::fs::lock;
use crate::fs::{File, FileType, IoVec, MAX_FDS, OpenFlags, ReadBuf, WriteBuf};
use crate::mm::user::{read_user, write_user};
use crate::task;

/// Linux moves at most so many bytes by one call (`MAX_RW_COUNT`).
pub(super) const MAX_COUNT: usize = 0x7fff_f000;

/// Most entries of an iovec array (`IOV_MAX`).
const IOV_MAX: usize = 1024;

/// Addresses from here on are not a program's: a buffer there is refused before anything is done.
const LOWER_HALF_END: usize = 0x8000_0000_0000;

/// The file of a descriptor. EBADF; for one opened with `O_PATH` too.
#[inline]
pub fn get(fd: usize) -> KResult<Arc<File>> {
    task::current_process().files.lock().get(fd as u32 as usize)
}

/// As [`get`], refusing descriptors opened with `O_PATH`.
pub fn get_open(fd: usize) -> KResult<Arc<File>> {
    let file = get(fd)?;
    if file.flags().has(OpenFlags::PATH) {
        return Err(Errno::EBADF);
    }
    Ok(file)
}

/// Install two files, and store their descriptors at `at`; if that fails, neither stays. EMFILE,
/// EFAULT.
pub fn install_pair(
    (first, second): (Arc<File>, Arc<File>),
    cloexec: bool,
    at: usize,
) -> KResult<usize> {
    let process = task::current_process();
    let close = |fd: usize| {
        let file = process.files.lock().remove(fd);
        drop(file);
    };
    let first = process.install_file(first, cloexec)?;
    let stored = process.install_file(second, cloexec).and_then(|second| {
        write_user(at, &[first as u32, second as u32]).inspect_err(|_| close(second))
    });
    stored.map(|()| 0).inspect_err(|_| close(first))
}

fn check_range(buf: usize, len: usize) -> KResult<()> {
    match buf.checked_add(len) {
        Some(end) if end <= LOWER_HALF_END => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

/// `read(2)`
pub fn sys_read(fd: usize, buf: usize, len: usize) -> KResult<usize> {
    let file = get(fd)?;
    check_range(buf, len)?;
    file.read(&mut ReadBuf::user(buf, len.min(MAX_COUNT)))
}

/// `write(2)`
pub fn sys_write(fd: usize, buf: usize, len: usize) -> KResult<usize> {
    let file = get(fd)?;
    check_range(buf, len)?;
    file.write(&mut WriteBuf::user(buf, len.min(MAX_COUNT)))
}

/// `pread64(2)`
pub fn sys_pread64(fd: usize, buf: usize, len: usize, offset: usize) -> KResult<usize> {
    let file = get(fd)?;
    let offset = check_offset(offset)?;
    check_range(buf, len)?;
    file.read_at(offset, &mut ReadBuf::user(buf, len.min(MAX_COUNT)))
}

/// `pwrite64(2)`
pub fn sys_pwrite64(fd: usize, buf: usize, len: usize, offset: usize) -> KResult<usize> {
    let file = get(fd)?;
    let offset = check_offset(offset)?;
    check_range(buf, len)?;
    file.write_at(offset, &mut WriteBuf::user(buf, len.min(MAX_COUNT)))
}

/// A file offset from a register. EINVAL if it is negative.
pub(super) fn check_offset(offset: usize) -> KResult<u64> {
    if (offset as i64) < 0 {
        return Err(Errno::EINVAL);
    }
    Ok(offset as u64)
}

/// An iovec array from user memory. EINVAL if it is too long or its lengths overflow.
pub(super) fn read_iovec(iov: usize, count: usize) -> KResult<Vec<IoVec>> {
    if count > IOV_MAX {
        return Err(Errno::EINVAL);
    }
    let mut vec = Vec::with_capacity(count);
    let mut total = 0usize;
    for n in 0..count {
        let at = iov
            .checked_add(n * core::mem::size_of::<IoVec>())
            .ok_or(Errno::EFAULT)?;
        let mut entry: IoVec = read_user(at)?;
        if entry.len as isize <= -1 {
            return Err(Errno::EINVAL);
        }
        check_range(entry.base, entry.len)?;
        entry.len = entry.len.min(MAX_COUNT - total);
        total += entry.len;
        vec.push(entry);
    }
    Ok(vec)
}

/// `readv(2)`
pub fn sys_readv(fd: usize, iov: usize, count: usize) -> KResult<usize> {
    let file = get(fd)?;
    let iov = read_iovec(iov, count)?;
    file.read(&mut ReadBuf::user_vec(&iov))
}

/// `writev(2)`
pub fn sys_writev(fd: usize, iov: usize, count: usize) -> KResult<usize> {
    let file = get(fd)?;
    let iov = read_iovec(iov, count)?;
    file.write(&mut WriteBuf::user_vec(&iov))
}

/// `preadv(2)`
pub fn sys_preadv(
    fd: usize,
    iov: usize,
    count: usize,
    offset: usize,
    _high: usize,
) -> KResult<usize> {
    let file = get(fd)?;
    let offset = check_offset(offset)?;
    let iov = read_iovec(iov, count)?;
    file.read_at(offset, &mut ReadBuf::user_vec(&iov))
}

/// `pwritev(2)`
pub fn sys_pwritev(
    fd: usize,
    iov: usize,
    count: usize,
    offset: usize,
    _high: usize,
) -> KResult<usize> {
    let file = get(fd)?;
    let offset = check_offset(offset)?;
    let iov = read_iovec(iov, count)?;
    file.write_at(offset, &mut WriteBuf::user_vec(&iov))
}

/// `preadv2(2)`: offset -1 means the file's position; the flags are hints here.
pub fn sys_preadv2(
    fd: usize,
    iov: usize,
    count: usize,
    offset: usize,
    _high: usize,
    flags: usize,
) -> KResult<usize> {
    if flags & !0x1f != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if offset as isize == -1 {
        sys_readv(fd, iov, count)
    } else {
        sys_preadv(fd, iov, count, offset, 0)
    }
}

/// `pwritev2(2)`: as [`sys_preadv2`].
pub fn sys_pwritev2(
    fd: usize,
    iov: usize,
    count: usize,
    offset: usize,
    _high: usize,
    flags: usize,
) -> KResult<usize> {
    if flags & !0x1f != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if offset as isize == -1 {
        sys_writev(fd, iov, count)
    } else {
        sys_pwritev(fd, iov, count, offset, 0)
    }
}

/// `lseek(2)`
pub fn sys_lseek(fd: usize, offset: usize, whence: usize) -> KResult<usize> {
    let file = get_open(fd)?;
    Ok(file.seek(offset as i64, whence as u32)? as usize)
}

/// `close(2)`
pub fn sys_close(fd: usize) -> KResult<usize> {
    let process = task::current_process();
    let file = process.files.lock().remove(fd as u32 as usize)?;
    lock::closed_by(file.inode(), process.pid());
    Ok(0)
}

const CLOSE_RANGE_UNSHARE: usize = 2;
const CLOSE_RANGE_CLOEXEC: usize = 4;

/// `close_range(2)`; `CLOSE_RANGE_UNSHARE` is refused for tables that are shared.
pub fn sys_close_range(first: usize, last: usize, flags: usize) -> KResult<usize> {
    let (first, last) = (first as u32 as usize, last as u32 as usize);
    if first > last || flags & !(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    let process = task::current_process();
    if flags & CLOSE_RANGE_UNSHARE != 0 && process.files.is_shared() {
        return Err(Errno::EINVAL);
    }
    let closed = {
        let mut files = process.files.lock();
        if flags & CLOSE_RANGE_CLOEXEC != 0 {
            for fd in first..=last.min(MAX_FDS) {
                // Descriptors that are not open are passed over.
                let _ = files.set_cloexec(fd, true);
            }
            return Ok(0);
        }
        files.close_range(first, last)
    };
    for file in &closed {
        lock::closed_by(file.inode(), process.pid());
    }
    Ok(0)
}

/// `dup(2)`
pub fn sys_dup(fd: usize) -> KResult<usize> {
    let file = get(fd)?;
    task::current_process().install_file(file, false)
}

/// `dup2(2)`
pub fn sys_dup2(old: usize, new: usize) -> KResult<usize> {
    if old as u32 == new as u32 {
        get(old)?;
        return Ok(new as u32 as usize);
    }
    duplicate(old, new, false)
}

/// `dup3(2)`
pub fn sys_dup3(old: usize, new: usize, flags: usize) -> KResult<usize> {
    if old as u32 == new as u32 || flags & !(OpenFlags::CLOEXEC.0 as usize) != 0 {
        return Err(Errno::EINVAL);
    }
    duplicate(old, new, flags != 0)
}

fn duplicate(old: usize, new: usize, cloexec: bool) -> KResult<usize> {
    let process = task::current_process();
    let limit = process.max_files();
    let new = new as u32 as usize;
    let replaced = {
        let mut files = process.files.lock();
        let file = files.get(old as u32 as usize)?;
        files.replace(new, file, cloexec, limit)?
    };
    if let Some(replaced) = replaced {
        lock::closed_by(replaced.inode(), process.pid());
    }
    Ok(new)
}

fn sync_file(fd: usize, data_only: bool) -> KResult<usize> {
    let file = get_open(fd)?;
    match file.kind() {
        FileType::Regular | FileType::Directory | FileType::Block => {
            file.inode().sync(data_only)?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `fsync(2)`
pub fn sys_fsync(fd: usize) -> KResult<usize> {
    sync_file(fd, false)
}

/// `fdatasync(2)`
pub fn sys_fdatasync(fd: usize) -> KResult<usize> {
    sync_file(fd, true)
}

/// `sync_file_range(2)`: as `fdatasync`.
pub fn sys_sync_file_range(
    fd: usize,
    _offset: usize,
    _len: usize,
    _flags: usize,
) -> KResult<usize> {
    sync_file(fd, true)
}

/// `sync(2)`
pub fn sys_sync() -> KResult<usize> {
    // Once, until it works again: a program may call this as often as it likes.
    static FAILED: AtomicBool = AtomicBool::new(false);
    match crate::fs::sync_all() {
        Ok(()) => FAILED.store(false, Ordering::Relaxed),
        Err(e) if !FAILED.swap(true, Ordering::Relaxed) => {
            crate::klog!("sync: not everything could be written: {e:?}");
        }
        Err(_) => {}
    }
    Ok(0)
}

/// `syncfs(2)`
pub fn sys_syncfs(fd: usize) -> KResult<usize> {
    let file = get_open(fd)?;
    if let Some(fs) = file.inode().fs() {
        fs.sync()?;
    }
    Ok(0)
}

/// `fadvise64(2)`: advice is checked and otherwise left alone.
pub fn sys_fadvise64(fd: usize, _offset: usize, _len: usize, advice: usize) -> KResult<usize> {
    let file = get_open(fd)?;
    if file.kind() == FileType::Fifo {
        return Err(Errno::ESPIPE);
    }
    if advice > 5 {
        return Err(Errno::EINVAL);
    }
    Ok(0)
}

/// `readahead(2)`: reads of the page cache read ahead by themselves.
pub fn sys_readahead(fd: usize, _offset: usize, _count: usize) -> KResult<usize> {
    let file = get_open(fd)?;
    if !file.flags().readable() {
        return Err(Errno::EBADF);
    }
    if file.kind() != FileType::Regular {
        return Err(Errno::EINVAL);
    }
    Ok(0)
}
