//! Executing programs.

use super::child::{Child, Exit, fork};
use super::descriptor::{Fd, pipe};
use super::report::exit;
use libc::*;
use std::ffi::{CStr, CString};

/// This program.
pub const SELF: &CStr = c"/proc/self/exe";

/// `execve(2)`; returns only if it fails.
pub fn execute(path: &CStr, arguments: &[&str], environment: &[&str]) -> super::call::Errno {
    let strings = |list: &[&str]| -> Vec<CString> {
        list.iter()
            .map(|string| CString::new(*string).unwrap())
            .collect()
    };
    let (arguments, environment) = (strings(arguments), strings(environment));
    let pointers = |list: &[CString]| -> Vec<usize> {
        list.iter()
            .map(|string| string.as_ptr() as usize)
            .chain([0])
            .collect()
    };
    let (argv, envp) = (pointers(&arguments), pointers(&environment));
    call!(SYS_execve, path, &argv[..], &envp[..]).expect_err("exec has returned")
}

/// Become this program again, in a role.
pub fn become_role(role: &str, arguments: &[&str], environment: &[&str]) -> ! {
    let mut all = vec!["guest-tests", "--as", role];
    all.extend(arguments);
    let error = execute(SELF, &all, environment);
    panic!("exec: {error:?}");
}

/// A child's standard output, and how it ended.
pub fn output_of(body: impl FnOnce()) -> (String, Exit) {
    let (reader, writer) = pipe(O_CLOEXEC);
    let child = fork(|| {
        ok!(SYS_dup2, writer.0, 1);
        body();
    });
    drop(writer);
    finish(reader, child)
}

fn finish(reader: Fd, child: Child) -> (String, Exit) {
    let text = String::from_utf8_lossy(&reader.read_to_end()).into_owned();
    (text, child.wait())
}

/// What this program prints in a role.
pub fn output_of_role(role: &str, arguments: &[&str], environment: &[&str]) -> String {
    let (text, end) = output_of(|| become_role(role, arguments, environment));
    assert_eq!(end, Exit::Code(0));
    text
}

/// How executing a file fails in a child.
pub fn execution_error(path: &CStr) -> i32 {
    let child = fork(|| exit(execute(path, &["program"], &[]).0));
    match child.wait() {
        Exit::Code(errno) => errno,
        end => panic!("{end:?}"),
    }
}
