//! Renaming files and directories.

use crate::frame::descriptor::Fd;
use crate::frame::names::{mkdir, names, on_one, on_two, rename, status};
use crate::frame::scratch::Scratch;
use libc::*;
use std::ffi::CString;

tests!(
    rename_replaces_a_file,
    rename_of_a_name_to_another_link_of_the_file_does_nothing,
    rename_moves_a_directory_with_what_is_in_it,
    rename_of_a_directory_into_itself_is_einval,
    rename_over_a_full_directory_is_enotempty,
    rename_between_kinds_is_an_error,
    rename_with_noreplace_keeps_the_target,
    rename_with_exchange_swaps,
    rename_to_another_file_system_is_exdev,
);

fn rename_replaces_a_file() {
    let scratch = Scratch::new();
    scratch.file("a", "new");
    let old = Fd::open(&scratch.file("b", "old"), O_RDONLY);
    rename(&scratch, "a", "b").unwrap();
    assert_eq!(
        (names(&scratch, "."), scratch.read("b")),
        (vec!["b".into()], b"new".to_vec())
    );
    assert_eq!(old.read(10).unwrap(), b"old");
    assert_eq!(rename(&scratch, "a", "c"), Err(ENOENT));
}

fn rename_of_a_name_to_another_link_of_the_file_does_nothing() {
    let scratch = Scratch::new();
    scratch.file("a", "");
    on_two(SYS_link, &scratch, "a", "b").unwrap();
    rename(&scratch, "a", "b").unwrap();
    assert_eq!(names(&scratch, "."), ["a", "b"]);
}

fn rename_moves_a_directory_with_what_is_in_it() {
    let scratch = Scratch::new();
    for name in ["a", "a/inner", "b"] {
        mkdir(&scratch, name).unwrap();
    }
    scratch.file("a/inner/f", "deep");
    rename(&scratch, "a", "b/c").unwrap();
    assert_eq!(scratch.read("b/c/inner/f"), b"deep");
    assert_eq!(names(&scratch, "."), ["b"]);
    // `..` is the new parent.
    assert_eq!(
        status(&scratch.c("b/c/..")).st_ino,
        status(&scratch.c("b")).st_ino
    );
}

fn rename_of_a_directory_into_itself_is_einval() {
    let scratch = Scratch::new();
    mkdir(&scratch, "a").unwrap();
    mkdir(&scratch, "a/b").unwrap();
    assert_eq!(rename(&scratch, "a", "a/b/c"), Err(EINVAL));
    assert_eq!(rename(&scratch, "a", "a/c"), Err(EINVAL));
}

fn rename_over_a_full_directory_is_enotempty() {
    let scratch = Scratch::new();
    mkdir(&scratch, "a").unwrap();
    mkdir(&scratch, "b").unwrap();
    scratch.file("b/f", "");
    assert_eq!(rename(&scratch, "a", "b"), Err(ENOTEMPTY));
    on_one(SYS_unlink, &scratch, "b/f", 0).unwrap();
    rename(&scratch, "a", "b").unwrap();
    assert_eq!(names(&scratch, "."), ["b"]);
}

fn rename_between_kinds_is_an_error() {
    let scratch = Scratch::new();
    scratch.file("f", "");
    mkdir(&scratch, "d").unwrap();
    assert_eq!(rename(&scratch, "f", "d"), Err(EISDIR));
    assert_eq!(rename(&scratch, "d", "f"), Err(ENOTDIR));
    assert_eq!(rename(&scratch, "f", "d/."), Err(EBUSY));
}

fn rename_with_noreplace_keeps_the_target() {
    let scratch = Scratch::new();
    let (a, b) = (scratch.file("a", "a"), scratch.file("b", "b"));
    let (a, b) = (a.as_c_str(), b.as_c_str());
    fails!(
        EEXIST,
        SYS_renameat2,
        AT_FDCWD,
        a,
        AT_FDCWD,
        b,
        RENAME_NOREPLACE
    );
    ok!(SYS_unlink, b);
    ok!(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, RENAME_NOREPLACE);
    assert_eq!(scratch.read("b"), b"a");
}

fn rename_with_exchange_swaps() {
    let scratch = Scratch::new();
    let a = scratch.file("a", "file");
    mkdir(&scratch, "d").unwrap();
    let d = scratch.c("d");
    let exchange = |from: &CString, to: &CString| {
        let (from, to) = (from.as_c_str(), to.as_c_str());
        call!(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE).map_err(|error| error.0)
    };
    let swapped = exchange(&a, &d);
    if swapped == Err(EINVAL) {
        crate::frame::report::skip("the file system cannot exchange names");
    }
    assert_eq!(swapped, Ok(0));
    assert_eq!(
        (scratch.read("d"), names(&scratch, "a")),
        (b"file".to_vec(), vec![])
    );
    assert_eq!(exchange(&a, &scratch.c("missing")), Err(ENOENT));
}

fn rename_to_another_file_system_is_exdev() {
    let (scratch, other) = (
        Scratch::new(),
        Scratch::within(std::path::Path::new("/dev/shm")),
    );
    let file = scratch.file("f", "");
    let target = other.c("f");
    fails!(EXDEV, SYS_rename, file.as_c_str(), target.as_c_str());
    fails!(EXDEV, SYS_link, file.as_c_str(), target.as_c_str());
}
