//! `init`: the first process of the guest.
//!
//! `init PROGRAM ARGS…` runs PROGRAM, `init` alone the shell. The program runs in a session of its
//! own, with the console as controlling terminal if the console is one. init adopts orphans and
//! reaps them; when the program has ended it ends too, with the program's status (128+n for signal
//! n, 126 if it cannot be executed, 127 if it does not exist), upon which the kernel writes back
//! all file systems and stops the machine. Nothing is started a second time.

use std::io;

use crate::program::{self, Program};
use crate::{cli, sys};

const SHELL: &[u8] = b"/bin/sh";
const PATH: &[u8] = b"/bin:/sbin:/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin";

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let argv: Vec<Vec<u8>> = if args.is_empty() {
        vec![SHELL.to_vec()]
    } else {
        args.to_vec()
    };
    match sys::fork() {
        Ok(0) => run(&argv),
        Ok(child) => reap_until(child),
        Err(error) => {
            cli::warn_error(b"cannot fork", &error);
            126
        }
    }
}

/// Reaps children, adopted ones too, until `child` has ended; gives its status.
fn reap_until(child: sys::Pid) -> i32 {
    loop {
        match sys::waitpid(-1, 0) {
            Ok(Some((pid, wait))) if pid == child => return wait.status(),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                cli::warn_error(b"cannot wait", &error);
                return 126;
            }
        }
    }
}

/// In the child: becomes the program.
fn run(argv: &[Vec<u8>]) -> ! {
    // Fails only for a group leader, which a fresh child is not.
    let _ = sys::setsid();
    if sys::isatty(0) && sys::set_controlling_terminal(0).is_ok() {
        let _ = sys::tcsetpgrp(0, sys::getpid());
    }
    let environment = environment(sys::environment());
    let path = environment
        .iter()
        .find_map(|entry| entry.strip_prefix(b"PATH="))
        .unwrap_or(PATH);
    let error = Program::new(argv, &environment, path).exec();
    cli::warn_error(&argv[0], &error);
    sys::exit_now(program::exec_status(&error))
}

/// The environment with what every program expects to find there.
fn environment(mut given: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let defaults: [(&[u8], &[u8]); 3] =
        [(b"PATH=", PATH), (b"HOME=", b"/root"), (b"TERM=", b"linux")];
    for (name, value) in defaults {
        if !given.iter().any(|entry| entry.starts_with(name)) {
            given.push([name, value].concat());
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_keeps_what_is_given_and_fills_up() {
        let filled = environment(vec![b"HOME=/x".to_vec()]);
        assert!(filled.contains(&b"HOME=/x".to_vec()));
        assert!(filled.contains(&b"TERM=linux".to_vec()));
        assert_eq!(filled.len(), 3);
    }
}
