//! System calls that std does not offer, as safe functions over file-descriptor numbers.

mod file;
mod process;
mod signal;
mod terminal;
mod time;

use std::ffi::{CStr, CString};
use std::io;

pub use file::*;
pub use process::*;
pub use signal::*;
pub use terminal::*;
pub use time::*;

/// A process or process-group id.
pub type Pid = libc::pid_t;

fn check(result: libc::c_int) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// A NUL-ended copy; bytes after an embedded NUL are dropped, as a C program would.
pub fn c_string(bytes: &[u8]) -> CString {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    CString::new(&bytes[..end]).unwrap_or_default()
}

/// The C library's text for an error number.
pub fn error_text(code: i32) -> String {
    // SAFETY: strerror gives a valid string for every number; it is copied at once, and this
    // program has one thread.
    let text = unsafe { CStr::from_ptr(libc::strerror(code)) };
    text.to_string_lossy().into_owned()
}

/// Stops the machine: `libc::RB_POWER_OFF`, `libc::RB_AUTOBOOT`.
pub fn reboot(how: i32) -> io::Result<()> {
    // SAFETY: no preconditions.
    check(unsafe { libc::reboot(how) }).map(drop)
}

/// The fields of `uname`: system, node, release, version, machine.
pub fn uname() -> io::Result<[Vec<u8>; 5]> {
    // SAFETY: all-zero bytes are a valid utsname; uname fills it with strings ended by NUL.
    unsafe {
        let mut names: libc::utsname = std::mem::zeroed();
        check(libc::uname(&mut names))?;
        let text = |field: &[libc::c_char]| CStr::from_ptr(field.as_ptr()).to_bytes().to_vec();
        Ok([
            text(&names.sysname),
            text(&names.nodename),
            text(&names.release),
            text(&names.version),
            text(&names.machine),
        ])
    }
}
