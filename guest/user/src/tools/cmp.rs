//! `cmp [-ls] FILE FILE`: compares files byte by byte.

use super::input::Input;
use crate::cli::{self, Options, Out};

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "ls") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let [first, second] = &options.operands[..] else {
        cli::warn(format_args!("usage: cmp [-ls] FILE FILE"));
        return 2;
    };
    let mut contents = Vec::new();
    for file in [first, second] {
        match Input::open(file).and_then(|mut input| input.rest()) {
            Ok(bytes) => contents.push(bytes),
            Err(error) => {
                cli::warn_error(file, &error);
                return 2;
            }
        }
    }
    let (a, b) = (&contents[0], &contents[1]);
    let differing = a.iter().zip(b).enumerate().filter(|(_, (a, b))| a != b);
    let (one, two) = (cli::show(first), cli::show(second));
    let mut out = Out::stdout();
    let mut differ = false;
    for (at, (x, y)) in differing {
        differ = true;
        if options.has(b'l') {
            out.line(format!("{:>6} {x:3o} {y:3o}", at + 1).as_bytes());
            continue;
        }
        if !options.has(b's') {
            let line = 1 + a[..at].iter().filter(|&&b| b == b'\n').count();
            out.line(format!("{one} {two} differ: byte {}, line {line}", at + 1).as_bytes());
        }
        break;
    }
    if !differ && a.len() != b.len() {
        differ = true;
        if !options.has(b's') {
            let shorter = if a.len() < b.len() { one } else { two };
            cli::warn(format_args!(
                "EOF on {shorter} after byte {}",
                a.len().min(b.len())
            ));
        }
    }
    i32::from(differ) | out.finish()
}
