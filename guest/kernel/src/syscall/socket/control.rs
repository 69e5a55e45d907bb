//! Control data of messages (`cmsg(3)`): descriptors, and who sends.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::SOL_SOCKET;
use crate::errno::{Errno, KResult};
use crate::fs::File;
use crate::fs::unix::{MAX_DESCRIPTORS, Peer};
use crate::mm::user::{read_user, write_user};
use crate::syscall::file::get_open;
use crate::task;

const SCM_RIGHTS: u32 = 1;
const SCM_CREDENTIALS: u32 = 2;

/// Bytes of a `struct cmsghdr`: length (8), level (4), type (4).
const CMSG_HEADER: usize = 16;

/// The descriptors that the control data at `at` sends. EINVAL, EBADF.
pub fn read_files(at: usize, len: usize) -> KResult<Vec<Arc<File>>> {
    let mut files = Vec::new();
    let mut offset = 0;
    while len >= offset + CMSG_HEADER {
        let [size, kind]: [usize; 2] = read_user(at + offset)?;
        if size < CMSG_HEADER || size > len - offset {
            return Err(Errno::EINVAL);
        }
        let (level, kind) = (kind as u32, (kind >> 32) as u32);
        if level == SOL_SOCKET && kind == SCM_RIGHTS {
            let count = (size - CMSG_HEADER) / 4;
            if count + files.len() > MAX_DESCRIPTORS {
                return Err(Errno::EINVAL);
            }
            for n in 0..count {
                let fd: u32 = read_user(at + offset + CMSG_HEADER + 4 * n)?;
                files.push(get_open(fd as usize)?);
            }
        }
        offset += size.next_multiple_of(8);
    }
    Ok(files)
}

/// Install the descriptors that came and tell of them in the control data; gives the bytes used,
/// and whether some did not fit.
pub fn write_files(
    at: usize,
    room: usize,
    files: Vec<Arc<File>>,
    cloexec: bool,
) -> KResult<(usize, bool)> {
    if files.is_empty() {
        return Ok((0, false));
    }
    let fit = room.saturating_sub(CMSG_HEADER) / 4;
    let cut = files.len() > fit;
    let mut numbers = Vec::new();
    for file in files.into_iter().take(fit) {
        match task::current_process().install_file(file, cloexec) {
            Ok(fd) => numbers.push(fd as u32),
            Err(_) => break,
        }
    }
    if numbers.is_empty() {
        return Ok((0, true));
    }
    let size = CMSG_HEADER + 4 * numbers.len();
    let kind = u64::from(SOL_SOCKET) | u64::from(SCM_RIGHTS) << 32;
    write_user(at, &[size as u64, kind])?;
    for (n, number) in numbers.iter().enumerate() {
        write_user(at + CMSG_HEADER + 4 * n, number)?;
    }
    Ok((size.next_multiple_of(8).min(room), cut))
}

/// Tell of the sending process in the control data (`SCM_CREDENTIALS`); gives the bytes used, and
/// whether it did not fit.
pub fn write_sender(at: usize, room: usize, sender: Peer) -> KResult<(usize, bool)> {
    const SIZE: usize = CMSG_HEADER + 12;
    if room < SIZE {
        return Ok((0, true));
    }
    let kind = u64::from(SOL_SOCKET) | u64::from(SCM_CREDENTIALS) << 32;
    write_user(at, &[SIZE as u64, kind])?;
    write_user(at + CMSG_HEADER, &[sender.pid, sender.uid, sender.gid])?;
    Ok((SIZE.next_multiple_of(8).min(room), false))
}
