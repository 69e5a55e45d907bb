//! `kill [-s SIGNAL | -SIGNAL] PID…`, `kill -l [NUMBER]`.

use crate::cli::{self, Out};
use crate::sys;

/// The applet, and the shell's built-in once it has resolved jobs.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let mut signal = libc::SIGTERM;
    let mut args = args;
    if let Some(first) = args.first().filter(|a| a.len() > 1 && a[0] == b'-') {
        let (name, used) = match &first[1..] {
            b"l" | b"L" => return list(&args[1..]),
            b"-" => (None, 1),
            b"s" | b"n" => (Some(args.get(1).map_or(&b""[..], |a| a)), 2),
            name => (Some(name), 1),
        };
        if let Some(name) = name {
            match sys::signal_number(name) {
                Some(number) => signal = number,
                None => {
                    cli::warn(format_args!("{}: no such signal", cli::show(name)));
                    return 1;
                }
            }
        }
        args = args.get(used..).unwrap_or_default();
    }
    if args.first().is_some_and(|a| a == b"--") {
        args = &args[1..];
    }
    if args.is_empty() {
        cli::warn(format_args!("usage: kill [-SIGNAL] PID…"));
        return 1;
    }
    let mut status = 0;
    for arg in args {
        let Some(pid) = cli::number(arg) else {
            cli::warn(format_args!("{}: no process number", cli::show(arg)));
            status = 1;
            continue;
        };
        if let Err(error) = sys::kill(pid, signal) {
            cli::warn_error(arg, &error);
            status = 1;
        }
    }
    status
}

/// `-l`: all names, or those of the signals given by number or exit status.
fn list(args: &[Vec<u8>]) -> i32 {
    let mut out = Out::stdout();
    if args.is_empty() {
        for (name, _) in sys::SIGNALS {
            out.line(name.as_bytes());
        }
    }
    let mut status = 0;
    for arg in args {
        match cli::number::<i32>(arg) {
            Some(number) => match sys::signal_name(number & 0x7f) {
                Some(name) => out.line(name.as_bytes()),
                None => status = 1,
            },
            None => match sys::signal_number(arg) {
                Some(number) => out.line(number.to_string().as_bytes()),
                None => status = 1,
            },
        }
    }
    status | out.finish()
}
