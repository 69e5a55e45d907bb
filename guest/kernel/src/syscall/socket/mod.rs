//! Sockets of the UNIX domain; all other domains are EAFNOSUPPORT.
//!
//! Here they are made, named, connected and shut down.

mod address;
mod control;
pub mod message;
pub mod option;

use alloc::format;
use alloc::sync::Arc;

use super::file::{get_open, install_pair};
use super::open;
use crate::errno::{Errno, KResult};
use crate::fs::path::{self, AT_FDCWD, Last, Lookup};
use crate::fs::unix::{self, Kind, Socket};
use crate::fs::{File, FileType, OpenFlags};
use crate::task;

/// The UNIX domain.
const AF_UNIX: usize = 1;

/// The level of options and control data that all sockets have.
const SOL_SOCKET: u32 = 1;

/// The kind of a socket that is to be made, and the flags that come with it. EAFNOSUPPORT, EINVAL,
/// ESOCKTNOSUPPORT, EPROTONOSUPPORT.
fn kind_and_flags(domain: usize, kind: usize, protocol: usize) -> KResult<(Kind, OpenFlags)> {
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
    if protocol as u32 > 1 {
        return Err(Errno::EPROTONOSUPPORT);
    }
    Ok((kind, flags))
}

fn install(file: Arc<File>, flags: OpenFlags) -> KResult<usize> {
    task::current_process().install_file(file, flags.has(OpenFlags::CLOEXEC))
}

/// `socket(2)`
pub fn sys_socket(domain: usize, kind: usize, protocol: usize) -> KResult<usize> {
    let (kind, flags) = kind_and_flags(domain, kind, protocol)?;
    install(Socket::new(kind).into_file(flags), flags)
}

/// `socketpair(2)`
pub fn sys_socketpair(domain: usize, kind: usize, protocol: usize, fds: usize) -> KResult<usize> {
    let (kind, flags) = kind_and_flags(domain, kind, protocol)?;
    let (a, b) = Socket::pair(kind);
    let pair = (a.into_file(flags), b.into_file(flags));
    install_pair(pair, flags.has(OpenFlags::CLOEXEC), fds)
}

/// `bind(2)`
pub fn sys_bind(fd: usize, address: usize, len: usize) -> KResult<usize> {
    let file = get_open(fd)?;
    let socket = unix::of_file(&file)?;
    let mut name = address::read(address, len)?;
    if name.is_empty() {
        // Autobind: the kernel chooses an abstract name.
        let mut bytes = [0; 3];
        crate::drivers::random::fill(&mut bytes);
        name = format!("\0{:01x}{:02x}{:02x}", bytes[0] & 15, bytes[1], bytes[2]).into_bytes();
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
    address::write(address, len, &peer)?;
    install(accepted, flags)
}

/// `connect(2)`
pub fn sys_connect(fd: usize, address: usize, len: usize) -> KResult<usize> {
    let file = get_open(fd)?;
    let socket = unix::of_file(&file)?;
    let name = address::read(address, len)?;
    socket.connect(&address::find(&name)?, file.nonblocking())?;
    Ok(0)
}

/// `getsockname(2)`
pub fn sys_getsockname(fd: usize, address: usize, len: usize) -> KResult<usize> {
    let file = get_open(fd)?;
    address::write(address, len, &unix::of_file(&file)?.address())?;
    Ok(0)
}

/// `getpeername(2)`
pub fn sys_getpeername(fd: usize, address: usize, len: usize) -> KResult<usize> {
    let file = get_open(fd)?;
    address::write(address, len, &unix::of_file(&file)?.peer_address()?)?;
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
