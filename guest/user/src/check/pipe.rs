//! Pipes and FIFOs.

use crate::frame::child::{Exit, fork};
use crate::frame::descriptor::{Fd, pipe};
use crate::frame::scratch::Scratch;
use crate::frame::signals::{dispose, record};
use crate::frame::state::wait_until_asleep;
use crate::frame::thread::spawn;
use libc::*;

tests!(
    pipe_is_opened_again_through_proc,
    event_counter_cannot_be_opened_through_proc,
    bytes_come_out_in_order,
    read_from_a_pipe_without_writers_is_the_end,
    read_of_an_empty_nonblocking_pipe_is_eagain,
    read_gives_what_there_is,
    write_without_readers_is_epipe,
    write_without_readers_raises_sigpipe,
    reader_sleeps_until_a_byte_comes,
    writer_sleeps_until_there_is_room,
    pipe_holds_sixty_four_kibibytes,
    small_write_to_a_nearly_full_pipe_is_all_or_nothing,
    large_nonblocking_write_is_taken_in_part,
    small_writes_of_many_writers_do_not_mix,
    interrupted_write_tells_how_much_was_taken,
    pipe_flags_are_set,
    pipe_of_bad_arguments_is_an_error,
    wrong_end_is_ebadf,
    seek_on_a_pipe_is_espipe,
    bytes_in_a_pipe_can_be_counted,
    pipe_size_can_be_changed,
    poll_tells_the_ends_what_they_can_do,
    end_of_the_last_writer_wakes_a_reader,
    end_of_the_last_reader_wakes_a_writer,
    status_of_a_pipe_is_a_fifo,
    fifo_opened_for_reading_waits_for_a_writer,
    fifo_opened_nonblocking_without_reader_is_enxio,
    fifo_opened_for_both_does_not_wait,
    fifo_carries_bytes_between_processes,
);

fn bytes_come_out_in_order() {
    let (reader, writer) = pipe(0);
    let all: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    for part in all.chunks(777) {
        assert_eq!(writer.write(part), Ok(part.len()));
    }
    drop(writer);
    assert!(reader.read_to_end() == all);
}

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

fn read_gives_what_there_is() {
    let (reader, writer) = pipe(0);
    writer.write("abc").unwrap();
    writer.write("def").unwrap();
    assert_eq!(reader.read(2).unwrap(), b"ab");
    assert_eq!(reader.read(100).unwrap(), b"cdef");
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
    assert_eq!(child.wait(), Exit::Code(0));
}

const CAPACITY: usize = 65536;

/// A full pipe.
fn full() -> (Fd, Fd) {
    let (reader, writer) = pipe(0);
    assert_eq!(writer.write([1; CAPACITY]), Ok(CAPACITY));
    (reader, writer)
}

fn writer_sleeps_until_there_is_room() {
    let (reader, writer) = full();
    let child = fork(|| assert_eq!(writer.write([2; 4096]), Ok(4096)));
    wait_until_asleep(child.pid());
    let mut read = 0;
    while read < CAPACITY + 4096 {
        read += reader.read(4096).unwrap().len();
    }
    assert_eq!(child.wait(), Exit::Code(0));
}

fn pipe_holds_sixty_four_kibibytes() {
    let (_reader, writer) = pipe(O_NONBLOCK);
    let mut held = 0;
    while let Ok(count) = writer.write([0; 4096]) {
        held += count;
    }
    assert_eq!(held, CAPACITY);
}

fn small_write_to_a_nearly_full_pipe_is_all_or_nothing() {
    let (reader, writer) = full();
    writer.set_flags(O_NONBLOCK);
    reader.read(4096).unwrap();
    assert_eq!(writer.write([2; 4000]), Ok(4000));
    // PIPE_BUF bytes or fewer are never taken in part.
    fails!(EAGAIN, SYS_write, writer.0, &[3u8; 4096], 4096);
}

fn large_nonblocking_write_is_taken_in_part() {
    let (_reader, writer) = pipe(O_NONBLOCK);
    assert_eq!(writer.write(vec![0; 2 * CAPACITY]), Ok(CAPACITY));
    fails!(EAGAIN, SYS_write, writer.0, &[0u8; 8192], 8192);
}

fn small_writes_of_many_writers_do_not_mix() {
    let (reader, writer) = pipe(0);
    let children: Vec<_> = (0..4u8)
        .map(|me| {
            fork(|| {
                for _ in 0..40 {
                    assert_eq!(writer.write([me; 1000]), Ok(1000));
                }
            })
        })
        .collect();
    drop(writer);
    let all = reader.read_to_end();
    assert_eq!(all.len(), 4 * 40 * 1000);
    assert!(
        all.chunks(1000)
            .all(|part| part.iter().all(|byte| *byte == part[0]))
    );
    children
        .into_iter()
        .for_each(|child| assert_eq!(child.wait(), Exit::Code(0)));
}

fn interrupted_write_tells_how_much_was_taken() {
    record(SIGUSR1, 0);
    let (_reader, writer) = pipe(0);
    let me = std::process::id() as i32;
    let child = fork(|| {
        wait_until_asleep(me);
        ok!(SYS_kill, me, SIGUSR1);
    });
    assert_eq!(writer.write(vec![0; CAPACITY + 8192]), Ok(CAPACITY));
    child.wait();
}

fn pipe_flags_are_set() {
    let (reader, writer) = pipe(O_NONBLOCK | O_CLOEXEC);
    for (end, mode) in [(&reader, O_RDONLY), (&writer, O_WRONLY)] {
        assert_eq!(ok!(SYS_fcntl, end.0, F_GETFD), FD_CLOEXEC as usize);
        let flags = ok!(SYS_fcntl, end.0, F_GETFL) as i32;
        assert_eq!(flags & (O_ACCMODE | O_NONBLOCK), mode | O_NONBLOCK);
    }
}

fn pipe_of_bad_arguments_is_an_error() {
    let mut ends = [0i32; 2];
    fails!(EINVAL, SYS_pipe2, &mut ends, O_APPEND);
    fails!(EFAULT, SYS_pipe2, 8usize, 0);
}

fn wrong_end_is_ebadf() {
    let (reader, writer) = pipe(0);
    let mut byte = 0u8;
    fails!(EBADF, SYS_write, reader.0, &byte, 1);
    fails!(EBADF, SYS_read, writer.0, &mut byte, 1);
}

fn seek_on_a_pipe_is_espipe() {
    let (reader, _writer) = pipe(0);
    let mut byte = 0u8;
    fails!(ESPIPE, SYS_lseek, reader.0, 0, SEEK_CUR);
    fails!(ESPIPE, SYS_pread64, reader.0, &mut byte, 1, 0);
}

fn bytes_in_a_pipe_can_be_counted() {
    let (reader, writer) = pipe(0);
    writer.write("seven!!").unwrap();
    let mut count = 0;
    ok!(SYS_ioctl, reader.0, FIONREAD, &mut count);
    assert_eq!(count, 7);
}

fn pipe_size_can_be_changed() {
    let (_reader, writer) = pipe(O_NONBLOCK);
    assert_eq!(ok!(SYS_fcntl, writer.0, F_GETPIPE_SZ), CAPACITY);
    assert_eq!(ok!(SYS_fcntl, writer.0, F_SETPIPE_SZ, 10_000), 16384);
    assert_eq!(writer.write([0; CAPACITY]), Ok(16384));
    fails!(EBUSY, SYS_fcntl, writer.0, F_SETPIPE_SZ, 4096);
}

fn poll_tells_the_ends_what_they_can_do() {
    let (reader, writer) = pipe(0);
    assert_eq!((reader.poll(POLLIN), writer.poll(POLLOUT)), (0, POLLOUT));
    writer.write(vec![0; CAPACITY]).unwrap();
    assert_eq!((reader.poll(POLLIN), writer.poll(POLLOUT)), (POLLIN, 0));
    drop(reader);
    assert_eq!(writer.poll(POLLOUT) & POLLERR, POLLERR);
    let (reader, writer) = pipe(0);
    drop(writer);
    assert_eq!(reader.poll(POLLIN), POLLHUP);
}

fn end_of_the_last_writer_wakes_a_reader() {
    let (reader, writer) = pipe(0);
    let waiter = spawn(move || reader.read(1));
    waiter.wait_until_asleep();
    drop(writer);
    assert_eq!(waiter.join(), Ok(vec![]));
}

fn end_of_the_last_reader_wakes_a_writer() {
    dispose(SIGPIPE, SIG_IGN);
    let (reader, writer) = full();
    let waiter = spawn(move || writer.write("x"));
    waiter.wait_until_asleep();
    drop(reader);
    assert_eq!(waiter.join().map_err(|error| error.0), Err(EPIPE));
}

fn status_of_a_pipe_is_a_fifo() {
    let (reader, _writer) = pipe(0);
    let mut status: stat64 = crate::frame::plain::zeroed();
    ok!(SYS_fstat, reader.0, &mut status);
    assert_eq!(status.st_mode & S_IFMT, S_IFIFO);
}

/// A FIFO's path.
fn fifo(scratch: &Scratch) -> std::ffi::CString {
    let path = scratch.c("fifo");
    ok!(SYS_mknod, path.as_c_str(), S_IFIFO | 0o600, 0);
    path
}

fn fifo_opened_for_reading_waits_for_a_writer() {
    let scratch = Scratch::new();
    let path = fifo(&scratch);
    let child = fork(|| {
        let reader = Fd::open(&path, O_RDONLY);
        assert_eq!(reader.read_to_end(), b"hello");
    });
    wait_until_asleep(child.pid());
    Fd::open(&path, O_WRONLY).write("hello").unwrap();
    assert_eq!(child.wait(), Exit::Code(0));
}

fn fifo_opened_nonblocking_without_reader_is_enxio() {
    let scratch = Scratch::new();
    let path = fifo(&scratch);
    fails!(ENXIO, SYS_open, path.as_c_str(), O_WRONLY | O_NONBLOCK, 0);
    let reader = Fd::open(&path, O_RDONLY | O_NONBLOCK);
    assert_eq!(reader.read(1), Ok(vec![]));
    let writer = Fd::open(&path, O_WRONLY | O_NONBLOCK);
    assert_eq!(writer.write("x"), Ok(1));
}

fn fifo_opened_for_both_does_not_wait() {
    let scratch = Scratch::new();
    let both = Fd::open(&fifo(&scratch), O_RDWR);
    both.write("abc").unwrap();
    assert_eq!(both.read(10).unwrap(), b"abc");
}

fn fifo_carries_bytes_between_processes() {
    let scratch = Scratch::new();
    let path = fifo(&scratch);
    let child = fork(|| {
        let writer = Fd::open(&path, O_WRONLY);
        for part in 0..100u8 {
            assert_eq!(writer.write([part; 2000]), Ok(2000));
        }
    });
    let all = Fd::open(&path, O_RDONLY).read_to_end();
    assert_eq!(all.len(), 200_000);
    assert!(
        all.chunks(2000)
            .zip(0..)
            .all(|(part, n)| part.iter().all(|byte| *byte == n))
    );
    assert_eq!(child.wait(), Exit::Code(0));
}

fn through_proc(fd: &Fd) -> std::ffi::CString {
    std::ffi::CString::new(format!("/proc/self/fd/{}", fd.0)).unwrap()
}

fn pipe_is_opened_again_through_proc() {
    let (reader, writer) = pipe(0);
    let again = Fd::open(&through_proc(&reader), O_RDONLY);
    let other = Fd::open(&through_proc(&writer), O_WRONLY);
    other.write("hello").unwrap();
    assert_eq!(again.read(10).unwrap(), b"hello");
    drop(writer);
    // There is still a writer, and then none.
    let child = fork(|| {
        ok!(SYS_close, other.0);
        assert_eq!(again.read(10).unwrap(), b"");
    });
    wait_until_asleep(child.pid());
    drop(other);
    assert_eq!(child.wait(), Exit::Code(0));
    // The reading end's name opens for writing, too.
    let both = Fd::open(&through_proc(&reader), O_RDWR);
    both.write("x").unwrap();
    assert_eq!(reader.read(10).unwrap(), b"x");
}

fn event_counter_cannot_be_opened_through_proc() {
    let counter = Fd::new(ok!(SYS_eventfd2, 0, 0));
    fails!(ENXIO, SYS_open, &*through_proc(&counter), O_RDWR, 0);
}
