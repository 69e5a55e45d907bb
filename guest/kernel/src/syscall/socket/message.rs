//! Sending and receiving: single messages, and batches of them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::{address, control};
use crate::errno::{Errno, KResult};
use crate::fs::unix::{self, Kind, Received};
use crate::fs::{File, ReadBuf, WriteBuf, pipe};
use crate::mm::user::{read_user, write_user};
use crate::syscall::file::{MAX_COUNT, get_open, read_iovec};
use crate::syscall::types::TimeSpec;

const MSG_PEEK: usize = 0x2;
const MSG_CTRUNC: u32 = 0x8;
const MSG_TRUNC: usize = 0x20;
const MSG_DONTWAIT: usize = 0x40;
const MSG_WAITALL: usize = 0x100;
const MSG_NOSIGNAL: usize = 0x4000;
const MSG_CMSG_CLOEXEC: usize = 0x4000_0000;

fn send(
    file: &File,
    buf: &mut WriteBuf<'_>,
    files: Vec<Arc<File>>,
    to: Option<Vec<u8>>,
    flags: usize,
) -> KResult<usize> {
    let socket = unix::of_file(file)?;
    let target = match to {
        None => None,
        Some(_) if socket.kind_of_traffic() != Kind::Datagram => {
            return Err(if socket.peer_address().is_ok() {
                Errno::EISCONN
            } else {
                Errno::EOPNOTSUPP
            });
        }
        Some(name) => Some(address::find(&name)?),
    };
    let nonblock = file.nonblocking() || flags & MSG_DONTWAIT != 0;
    let sent = socket.send(buf, files, target.as_ref(), nonblock);
    if sent == Err(Errno::EPIPE) && flags & MSG_NOSIGNAL == 0 {
        pipe::broken();
    }
    sent
}

/// `sendto(2)`
pub fn sys_sendto(
    fd: usize,
    buf: usize,
    len: usize,
    flags: usize,
    address: usize,
    address_len: usize,
) -> KResult<usize> {
    let file = get_open(fd)?;
    let to = match address {
        0 => None,
        at => Some(address::read(at, address_len)?),
    };
    let mut buf = WriteBuf::user(buf, len.min(MAX_COUNT));
    send(&file, &mut buf, Vec::new(), to, flags)
}

fn receive(file: &File, buf: &mut ReadBuf<'_>, flags: usize) -> KResult<Received> {
    let nonblock = file.nonblocking() || flags & MSG_DONTWAIT != 0;
    let socket = unix::of_file(file)?;
    let peek = flags & MSG_PEEK != 0;
    let mut received = socket.receive(buf, nonblock, peek)?;
    let whole =
        flags & MSG_WAITALL != 0 && !nonblock && !peek && socket.kind_of_traffic() == Kind::Stream;
    // Until the buffer is full, the stream ends, a signal comes, or descriptors do.
    while whole && buf.remaining() > 0 && received.len > 0 && received.files.is_empty() {
        match socket.receive(buf, nonblock, peek) {
            Ok(more) if more.len > 0 => {
                received.len += more.len;
                received.full_len += more.full_len;
                received.files = more.files;
            }
            _ => break,
        }
    }
    Ok(received)
}

/// `recvfrom(2)`
pub fn sys_recvfrom(
    fd: usize,
    buf: usize,
    len: usize,
    flags: usize,
    address: usize,
    address_len: usize,
) -> KResult<usize> {
    let file = get_open(fd)?;
    let mut buf = ReadBuf::user(buf, len.min(MAX_COUNT));
    let received = receive(&file, &mut buf, flags)?;
    address::write_sender(address, address_len, &received.from)?;
    let messages = unix::of_file(&file)?.kind_of_traffic() != Kind::Stream;
    Ok(if flags & MSG_TRUNC != 0 && messages {
        received.full_len
    } else {
        received.len
    })
}

/// Words of a `struct msghdr`: name, its length, iov, its length, control, its length, flags.
type MsgHdr = [usize; 7];

/// `sendmsg(2)`
pub fn sys_sendmsg(fd: usize, message: usize, flags: usize) -> KResult<usize> {
    let file = get_open(fd)?;
    let [name, name_len, iov, iov_len, control, control_len, _]: MsgHdr = read_user(message)?;
    let iov = read_iovec(iov, iov_len)?;
    let to = match name {
        0 => None,
        at => Some(address::read(at, name_len)?),
    };
    let files = match control {
        0 => Vec::new(),
        at => control::read_files(at, control_len.min(1 << 16))?,
    };
    send(&file, &mut WriteBuf::user_vec(&iov), files, to, flags)
}

/// `recvmsg(2)`
pub fn sys_recvmsg(fd: usize, message: usize, flags: usize) -> KResult<usize> {
    /// Offset of `msg_flags` in `struct msghdr`.
    const FLAGS: usize = 48;
    /// Offset of `msg_controllen`.
    const CONTROL_LEN: usize = 40;
    /// Offset of `msg_namelen`.
    const NAME_LEN: usize = 8;
    let file = get_open(fd)?;
    let [name, _, iov, iov_len, control, control_len, _]: MsgHdr = read_user(message)?;
    let iov = read_iovec(iov, iov_len)?;
    let received = receive(&file, &mut ReadBuf::user_vec(&iov), flags)?;
    if name != 0 {
        address::write_sender(name, message + NAME_LEN, &received.from)?;
    }
    let messages = unix::of_file(&file)?.kind_of_traffic() != Kind::Stream;
    let mut told = 0;
    if messages && received.full_len > received.len {
        told |= MSG_TRUNC as u32;
    }
    let room = if control == 0 { 0 } else { control_len };
    let cloexec = flags & MSG_CMSG_CLOEXEC != 0;
    let (named, unnamed) = if unix::of_file(&file)?.pass_creds().load(Ordering::Relaxed) {
        control::write_sender(control, room, received.sender)?
    } else {
        (0, false)
    };
    let (used, cut) = control::write_files(control + named, room - named, received.files, cloexec)?;
    if cut || unnamed {
        told |= MSG_CTRUNC;
    }
    write_user(message + CONTROL_LEN, &(named + used))?;
    write_user(message + FLAGS, &told)?;
    Ok(if flags & MSG_TRUNC != 0 && messages {
        received.full_len
    } else {
        received.len
    })
}

/// Bytes of a `struct mmsghdr`: a `struct msghdr`, and how many bytes were moved.
const MMSGHDR: usize = 64;
/// Where that number is.
const MMSGHDR_LEN: usize = 56;
/// Most messages of one call (`UIO_MAXIOV`).
const MOST_MESSAGES: usize = 1024;

/// Has `each` move one message after the other; gives how many, an error only if there was none.
fn move_messages(
    at: usize,
    count: usize,
    mut each: impl FnMut(usize, usize) -> KResult<Option<usize>>,
) -> KResult<usize> {
    let count = (count as u32 as usize).min(MOST_MESSAGES);
    for n in 0..count {
        let message = at.checked_add(n * MMSGHDR).ok_or(Errno::EFAULT)?;
        let moved = each(n, message).and_then(|moved| match moved {
            Some(moved) => write_user(message + MMSGHDR_LEN, &(moved as u32)).map(|()| true),
            None => Ok(false),
        });
        match moved {
            Ok(true) => {}
            Ok(false) => return Ok(n),
            Err(e) if n == 0 => return Err(e),
            Err(_) => return Ok(n),
        }
    }
    Ok(count)
}

/// `sendmmsg(2)`
pub fn sys_sendmmsg(fd: usize, messages: usize, count: usize, flags: usize) -> KResult<usize> {
    move_messages(messages, count, |_, message| {
        sys_sendmsg(fd, message, flags).map(Some)
    })
}

/// `recvmmsg(2)`: as on Linux the time limit is looked at only when a message has come.
pub fn sys_recvmmsg(
    fd: usize,
    messages: usize,
    count: usize,
    flags: usize,
    timeout: usize,
) -> KResult<usize> {
    const MSG_WAITFORONE: usize = 0x10000;
    let timeout = TimeSpec::read_optional(timeout)?;
    let deadline = timeout.map(|ns| crate::time::now_ns().saturating_add(ns));
    move_messages(messages, count, |n, message| {
        if n > 0 && deadline.is_some_and(|at| crate::time::now_ns() >= at) {
            return Ok(None);
        }
        let mut flags = flags;
        if n > 0 && flags & MSG_WAITFORONE != 0 {
            flags |= MSG_DONTWAIT;
        }
        sys_recvmsg(fd, message, flags & !MSG_WAITFORONE).map(Some)
    })
}
