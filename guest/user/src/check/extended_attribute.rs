//! Extended attributes: where a file system has none of them, calls say so.

use crate::frame::descriptor::Fd;
use crate::frame::scratch::Scratch;
use libc::*;

tests!(
    missing_attribute_is_not_found,
    list_of_a_fresh_file_is_empty,
    attribute_of_a_missing_file_is_enoent,
    bad_attribute_names_are_refused,
);

const NAME: &std::ffi::CStr = c"user.guest-tests";

/// The error for an attribute that is not there: none is supported, or this one does not exist.
fn absent(error: i32) -> bool {
    [ENODATA, EOPNOTSUPP].contains(&error)
}

fn missing_attribute_is_not_found() {
    let scratch = Scratch::new();
    let path = scratch.file("file", "x");
    let file = Fd::open(&path, O_RDWR);
    let mut value = [0u8; 16];
    for number in [SYS_getxattr, SYS_lgetxattr] {
        let error = call!(number, path.as_c_str(), NAME, &mut value, 16).unwrap_err();
        assert!(absent(error.0), "{error:?}");
    }
    let error = call!(SYS_fgetxattr, file.0, NAME, &mut value, 16).unwrap_err();
    assert!(absent(error.0), "{error:?}");
    let error = call!(SYS_fremovexattr, file.0, NAME).unwrap_err();
    assert!(absent(error.0), "{error:?}");
}

fn list_of_a_fresh_file_is_empty() {
    let scratch = Scratch::new();
    let path = scratch.file("file", "x");
    let mut list = [0u8; 256];
    // The host may label files for its own purposes.
    let len = ok!(SYS_listxattr, path.as_c_str(), &mut list, list.len());
    assert!(!list[..len].starts_with(b"user."));
}

fn attribute_of_a_missing_file_is_enoent() {
    let scratch = Scratch::new();
    let path = scratch.c("none");
    fails!(ENOENT, SYS_getxattr, path.as_c_str(), NAME, 0, 0);
    fails!(ENOENT, SYS_listxattr, path.as_c_str(), 0, 0);
    fails!(EBADF, SYS_fgetxattr, 999, NAME, 0, 0);
}

fn bad_attribute_names_are_refused() {
    let scratch = Scratch::new();
    let path = scratch.file("file", "x");
    fails!(ERANGE, SYS_getxattr, path.as_c_str(), c"", 0, 0);
    fails!(ERANGE, SYS_getxattr, path.as_c_str(), &[b'n'; 300], 0, 0);
    fails!(EFAULT, SYS_getxattr, path.as_c_str(), 8, 0, 0);
}
