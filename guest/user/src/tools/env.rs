//! `env [-i] [-u NAME] [NAME=VALUE…] [PROGRAM ARGS…]`: runs a program in a changed environment,
//! or shows the environment.

use crate::cli::{self, Options, Out};
use crate::program::{self, Program};
use crate::sys;

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "+iu:0") {
        Ok(options) => options,
        Err(_) => return 125,
    };
    let mut environment = match options.has(b'i') {
        true => Vec::new(),
        false => sys::environment(),
    };
    for name in options.values(b'u') {
        remove(&mut environment, name);
    }
    let mut rest = &options.operands[..];
    if rest.first().is_some_and(|arg| arg == b"-") {
        environment.clear();
        rest = &rest[1..];
    }
    while let Some((first, tail)) = rest.split_first() {
        let Some(at) = first.iter().position(|&b| b == b'=') else {
            break;
        };
        remove(&mut environment, &first[..at]);
        environment.push(first.clone());
        rest = tail;
    }
    if rest.is_empty() {
        let mut out = Out::stdout();
        let end: &[u8] = if options.has(b'0') { b"\0" } else { b"\n" };
        for entry in &environment {
            out.put(entry);
            out.put(end);
        }
        return out.finish();
    }
    let path = environment
        .iter()
        .find_map(|entry| entry.strip_prefix(b"PATH="));
    let path = path.unwrap_or(b"/bin:/usr/bin").to_vec();
    let error = Program::new(rest, &environment, &path).exec();
    cli::warn_error(&rest[0], &error);
    program::exec_status(&error)
}

fn remove(environment: &mut Vec<Vec<u8>>, name: &[u8]) {
    environment.retain(|entry| {
        entry
            .strip_prefix(name)
            .is_none_or(|rest| !rest.starts_with(b"="))
    });
}
