//! UNIX-domain sockets.

use crate::frame::child::{Exit, fork, isolated};
use crate::frame::descriptor::{Fd, pipe, socket_pair};
use crate::frame::message::{receive, send};
use crate::frame::plain::zeroed;
use crate::frame::scratch::Scratch;
use crate::frame::signals::dispose;
use crate::frame::state::wait_until_asleep;
use crate::frame::thread::spawn;
use libc::*;

tests!(
    stream_carries_bytes_both_ways,
    stream_has_no_message_bounds,
    datagrams_keep_their_bounds,
    datagram_longer_than_the_buffer_is_cut,
    seqpacket_keeps_bounds_and_ends,
    read_after_the_peer_has_gone_is_the_end,
    write_after_the_peer_has_gone_is_epipe,
    nosignal_keeps_sigpipe_away,
    shutdown_of_writing_is_the_peers_end,
    shutdown_of_reading_refuses_what_comes,
    peek_leaves_the_bytes,
    waitall_waits_for_all,
    dontwait_does_not_wait,
    writer_sleeps_while_the_peer_is_full,
    server_accepts_a_client,
    abstract_name_needs_no_file,
    autobind_gives_an_abstract_name,
    bind_of_a_used_name_is_eaddrinuse,
    connect_to_nobody_is_econnrefused,
    connect_to_a_missing_name_is_enoent,
    connect_of_the_wrong_type_is_eprototype,
    unconnected_stream_is_enotconn,
    listener_is_readable_when_a_client_waits,
    nonblocking_accept_without_client_is_eagain,
    datagram_goes_to_a_name,
    datagram_tells_its_sender,
    names_are_told,
    descriptors_are_passed,
    passed_descriptor_outlives_the_sender,
    credentials_of_the_peer_are_told,
    type_and_errors_are_socket_options,
    socket_of_bad_arguments_is_an_error,
    gathered_message_is_scattered,
);

fn stream_carries_bytes_both_ways() {
    let (one, other) = socket_pair(SOCK_STREAM);
    one.write("ping").unwrap();
    assert_eq!(other.read(10).unwrap(), b"ping");
    other.write("pong").unwrap();
    assert_eq!(one.read(10).unwrap(), b"pong");
}

fn stream_has_no_message_bounds() {
    let (one, other) = socket_pair(SOCK_STREAM);
    one.write("ab").unwrap();
    one.write("cd").unwrap();
    assert_eq!(other.read(3).unwrap(), b"abc");
    assert_eq!(other.read(3).unwrap(), b"d");
}

fn datagrams_keep_their_bounds() {
    let (one, other) = socket_pair(SOCK_DGRAM);
    one.write("ab").unwrap();
    one.write("").unwrap();
    one.write("cde").unwrap();
    let all: Vec<Vec<u8>> = (0..3).map(|_| other.read(10).unwrap()).collect();
    assert_eq!(all, [&b"ab"[..], b"", b"cde"]);
}

fn datagram_longer_than_the_buffer_is_cut() {
    let (one, other) = socket_pair(SOCK_DGRAM);
    one.write("abcdef").unwrap();
    one.write("xyz").unwrap();
    assert_eq!(other.read(2).unwrap(), b"ab");
    // The length is the datagram's if one asks for it.
    let mut room = [0u8; 2];
    assert_eq!(ok!(SYS_recvfrom, other.0, &mut room, 2, MSG_TRUNC, 0, 0), 3);
}

fn seqpacket_keeps_bounds_and_ends() {
    let (one, other) = socket_pair(SOCK_SEQPACKET);
    one.write("ab").unwrap();
    one.write("cde").unwrap();
    drop(one);
    assert_eq!(other.read(10).unwrap(), b"ab");
    assert_eq!(other.read(10).unwrap(), b"cde");
    assert_eq!(other.read(10).unwrap(), b"");
}

fn read_after_the_peer_has_gone_is_the_end() {
    let (one, other) = socket_pair(SOCK_STREAM);
    one.write("last").unwrap();
    drop(one);
    assert_eq!(other.read(10).unwrap(), b"last");
    assert_eq!(other.read(10).unwrap(), b"");
    assert_ne!(other.poll(POLLIN) & POLLHUP, 0);
}

fn write_after_the_peer_has_gone_is_epipe() {
    let (one, other) = socket_pair(SOCK_STREAM);
    drop(one);
    let child = fork(|| drop(other.write("x")));
    assert_eq!(child.wait(), Exit::Signal(SIGPIPE));
    dispose(SIGPIPE, SIG_IGN);
    fails!(EPIPE, SYS_write, other.0, c"x", 1);
}

fn nosignal_keeps_sigpipe_away() {
    let (one, other) = socket_pair(SOCK_STREAM);
    drop(one);
    fails!(EPIPE, SYS_sendto, other.0, c"x", 1, MSG_NOSIGNAL, 0, 0);
}

fn shutdown_of_writing_is_the_peers_end() {
    let (one, other) = socket_pair(SOCK_STREAM);
    one.write("bye").unwrap();
    ok!(SYS_shutdown, one.0, SHUT_WR);
    assert_eq!(other.read_to_end(), b"bye");
    other.write("still").unwrap();
    assert_eq!(one.read(10).unwrap(), b"still");
    fails!(EPIPE, SYS_sendto, one.0, c"x", 1, MSG_NOSIGNAL, 0, 0);
}

fn shutdown_of_reading_refuses_what_comes() {
    let (one, other) = socket_pair(SOCK_STREAM);
    ok!(SYS_shutdown, one.0, SHUT_RD);
    assert_eq!(one.read(1), Ok(vec![]));
    fails!(EPIPE, SYS_sendto, other.0, c"x", 1, MSG_NOSIGNAL, 0, 0);
    fails!(EINVAL, SYS_shutdown, one.0, 9);
}

fn peek_leaves_the_bytes() {
    let (one, other) = socket_pair(SOCK_STREAM);
    one.write("abc").unwrap();
    let mut room = [0u8; 8];
    assert_eq!(ok!(SYS_recvfrom, other.0, &mut room, 8, MSG_PEEK, 0, 0), 3);
    assert_eq!(&room[..3], b"abc");
    assert_eq!(other.read(8).unwrap(), b"abc");
}

fn waitall_waits_for_all() {
    let (one, other) = socket_pair(SOCK_STREAM);
    one.write("ab").unwrap();
    let waiter = spawn(move || {
        let mut room = [0u8; 4];
        let got = ok!(SYS_recvfrom, other.0, &mut room, 4, MSG_WAITALL, 0, 0);
        (got, room)
    });
    waiter.wait_until_asleep();
    one.write("cd").unwrap();
    assert_eq!(waiter.join(), (4, *b"abcd"));
}

fn dontwait_does_not_wait() {
    let (_one, other) = socket_pair(SOCK_STREAM);
    let mut byte = 0u8;
    fails!(
        EAGAIN,
        SYS_recvfrom,
        other.0,
        &mut byte,
        1,
        MSG_DONTWAIT,
        0,
        0
    );
}

fn writer_sleeps_while_the_peer_is_full() {
    let (one, other) = socket_pair(SOCK_STREAM);
    one.set_flags(O_NONBLOCK);
    let mut sent = 0;
    while let Ok(count) = one.write([7; 4096]) {
        sent += count;
    }
    assert_eq!(one.poll(POLLOUT), 0);
    one.set_flags(0);
    let child = fork(|| assert_eq!(one.write([8; 1000]), Ok(1000)));
    wait_until_asleep(child.pid());
    drop(one);
    assert_eq!(other.read_to_end().len(), sent + 1000);
    assert_eq!(child.wait(), Exit::Code(0));
}

/// An address and its length. A name that begins with NUL is abstract.
fn address(name: &[u8]) -> (sockaddr_un, usize) {
    let mut address: sockaddr_un = zeroed();
    address.sun_family = AF_UNIX as u16;
    for (to, from) in address.sun_path.iter_mut().zip(name) {
        *to = *from as c_char;
    }
    (address, 2 + name.len())
}

fn socket(kind: i32) -> Fd {
    Fd::new(ok!(SYS_socket, AF_UNIX, kind, 0))
}

fn bind(fd: &Fd, name: &[u8]) {
    let (address, len) = address(name);
    ok!(SYS_bind, fd.0, &address, len);
}

fn connect(fd: &Fd, name: &[u8]) -> Result<usize, i32> {
    let (address, len) = address(name);
    call!(SYS_connect, fd.0, &address, len).map_err(|error| error.0)
}

/// A name that nobody else uses.
fn unique(name: &str) -> Vec<u8> {
    format!("\0guest-tests-{}-{name}", std::process::id()).into_bytes()
}

fn listener(name: &[u8]) -> Fd {
    let fd = socket(SOCK_STREAM);
    bind(&fd, name);
    ok!(SYS_listen, fd.0, 5);
    fd
}

fn path(scratch: &Scratch) -> Vec<u8> {
    scratch.c("socket").into_bytes_with_nul()
}

fn server_accepts_a_client() {
    let scratch = Scratch::new();
    let name = path(&scratch);
    let server = listener(&name);
    let child = fork(|| {
        let client = socket(SOCK_STREAM);
        connect(&client, &name).unwrap();
        client.write("request").unwrap();
        assert_eq!(client.read(10).unwrap(), b"reply");
    });
    let peer = Fd::new(ok!(SYS_accept4, server.0, 0, 0, SOCK_CLOEXEC));
    assert_eq!(peer.read(10).unwrap(), b"request");
    peer.write("reply").unwrap();
    assert_eq!(child.wait(), Exit::Code(0));
    assert_eq!(ok!(SYS_fcntl, peer.0, F_GETFD), FD_CLOEXEC as usize);
}

fn abstract_name_needs_no_file() {
    let name = unique("abstract");
    let server = listener(&name);
    let client = socket(SOCK_STREAM);
    assert_eq!(connect(&client, &name), Ok(0));
    drop((client, server));
    assert_eq!(connect(&socket(SOCK_STREAM), &name), Err(ECONNREFUSED));
}

fn autobind_gives_an_abstract_name() {
    let fd = socket(SOCK_STREAM);
    ok!(SYS_bind, fd.0, &(AF_UNIX as u16), 2);
    let mut name: sockaddr_un = zeroed();
    let mut len = size_of::<sockaddr_un>() as u32;
    ok!(SYS_getsockname, fd.0, &mut name, &mut len);
    assert_eq!((len, name.sun_path[0]), (2 + 6, 0));
}

fn bind_of_a_used_name_is_eaddrinuse() {
    let scratch = Scratch::new();
    for name in [path(&scratch), unique("used")] {
        let (first, second) = (socket(SOCK_STREAM), socket(SOCK_STREAM));
        bind(&first, &name);
        let (address, len) = address(&name);
        fails!(EADDRINUSE, SYS_bind, second.0, &address, len);
        let (another, len) = self::address(&unique("another"));
        fails!(EINVAL, SYS_bind, first.0, &another, len);
    }
}

fn connect_to_nobody_is_econnrefused() {
    let scratch = Scratch::new();
    let name = path(&scratch);
    let bound = socket(SOCK_STREAM);
    bind(&bound, &name);
    assert_eq!(connect(&socket(SOCK_STREAM), &name), Err(ECONNREFUSED));
    drop(bound);
    assert_eq!(connect(&socket(SOCK_STREAM), &name), Err(ECONNREFUSED));
    assert_eq!(
        connect(&socket(SOCK_STREAM), &unique("nobody")),
        Err(ECONNREFUSED)
    );
}

fn connect_to_a_missing_name_is_enoent() {
    let scratch = Scratch::new();
    assert_eq!(connect(&socket(SOCK_STREAM), &path(&scratch)), Err(ENOENT));
}

fn connect_of_the_wrong_type_is_eprototype() {
    let name = unique("type");
    let _server = listener(&name);
    let datagram = socket(SOCK_DGRAM);
    let error = connect(&datagram, &name).unwrap_err();
    // The name space of abstract names is one a type.
    assert!([EPROTOTYPE, ECONNREFUSED].contains(&error), "{error}");
}

fn unconnected_stream_is_enotconn() {
    let fd = socket(SOCK_STREAM);
    let mut byte = 0u8;
    fails!(EINVAL, SYS_recvfrom, fd.0, &mut byte, 1, 0, 0, 0);
    fails!(ENOTCONN, SYS_sendto, fd.0, &byte, 1, MSG_NOSIGNAL, 0, 0);
    let mut len = 110u32;
    let mut name: sockaddr_un = zeroed();
    fails!(ENOTCONN, SYS_getpeername, fd.0, &mut name, &mut len);
    fails!(EINVAL, SYS_accept, fd.0, 0, 0);
}

fn listener_is_readable_when_a_client_waits() {
    let name = unique("poll");
    let server = listener(&name);
    assert_eq!(server.poll(POLLIN), 0);
    let client = socket(SOCK_STREAM);
    connect(&client, &name).unwrap();
    assert_eq!(server.poll(POLLIN), POLLIN);
    let peer = Fd::new(ok!(SYS_accept, server.0, 0, 0));
    assert_eq!(server.poll(POLLIN), 0);
    drop((peer, client));
}

fn nonblocking_accept_without_client_is_eagain() {
    let server = listener(&unique("accept"));
    server.set_flags(O_NONBLOCK);
    fails!(EAGAIN, SYS_accept, server.0, 0, 0);
}

fn datagram_goes_to_a_name() {
    let name = unique("datagram");
    let receiver = socket(SOCK_DGRAM);
    bind(&receiver, &name);
    let sender = socket(SOCK_DGRAM);
    let (address, len) = address(&name);
    assert_eq!(ok!(SYS_sendto, sender.0, c"letter", 6, 0, &address, len), 6);
    assert_eq!(receiver.read(10).unwrap(), b"letter");
    fails!(ENOTCONN, SYS_sendto, sender.0, c"letter", 6, 0, 0, 0);
}

fn datagram_tells_its_sender() {
    let (from, to) = (unique("from"), unique("to"));
    let (sender, receiver) = (socket(SOCK_DGRAM), socket(SOCK_DGRAM));
    bind(&sender, &from);
    bind(&receiver, &to);
    connect(&sender, &to).unwrap();
    sender.write("x").unwrap();
    let (mut byte, mut name, mut len) = (0u8, zeroed::<sockaddr_un>(), 110u32);
    ok!(
        SYS_recvfrom,
        receiver.0,
        &mut byte,
        1,
        0,
        &mut name,
        &mut len
    );
    let told: Vec<u8> = name.sun_path[..len as usize - 2]
        .iter()
        .map(|c| *c as u8)
        .collect();
    assert_eq!(told, from);
}

fn names_are_told() {
    let name = unique("names");
    let server = listener(&name);
    let client = socket(SOCK_STREAM);
    connect(&client, &name).unwrap();
    let told = |number, fd: &Fd| {
        let (mut address, mut len) = (zeroed::<sockaddr_un>(), 110u32);
        ok!(number, fd.0, &mut address, &mut len);
        let bytes = &address.sun_path[..len as usize - 2];
        bytes.iter().map(|c| *c as u8).collect::<Vec<u8>>()
    };
    assert_eq!(told(SYS_getsockname, &server), name);
    assert_eq!(told(SYS_getpeername, &client), name);
    assert_eq!(told(SYS_getsockname, &client), b"");
}

fn descriptors_are_passed() {
    let (one, other) = socket_pair(SOCK_STREAM);
    let (reader, writer) = pipe(0);
    send(&one, b"x", &[reader.0, writer.0]);
    drop((reader, writer));
    let (bytes, passed) = receive(&other, 10);
    assert_eq!((bytes.as_slice(), passed.len()), (&b"x"[..], 2));
    passed[1].write("through").unwrap();
    assert_eq!(passed[0].read(10).unwrap(), b"through");
}

fn passed_descriptor_outlives_the_sender() {
    let (one, other) = socket_pair(SOCK_DGRAM);
    let scratch = Scratch::new();
    let path = scratch.file("f", "contents");
    isolated(|| send(&one, b"file", &[Fd::open(&path, O_RDONLY).0]));
    let (_, passed) = receive(&other, 10);
    assert_eq!(passed[0].read(100).unwrap(), b"contents");
}

fn credentials_of_the_peer_are_told() {
    let (one, _other) = socket_pair(SOCK_STREAM);
    let (mut peer, mut len) = (zeroed::<ucred>(), size_of::<ucred>() as u32);
    ok!(
        SYS_getsockopt,
        one.0,
        SOL_SOCKET,
        SO_PEERCRED,
        &mut peer,
        &mut len
    );
    assert_eq!(peer.pid as u32, std::process::id());
    assert_eq!(peer.uid as usize, ok!(SYS_geteuid));
    assert_eq!(peer.gid as usize, ok!(SYS_getegid));
}

fn type_and_errors_are_socket_options() {
    let option = |fd: &Fd, name| {
        let (mut value, mut len) = (99i32, 4u32);
        ok!(SYS_getsockopt, fd.0, SOL_SOCKET, name, &mut value, &mut len);
        value
    };
    let fd = socket(SOCK_DGRAM);
    assert_eq!(
        (option(&fd, SO_TYPE), option(&fd, SO_ERROR)),
        (SOCK_DGRAM, 0)
    );
    assert_eq!(option(&fd, SO_ACCEPTCONN), 0);
    assert_eq!(option(&listener(&unique("option")), SO_ACCEPTCONN), 1);
    let file = Fd::open(c"/", O_RDONLY);
    fails!(ENOTSOCK, SYS_getsockopt, file.0, SOL_SOCKET, SO_TYPE, 0, 0);
}

fn socket_of_bad_arguments_is_an_error() {
    fails!(EAFNOSUPPORT, SYS_socket, 45, SOCK_STREAM, 0);
    fails!(EPROTONOSUPPORT, SYS_socket, AF_UNIX, SOCK_STREAM, 77);
    let fd = socket(SOCK_STREAM);
    fails!(EINVAL, SYS_bind, fd.0, &AF_UNIX, 1);
    fails!(EFAULT, SYS_bind, fd.0, 8usize, 10);
    fails!(EINVAL, SYS_connect, fd.0, &[0u8; 200], 200);
    fails!(ENOTSOCK, SYS_listen, Fd::open(c"/", O_RDONLY).0, 1);
    fails!(EBADF, SYS_listen, 999, 1);
}

fn gathered_message_is_scattered() {
    let (one, other) = socket_pair(SOCK_STREAM);
    let parts = [c"abc".as_ptr() as usize, 3, c"defg".as_ptr() as usize, 4];
    assert_eq!(ok!(SYS_writev, one.0, &parts, 2), 7);
    let (mut first, mut second) = ([0u8; 5], [0u8; 5]);
    let room = [
        first.as_mut_ptr() as usize,
        5,
        second.as_mut_ptr() as usize,
        5,
    ];
    assert_eq!(ok!(SYS_readv, other.0, &room, 2), 7);
    assert_eq!((&first, &second[..2]), (b"abcde", &b"fg"[..]));
}
