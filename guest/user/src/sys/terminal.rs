//! Terminals: whose they are, their settings and size.

use std::io;

use super::{Pid, check};

/// Makes the terminal `fd` the session's controlling terminal.
pub fn set_controlling_terminal(fd: i32) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes an integer.
    check(unsafe { libc::ioctl(fd, libc::TIOCSCTTY as _, 0) }).map(drop)
}

/// The foreground process group of the terminal `fd`.
pub fn tcgetpgrp(fd: i32) -> io::Result<Pid> {
    // SAFETY: no preconditions.
    check(unsafe { libc::tcgetpgrp(fd) })
}

/// Sets the foreground process group of the terminal `fd`.
pub fn tcsetpgrp(fd: i32, pgid: Pid) -> io::Result<()> {
    // SAFETY: no preconditions.
    check(unsafe { libc::tcsetpgrp(fd, pgid) }).map(drop)
}

/// Whether `fd` is a terminal.
pub fn isatty(fd: i32) -> bool {
    // SAFETY: no preconditions.
    unsafe { libc::isatty(fd) == 1 }
}

/// The terminal's settings.
pub fn tcgetattr(fd: i32) -> io::Result<libc::termios> {
    let mut settings = std::mem::MaybeUninit::uninit();
    // SAFETY: tcgetattr fills `settings` if it succeeds, and only then is it taken.
    unsafe {
        check(libc::tcgetattr(fd, settings.as_mut_ptr()))?;
        Ok(settings.assume_init())
    }
}

/// Changes the terminal's settings after pending output has gone out.
pub fn tcsetattr(fd: i32, settings: &libc::termios) -> io::Result<()> {
    // SAFETY: `settings` is a valid termios.
    check(unsafe { libc::tcsetattr(fd, libc::TCSADRAIN, settings) }).map(drop)
}

/// Columns and rows of the terminal, 80 by 24 if it does not say.
pub fn window_size(fd: i32) -> (usize, usize) {
    // SAFETY: all-zero bytes are a valid winsize, and TIOCGWINSZ fills one.
    let (ok, size) = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        (libc::ioctl(fd, libc::TIOCGWINSZ, &mut size) == 0, size)
    };
    match (ok, size.ws_col, size.ws_row) {
        (true, columns, rows) if columns > 0 && rows > 0 => (columns.into(), rows.into()),
        _ => (80, 24),
    }
}
