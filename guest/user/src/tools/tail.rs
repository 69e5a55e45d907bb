//! `tail [-n [+]LINES | -c [+]BYTES] [-fq] [FILE…]`: the end of files.

use std::io;

use super::head;
use super::input::{self, Input};
use crate::cli::{self, Options, Out};
use crate::sys;

/// How long `-f` waits before it looks again.
const PAUSE_NS: u32 = 250_000_000;

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let args = head::short_number(args);
    let options = match Options::parse(&args, "n:c:fFqv") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let by_bytes = options.last_of(b"nc") == Some(b'c');
    let text = options
        .value(if by_bytes { b'c' } else { b'n' })
        .unwrap_or(b"10");
    let from_start = text.starts_with(b"+");
    let digits = text
        .strip_prefix(b"+")
        .or(text.strip_prefix(b"-"))
        .unwrap_or(text);
    let Some(count) = cli::size(digits) else {
        cli::warn(format_args!("{}: no number", cli::show(text)));
        return 1;
    };
    let mut out = Out::stdout();
    let titles = options.operands.len() > 1 && !options.has(b'q') || options.has(b'v');
    let follow = options.has(b'f') || options.has(b'F');
    let mut first = true;
    let status = input::each(&options.operands, |name, input| {
        if titles {
            head::title(&mut out, name, std::mem::take(&mut first));
        }
        if from_start {
            skip(input, &mut out, count.saturating_sub(1), by_bytes)?;
        } else {
            let end = end_of(input, count, by_bytes)?;
            out.put(&end);
        }
        if follow {
            out.drain();
            loop {
                let block = input.block()?;
                if block.is_empty() {
                    sys::sleep(0, PAUSE_NS);
                } else {
                    sys::write_all(1, block)?;
                }
            }
        }
        Ok(())
    });
    status | out.finish()
}

/// Writes all but the first `count` lines or bytes.
fn skip(input: &mut Input, out: &mut Out, count: u64, by_bytes: bool) -> io::Result<()> {
    let mut left = count;
    let mut line = Vec::new();
    while left > 0 {
        if by_bytes {
            let block = input.some(usize::try_from(left).unwrap_or(usize::MAX))?;
            if block.is_empty() {
                return Ok(());
            }
            left -= block.len() as u64;
        } else {
            if !input.line(&mut line)? {
                return Ok(());
            }
            left -= 1;
        }
    }
    loop {
        let block = input.block()?;
        if block.is_empty() || out.failed() {
            return Ok(());
        }
        out.put(block);
    }
}

/// The last `count` lines or bytes; keeps no more than twice that in memory.
fn end_of(input: &mut Input, count: u64, by_bytes: bool) -> io::Result<Vec<u8>> {
    let mut kept: Vec<u8> = Vec::new();
    let mut limit = 1 << 20;
    loop {
        let block = input.block()?;
        if block.is_empty() {
            let from = start(&kept, count, by_bytes);
            return Ok(kept.split_off(from));
        }
        kept.extend_from_slice(block);
        if kept.len() > limit {
            let from = start(&kept, count, by_bytes);
            kept.drain(..from);
            limit = limit.max(2 * kept.len());
        }
    }
}

/// Where the last `count` lines or bytes of `text` start.
pub fn start(text: &[u8], count: u64, by_bytes: bool) -> usize {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if by_bytes {
        return text.len().saturating_sub(count);
    }
    if count == 0 {
        return text.len();
    }
    // The line feed that ends the text ends its last line too.
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let ends = body.iter().enumerate().rev().filter(|(_, b)| **b == b'\n');
    ends.map(|(at, _)| at + 1).nth(count - 1).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_are_found_with_and_without_line_feed() {
        for (text, count, from) in [
            ("a\nb\nc\n", 1, 4),
            ("a\nb\nc", 1, 4),
            ("a\nb\nc\n", 2, 2),
            ("a\nb\n", 9, 0),
            ("a\n", 0, 2),
            ("", 1, 0),
        ] {
            assert_eq!(start(text.as_bytes(), count, false), from, "{text:?}");
        }
        assert_eq!(start(b"abcdef", 2, true), 4);
    }
}
