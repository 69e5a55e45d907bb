//! Messages with descriptors in them.

use super::descriptor::Fd;
use super::plain::zeroed;
use libc::*;

/// How many descriptors fit.
const MOST: usize = 4;
/// `struct cmsghdr`: length, level and type.
const HEADER: usize = 16;

/// Send bytes and descriptors.
pub fn send(socket: &Fd, bytes: &[u8], descriptors: &[i32]) {
    assert!(descriptors.len() <= MOST);
    let len = HEADER + 4 * descriptors.len();
    let mut control = [0u64; (HEADER + 4 * MOST) / 8];
    control[0] = len as u64;
    control[1] = (SCM_RIGHTS as u64) << 32 | SOL_SOCKET as u64;
    for (i, fd) in descriptors.iter().enumerate() {
        control[2 + i / 2] |= u64::from(*fd as u32) << (32 * (i % 2));
    }
    let mut part = iovec {
        iov_base: bytes.as_ptr() as *mut c_void,
        iov_len: bytes.len(),
    };
    let mut message: msghdr = zeroed();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = len as _;
    assert_eq!(ok!(SYS_sendmsg, socket.0, &message, 0), bytes.len());
}

/// Receive up to `count` bytes, and the descriptors that come with them.
pub fn receive(socket: &Fd, count: usize) -> (Vec<u8>, Vec<Fd>) {
    let mut bytes = vec![0u8; count];
    let mut control = [0u64; (HEADER + 4 * MOST) / 8];
    let mut part = iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: count,
    };
    let mut message: msghdr = zeroed();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    let got = ok!(SYS_recvmsg, socket.0, &mut message, 0);
    bytes.truncate(got);
    let passed = if message.msg_controllen as usize > HEADER {
        (control[0] as usize - HEADER) / 4
    } else {
        0
    };
    let descriptors = (0..passed).map(|i| Fd((control[2 + i / 2] >> (32 * (i % 2))) as i32));
    (bytes, descriptors.collect())
}
