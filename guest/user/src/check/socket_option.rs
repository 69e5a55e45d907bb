//! Options of sockets that change what calls do, and several messages with one call.

use crate::frame::call::Errno;
use crate::frame::child::fork;
use crate::frame::descriptor::{Fd, socket_pair};
use crate::frame::plain::zeroed;
use crate::frame::signals::record;
use libc::*;
use std::time::{Duration, Instant};

tests!(
    receive_timeout_is_eagain,
    send_timeout_is_eagain,
    accept_obeys_the_receive_timeout,
    timeout_can_be_read_and_taken_back,
    signal_ends_a_receive_with_a_timeout,
    malformed_timeout_is_refused,
    sender_is_told_when_asked_for,
    sendmmsg_sends_what_it_can,
    recvmmsg_receives_what_there_is,
    recvmmsg_waits_for_the_first_only_when_asked,
);

fn set_timeout(socket: &Fd, which: i32, millis: i64) {
    let time = [millis / 1000, millis % 1000 * 1000];
    ok!(SYS_setsockopt, socket.0, SOL_SOCKET, which, &time, 16);
}

fn receive_timeout_is_eagain() {
    let (one, _other) = socket_pair(SOCK_STREAM);
    set_timeout(&one, SO_RCVTIMEO, 50);
    let start = Instant::now();
    fails!(EAGAIN, SYS_read, one.0, &mut [0u8; 4], 4);
    fails!(EAGAIN, SYS_recvfrom, one.0, &mut [0u8; 4], 4, 0, 0, 0);
    assert!(start.elapsed() >= Duration::from_millis(99));
}

fn send_timeout_is_eagain() {
    let (one, _other) = socket_pair(SOCK_STREAM);
    set_timeout(&one, SO_SNDTIMEO, 30);
    let error = loop {
        if let Err(error) = one.write([0; 4096]) {
            break error;
        }
    };
    assert_eq!(error.0, EAGAIN);
}

fn accept_obeys_the_receive_timeout() {
    let socket = Fd::new(ok!(SYS_socket, AF_UNIX, SOCK_STREAM, 0));
    // A name that the kernel chooses.
    ok!(SYS_bind, socket.0, &(AF_UNIX as u16), 2);
    ok!(SYS_listen, socket.0, 1);
    set_timeout(&socket, SO_RCVTIMEO, 30);
    fails!(EAGAIN, SYS_accept, socket.0, 0, 0);
}

fn timeout_can_be_read_and_taken_back() {
    let (one, other) = socket_pair(SOCK_STREAM);
    set_timeout(&one, SO_RCVTIMEO, 2500);
    let mut time = [0i64; 2];
    let mut len = 16u32;
    ok!(
        SYS_getsockopt,
        one.0,
        SOL_SOCKET,
        SO_RCVTIMEO,
        &mut time,
        &mut len
    );
    assert_eq!((time, len), ([2, 500_000], 16));
    set_timeout(&one, SO_RCVTIMEO, 0);
    let child = fork(|| assert_eq!(one.read(10).unwrap(), b"late"));
    crate::frame::state::wait_until_asleep(child.pid());
    other.write("late").unwrap();
    assert_eq!(child.wait(), crate::frame::child::Exit::Code(0));
}

fn signal_ends_a_receive_with_a_timeout() {
    let (one, _other) = socket_pair(SOCK_STREAM);
    set_timeout(&one, SO_RCVTIMEO, 20_000);
    record(SIGALRM, SA_RESTART);
    let time = [0i64, 0, 0, 20_000];
    ok!(SYS_setitimer, ITIMER_REAL, &time, 0);
    fails!(EINTR, SYS_read, one.0, &mut [0u8; 4], 4);
}

fn malformed_timeout_is_refused() {
    let (one, _other) = socket_pair(SOCK_STREAM);
    let bad = [0i64, 1_000_000];
    fails!(
        EDOM,
        SYS_setsockopt,
        one.0,
        SOL_SOCKET,
        SO_RCVTIMEO,
        &bad,
        16
    );
    fails!(
        EINVAL,
        SYS_setsockopt,
        one.0,
        SOL_SOCKET,
        SO_RCVTIMEO,
        &bad,
        8
    );
    fails!(
        EFAULT,
        SYS_setsockopt,
        one.0,
        SOL_SOCKET,
        SO_RCVTIMEO,
        8usize,
        16
    );
}

fn sender_is_told_when_asked_for() {
    let (one, other) = socket_pair(SOCK_DGRAM);
    ok!(SYS_setsockopt, other.0, SOL_SOCKET, SO_PASSCRED, &1i32, 4);
    let child = fork(|| drop(one.write("x")));
    let pid = child.pid();
    child.wait();
    let mut byte = [0u8];
    let mut part = [byte.as_mut_ptr() as usize, 1];
    let mut control = [0u32; 12];
    let mut message: msghdr = zeroed();
    message.msg_iov = part.as_mut_ptr().cast();
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = 48;
    assert_eq!(ok!(SYS_recvmsg, other.0, &mut message, 0), 1);
    assert_eq!((control[0], control[2], control[3]), (28, 1, 2));
    let mine = [pid as u32, ok!(SYS_geteuid) as u32, ok!(SYS_getegid) as u32];
    assert_eq!(control[4..7], mine);
}

/// Buffers with their `struct mmsghdr`s.
struct Batch {
    bytes: Vec<[u8; 8]>,
    parts: Vec<[usize; 2]>,
    messages: Vec<[usize; 8]>,
}

impl Batch {
    fn new(count: usize) -> Self {
        let mut batch = Batch {
            bytes: vec![[0; 8]; count],
            parts: vec![[0; 2]; count],
            messages: vec![[0; 8]; count],
        };
        for n in 0..count {
            batch.parts[n] = [batch.bytes[n].as_mut_ptr() as usize, 8];
            batch.messages[n][2] = batch.parts[n].as_ptr() as usize;
            batch.messages[n][3] = 1;
        }
        batch
    }

    /// Receive into all of it from `socket`.
    fn receive(&mut self, socket: &Fd, flags: i32) -> Result<usize, Errno> {
        let count = self.messages.len();
        call!(
            SYS_recvmmsg,
            socket.0,
            &mut self.messages[..],
            count,
            flags,
            0
        )
    }
}

fn sendmmsg_sends_what_it_can() {
    let (one, other) = socket_pair(SOCK_DGRAM);
    let mut batch = Batch::new(3);
    for (n, bytes) in batch.bytes.iter_mut().enumerate() {
        bytes[0] = b'a' + n as u8;
    }
    // The third points to nowhere.
    batch.parts[2][0] = 8;
    assert_eq!(ok!(SYS_sendmmsg, one.0, &mut batch.messages[..], 3, 0), 2);
    assert_eq!(batch.messages[1][7] as u32, 8);
    assert_eq!(other.read(10).unwrap()[0], b'a');
    assert_eq!(other.read(10).unwrap()[0], b'b');
    fails!(EFAULT, SYS_sendmmsg, one.0, &mut batch.messages[2..], 1, 0);
}

fn recvmmsg_receives_what_there_is() {
    let (one, other) = socket_pair(SOCK_DGRAM);
    let mut batch = Batch::new(4);
    assert_eq!(batch.receive(&other, MSG_DONTWAIT), Err(Errno(EAGAIN)));
    one.write("first").unwrap();
    one.write("2nd").unwrap();
    assert_eq!(batch.receive(&other, MSG_DONTWAIT), Ok(2));
    assert_eq!(
        [batch.messages[0][7] as u32, batch.messages[1][7] as u32],
        [5, 3]
    );
    assert_eq!(&batch.bytes[1][..3], b"2nd");
}

fn recvmmsg_waits_for_the_first_only_when_asked() {
    const MSG_WAITFORONE: i32 = 0x10000;
    let (one, other) = socket_pair(SOCK_DGRAM);
    let mut batch = Batch::new(4);
    one.write("one").unwrap();
    assert_eq!(batch.receive(&other, MSG_WAITFORONE), Ok(1));
}
