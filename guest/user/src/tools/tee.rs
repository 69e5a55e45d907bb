//! `tee [-ai] [FILE…]`: copies standard input to standard output and to files.

use super::input::Input;
use crate::cli::{self, Options};
use crate::sys::{self, Disposition};

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "ai") {
        Ok(options) => options,
        Err(status) => return status,
    };
    if options.has(b'i') {
        let _ = sys::set_signal(libc::SIGINT, Disposition::Ignore);
    }
    let how = if options.has(b'a') {
        libc::O_APPEND
    } else {
        libc::O_TRUNC
    };
    let mut status = 0;
    let mut targets = vec![(1, b"standard output".to_vec())];
    for file in &options.operands {
        match sys::open(file, libc::O_WRONLY | libc::O_CREAT | how, 0o666) {
            Ok(fd) => targets.push((fd, file.clone())),
            Err(error) => {
                cli::warn_error(file, &error);
                status = 1;
            }
        }
    }
    let mut input = Input::on(0);
    loop {
        match input.block() {
            Ok([]) => return status,
            Ok(block) => targets.retain(|(fd, name)| match sys::write_all(*fd, block) {
                Ok(()) => true,
                Err(error) => {
                    cli::warn_error(name, &error);
                    status = 1;
                    false
                }
            }),
            Err(error) => {
                cli::warn_error(b"standard input", &error);
                return 1;
            }
        }
    }
}
