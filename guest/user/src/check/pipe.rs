//! Pipes and FIFOs.

use crate::frame::child::fork;
use crate::frame::descriptor::pipe;
use crate::frame::signals::dispose;
use crate::frame::state::wait_until_asleep;
use libc::*;

tests!(
    read_from_a_pipe_without_writers_is_the_end,
    read_of_an_empty_nonblocking_pipe_is_eagain,
    write_without_readers_is_epipe,
    write_without_readers_raises_sigpipe,
    reader_sleeps_until_a_byte_comes,
);

fn read_from_a_pipe_without_writers_is_the_end() {
    let (reader, writer) = pipe(0);
    writer.write("last").unwrap();
    drop(writer);
    assert_eq!(reader.read(10).unwrap(), b"last");
    assert_eq!(reader.read(10).unwrap(), b"");
}

fn read_of_an_empty_nonblocking_pipe_is_eagain() {
    let (reader, _writer) = pipe(O_NONBLOCK);
    let mut byte = 0u8;
    fails!(EAGAIN, SYS_read, reader.0, &mut byte, 1);
}

fn write_without_readers_is_epipe() {
    dispose(SIGPIPE, SIG_IGN);
    let (_, writer) = pipe(0);
    fails!(EPIPE, SYS_write, writer.0, c"x", 1);
}

fn write_without_readers_raises_sigpipe() {
    let (reader, writer) = pipe(0);
    drop(reader);
    let child = fork(|| drop(writer.write("x")));
    assert_eq!(child.wait().signal(), Some(SIGPIPE));
}

fn reader_sleeps_until_a_byte_comes() {
    let (reader, writer) = pipe(0);
    let child = fork(|| assert_eq!(reader.read(1).unwrap(), b"x"));
    wait_until_asleep(child.pid());
    writer.write("x").unwrap();
    assert_eq!(child.wait(), crate::frame::child::Exit::Code(0));
}
