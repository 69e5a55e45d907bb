//! Descriptors: their numbers, copies, flags, end.

use crate::frame::child::isolated;
use crate::frame::descriptor::{Fd, pipe};
use crate::frame::scratch::Scratch;
use libc::*;

tests!(
    lowest_free_descriptor_is_taken,
    dup_shares_the_offset,
    dup2_closes_the_target,
    dup_of_bad_numbers_is_an_error,
    close_twice_is_ebadf,
    close_range_closes_or_marks,
    descriptor_limit_is_emfile,
    file_flags_can_be_changed,
);

fn lowest_free_descriptor_is_taken() {
    let files: Vec<Fd> = (0..3).map(|_| Fd::open(c"/", O_RDONLY)).collect();
    let low = files[0].0;
    drop(files);
    let again = Fd::open(c"/", O_RDONLY);
    assert_eq!(again.0, low);
    assert_eq!(ok!(SYS_fcntl, again.0, F_DUPFD, 200), 200);
    assert_eq!(ok!(SYS_fcntl, again.0, F_DUPFD, 200), 201);
}

fn dup_shares_the_offset() {
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("f", "abcdef"), O_RDONLY);
    let copy = Fd::new(ok!(SYS_dup, file.0));
    let other = Fd::open(&scratch.c("f"), O_RDONLY);
    file.read(2).unwrap();
    assert_eq!(copy.read(2).unwrap(), b"cd");
    assert_eq!(other.read(2).unwrap(), b"ab");
}

fn dup2_closes_the_target() {
    let (reader, writer) = pipe(0);
    let file = Fd::open(c"/", O_RDONLY);
    assert_eq!(ok!(SYS_dup2, file.0, writer.0), writer.0 as usize);
    assert_eq!(reader.read(1), Ok(vec![]));
    assert_eq!(ok!(SYS_dup2, file.0, file.0), file.0 as usize);
}

fn dup_of_bad_numbers_is_an_error() {
    let file = Fd::open(c"/", O_RDONLY);
    fails!(EBADF, SYS_dup, 999);
    fails!(EBADF, SYS_dup2, file.0, -1);
    fails!(EBADF, SYS_dup2, file.0, 100_000_000);
    fails!(EINVAL, SYS_dup3, file.0, file.0, 0);
    fails!(EINVAL, SYS_dup3, file.0, 50, O_APPEND);
    fails!(EINVAL, SYS_fcntl, file.0, F_DUPFD, -1);
}

fn close_twice_is_ebadf() {
    let number = Fd::open(c"/", O_RDONLY).0;
    fails!(EBADF, SYS_close, number);
    fails!(EBADF, SYS_close, -1);
}

fn close_range_closes_or_marks() {
    isolated(|| {
        for number in 50..60 {
            ok!(SYS_dup2, 2, number);
        }
        ok!(SYS_close_range, 52, 55, 0);
        fails!(EBADF, SYS_fcntl, 52, F_GETFD);
        fails!(EBADF, SYS_fcntl, 55, F_GETFD);
        ok!(SYS_close_range, 56, u32::MAX, CLOSE_RANGE_CLOEXEC);
        assert_eq!(ok!(SYS_fcntl, 51, F_GETFD), 0);
        assert_eq!(ok!(SYS_fcntl, 59, F_GETFD), FD_CLOEXEC as usize);
        fails!(EINVAL, SYS_close_range, 5, 4, 0);
    });
}

fn descriptor_limit_is_emfile() {
    isolated(|| {
        ok!(SYS_setrlimit, RLIMIT_NOFILE, &[20u64, 20]);
        let mut opened = 0;
        while let Ok(fd) = call!(SYS_open, c"/", O_RDONLY, 0) {
            opened = fd;
        }
        assert_eq!(opened, 19);
        fails!(EMFILE, SYS_open, c"/", O_RDONLY, 0);
        fails!(EMFILE, SYS_dup, 0);
        let mut ends = [0i32; 2];
        fails!(EMFILE, SYS_pipe2, &mut ends, 0);
    });
}

fn file_flags_can_be_changed() {
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.c("f"), O_RDWR | O_CREAT | O_EXCL);
    file.write("abc").unwrap();
    file.set_flags(O_APPEND | O_WRONLY);
    let flags = ok!(SYS_fcntl, file.0, F_GETFL) as i32;
    assert_eq!(flags & (O_ACCMODE | O_APPEND), O_RDWR | O_APPEND);
    file.seek(0, SEEK_SET).unwrap();
    file.write("d").unwrap();
    assert_eq!(scratch.read("f"), b"abcd");
    fails!(EINVAL, SYS_fcntl, file.0, 9999, 0);
}
