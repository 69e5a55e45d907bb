//! `touch [-acm] [-r FILE | -d TIME] FILE…`: sets times, makes files that are missing.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use super::date;
use crate::cli::{self, Options};
use crate::sys;

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "acmr:d:") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let time = |seconds, nanoseconds| libc::timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let mut times = [time(0, libc::UTIME_NOW), time(0, libc::UTIME_NOW)];
    if let Some(model) = options.value(b'r') {
        match fs::metadata(cli::path(model)) {
            Ok(m) => {
                times = [
                    time(m.atime(), m.atime_nsec()),
                    time(m.mtime(), m.mtime_nsec()),
                ]
            }
            Err(error) => {
                cli::warn_error(model, &error);
                return 1;
            }
        }
    }
    if let Some(text) = options.value(b'd') {
        let Some(seconds) = date::parse(text, false) else {
            return date::refuse(text);
        };
        times = [time(seconds, 0); 2];
    }
    if options.has(b'm') && !options.has(b'a') {
        times[0] = time(0, libc::UTIME_OMIT);
    }
    if options.has(b'a') && !options.has(b'm') {
        times[1] = time(0, libc::UTIME_OMIT);
    }
    if options.operands.is_empty() {
        cli::warn(format_args!("a file is missing"));
        return 1;
    }
    let mut status = 0;
    for file in &options.operands {
        let mut result = sys::set_times(file, Some(times));
        let missing = result
            .as_ref()
            .is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
        if missing && options.has(b'c') {
            continue;
        }
        if missing {
            let made = sys::open(file, libc::O_WRONLY | libc::O_CREAT, 0o666);
            result = made
                .map(sys::close)
                .and_then(|()| sys::set_times(file, Some(times)));
        }
        if let Err(error) = result {
            cli::warn_error(file, &error);
            status = 1;
        }
    }
    status
}
