//! splice, tee, vmsplice.

use crate::frame::call::Errno;
use crate::frame::child::{Exit, fork};
use crate::frame::descriptor::{Fd, pipe};
use crate::frame::scratch::Scratch;
use crate::frame::state::wait_until_asleep;
use libc::*;

tests!(
    file_goes_into_a_pipe_from_an_offset,
    pipe_goes_into_a_file_at_an_offset,
    pipe_goes_into_another_pipe,
    splice_without_a_pipe_is_einval,
    splice_with_an_offset_into_a_pipe_is_espipe,
    splice_of_an_empty_nonblocking_pipe_is_eagain,
    splice_of_a_pipe_without_writers_is_the_end,
    splice_sleeps_until_there_is_something,
    splice_to_itself_is_einval,
    tee_leaves_the_data,
    tee_of_files_is_einval,
    tee_of_an_empty_nonblocking_pipe_is_eagain,
    vmsplice_gathers_into_a_pipe,
    vmsplice_scatters_out_of_a_pipe,
    sendfile_copies_between_files,
    copy_file_range_copies_within_limits,
);

fn splice(
    from: &Fd,
    offset: Option<&mut i64>,
    to: &Fd,
    at: Option<&mut i64>,
) -> Result<usize, Errno> {
    let pointer = |offset: Option<&mut i64>| offset.map_or(0, |offset| &raw mut *offset as usize);
    call!(
        SYS_splice,
        from.0,
        pointer(offset),
        to.0,
        pointer(at),
        100,
        SPLICE_F_NONBLOCK
    )
}

fn file(scratch: &Scratch, text: &str) -> Fd {
    Fd::open(&scratch.file("f", text), O_RDWR)
}

fn file_goes_into_a_pipe_from_an_offset() {
    let scratch = Scratch::new();
    let file = file(&scratch, "0123456789");
    let (reader, writer) = pipe(0);
    let mut offset = 4;
    assert_eq!(splice(&file, Some(&mut offset), &writer, None), Ok(6));
    assert_eq!(offset, 10);
    assert_eq!(reader.read(100).unwrap(), b"456789");
    // The file's own position has not moved.
    assert_eq!(splice(&file, None, &writer, None), Ok(10));
    assert_eq!(file.seek(0, SEEK_CUR), Ok(10));
}

fn pipe_goes_into_a_file_at_an_offset() {
    let scratch = Scratch::new();
    let file = file(&scratch, "0123456789");
    let (reader, writer) = pipe(0);
    writer.write("abc").unwrap();
    let mut offset = 2;
    assert_eq!(splice(&reader, None, &file, Some(&mut offset)), Ok(3));
    assert_eq!(offset, 5);
    assert_eq!(scratch.read("f"), b"01abc56789");
}

fn pipe_goes_into_another_pipe() {
    let ((reader, writer), (last, middle)) = (pipe(0), pipe(0));
    writer.write("through").unwrap();
    assert_eq!(splice(&reader, None, &middle, None), Ok(7));
    assert_eq!(last.read(100).unwrap(), b"through");
}

fn splice_without_a_pipe_is_einval() {
    let scratch = Scratch::new();
    let file = file(&scratch, "x");
    assert_eq!(splice(&file, None, &file, None), Err(Errno(EINVAL)));
}

fn splice_with_an_offset_into_a_pipe_is_espipe() {
    let scratch = Scratch::new();
    let file = file(&scratch, "x");
    let (_reader, writer) = pipe(0);
    let mut offset = 0;
    assert_eq!(
        splice(&file, None, &writer, Some(&mut offset)),
        Err(Errno(ESPIPE))
    );
}

fn splice_of_an_empty_nonblocking_pipe_is_eagain() {
    let ((reader, _writer), (_last, middle)) = (pipe(0), pipe(0));
    assert_eq!(splice(&reader, None, &middle, None), Err(Errno(EAGAIN)));
}

fn splice_of_a_pipe_without_writers_is_the_end() {
    let ((reader, writer), (_last, middle)) = (pipe(0), pipe(0));
    drop(writer);
    assert_eq!(splice(&reader, None, &middle, None), Ok(0));
}

fn splice_sleeps_until_there_is_something() {
    let ((reader, writer), (last, middle)) = (pipe(0), pipe(0));
    let child = fork(|| assert_eq!(call!(SYS_splice, reader.0, 0, middle.0, 0, 100, 0), Ok(4)));
    wait_until_asleep(child.pid());
    writer.write("late").unwrap();
    assert_eq!(child.wait(), Exit::Code(0));
    assert_eq!(last.read(100).unwrap(), b"late");
}

fn splice_to_itself_is_einval() {
    let (reader, writer) = pipe(0);
    writer.write("x").unwrap();
    assert_eq!(splice(&reader, None, &writer, None), Err(Errno(EINVAL)));
}

fn tee_leaves_the_data() {
    let ((reader, writer), (last, middle)) = (pipe(0), pipe(0));
    writer.write("twice").unwrap();
    assert_eq!(ok!(SYS_tee, reader.0, middle.0, 100, SPLICE_F_NONBLOCK), 5);
    assert_eq!(last.read(100).unwrap(), b"twice");
    assert_eq!(reader.read(100).unwrap(), b"twice");
}

fn tee_of_files_is_einval() {
    let scratch = Scratch::new();
    let file = file(&scratch, "x");
    let (reader, writer) = pipe(0);
    fails!(EINVAL, SYS_tee, file.0, writer.0, 1, 0);
    fails!(EINVAL, SYS_tee, reader.0, writer.0, 1, 0);
    fails!(EBADF, SYS_tee, 999, writer.0, 1, 0);
}

fn tee_of_an_empty_nonblocking_pipe_is_eagain() {
    let ((reader, _writer), (_last, middle)) = (pipe(0), pipe(0));
    fails!(EAGAIN, SYS_tee, reader.0, middle.0, 1, SPLICE_F_NONBLOCK);
}

fn vectors(parts: &[&[u8]]) -> Vec<[usize; 2]> {
    let vector = |part: &&[u8]| [part.as_ptr() as usize, part.len()];
    parts.iter().map(vector).collect()
}

fn vmsplice_gathers_into_a_pipe() {
    let (reader, writer) = pipe(0);
    let vectors = vectors(&[b"first ", b"second"]);
    assert_eq!(ok!(SYS_vmsplice, writer.0, &vectors[..], 2, 0), 12);
    assert_eq!(reader.read(100).unwrap(), b"first second");
}

fn vmsplice_scatters_out_of_a_pipe() {
    let (reader, writer) = pipe(0);
    writer.write("abcdef").unwrap();
    let (mut first, mut second) = ([0u8; 2], [0u8; 4]);
    let vectors = [
        [first.as_mut_ptr() as usize, 2],
        [second.as_mut_ptr() as usize, 4],
    ];
    assert_eq!(ok!(SYS_vmsplice, reader.0, &vectors, 2, 0), 6);
    assert_eq!((&first, &second), (b"ab", b"cdef"));
}

fn sendfile_copies_between_files() {
    let scratch = Scratch::new();
    let from = file(&scratch, "0123456789");
    let to = Fd::open(&scratch.c("to"), O_WRONLY | O_CREAT);
    let mut offset = 7i64;
    assert_eq!(ok!(SYS_sendfile, to.0, from.0, &mut offset, 100), 3);
    assert_eq!(offset, 10);
    assert_eq!(scratch.read("to"), b"789");
}

fn copy_file_range_copies_within_limits() {
    let scratch = Scratch::new();
    let from = file(&scratch, "0123456789");
    let to = Fd::open(&scratch.c("to"), O_RDWR | O_CREAT);
    let (mut source, mut target) = (2i64, 1i64);
    assert_eq!(
        ok!(
            SYS_copy_file_range,
            from.0,
            &mut source,
            to.0,
            &mut target,
            3,
            0
        ),
        3
    );
    assert_eq!((source, target), (5, 4));
    assert_eq!(scratch.read("to"), b"\x00234");
    let (reader, _writer) = pipe(0);
    fails!(EINVAL, SYS_copy_file_range, reader.0, 0, to.0, 0, 3, 0);
}
