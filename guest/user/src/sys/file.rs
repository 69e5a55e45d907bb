//! Descriptors, files and file systems.

use std::io;

use super::{c_string, check};

/// Opens a file with close-on-exec.
pub fn open(path: &[u8], flags: i32, mode: u32) -> io::Result<i32> {
    let path = c_string(path);
    // SAFETY: `path` ends with NUL.
    check(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, mode) })
}

/// Closes a descriptor.
pub fn close(fd: i32) {
    // SAFETY: closing a number that no Rust object owns; descriptors here are plain numbers.
    unsafe { libc::close(fd) };
}

/// A pipe's reading and writing end, both close-on-exec.
pub fn pipe() -> io::Result<(i32, i32)> {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for two numbers.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    Ok((ends[0], ends[1]))
}

/// Makes `to` a copy of `from` that stays open on exec.
pub fn dup2(from: i32, to: i32) -> io::Result<()> {
    if from == to {
        // SAFETY: F_SETFD takes an integer.
        return check(unsafe { libc::fcntl(from, libc::F_SETFD, 0) }).map(drop);
    }
    // SAFETY: no preconditions beyond those of `close`.
    check(unsafe { libc::dup2(from, to) }).map(drop)
}

/// A copy of `fd` numbered `least` or more, close-on-exec.
pub fn dup_above(fd: i32, least: i32) -> io::Result<i32> {
    // SAFETY: F_DUPFD_CLOEXEC takes an integer.
    check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, least) })
}

/// Reads once; goes on if a signal interrupts.
pub fn read(fd: i32, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match read_once(fd, buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Reads once; an interruption is an error.
pub fn read_once(fd: i32, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer is valid for writing its length.
    let count = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Writes all of `bytes`.
pub fn write_all(fd: i32, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        // SAFETY: the buffer is valid for reading its length.
        let count = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(count) {
            Ok(count) => bytes = &bytes[count..],
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// Moves the file offset relative to where it is; fails on pipes and terminals.
pub fn seek_by(fd: i32, distance: i64) -> io::Result<u64> {
    // SAFETY: no preconditions.
    let offset = unsafe { libc::lseek(fd, distance, libc::SEEK_CUR) };
    u64::try_from(offset).map_err(|_| io::Error::last_os_error())
}

/// Gives a file that length.
pub fn truncate(fd: i32, length: u64) -> io::Result<()> {
    let length = i64::try_from(length).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    // SAFETY: no preconditions.
    check(unsafe { libc::ftruncate(fd, length) }).map(drop)
}

/// Whether the file may be accessed in the given manner (`libc::R_OK` …).
pub fn access(path: &[u8], how: i32) -> bool {
    let path = c_string(path);
    // SAFETY: `path` ends with NUL.
    unsafe { libc::access(path.as_ptr(), how) == 0 }
}

/// Makes a named pipe.
pub fn mkfifo(path: &[u8], mode: u32) -> io::Result<()> {
    let path = c_string(path);
    // SAFETY: `path` ends with NUL.
    check(unsafe { libc::mkfifo(path.as_ptr(), mode) }).map(drop)
}

/// Sets access and modification time, `None` for now; follows symbolic links.
pub fn set_times(path: &[u8], times: Option<[libc::timespec; 2]>) -> io::Result<()> {
    let path = c_string(path);
    let times = times.as_ref().map_or(std::ptr::null(), |t| t.as_ptr());
    // SAFETY: `path` ends with NUL, `times` is null or two timespecs.
    check(unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), times, 0) }).map(drop)
}

/// Writes all that the kernel holds back.
pub fn sync() {
    // SAFETY: no preconditions.
    unsafe { libc::sync() };
}

/// Mounts `source` at `target`.
pub fn mount(source: &[u8], target: &[u8], kind: &[u8], flags: u64, data: &[u8]) -> io::Result<()> {
    let (source, target) = (c_string(source), c_string(target));
    let (kind, data) = (c_string(kind), c_string(data));
    // SAFETY: all strings end with NUL.
    let result = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr().cast(),
        )
    };
    check(result).map(drop)
}

/// Unmounts what is mounted at `target`.
pub fn umount(target: &[u8]) -> io::Result<()> {
    let target = c_string(target);
    // SAFETY: `target` ends with NUL.
    check(unsafe { libc::umount2(target.as_ptr(), 0) }).map(drop)
}

/// Space on the file system that holds `path`.
pub fn statvfs(path: &[u8]) -> io::Result<libc::statvfs> {
    let path = c_string(path);
    let mut space = std::mem::MaybeUninit::uninit();
    // SAFETY: statvfs fills `space` if it succeeds, and only then is it taken.
    unsafe {
        check(libc::statvfs(path.as_ptr(), space.as_mut_ptr()))?;
        Ok(space.assume_init())
    }
}

/// Writes a file's data and metadata to its device.
pub fn fsync(fd: i32) -> io::Result<()> {
    // SAFETY: no preconditions.
    check(unsafe { libc::fsync(fd) }).map(drop)
}
