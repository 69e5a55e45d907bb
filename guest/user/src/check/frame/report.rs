//! How a test ends.

use super::{child, scratch};
use crate::registry::Test;

/// Status of a test that could not be run here.
const SKIPPED: i32 = 77;

/// Status of a process in which an assertion failed.
pub const FAILED: i32 = 101;

/// Run a test; returns the program's status.
pub fn run(test: &Test) -> i32 {
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        clean_up();
        exit(FAILED)
    }));
    (test.run)();
    clean_up();
    0
}

/// End the test as not for this machine, and say why.
pub fn skip(why: &str) -> ! {
    eprintln!("{why}");
    clean_up();
    exit(SKIPPED)
}

/// Skip the test unless it runs as root.
pub fn need_root() {
    if ok!(libc::SYS_geteuid) != 0 {
        skip("needs root");
    }
}

/// End this process, and only it, without the C library's farewell.
pub fn exit(status: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(status) }
}

fn clean_up() {
    child::kill_all();
    scratch::remove_all();
}
