//! Options of sockets (`socket(7)`).

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{AF_UNIX, SOL_SOCKET};
use crate::errno::{Errno, KResult};
use crate::fs::unix::{self, BUFFER};
use crate::mm::user::{copy_to_user, read_user, write_user};
use crate::syscall::file::get_open;

const SO_TYPE: usize = 3;
const SO_ERROR: usize = 4;
const SO_SNDBUF: usize = 7;
const SO_RCVBUF: usize = 8;
const SO_PASSCRED: usize = 16;
const SO_PEERCRED: usize = 17;
const SO_RCVTIMEO: usize = 20;
const SO_SNDTIMEO: usize = 21;
const SO_ACCEPTCONN: usize = 30;
const SO_PROTOCOL: usize = 38;
const SO_DOMAIN: usize = 39;

/// A `struct timeval` in nanoseconds. EDOM.
fn nanoseconds([seconds, micros]: [i64; 2]) -> KResult<u64> {
    if !(0..1_000_000).contains(&micros) {
        return Err(Errno::EDOM);
    }
    // A time in the past is over at once, but 0 is for ever.
    if seconds < 0 {
        return Ok(1);
    }
    let seconds = (seconds as u64).saturating_mul(1_000_000_000);
    Ok(seconds.saturating_add(micros as u64 * 1000))
}

/// `setsockopt(2)`: time limits, and whether senders are told. The other options of the socket level
/// are taken, and change nothing.
pub fn sys_setsockopt(
    fd: usize,
    level: usize,
    name: usize,
    value: usize,
    len: usize,
) -> KResult<usize> {
    let file = get_open(fd)?;
    let socket = unix::of_file(&file)?;
    if level as u32 != SOL_SOCKET {
        return Err(Errno::ENOPROTOOPT);
    }
    let least = match name {
        SO_RCVTIMEO | SO_SNDTIMEO => 16,
        _ => 4,
    };
    if (len as u32) < least {
        return Err(Errno::EINVAL);
    }
    match name {
        SO_RCVTIMEO => {
            let timeout = nanoseconds(read_user(value)?)?;
            socket.receive_timeout().store(timeout, Ordering::Relaxed);
        }
        SO_SNDTIMEO => {
            let timeout = nanoseconds(read_user(value)?)?;
            socket.send_timeout().store(timeout, Ordering::Relaxed);
        }
        SO_PASSCRED => {
            let on: u32 = read_user(value)?;
            socket.pass_creds().store(on != 0, Ordering::Relaxed);
        }
        _ => {}
    }
    Ok(0)
}

/// `getsockopt(2)`
pub fn sys_getsockopt(
    fd: usize,
    level: usize,
    name: usize,
    value: usize,
    len: usize,
) -> KResult<usize> {
    let file = get_open(fd)?;
    let socket = unix::of_file(&file)?;
    if level as u32 != SOL_SOCKET {
        return Err(Errno::EOPNOTSUPP);
    }
    let room: u32 = read_user(len)?;
    if (room as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let timeval = |timeout: &AtomicU64| {
        let micros = timeout.load(Ordering::Relaxed).div_ceil(1000);
        let [seconds, micros] = [micros / 1_000_000, micros % 1_000_000];
        alloc::vec![seconds as u32, (seconds >> 32) as u32, micros as u32, 0]
    };
    let peer = socket.peer_creds();
    let words = match name {
        SO_TYPE => alloc::vec![socket.kind_of_traffic() as u32],
        SO_ERROR | SO_PROTOCOL => alloc::vec![0],
        SO_SNDBUF | SO_RCVBUF => alloc::vec![BUFFER as u32],
        SO_PASSCRED => alloc::vec![u32::from(socket.pass_creds().load(Ordering::Relaxed))],
        SO_RCVTIMEO => timeval(socket.receive_timeout()),
        SO_SNDTIMEO => timeval(socket.send_timeout()),
        SO_PEERCRED => alloc::vec![peer.pid, peer.uid, peer.gid],
        SO_ACCEPTCONN => alloc::vec![u32::from(socket.is_listening())],
        SO_DOMAIN => alloc::vec![AF_UNIX as u32],
        _ => return Err(Errno::ENOPROTOOPT),
    };
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let n = bytes.len().min(room as usize);
    copy_to_user(value, &bytes[..n])?;
    write_user(len, &(n as u32))?;
    Ok(0)
}
