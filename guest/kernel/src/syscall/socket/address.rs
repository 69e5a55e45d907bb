//! Addresses of sockets: `struct sockaddr_un` (`unix(7)`).

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::AF_UNIX;
use crate::errno::{Errno, KResult};
use crate::fs::FileType;
use crate::fs::path;
use crate::fs::perm::{self, WRITE};
use crate::fs::unix::{self, Socket};
use crate::mm::user::{copy_from_user, copy_to_user, read_user, write_user};

/// Longest path in `struct sockaddr_un`.
const PATH_LEN: usize = 108;

/// The name in a `struct sockaddr_un` of `len` bytes: without its terminating NUL, or with its
/// leading one if it is abstract. EINVAL, EAFNOSUPPORT, EFAULT.
pub fn read(at: usize, len: usize) -> KResult<Vec<u8>> {
    let len = len as u32 as usize;
    if !(2..=2 + PATH_LEN).contains(&len) {
        return Err(Errno::EINVAL);
    }
    let mut raw = [0; 2 + PATH_LEN];
    copy_from_user(&mut raw[..len], at)?;
    if usize::from(u16::from_le_bytes([raw[0], raw[1]])) != AF_UNIX {
        return Err(Errno::EAFNOSUPPORT);
    }
    let name = &raw[2..len];
    if name.first() == Some(&0) {
        return Ok(name.to_vec());
    }
    let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
    Ok(name[..end].to_vec())
}

/// Store a name as a `struct sockaddr_un`, cut to the room that the integer at `len_at` tells, and
/// there the length that it has.
pub fn write(at: usize, len_at: usize, name: &[u8]) -> KResult<()> {
    if at == 0 {
        return Ok(());
    }
    let room: u32 = read_user(len_at)?;
    if (room as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let mut raw = (AF_UNIX as u16).to_le_bytes().to_vec();
    raw.extend_from_slice(name);
    if name.first().is_some_and(|&b| b != 0) {
        raw.push(0);
    }
    copy_to_user(at, &raw[..raw.len().min(room as usize)])?;
    write_user(len_at, &(raw.len() as u32))
}

/// As [`write()`], for the sender of a message: one without a name has no address at all.
pub fn write_sender(at: usize, len_at: usize, name: &[u8]) -> KResult<()> {
    if at != 0 && name.is_empty() {
        return write_user(len_at, &0u32);
    }
    write(at, len_at, name)
}

/// The socket that a name stands for. ECONNREFUSED, and the errors of path resolution.
pub fn find(name: &[u8]) -> KResult<Arc<Socket>> {
    match name.first() {
        None => Err(Errno::EINVAL),
        Some(0) => unix::find_abstract(name),
        Some(_) => {
            let dentry = path::lookup(name)?;
            let inode = dentry.expect_inode()?;
            perm::check(&inode.metadata(), WRITE)?;
            if inode.kind() != FileType::Socket {
                return Err(Errno::ECONNREFUSED);
            }
            unix::find(inode)
        }
    }
}
