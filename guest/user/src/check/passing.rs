//! Descriptors in messages: SCM_RIGHTS, and the credentials of the peer.

use crate::frame::child::{Exit, fork};
use crate::frame::descriptor::{Fd, pipe, socket_pair};
use crate::frame::plain::zeroed;
use libc::*;

tests!(
    descriptor_arrives_as_a_new_one_of_the_same_file,
    descriptor_outlives_the_sender,
    cut_control_data_loses_the_descriptor_and_says_so,
    received_descriptor_is_closed_at_exec_when_asked,
    descriptor_that_is_not_open_is_ebadf,
    socket_that_waits_in_itself_is_freed_when_it_is_closed,
    sockets_that_wait_in_each_other_are_freed,
    socket_in_a_message_still_works,
    empty_messages_do_not_fill_memory,
    peer_credentials_are_those_at_connection;
    guest: circles_of_sockets_leave_no_open_files,
);

/// A message of one byte with descriptors.
fn send(socket: &Fd, fds: &[i32]) -> Result<usize, crate::frame::call::Errno> {
    let mut byte = [b'x'];
    let mut vector = [byte.as_mut_ptr() as usize, 1];
    let mut control = [0u32; 12];
    control[0] = 16 + 4 * fds.len() as u32;
    control[2] = SOL_SOCKET as u32;
    control[3] = SCM_RIGHTS as u32;
    for (to, from) in control[4..].iter_mut().zip(fds) {
        *to = *from as u32;
    }
    let mut message: msghdr = zeroed();
    message.msg_iov = vector.as_mut_ptr().cast();
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = control[0] as _;
    call!(SYS_sendmsg, socket.0, &message, 0)
}

/// Receive a byte and at most one descriptor, into `room` bytes of control data.
fn receive(socket: &Fd, room: usize, flags: i32) -> (Option<Fd>, i32) {
    let mut byte = [0u8];
    let mut vector = [byte.as_mut_ptr() as usize, 1];
    let mut control = [0u32; 12];
    let mut message: msghdr = zeroed();
    message.msg_iov = vector.as_mut_ptr().cast();
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = room as _;
    assert_eq!(ok!(SYS_recvmsg, socket.0, &mut message, flags), 1);
    let fd = (message.msg_controllen >= 20).then(|| Fd(control[4] as i32));
    (fd, message.msg_flags)
}

fn descriptor_arrives_as_a_new_one_of_the_same_file() {
    let (one, other) = socket_pair(SOCK_STREAM);
    let (reader, writer) = pipe(0);
    send(&one, &[writer.0]).unwrap();
    let (fd, _) = receive(&other, 48, 0);
    let fd = fd.expect("a descriptor");
    assert_ne!(fd.0, writer.0);
    fd.write("through").unwrap();
    assert_eq!(reader.read(10).unwrap(), b"through");
}

fn descriptor_outlives_the_sender() {
    let (one, other) = socket_pair(SOCK_DGRAM);
    let child = fork(|| {
        let (reader, writer) = pipe(0);
        writer.write("left").unwrap();
        send(&one, &[reader.0]).unwrap();
    });
    assert_eq!(child.wait(), Exit::Code(0));
    let (fd, _) = receive(&other, 48, 0);
    assert_eq!(fd.expect("a descriptor").read(10).unwrap(), b"left");
}

fn cut_control_data_loses_the_descriptor_and_says_so() {
    let (one, other) = socket_pair(SOCK_STREAM);
    let (reader, writer) = pipe(0);
    send(&one, &[writer.0]).unwrap();
    let (fd, flags) = receive(&other, 0, 0);
    assert!(fd.is_none() && flags & MSG_CTRUNC != 0);
    drop(writer);
    assert_eq!(reader.read(1).unwrap(), b"");
}

fn received_descriptor_is_closed_at_exec_when_asked() {
    let (one, other) = socket_pair(SOCK_STREAM);
    send(&one, &[0]).unwrap();
    let (fd, _) = receive(&other, 48, MSG_CMSG_CLOEXEC);
    let flags = ok!(SYS_fcntl, fd.expect("a descriptor").0, F_GETFD);
    assert_eq!(flags, FD_CLOEXEC as usize);
}

fn descriptor_that_is_not_open_is_ebadf() {
    let (one, _other) = socket_pair(SOCK_STREAM);
    assert_eq!(send(&one, &[999]).map_err(|e| e.0), Err(EBADF));
}

fn socket_that_waits_in_itself_is_freed_when_it_is_closed() {
    let (reader, writer) = pipe(0);
    let (one, other) = socket_pair(SOCK_DGRAM);
    // The circle holds the pipe's end too.
    send(&one, &[other.0, writer.0]).unwrap();
    drop((one, other, writer));
    // Closing some other socket is when Linux looks.
    drop(socket_pair(SOCK_DGRAM));
    assert_eq!(reader.read(1).unwrap(), b"");
}

fn sockets_that_wait_in_each_other_are_freed() {
    let (reader, writer) = pipe(0);
    let (one, other) = socket_pair(SOCK_STREAM);
    send(&one, &[one.0]).unwrap();
    send(&other, &[other.0, writer.0]).unwrap();
    drop((one, other, writer));
    drop(socket_pair(SOCK_DGRAM));
    assert_eq!(reader.read(1).unwrap(), b"");
}

fn socket_in_a_message_still_works() {
    let (one, other) = socket_pair(SOCK_DGRAM);
    let (inner, peer) = socket_pair(SOCK_DGRAM);
    send(&one, &[inner.0]).unwrap();
    drop(inner);
    drop(socket_pair(SOCK_DGRAM));
    peer.write("kept").unwrap();
    let (fd, _) = receive(&other, 48, 0);
    assert_eq!(fd.expect("a descriptor").read(10).unwrap(), b"kept");
}

fn empty_messages_do_not_fill_memory() {
    let (one, _other) = socket_pair(SOCK_DGRAM);
    one.set_flags(O_NONBLOCK);
    let sent = (0..100_000).take_while(|_| one.write("").is_ok()).count();
    assert!((1..100_000).contains(&sent), "{sent}");
}

fn peer_credentials_are_those_at_connection() {
    let (one, _other) = socket_pair(SOCK_STREAM);
    let mut peer: ucred = zeroed();
    let mut len = size_of::<ucred>() as u32;
    ok!(
        SYS_getsockopt,
        one.0,
        SOL_SOCKET,
        SO_PEERCRED,
        &mut peer,
        &mut len
    );
    let me = (std::process::id() as i32, ok!(SYS_geteuid) as u32);
    assert_eq!((peer.pid, peer.uid), me);
}

fn open_files() -> usize {
    let text = std::fs::read_to_string("/proc/sys/fs/file-nr").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn circles_of_sockets_leave_no_open_files() {
    let before = open_files();
    let child = fork(|| {
        for _ in 0..20 {
            let (one, other) = socket_pair(SOCK_STREAM);
            send(&one, &[one.0, other.0]).unwrap();
            send(&other, &[one.0, other.0]).unwrap();
        }
    });
    assert_eq!(child.wait(), Exit::Code(0));
    assert_eq!(open_files(), before);
}
