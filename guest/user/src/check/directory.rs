//! Names: directories, links, removing, walking paths.

use crate::frame::child::isolated;
use crate::frame::descriptor::Fd;
use crate::frame::names::{mkdir, names, on_one, on_two, rename, status};
use crate::frame::plain::zeroed;
use crate::frame::scratch::Scratch;
use libc::*;
use std::ffi::CString;

tests!(
    mkdir_makes_an_empty_directory,
    mkdir_of_a_name_that_exists_is_eexist,
    rmdir_of_a_full_directory_is_enotempty,
    rmdir_of_what_is_none_is_an_error,
    unlink_of_a_directory_is_eisdir,
    unlinked_file_lives_while_it_is_open,
    hard_link_is_the_same_file,
    hard_link_of_bad_names_is_an_error,
    symlink_is_followed_and_read,
    symlink_loop_is_eloop,
    forty_symlinks_are_followed_and_no_more,
    dangling_symlink_is_enoent,
    name_too_long_is_enametoolong,
    path_too_long_is_enametoolong,
    dots_and_slashes_are_walked,
    trailing_slash_needs_a_directory,
    slash_behind_a_link_does_not_make_or_remove_what_it_names,
    getdents_lists_every_name_once,
    getdents_of_a_file_is_enotdir,
    directory_can_be_read_again_after_rewinding,
    many_names_in_a_directory_are_found,
    link_counts_of_directories_count_subdirectories,
    getcwd_follows_a_rename,
    getcwd_into_too_little_room_is_erange,
    chdir_to_a_file_is_enotdir,
    chroot_confines,
    mknod_makes_sockets_and_fifos,
    relative_paths_begin_at_the_descriptor,
);

fn mkdir_makes_an_empty_directory() {
    let scratch = Scratch::new();
    mkdir(&scratch, "d").unwrap();
    assert_eq!(names(&scratch, "d"), [""; 0]);
    let seen = status(&scratch.c("d"));
    assert_eq!(
        (seen.st_mode & S_IFMT, seen.st_nlink.min(2)),
        (S_IFDIR, seen.st_nlink)
    );
}

fn mkdir_of_a_name_that_exists_is_eexist() {
    let scratch = Scratch::new();
    scratch.file("f", "");
    ok!(SYS_symlink, c"nowhere", scratch.c("link").as_c_str());
    assert_eq!(mkdir(&scratch, "f"), Err(EEXIST));
    assert_eq!(mkdir(&scratch, "link"), Err(EEXIST));
    assert_eq!(mkdir(&scratch, "."), Err(EEXIST));
    assert_eq!(mkdir(&scratch, "f/d"), Err(ENOTDIR));
    assert_eq!(mkdir(&scratch, "missing/d"), Err(ENOENT));
}

fn rmdir_of_a_full_directory_is_enotempty() {
    let scratch = Scratch::new();
    mkdir(&scratch, "d").unwrap();
    scratch.file("d/f", "");
    assert_eq!(on_one(SYS_rmdir, &scratch, "d", 0), Err(ENOTEMPTY));
    on_one(SYS_unlink, &scratch, "d/f", 0).unwrap();
    on_one(SYS_rmdir, &scratch, "d", 0).unwrap();
    assert_eq!(names(&scratch, "."), [""; 0]);
}

fn rmdir_of_what_is_none_is_an_error() {
    let scratch = Scratch::new();
    scratch.file("f", "");
    assert_eq!(on_one(SYS_rmdir, &scratch, "f", 0), Err(ENOTDIR));
    assert_eq!(on_one(SYS_rmdir, &scratch, "missing", 0), Err(ENOENT));
    assert_eq!(on_one(SYS_rmdir, &scratch, ".", 0), Err(EINVAL));
    fails!(EBUSY, SYS_rmdir, c"/");
}

fn unlink_of_a_directory_is_eisdir() {
    let scratch = Scratch::new();
    mkdir(&scratch, "d").unwrap();
    assert_eq!(on_one(SYS_unlink, &scratch, "d", 0), Err(EISDIR));
    let directory = Fd::open(&scratch.c("."), O_RDONLY);
    fails!(EINVAL, SYS_unlinkat, directory.0, c"d", 1);
    ok!(SYS_unlinkat, directory.0, c"d", AT_REMOVEDIR);
}

fn unlinked_file_lives_while_it_is_open() {
    let scratch = Scratch::new();
    let file = Fd::open(&scratch.file("f", "still here"), O_RDWR);
    on_one(SYS_unlink, &scratch, "f", 0).unwrap();
    let mut seen: stat64 = zeroed();
    ok!(SYS_fstat, file.0, &mut seen);
    assert_eq!(
        (seen.st_nlink, file.read(100).unwrap()),
        (0, b"still here".to_vec())
    );
    file.write(" and more").unwrap();
}

fn hard_link_is_the_same_file() {
    let scratch = Scratch::new();
    scratch.file("f", "abc");
    on_two(SYS_link, &scratch, "f", "g").unwrap();
    let (one, other) = (status(&scratch.c("f")), status(&scratch.c("g")));
    assert_eq!((one.st_ino, one.st_nlink), (other.st_ino, 2));
    std::fs::write(scratch.path().join("g"), "new").unwrap();
    on_one(SYS_unlink, &scratch, "g", 0).unwrap();
    assert_eq!(
        (scratch.read("f"), status(&scratch.c("f")).st_nlink),
        (b"new".to_vec(), 1)
    );
}

fn hard_link_of_bad_names_is_an_error() {
    let scratch = Scratch::new();
    scratch.file("f", "");
    mkdir(&scratch, "d").unwrap();
    assert_eq!(on_two(SYS_link, &scratch, "f", "d"), Err(EEXIST));
    assert_eq!(on_two(SYS_link, &scratch, "d", "e"), Err(EPERM));
    assert_eq!(on_two(SYS_link, &scratch, "missing", "e"), Err(ENOENT));
}

fn symlink_is_followed_and_read() {
    let scratch = Scratch::new();
    scratch.file("f", "target");
    let link = scratch.c("link");
    ok!(SYS_symlink, c"f", link.as_c_str());
    assert_eq!(scratch.read("link"), b"target");
    let mut room = [0u8; 10];
    assert_eq!(ok!(SYS_readlink, link.as_c_str(), &mut room, 10), 1);
    assert_eq!((room[0], status(&link).st_size), (b'f', 1));
    assert_eq!(status(&link).st_mode, S_IFLNK | 0o777);
    fails!(
        EINVAL,
        SYS_readlink,
        scratch.c("f").as_c_str(),
        &mut room,
        10
    );
    fails!(EINVAL, SYS_readlink, link.as_c_str(), &mut room, 0);
}

fn symlink_loop_is_eloop() {
    let scratch = Scratch::new();
    ok!(SYS_symlink, c"b", scratch.c("a").as_c_str());
    ok!(SYS_symlink, c"a", scratch.c("b").as_c_str());
    let mut seen: stat64 = zeroed();
    fails!(ELOOP, SYS_stat, scratch.c("a").as_c_str(), &mut seen);
    fails!(ELOOP, SYS_open, scratch.c("a/x").as_c_str(), O_RDONLY, 0);
}

fn forty_symlinks_are_followed_and_no_more() {
    let scratch = Scratch::new();
    scratch.file("0", "end");
    for n in 1..=41 {
        let to = CString::new(format!("{}", n - 1)).unwrap();
        ok!(
            SYS_symlink,
            to.as_c_str(),
            scratch.c(&format!("{n}")).as_c_str()
        );
    }
    assert_eq!(scratch.read("40"), b"end");
    fails!(ELOOP, SYS_open, scratch.c("41").as_c_str(), O_RDONLY, 0);
}

fn dangling_symlink_is_enoent() {
    let scratch = Scratch::new();
    ok!(SYS_symlink, c"missing", scratch.c("link").as_c_str());
    fails!(ENOENT, SYS_open, scratch.c("link").as_c_str(), O_RDONLY, 0);
    fails!(ENOENT, SYS_symlink, c"", scratch.c("empty").as_c_str());
    fails!(EEXIST, SYS_symlink, c"x", scratch.c("link").as_c_str());
}

fn name_too_long_is_enametoolong() {
    let scratch = Scratch::new();
    scratch.file(&"x".repeat(255), "");
    let long = scratch.c(&"x".repeat(256));
    fails!(
        ENAMETOOLONG,
        SYS_open,
        long.as_c_str(),
        O_RDWR | O_CREAT,
        0o600
    );
    fails!(ENAMETOOLONG, SYS_mkdir, long.as_c_str(), 0o700);
}

fn path_too_long_is_enametoolong() {
    let mut seen: stat64 = zeroed();
    let path = |len: usize| CString::new("/".repeat(len)).unwrap();
    ok!(SYS_stat, path(4095).as_c_str(), &mut seen);
    fails!(ENAMETOOLONG, SYS_stat, path(4096).as_c_str(), &mut seen);
}

fn dots_and_slashes_are_walked() {
    let scratch = Scratch::new();
    mkdir(&scratch, "d").unwrap();
    scratch.file("f", "found");
    assert_eq!(scratch.read("d/.././//d//../f"), b"found");
    let root = status(&c"/".to_owned());
    assert_eq!(status(&c"/../..".to_owned()).st_ino, root.st_ino);
}

fn trailing_slash_needs_a_directory() {
    let scratch = Scratch::new();
    scratch.file("f", "");
    let mut seen: stat64 = zeroed();
    fails!(ENOTDIR, SYS_stat, scratch.c("f/").as_c_str(), &mut seen);
    fails!(
        EISDIR,
        SYS_open,
        scratch.c("new/").as_c_str(),
        O_CREAT | O_RDWR,
        0o600
    );
    mkdir(&scratch, "d/").unwrap();
}

fn slash_behind_a_link_does_not_make_or_remove_what_it_names() {
    let scratch = Scratch::new();
    ok!(SYS_symlink, c"absent", scratch.c("dangling").as_c_str());
    assert_eq!(mkdir(&scratch, "dangling/"), Err(EEXIST));
    mkdir(&scratch, "d").unwrap();
    ok!(SYS_symlink, c"d", scratch.c("link").as_c_str());
    let link = scratch.c("link/");
    fails!(ENOTDIR, SYS_rmdir, link.as_c_str());
    fails!(ENOTDIR, SYS_unlink, link.as_c_str());
    assert_eq!(rename(&scratch, "link/", "moved"), Err(ENOTDIR));
    let mut seen: stat64 = zeroed();
    ok!(SYS_lstat, link.as_c_str(), &mut seen);
    assert_eq!(seen.st_mode & S_IFMT, S_IFDIR);
    assert_eq!(names(&scratch, "."), ["d", "dangling", "link"]);
}

/// Number and type of the entries that `getdents64(2)` gives, with so much room a call.
fn entries(directory: &Fd, room: usize) -> Vec<(String, u8)> {
    let mut all = Vec::new();
    loop {
        let mut buffer = vec![0u8; room];
        let got = ok!(SYS_getdents64, directory.0, &mut buffer[..], room);
        if got == 0 {
            return all;
        }
        let mut at = 0;
        while at < got {
            let len = u16::from_ne_bytes([buffer[at + 16], buffer[at + 17]]) as usize;
            let name = &buffer[at + 19..at + len];
            let end = name.iter().position(|byte| *byte == 0).unwrap();
            all.push((
                String::from_utf8(name[..end].to_vec()).unwrap(),
                buffer[at + 18],
            ));
            at += len;
        }
    }
}

fn getdents_lists_every_name_once() {
    let scratch = Scratch::new();
    mkdir(&scratch, "d").unwrap();
    scratch.file("f", "");
    ok!(SYS_symlink, c"f", scratch.c("link").as_c_str());
    let mut list = entries(&Fd::open(&scratch.c("."), O_RDONLY), 64);
    list.sort_unstable();
    let named = |name: &str, kind| (name.to_string(), kind);
    let (dir, file, link) = (DT_DIR, DT_REG, DT_LNK);
    let expected = [
        named(".", dir),
        named("..", dir),
        named("d", dir),
        named("f", file),
        named("link", link),
    ];
    assert_eq!(list, expected);
}

fn getdents_of_a_file_is_enotdir() {
    let mut room = [0u8; 100];
    fails!(
        ENOTDIR,
        SYS_getdents64,
        Fd::open(c"/etc/passwd", O_RDONLY).0,
        &mut room,
        100
    );
    fails!(
        EINVAL,
        SYS_getdents64,
        Fd::open(c"/", O_RDONLY).0,
        &mut room,
        10
    );
}

fn directory_can_be_read_again_after_rewinding() {
    let scratch = Scratch::new();
    let directory = Fd::open(&scratch.c("."), O_RDONLY);
    assert_eq!(entries(&directory, 1000).len(), 2);
    assert_eq!(entries(&directory, 1000).len(), 0);
    scratch.file("new", "");
    directory.seek(0, SEEK_SET).unwrap();
    assert_eq!(entries(&directory, 1000).len(), 3);
}

fn many_names_in_a_directory_are_found() {
    // Long enough for a directory of several blocks.
    let name = |n: u32| format!("{n:->60}");
    let scratch = Scratch::new();
    for n in 0..120 {
        scratch.file(&name(n), "");
    }
    assert_eq!(names(&scratch, ".").len(), 120);
    for n in (0..120).step_by(2) {
        on_one(SYS_unlink, &scratch, &name(n), 0).unwrap();
    }
    assert_eq!(names(&scratch, ".").len(), 60);
    status(&scratch.c(&name(119)));
}

fn link_counts_of_directories_count_subdirectories() {
    let scratch = Scratch::new();
    mkdir(&scratch, "d").unwrap();
    let before = status(&scratch.c("d")).st_nlink;
    if before != 2 {
        crate::frame::report::skip("the file system does not count links of directories");
    }
    mkdir(&scratch, "d/a").unwrap();
    mkdir(&scratch, "d/b").unwrap();
    assert_eq!(status(&scratch.c("d")).st_nlink, 4);
    on_one(SYS_rmdir, &scratch, "d/a", 0).unwrap();
    assert_eq!(status(&scratch.c("d")).st_nlink, 3);
}

fn getcwd_follows_a_rename() {
    let scratch = Scratch::new();
    mkdir(&scratch, "old").unwrap();
    isolated(|| {
        ok!(SYS_chdir, scratch.c("old").as_c_str());
        rename(&scratch, "old", "new").unwrap();
        assert_eq!(std::env::current_dir().unwrap(), scratch.path().join("new"));
        on_one(SYS_rmdir, &scratch, "new", 0).unwrap();
        fails!(ENOENT, SYS_getcwd, &mut [0u8; 4096], 4096);
        fails!(ENOENT, SYS_open, c"f", O_CREAT | O_RDWR, 0o600);
    });
}

fn getcwd_into_too_little_room_is_erange() {
    isolated(|| {
        ok!(SYS_chdir, c"/proc");
        let mut room = [0u8; 10];
        fails!(ERANGE, SYS_getcwd, &mut room, 5);
        assert_eq!(ok!(SYS_getcwd, &mut room, 6), 6);
        assert_eq!(&room[..6], b"/proc\0");
    });
}

fn chdir_to_a_file_is_enotdir() {
    fails!(ENOTDIR, SYS_chdir, c"/etc/passwd");
    fails!(ENOENT, SYS_chdir, c"/missing");
    fails!(ENOTDIR, SYS_fchdir, Fd::open(c"/etc/passwd", O_RDONLY).0);
    isolated(|| {
        ok!(SYS_fchdir, Fd::open(c"/proc", O_RDONLY).0);
        assert_eq!(std::env::current_dir().unwrap().to_str(), Some("/proc"));
    });
}

fn chroot_confines() {
    let scratch = Scratch::new();
    scratch.file("f", "inside");
    isolated(|| {
        if ok!(SYS_geteuid) != 0 {
            fails!(EPERM, SYS_chroot, c"/");
            return;
        }
        ok!(SYS_chroot, scratch.c(".").as_c_str());
        ok!(SYS_chdir, c"/");
        assert_eq!(Fd::open(c"/f", O_RDONLY).read(10).unwrap(), b"inside");
        assert_eq!(Fd::open(c"../../f", O_RDONLY).read(10).unwrap(), b"inside");
        fails!(ENOENT, SYS_open, c"/etc/passwd", O_RDONLY, 0);
    });
}

fn mknod_makes_sockets_and_fifos() {
    let scratch = Scratch::new();
    for (name, kind) in [("fifo", S_IFIFO), ("socket", S_IFSOCK), ("file", S_IFREG)] {
        ok!(SYS_mknod, scratch.c(name).as_c_str(), kind | 0o600, 0);
        assert_eq!(status(&scratch.c(name)).st_mode, kind | 0o600);
    }
    fails!(EEXIST, SYS_mknod, scratch.c("fifo").as_c_str(), S_IFIFO, 0);
    fails!(ENXIO, SYS_open, scratch.c("socket").as_c_str(), O_RDWR, 0);
    fails!(
        EPERM,
        SYS_mknod,
        scratch.c("directory").as_c_str(),
        S_IFDIR,
        0
    );
}

fn relative_paths_begin_at_the_descriptor() {
    let scratch = Scratch::new();
    let directory = Fd::open(&scratch.c("."), O_RDONLY);
    ok!(SYS_mkdirat, directory.0, c"d", 0o700);
    ok!(SYS_symlinkat, c"d", directory.0, c"link");
    ok!(SYS_renameat, directory.0, c"d", directory.0, c"e");
    ok!(SYS_linkat, directory.0, c"link", directory.0, c"second", 0);
    let mut room = [0u8; 4];
    assert_eq!(ok!(SYS_readlinkat, directory.0, c"second", &mut room, 4), 1);
    ok!(SYS_unlinkat, directory.0, c"second", 0);
    assert_eq!(names(&scratch, "."), ["e", "link"]);
    let mut seen: stat64 = zeroed();
    ok!(SYS_newfstatat, directory.0, c"", &mut seen, AT_EMPTY_PATH);
    assert_eq!(seen.st_ino, status(&scratch.c(".")).st_ino);
    fails!(ENOENT, SYS_newfstatat, directory.0, c"", &mut seen, 0);
}
