//! Sockets of the UNIX domain; all other domains are EAFNOSUPPORT.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::file::{MAX_COUNT, get_open, read_iovec};
use super::open;
use super::types::TimeSpec;
use crate::errno::{Errno, KResult};
use crate::fs::path::{self, AT_FDCWD, Last, Lookup};
use crate::fs::perm::{self, WRITE};
use crate::fs::unix::{self, Kind, MAX_DESCRIPTORS, Peer, Received, Socket};
use crate::fs::{File, FileType, OpenFlags, ReadBuf, WriteBuf, pipe};
use crate::mm::user::{copy_from_user, copy_to_user, read_user, write_user};
use crate::task;

/// The UNIX domain.
pub const AF_UNIX: usize = 1;
/// Longest path in `struct sockaddr_un`.
const PATH_LEN: usize = 108;

/// The level of options and control data that all sockets have.
pub const SOL_SOCKET: u32 = 1;
const SCM_RIGHTS: u32 = 1;
const SCM_CREDENTIALS: u32 = 2;

const MSG_PEEK: usize = 0x2;
const MSG_CTRUNC: u32 = 0x8;
const MSG_TRUNC: usize = 0x20;
const MSG_DONTWAIT: usize = 0x40;
const MSG_WAITALL: usize = 0x100;
const MSG_NOSIGNAL: usize = 0x4000;
const MSG_CMSG_CLOEXEC: usize = 0x4000_0000;

fn kind_and_flags(domain: usize, kind: usize) -> KResult<(Kind, OpenFlags)> {
    if domain != AF_UNIX {
        return Err(Errno::EAFNOSUPPORT);
    }
    let flags = OpenFlags(kind as u32 & (OpenFlags::NONBLOCK.0 | OpenFlags::CLOEXEC.0));
    if kind as u32 & !flags.0 & !0xf != 0 {
        return Err(Errno::EINVAL);
    }
    let kind = match kind as u32 & !flags.0 {
        1 => Kind::Stream,
        2 | 3 => Kind::Datagram,
        5 => Kind::Packet,
        _ => return Err(Errno::ESOCKTNOSUPPORT),
    };
    Ok((kind, flags))
}

fn install(file: Arc<File>, flags: OpenFlags) -> KResult<usize> {
    task::current_process().install_file(file, flags.has(OpenFlags::CLOEXEC))
}

/// `socket(2)`
pub fn sys_socket(domain: usize, kind: usize, protocol: usize) -> KResult<usize> {
    let (kind, flags) = kind_and_flags(domain, kind)?;
    if protocol as u32 > 1 {
        return Err(Errno::EPROTONOSUPPORT);
    }
    install(Socket::new(kind).into_file(flags), flags)
}

/// `socketpair(2)`
pub fn sys_socketpair(domain: usize, kind: usize, protocol: usize, fds: usize) -> KResult<usize> {
    let (kind, flags) = kind_and_flags(domain, kind)?;
    if protocol as u32 > 1 {
        return Err(Errno::EPROTONOSUPPORT);
    }
    let (a, b) = Socket::pair(kind);
    let first = install(a.into_file(flags), flags)?;
    let second = install(b.into_file(flags), flags);
    let result = second.and_then(|second| {
        write_user(fds, &[first as u32, second as u32]).inspect_err(|_| close(second))
    });
    if let Err(e) = result {
        close(first);
        return Err(e);
    }
    Ok(0)
}

fn close(fd: usize) {
    let file = task::current_process().files.lock().remove(fd);
    drop(file);
}

/// The name in a `struct sockaddr_un` of `len` bytes: without its terminating NUL, or with its
/// leading one if it is abstract.
fn read_address(at: usize, len: usize) -> KResult<Vec<u8>> {
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
fn write_address(at: usize, len_at: usize, name: &[u8]) -> KResult<()> {
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

/// As [`write_address`], for the sender of a message: one without a name has no address at all.
fn write_sender(at: usize, len_at: usize, name: &[u8]) -> KResult<()> {
    if at != 0 && name.is_empty() {
        return write_user(len_at, &0u32);
    }
    write_address(at, len_at, name)
}

/// The socket that a name stands for. ECONNREFUSED, and the errors of path resolution.
fn find(name: &[u8]) -> KResult<Arc<Socket>> {
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

/// `bind(2)`
pub fn sys_bind(fd: usize, address: usize, len: usize) -> KResult<usize> {
    let file = get_open(fd)?;
    let socket = unix::of_file(&file)?;
    let mut name = read_address(address, len)?;
    if name.is_empty() {
        // Autobind: the kernel chooses an abstract name.
        let mut bytes = [0; 3];
        crate::drivers::random::fill(&mut bytes);
        name =
            alloc::format!("\0{:01x}{:02x}{:02x}", bytes[0] & 15, bytes[1], bytes[2]).into_bytes();
    }
    if name[0] == 0 {
        socket.bind(name, None)?;
        return Ok(0);
    }
    let found = path::resolve(AT_FDCWD, &name, Lookup::Name)?;
    if found.dentry.inode().is_some() || found.last != Last::Name {
        return Err(Errno::EADDRINUSE);
    }
    if socket.is_bound() {
        return Err(Errno::EINVAL);
    }
    let (dentry, created) = open::create(&found, FileType::Socket, 0o777, 0)?;
    if !created {
        return Err(Errno::EADDRINUSE);
    }
    socket.bind(name, Some(dentry.expect_inode()?))?;
    Ok(0)
}

/// `listen(2)`
pub fn sys_listen(fd: usize, backlog: usize) -> KResult<usize> {
    let file = get_open(fd)?;
    unix::of_file(&file)?.listen((backlog as i32).max(0) as usize)?;
    Ok(0)
}

/// `accept(2)`
pub fn sys_accept(fd: usize, address: usize, len: usize) -> KResult<usize> {
    sys_accept4(fd, address, len, 0)
}

/// `accept4(2)`
pub fn sys_accept4(fd: usize, address: usize, len: usize, flags: usize) -> KResult<usize> {
    let flags = OpenFlags(flags as u32);
    if flags.0 & !(OpenFlags::NONBLOCK.0 | OpenFlags::CLOEXEC.0) != 0 {
        return Err(Errno::EINVAL);
    }
    let file = get_open(fd)?;
    let socket = unix::of_file(&file)?;
    if socket.kind_of_traffic() == Kind::Datagram {
        return Err(Errno::EOPNOTSUPP);
    }
    let accepted = socket.accept(file.nonblocking())?;
    let peer = accepted.peer_address().unwrap_or_default();
    let accepted = accepted.into_file(flags);
    write_address(address, len, &peer)?;
    install(accepted, flags)
}

/// `connect(2)`
pub fn sys_connect(fd: usize, address: usize, len: usize) -> KResult<usize> {
    let file = get_open(fd)?;
    let socket = unix::of_file(&file)?;
    let name = read_address(address, len)?;
    socket.connect(&find(&name)?, file.nonblocking())?;
    Ok(0)
}

/// `getsockname(2)`
pub fn sys_getsockname(fd: usize, address: usize, len: usize) -> KResult<usize> {
    let file = get_open(fd)?;
    write_address(address, len, &unix::of_file(&file)?.address())?;
    Ok(0)
}

/// `getpeername(2)`
pub fn sys_getpeername(fd: usize, address: usize, len: usize) -> KResult<usize> {
    let file = get_open(fd)?;
    write_address(address, len, &unix::of_file(&file)?.peer_address()?)?;
    Ok(0)
}

/// `shutdown(2)`
pub fn sys_shutdown(fd: usize, how: usize) -> KResult<usize> {
    let file = get_open(fd)?;
    let socket = unix::of_file(&file)?;
    match how {
        0 => socket.shutdown(true, false)?,
        1 => socket.shutdown(false, true)?,
        2 => socket.shutdown(true, true)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

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
        Some(name) => Some(find(&name)?),
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
        at => Some(read_address(at, address_len)?),
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
    write_sender(address, address_len, &received.from)?;
    let messages = unix::of_file(&file)?.kind_of_traffic() != Kind::Stream;
    Ok(if flags & MSG_TRUNC != 0 && messages {
        received.full_len
    } else {
        received.len
    })
}

/// Words of a `struct msghdr`: name, its length, iov, its length, control, its length, flags.
type MsgHdr = [usize; 7];

/// Bytes of a `struct cmsghdr`: length (8), level (4), type (4).
const CMSG_HEADER: usize = 16;

/// The descriptors that the control data at `at` sends. EINVAL, EBADF.
fn read_control(at: usize, len: usize) -> KResult<Vec<Arc<File>>> {
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

/// `sendmsg(2)`
pub fn sys_sendmsg(fd: usize, message: usize, flags: usize) -> KResult<usize> {
    let file = get_open(fd)?;
    let [name, name_len, iov, iov_len, control, control_len, _]: MsgHdr = read_user(message)?;
    let iov = read_iovec(iov, iov_len)?;
    let to = match name {
        0 => None,
        at => Some(read_address(at, name_len)?),
    };
    let files = match control {
        0 => Vec::new(),
        at => read_control(at, control_len.min(1 << 16))?,
    };
    send(&file, &mut WriteBuf::user_vec(&iov), files, to, flags)
}

/// Install the descriptors that came and tell of them in the control data; gives the bytes used,
/// and whether some did not fit.
fn write_control(
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
fn write_sender_creds(at: usize, room: usize, sender: Peer) -> KResult<(usize, bool)> {
    const SIZE: usize = CMSG_HEADER + 12;
    if room < SIZE {
        return Ok((0, true));
    }
    let kind = u64::from(SOL_SOCKET) | u64::from(SCM_CREDENTIALS) << 32;
    write_user(at, &[SIZE as u64, kind])?;
    write_user(at + CMSG_HEADER, &[sender.pid, sender.uid, sender.gid])?;
    Ok((SIZE.next_multiple_of(8).min(room), false))
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
        write_sender(name, message + NAME_LEN, &received.from)?;
    }
    let messages = unix::of_file(&file)?.kind_of_traffic() != Kind::Stream;
    let mut told = 0;
    if messages && received.full_len > received.len {
        told |= MSG_TRUNC as u32;
    }
    let room = if control == 0 { 0 } else { control_len };
    let cloexec = flags & MSG_CMSG_CLOEXEC != 0;
    let (named, unnamed) = if unix::of_file(&file)?.pass_creds().load(Ordering::Relaxed) {
        write_sender_creds(control, room, received.sender)?
    } else {
        (0, false)
    };
    let (used, cut) = write_control(control + named, room - named, received.files, cloexec)?;
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
