//! Files: opening, reading, writing, offsets, lengths, holes, copies.

use crate::frame::child::isolated;
use crate::frame::descriptor::{Fd, pipe};
use crate::frame::plain::zeroed;
use crate::frame::scratch::Scratch;
use libc::*;
use std::ffi::CStr;

tests!(
    open_of_a_missing_file_is_enoent,
    creat_makes_an_empty_file,
    exclusive_creation_of_a_file_that_exists_is_eexist,
    exclusive_creation_does_not_follow_links,
    truncating_open_empties_the_file,
    open_of_a_directory_for_writing_is_eisdir,
    open_directory_of_a_file_is_enotdir,
    open_nofollow_of_a_link_is_eloop,
    open_relative_to_a_directory,
    path_descriptor_can_only_be_looked_at,
    read_at_the_end_gives_nothing,
    read_of_a_directory_is_eisdir,
    append_writes_at_the_end,
    append_of_several_writers_loses_nothing,
    write_beyond_the_end_leaves_a_hole,
    positioned_calls_leave_the_offset,
    vectors_are_read_and_written,
    seek_goes_where_it_is_told,
    seek_of_bad_arguments_is_einval,
    seek_finds_data_and_holes,
    truncate_shortens_and_lengthens,
    bytes_behind_a_truncation_are_zero_when_it_grows_again,
    truncate_of_bad_arguments_is_an_error,
    allocate_reserves_space,
    sendfile_copies_from_a_file,
    copy_file_range_copies_between_files,
    file_size_limit_is_efbig,
    device_full_is_enospc,
    device_null_and_zero,
    random_device_and_getrandom_give_bytes,
    read_and_write_flags_are_kept,
    large_file_reads_back,
    sync_calls_succeed,
    statfs_describes_the_file_system,
    tmpfs_keeps_files,
);

fn status(fd: &Fd) -> stat64 {
    let mut status = zeroed();
    ok!(SYS_fstat, fd.0, &mut status);
    status
}

fn create(scratch: &Scratch, name: &str) -> Fd {
    Fd::open(&scratch.c(name), O_RDWR | O_CREAT | O_EXCL)
}

fn errno_of_open(path: &CStr, flags: i32) -> Result<usize, i32> {
    call!(SYS_open, path, flags, 0o600).map_err(|error| error.0)
}

fn open_of_a_missing_file_is_enoent() {
    let scratch = Scratch::new();
    assert_eq!(errno_of_open(&scratch.c("f"), O_RDWR), Err(ENOENT));
    assert_eq!(
        errno_of_open(&scratch.c("d/f"), O_RDWR | O_CREAT),
        Err(ENOENT)
    );
    assert_eq!(errno_of_open(c"", O_RDONLY), Err(ENOENT));
}

fn creat_makes_an_empty_file() {
    let scratch = Scratch::new();
    let file = Fd::new(ok!(SYS_creat, scratch.c("f").as_c_str(), 0o640));
    let seen = status(&file);
    assert_eq!(
        (seen.st_size, seen.st_nlink, seen.st_mode),
        (0, 1, S_IFREG | 0o640)
    );
    fails!(EBADF, SYS_read, file.0, &mut [0u8], 1);
}

fn exclusive_creation_of_a_file_that_exists_is_eexist() {
    let scratch = Scratch::new();
    let path = scratch.file("f", "x");
    assert_eq!(errno_of_open(&path, O_CREAT | O_EXCL | O_RDWR), Err(EEXIST));
    assert!(errno_of_open(&path, O_CREAT | O_RDWR).is_ok());
}

fn exclusive_creation_does_not_follow_links() {
    let scratch = Scratch::new();
    ok!(SYS_symlink, c"missing", scratch.c("link").as_c_str());
    assert_eq!(
        errno_of_open(&scratch.c("link"), O_CREAT | O_EXCL | O_RDWR),
        Err(EEXIST)
    );
    assert!(errno_of_open(&scratch.c("link"), O_CREAT | O_RDWR).is_ok());
    assert_eq!(scratch.read("missing"), b"");
}

fn truncating_open_empties_the_file() {
    let scratch = Scratch::new();
    let path = scratch.file("f", "contents");
    drop(Fd::open(&path, O_WRONLY | O_TRUNC));
    assert_eq!(scratch.read("f"), b"");
}

fn open_of_a_directory_for_writing_is_eisdir() {
    assert_eq!(errno_of_open(c"/", O_WRONLY), Err(EISDIR));
    assert_eq!(errno_of_open(c"/", O_RDWR | O_CREAT), Err(EISDIR));
}

fn open_directory_of_a_file_is_enotdir() {
    assert_eq!(
        errno_of_open(c"/etc/passwd", O_RDONLY | O_DIRECTORY),
        Err(ENOTDIR)
    );
    assert_eq!(errno_of_open(c"/etc/passwd/", O_RDONLY), Err(ENOTDIR));
}

fn open_nofollow_of_a_link_is_eloop() {
    let scratch = Scratch::new();
    scratch.file("f", "x");
    ok!(SYS_symlink, c"f", scratch.c("link").as_c_str());
    assert_eq!(
        errno_of_open(&scratch.c("link"), O_RDONLY | O_NOFOLLOW),
        Err(ELOOP)
    );
}

fn open_relative_to_a_directory() {
    let scratch = Scratch::new();
    scratch.file("f", "here");
    let directory = Fd::open(&scratch.c("."), O_RDONLY | O_DIRECTORY);
    let file = Fd::new(ok!(SYS_openat, directory.0, c"f", O_RDONLY));
    assert_eq!(file.read(10).unwrap(), b"here");
    fails!(ENOTDIR, SYS_openat, file.0, c"f", O_RDONLY);
    fails!(EBADF, SYS_openat, 999, c"f", O_RDONLY);
}

fn path_descriptor_can_only_be_looked_at() {
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("f", "abc"), O_PATH);
    assert_eq!(status(&file).st_size, 3);
    fails!(EBADF, SYS_read, file.0, &mut [0u8], 1);
    fails!(EBADF, SYS_fchmod, file.0, 0o600);
}

fn read_at_the_end_gives_nothing() {
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("f", "abc"), O_RDONLY);
    assert_eq!(file.read(100).unwrap(), b"abc");
    assert_eq!(file.read(100).unwrap(), b"");
    assert_eq!(ok!(SYS_pread64, file.0, &mut [0u8; 4], 4, 1000), 0);
    assert_eq!(ok!(SYS_read, file.0, &mut [0u8; 4], 0), 0);
}

fn read_of_a_directory_is_eisdir() {
    let directory = Fd::open(c"/", O_RDONLY);
    fails!(EISDIR, SYS_read, directory.0, &mut [0u8; 4], 4);
}

fn append_writes_at_the_end() {
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("f", "abc"), O_RDWR | O_APPEND);
    file.seek(0, SEEK_SET).unwrap();
    file.write("def").unwrap();
    assert_eq!(scratch.read("f"), b"abcdef");
    assert_eq!(file.seek(0, SEEK_CUR), Ok(6));
}

fn append_of_several_writers_loses_nothing() {
    let scratch = Scratch::new();
    let path = scratch.file("f", "");
    let children: Vec<_> = (0..4u8)
        .map(|me| {
            crate::frame::child::fork(|| {
                let file = Fd::open(&path, O_WRONLY | O_APPEND);
                (0..25).for_each(|_| assert_eq!(file.write([me; 100]), Ok(100)));
            })
        })
        .collect();
    children.into_iter().for_each(|child| drop(child.wait()));
    let all = scratch.read("f");
    assert_eq!(all.len(), 10_000);
    assert!(
        all.chunks(100)
            .all(|part| part.iter().all(|byte| *byte == part[0]))
    );
}

fn write_beyond_the_end_leaves_a_hole() {
    let scratch = Scratch::new();
    let file = create(&scratch, "f");
    assert_eq!(ok!(SYS_pwrite64, file.0, c"end", 3, 1 << 20), 3);
    let seen = status(&file);
    assert_eq!(seen.st_size, (1 << 20) + 3);
    assert!(seen.st_blocks < 256, "{} blocks", seen.st_blocks);
    let all = scratch.read("f");
    assert!(all[..1 << 20].iter().all(|byte| *byte == 0) && all.ends_with(b"end"));
}

fn positioned_calls_leave_the_offset() {
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("f", "abcdef"), O_RDWR);
    let mut room = [0u8; 2];
    ok!(SYS_pread64, file.0, &mut room, 2, 3);
    ok!(SYS_pwrite64, file.0, c"X", 1, 1);
    assert_eq!((&room, file.read(3).unwrap()), (b"de", b"aXc".to_vec()));
    fails!(EINVAL, SYS_pread64, file.0, &mut room, 2, -1i64);
}

fn vectors_are_read_and_written() {
    let scratch = Scratch::new();
    let file = create(&scratch, "f");
    let parts = [
        c"abc".as_ptr() as usize,
        3,
        0,
        0,
        c"de".as_ptr() as usize,
        2,
    ];
    assert_eq!(ok!(SYS_writev, file.0, &parts, 3), 5);
    assert_eq!(ok!(SYS_pwritev, file.0, &parts, 1, 5, 0), 3);
    assert_eq!(scratch.read("f"), b"abcdeabc");
    let (mut one, mut two) = ([0u8; 3], [0u8; 3]);
    let room = [one.as_mut_ptr() as usize, 3, two.as_mut_ptr() as usize, 3];
    assert_eq!(ok!(SYS_preadv, file.0, &room, 2, 4, 0), 4);
    assert_eq!((&one, two[0]), (b"eab", b'c'));
    fails!(EINVAL, SYS_writev, file.0, &parts, 1025);
    fails!(EINVAL, SYS_writev, file.0, &[0usize, usize::MAX], 1);
    fails!(EFAULT, SYS_writev, file.0, 8usize, 1);
}

fn seek_goes_where_it_is_told() {
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("f", "abcdef"), O_RDONLY);
    assert_eq!(file.seek(4, SEEK_SET), Ok(4));
    assert_eq!(file.seek(-2, SEEK_CUR), Ok(2));
    assert_eq!(file.seek(-1, SEEK_END), Ok(5));
    assert_eq!(file.read(10).unwrap(), b"f");
    assert_eq!(file.seek(100, SEEK_END), Ok(106));
}

fn seek_of_bad_arguments_is_einval() {
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("f", "abc"), O_RDONLY);
    fails!(EINVAL, SYS_lseek, file.0, -1, SEEK_SET);
    fails!(EINVAL, SYS_lseek, file.0, -4, SEEK_END);
    fails!(EINVAL, SYS_lseek, file.0, 0, 77);
    fails!(EBADF, SYS_lseek, 999, 0, SEEK_SET);
}

fn seek_finds_data_and_holes() {
    let scratch = Scratch::new();
    let file = create(&scratch, "f");
    file.write([1; 100]).unwrap();
    assert_eq!(file.seek(10, SEEK_DATA), Ok(10));
    assert_eq!(file.seek(10, SEEK_HOLE), Ok(100));
    fails!(ENXIO, SYS_lseek, file.0, 100, SEEK_DATA);
    fails!(ENXIO, SYS_lseek, file.0, 1000, SEEK_HOLE);
}

fn truncate_shortens_and_lengthens() {
    let scratch = Scratch::new();
    let path = scratch.file("f", "abcdef");
    ok!(SYS_truncate, path.as_c_str(), 3);
    assert_eq!(scratch.read("f"), b"abc");
    ok!(SYS_truncate, path.as_c_str(), 5);
    assert_eq!(scratch.read("f"), b"abc\0\0");
}

fn bytes_behind_a_truncation_are_zero_when_it_grows_again() {
    let scratch = Scratch::new();
    let file = create(&scratch, "f");
    file.write([7; 10_000]).unwrap();
    ok!(SYS_ftruncate, file.0, 100);
    ok!(SYS_ftruncate, file.0, 10_000);
    let all = scratch.read("f");
    assert!(all[..100].iter().all(|byte| *byte == 7) && all[100..].iter().all(|byte| *byte == 0));
}

fn truncate_of_bad_arguments_is_an_error() {
    let scratch = Scratch::new();
    let path = scratch.file("f", "abc");
    fails!(EINVAL, SYS_truncate, path.as_c_str(), -1);
    fails!(ENOENT, SYS_truncate, scratch.c("missing").as_c_str(), 0);
    fails!(EISDIR, SYS_truncate, scratch.c(".").as_c_str(), 0);
    fails!(EINVAL, SYS_ftruncate, Fd::open(&path, O_RDONLY).0, 0);
}

fn allocate_reserves_space() {
    let scratch = Scratch::new();
    let file = create(&scratch, "f");
    if let Err(error) = call!(SYS_fallocate, file.0, 0, 0, 100_000) {
        assert_eq!(error.0, EOPNOTSUPP);
        crate::frame::report::skip("the file system has no fallocate");
    }
    assert_eq!(status(&file).st_size, 100_000);
    assert!(scratch.read("f").iter().all(|byte| *byte == 0));
    fails!(EINVAL, SYS_fallocate, file.0, 0, 0, 0);
    fails!(EINVAL, SYS_fallocate, file.0, 0, -1, 10);
}

fn sendfile_copies_from_a_file() {
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("f", "abcdef"), O_RDONLY);
    let (reader, writer) = pipe(0);
    let mut offset = 2u64;
    assert_eq!(ok!(SYS_sendfile, writer.0, file.0, &mut offset, 3), 3);
    assert_eq!((offset, reader.read(10).unwrap()), (5, b"cde".to_vec()));
    assert_eq!(ok!(SYS_sendfile, writer.0, file.0, 0, 100), 6);
    assert_eq!(reader.read(10).unwrap(), b"abcdef");
    assert_eq!(ok!(SYS_sendfile, writer.0, file.0, 0, 100), 0);
}

fn copy_file_range_copies_between_files() {
    let scratch = Scratch::new();
    let from = Fd::open(&scratch.file("from", "abcdef"), O_RDONLY);
    let to = create(&scratch, "to");
    let mut offset = 1u64;
    assert_eq!(
        ok!(SYS_copy_file_range, from.0, &mut offset, to.0, 0, 3, 0),
        3
    );
    assert_eq!((offset, scratch.read("to")), (4, b"bcd".to_vec()));
    fails!(EINVAL, SYS_copy_file_range, from.0, 0, to.0, 0, 3, 1);
    fails!(EBADF, SYS_copy_file_range, to.0, 0, from.0, 0, 3, 0);
}

fn file_size_limit_is_efbig() {
    let scratch = Scratch::new();
    let file = create(&scratch, "f");
    isolated(|| {
        crate::frame::signals::record(SIGXFSZ, 0);
        ok!(SYS_setrlimit, RLIMIT_FSIZE, &[1000u64, 1000]);
        assert_eq!(file.write([1; 2000]), Ok(1000));
        fails!(EFBIG, SYS_write, file.0, c"x", 1);
        fails!(EFBIG, SYS_ftruncate, file.0, 2000);
        assert_eq!(crate::frame::signals::caught_signals(), [SIGXFSZ, SIGXFSZ]);
    });
}

fn device_full_is_enospc() {
    let full = Fd::open(c"/dev/full", O_RDWR);
    fails!(ENOSPC, SYS_write, full.0, c"x", 1);
    assert_eq!(full.read(3).unwrap(), [0; 3]);
}

fn device_null_and_zero() {
    let null = Fd::open(c"/dev/null", O_RDWR);
    assert_eq!((null.write("abc"), null.read(10)), (Ok(3), Ok(vec![])));
    let zero = Fd::open(c"/dev/zero", O_RDWR);
    assert_eq!((zero.write("abc"), zero.read(5)), (Ok(3), Ok(vec![0; 5])));
    assert_eq!(status(&null).st_rdev, 0x103);
}

fn random_device_and_getrandom_give_bytes() {
    let mut bytes = [0u8; 32];
    assert_eq!(ok!(SYS_getrandom, &mut bytes, 32, 0), 32);
    let more = Fd::open(c"/dev/urandom", O_RDONLY).read(32).unwrap();
    assert!(bytes != [0; 32] && more != [0; 32] && more != bytes);
    fails!(EINVAL, SYS_getrandom, &mut bytes, 32, 0x100);
}

fn read_and_write_flags_are_kept() {
    let scratch = Scratch::new();
    let path = scratch.file("f", "x");
    let (reader, writer) = (Fd::open(&path, O_RDONLY), Fd::open(&path, O_WRONLY));
    fails!(EBADF, SYS_write, reader.0, c"x", 1);
    fails!(EBADF, SYS_read, writer.0, &mut [0u8], 1);
}

fn large_file_reads_back() {
    let scratch = Scratch::new();
    let file = create(&scratch, "f");
    let pattern: Vec<u8> = (0..251u8).cycle().take(300_000).collect();
    file.write(&pattern).unwrap();
    ok!(SYS_fsync, file.0);
    file.seek(0, SEEK_SET).unwrap();
    assert!(file.read_to_end() == pattern);
}

fn sync_calls_succeed() {
    let scratch = Scratch::new();
    let file = create(&scratch, "f");
    ok!(SYS_fsync, file.0);
    ok!(SYS_fdatasync, file.0);
    ok!(SYS_syncfs, file.0);
    ok!(SYS_fsync, Fd::open(&scratch.c("."), O_RDONLY).0);
    fails!(EINVAL, SYS_fsync, pipe(0).0.0);
    fails!(EBADF, SYS_fsync, 999);
}

fn statfs_describes_the_file_system() {
    let scratch = Scratch::new();
    let mut statfs: statfs64 = zeroed();
    ok!(SYS_statfs, scratch.c(".").as_c_str(), &mut statfs);
    assert!(statfs.f_bsize > 0 && statfs.f_namelen == 255);
    assert!(statfs.f_bavail <= statfs.f_bfree && statfs.f_bfree <= statfs.f_blocks);
    fails!(
        ENOENT,
        SYS_statfs,
        scratch.c("missing").as_c_str(),
        &mut statfs
    );
}

fn tmpfs_keeps_files() {
    let scratch = Scratch::within(std::path::Path::new("/dev/shm"));
    let file = create(&scratch, "f");
    assert_eq!(ok!(SYS_pwrite64, file.0, c"end", 3, 100_000), 3);
    assert_eq!(scratch.read("f").len(), 100_003);
    ok!(SYS_unlink, scratch.c("f").as_c_str());
    assert_eq!(
        (status(&file).st_nlink, status(&file).st_size),
        (0, 100_003)
    );
}
