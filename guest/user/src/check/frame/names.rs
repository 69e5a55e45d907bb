//! Calls that take one or two names.

use super::plain::zeroed;
use super::scratch::Scratch;
use libc::*;
use std::ffi::CString;

/// The names in a directory of a scratch directory, sorted.
pub fn names(scratch: &Scratch, directory: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(scratch.path().join(directory))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

/// `lstat(2)`
pub fn status(path: &CString) -> stat64 {
    let mut status = zeroed();
    ok!(SYS_lstat, path.as_c_str(), &mut status);
    status
}

/// `call!` with two paths of a scratch directory.
pub fn on_two(number: c_long, scratch: &Scratch, from: &str, to: &str) -> Result<usize, i32> {
    let (from, to) = (scratch.c(from), scratch.c(to));
    call!(number, from.as_c_str(), to.as_c_str()).map_err(|error| error.0)
}

/// `rename(2)` within a scratch directory.
pub fn rename(scratch: &Scratch, from: &str, to: &str) -> Result<usize, i32> {
    on_two(SYS_rename, scratch, from, to)
}

/// `call!` with one path of a scratch directory and a number.
pub fn on_one(number: c_long, scratch: &Scratch, name: &str, argument: u32) -> Result<usize, i32> {
    call!(number, scratch.c(name).as_c_str(), argument).map_err(|error| error.0)
}

/// `mkdir(2)` in a scratch directory.
pub fn mkdir(scratch: &Scratch, name: &str) -> Result<usize, i32> {
    on_one(SYS_mkdir, scratch, name, 0o755)
}
