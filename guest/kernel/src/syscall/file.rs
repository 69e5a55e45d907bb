//! System calls on descriptors: reading, writing, duplicating, locking, syncing.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::errno::{Errno, KResult};
use crate::fs::lock::{self, Lock, Owner};
use crate::fs::pipe::PipeEnd;
use crate::fs::{File, FileType, IoVec, MAX_FDS, OpenFlags, ReadBuf, WriteBuf};
use crate::mm::user::{read_user, write_user};
use crate::task;

/// Linux moves at most so many bytes by one call (`MAX_RW_COUNT`).
const MAX_COUNT: usize = 0x7fff_f000;

/// Most entries of an iovec array (`IOV_MAX`).
const IOV_MAX: usize = 1024;

/// Addresses from here on are not a program's: a buffer there is refused before anything is done.
const USER_END: usize = 0x8000_0000_0000;

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

fn check_range(buf: usize, len: usize) -> KResult<()> {
    match buf.checked_add(len) {
        Some(end) if end <= USER_END => Ok(()),
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

fn check_offset(offset: usize) -> KResult<u64> {
    if (offset as i64) < 0 {
        return Err(Errno::EINVAL);
    }
    Ok(offset as u64)
}

/// An iovec array from user memory. EINVAL if it is too long or its lengths overflow.
fn read_iovec(iov: usize, count: usize) -> KResult<Vec<IoVec>> {
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

/// `ftruncate(2)`
pub fn sys_ftruncate(fd: usize, len: usize) -> KResult<usize> {
    if (len as i64) < 0 {
        return Err(Errno::EINVAL);
    }
    let file = get_open(fd)?;
    if !file.flags().writable() || file.kind() != FileType::Regular {
        return Err(Errno::EINVAL);
    }
    if len > 0 {
        crate::task::rlimit::file_room(len as u64 - 1)?;
    }
    file.inode().truncate(len as u64)?;
    Ok(0)
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
    file.inode()
        .allocate(offset as u64, len as u64, mode & KEEP_SIZE != 0)?;
    Ok(0)
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
    if let Err(e) = crate::fs::sync_all() {
        crate::klog!("sync: not everything could be written: {e:?}");
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

/// Bytes that the copying calls move at a time.
const COPY_CHUNK: usize = 32 * 1024;

fn copy_buffer(len: usize) -> KResult<Vec<u8>> {
    let len = len.min(COPY_CHUNK);
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    buffer.resize(len, 0);
    Ok(buffer)
}

/// Write all of `data`; gives how much went, an error only if nothing did.
fn write_all(file: &File, offset: Option<u64>, data: &[u8]) -> KResult<usize> {
    let mut done = 0;
    while done < data.len() {
        let mut buf = WriteBuf::kernel(&data[done..]);
        let step = match offset {
            Some(offset) => file.write_at(offset + done as u64, &mut buf),
            None => file.write(&mut buf),
        };
        match step {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if done == 0 => return Err(e),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// `sendfile(2)`
pub fn sys_sendfile(out_fd: usize, in_fd: usize, offset: usize, count: usize) -> KResult<usize> {
    let input = get_open(in_fd)?;
    let output = get_open(out_fd)?;
    if !input.flags().readable() || !output.flags().writable() {
        return Err(Errno::EBADF);
    }
    if !matches!(
        input.kind(),
        FileType::Regular | FileType::Block | FileType::Char
    ) {
        return Err(Errno::EINVAL);
    }
    if output.flags().has(OpenFlags::APPEND) {
        return Err(Errno::EINVAL);
    }
    let explicit = match offset {
        0 => None,
        at => Some(check_offset(read_user::<usize>(at)?)?),
    };
    let start = match explicit {
        Some(start) => start,
        // A device that is a stream has no position: it is read in order, whatever this says.
        None => input.seek(0, 1).unwrap_or(0),
    };
    let count = count.min(MAX_COUNT);
    let mut buffer = copy_buffer(count)?;
    let mut done = 0;
    while done < count {
        let want = (count - done).min(buffer.len());
        let read = input.read_at(
            start + done as u64,
            &mut ReadBuf::kernel(&mut buffer[..want]),
        );
        let read = match read {
            Ok(0) => break,
            Ok(n) => n,
            Err(Errno::ESPIPE) => return Err(Errno::EINVAL),
            Err(e) if done == 0 => return Err(e),
            Err(_) => break,
        };
        match write_all(&output, None, &buffer[..read]) {
            Ok(n) => {
                done += n;
                if n < read {
                    break;
                }
            }
            Err(e) if done == 0 => return Err(e),
            Err(_) => break,
        }
    }
    match offset {
        0 => {
            input.seek((start + done as u64) as i64, 0)?;
        }
        at => write_user(at, &(start + done as u64))?,
    }
    Ok(done)
}

/// `copy_file_range(2)`
pub fn sys_copy_file_range(
    in_fd: usize,
    in_offset: usize,
    out_fd: usize,
    out_offset: usize,
    count: usize,
    flags: usize,
) -> KResult<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let input = get_open(in_fd)?;
    let output = get_open(out_fd)?;
    for file in [&input, &output] {
        match file.kind() {
            FileType::Regular => {}
            FileType::Directory => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
    }
    if !input.flags().readable()
        || !output.flags().writable()
        || output.flags().has(OpenFlags::APPEND)
    {
        return Err(Errno::EBADF);
    }
    let position = |file: &File, at: usize| match at {
        0 => file.seek(0, 1),
        at => check_offset(read_user::<usize>(at)?),
    };
    let from = position(&input, in_offset)?;
    let to = position(&output, out_offset)?;
    let count = count.min(MAX_COUNT);
    if Arc::ptr_eq(input.inode(), output.inode())
        && from < to.saturating_add(count as u64)
        && to < from.saturating_add(count as u64)
    {
        return Err(Errno::EINVAL);
    }
    let mut buffer = copy_buffer(count)?;
    let mut done = 0;
    while done < count {
        let want = (count - done).min(buffer.len());
        let read = input.read_at(
            from + done as u64,
            &mut ReadBuf::kernel(&mut buffer[..want]),
        );
        let read = match read {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if done == 0 => return Err(e),
            Err(_) => break,
        };
        match write_all(&output, Some(to + done as u64), &buffer[..read]) {
            Ok(n) => {
                done += n;
                if n < read {
                    break;
                }
            }
            Err(e) if done == 0 => return Err(e),
            Err(_) => break,
        }
    }
    for (file, at, start) in [(&input, in_offset, from), (&output, out_offset, to)] {
        match at {
            0 => {
                file.seek((start + done as u64) as i64, 0)?;
            }
            at => write_user(at, &(start + done as u64))?,
        }
    }
    Ok(done)
}

/// `splice(2)`: at least one side is a pipe.
pub fn sys_splice(
    in_fd: usize,
    in_offset: usize,
    out_fd: usize,
    out_offset: usize,
    count: usize,
    flags: usize,
) -> KResult<usize> {
    const SPLICE_F_NONBLOCK: usize = 2;
    if flags & !0xf != 0 {
        return Err(Errno::EINVAL);
    }
    let input = get_open(in_fd)?;
    let output = get_open(out_fd)?;
    if !input.flags().readable() || !output.flags().writable() {
        return Err(Errno::EBADF);
    }
    let in_pipe = input.ops_as::<PipeEnd>().map(PipeEnd::pipe);
    let out_pipe = output.ops_as::<PipeEnd>().map(PipeEnd::pipe);
    if (in_pipe.is_some() && in_offset != 0) || (out_pipe.is_some() && out_offset != 0) {
        return Err(Errno::ESPIPE);
    }
    match (in_pipe, out_pipe) {
        (None, None) => return Err(Errno::EINVAL),
        (Some(a), Some(b)) if Arc::ptr_eq(a, b) => return Err(Errno::EINVAL),
        _ => {}
    }
    if count == 0 {
        return Ok(0);
    }
    let nonblock = flags & SPLICE_F_NONBLOCK != 0;
    let explicit = |at: usize| match at {
        0 => Ok(None),
        at => check_offset(read_user::<usize>(at)?).map(Some),
    };
    let from = explicit(in_offset)?;
    let to = explicit(out_offset)?;
    let mut buffer = copy_buffer(count)?;
    // What does not fit would be lost: no more is taken than the pipe has room for.
    let want = match out_pipe {
        Some(pipe) if nonblock => {
            let room = pipe.capacity().saturating_sub(pipe.len());
            if room == 0 {
                return Err(Errno::EAGAIN);
            }
            buffer.len().min(room)
        }
        _ => buffer.len(),
    };
    let mut target = ReadBuf::kernel(&mut buffer[..want]);
    let read = match (in_pipe, from) {
        (Some(pipe), _) => pipe.read(&mut target, nonblock || input.nonblocking())?,
        (None, Some(from)) => input.read_at(from, &mut target)?,
        (None, None) => input.read(&mut target)?,
    };
    if read == 0 {
        return Ok(0);
    }
    let done = write_all(&output, to, &buffer[..read])?;
    if let Some(from) = from {
        write_user(in_offset, &(from + done as u64))?;
    }
    if let Some(to) = to {
        write_user(out_offset, &(to + done as u64))?;
    }
    Ok(done)
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
