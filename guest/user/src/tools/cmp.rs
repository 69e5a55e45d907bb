//! `cmp [-ls] FILE FILE`: compares files byte by byte.

use std::io;

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
    let mut inputs = Vec::new();
    for file in [first, second] {
        match Input::open(file) {
            Ok(input) => inputs.push(input),
            Err(error) => {
                cli::warn_error(file, &error);
                return 2;
            }
        }
    }
    let names = [first, second].map(|name| cli::show(name));
    let mut out = Out::stdout();
    let mut report = |difference: Difference| match difference {
        _ if options.has(b's') => {}
        Difference::Bytes {
            at, bytes: [a, b], ..
        } if options.has(b'l') => {
            out.line(format!("{at:>6} {a:3o} {b:3o}").as_bytes());
        }
        Difference::Bytes { at, line, .. } => {
            let [one, two] = &names;
            out.line(format!("{one} {two} differ: char {at}, line {line}").as_bytes());
        }
        Difference::End { which, at } => {
            cli::warn(format_args!("EOF on {} after byte {at}", names[which]));
        }
    };
    let [a, b] = &mut inputs[..] else {
        return 2;
    };
    match compare(a, b, options.has(b'l'), &mut report) {
        Ok(differ) => i32::from(differ) | out.finish(),
        Err(error) => {
            cli::warn_error(b"read", &error);
            2
        }
    }
}

enum Difference {
    /// Bytes differ at a place, counted from 1, in a line.
    Bytes { at: u64, line: u64, bytes: [u8; 2] },
    /// One file has ended after so many bytes.
    End { which: usize, at: u64 },
}

/// Reports the first difference, or all of them; gives whether there is any.
fn compare(
    a: &mut Input,
    b: &mut Input,
    all: bool,
    report: &mut impl FnMut(Difference),
) -> io::Result<bool> {
    let (mut at, mut line, mut differ) = (0, 1, false);
    loop {
        let (left, right) = (a.ahead()?, b.ahead()?);
        if left.is_empty() || right.is_empty() {
            if left.len() != right.len() {
                let which = usize::from(right.is_empty());
                report(Difference::End { which, at });
                differ = true;
            }
            return Ok(differ);
        }
        for (&x, &y) in left.iter().zip(right) {
            at += 1;
            if x != y {
                differ = true;
                let bytes = [x, y];
                report(Difference::Bytes { at, line, bytes });
                if !all {
                    return Ok(true);
                }
            }
            line += u64::from(x == b'\n');
        }
        let count = left.len().min(right.len());
        a.skip(count);
        b.skip(count);
    }
}
