//! `head [-n LINES | -c BYTES] [-q] [FILE…]`: the start of files.

use std::io;

use super::input::{self, Input};
use crate::cli::{self, Options, Out};

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let args = short_number(args);
    let options = match Options::parse(&args, "n:c:qv") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let by_bytes = options.last_of(b"nc") == Some(b'c');
    let text = options
        .value(if by_bytes { b'c' } else { b'n' })
        .unwrap_or(b"10");
    // A negative number: all but so many.
    let (all_but, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let Some(count) = cli::size(digits) else {
        cli::warn(format_args!("{}: no number", cli::show(text)));
        return 1;
    };
    let mut out = Out::stdout();
    let titles = options.operands.len() > 1 && !options.has(b'q') || options.has(b'v');
    let mut first = true;
    let status = input::each(&options.operands, |name, input| {
        if titles {
            title(&mut out, name, std::mem::take(&mut first));
        }
        match (by_bytes, all_but) {
            (true, false) => bytes(input, &mut out, count),
            (false, false) => lines(input, &mut out, count),
            (_, true) => {
                let all = input.rest()?;
                out.put(&all[..super::tail::start(&all, count, by_bytes)]);
                Ok(())
            }
        }
    });
    status | out.finish()
}

/// `-5` is short for `-n 5`.
pub fn short_number(args: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut args = args.to_vec();
    if let Some(first) = args.first_mut()
        && first.len() > 1
        && first[0] == b'-'
        && first[1..].iter().all(u8::is_ascii_digit)
    {
        first.splice(..1, *b"-n");
    }
    args
}

/// The line that names a file among several.
pub fn title(out: &mut Out, name: &[u8], first: bool) {
    if !first {
        out.line(b"");
    }
    let name = if name == b"-" {
        b"standard input"
    } else {
        name
    };
    out.line(&[b"==> ", name, b" <=="].concat());
}

fn bytes(input: &mut Input, out: &mut Out, count: u64) -> io::Result<()> {
    let mut left = count;
    while left > 0 && !out.failed() {
        let block = input.some(usize::try_from(left).unwrap_or(usize::MAX))?;
        if block.is_empty() {
            break;
        }
        left -= block.len() as u64;
        out.put(block);
    }
    Ok(())
}

fn lines(input: &mut Input, out: &mut Out, count: u64) -> io::Result<()> {
    let mut line = Vec::new();
    for _ in 0..count {
        if !input.line(&mut line)? || out.failed() {
            break;
        }
        out.put(&line);
    }
    Ok(())
}
