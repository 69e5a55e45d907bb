//! `uniq [-cdiu] [-f FIELDS] [-s CHARACTERS] [INPUT [OUTPUT]]`: takes equal neighbours together.

use super::input::{self, Input};
use crate::cli::{self, Options, Out};
use crate::sys;

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "cdiuf:s:w:") {
        Ok(options) => options,
        Err(status) => return status,
    };
    if let Some(file) = options.operands.get(1) {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;
        if let Err(error) = sys::open(file, flags, 0o666).and_then(|fd| sys::dup2(fd, 1)) {
            cli::warn_error(file, &error);
            return 1;
        }
    }
    let count = |letter| options.value(letter).and_then(cli::number::<usize>);
    let (fields, characters) = (count(b'f').unwrap_or(0), count(b's').unwrap_or(0));
    let width = count(b'w').unwrap_or(usize::MAX);
    let key = |line: &[u8]| {
        let mut rest = line;
        for _ in 0..fields {
            let blanks = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
            let word = rest[blanks..]
                .iter()
                .take_while(|b| !b.is_ascii_whitespace())
                .count();
            rest = &rest[blanks + word..];
        }
        let rest = &rest[characters.min(rest.len())..];
        let rest = &rest[..width.min(rest.len())];
        if options.has(b'i') {
            rest.to_ascii_lowercase()
        } else {
            rest.to_vec()
        }
    };
    let mut out = Out::stdout();
    let mut show = |line: &[u8], count: u64| {
        if count == 0 || options.has(b'd') && count == 1 || options.has(b'u') && count > 1 {
            return;
        }
        if options.has(b'c') {
            out.put(format!("{count:7} ").as_bytes());
        }
        out.line(line);
    };
    let source = options.operands.first().map_or(&b"-"[..], |s| s);
    let read = |input: &mut Input| {
        let (mut first, mut first_key, mut count) = (Vec::new(), Vec::new(), 0);
        let mut line = Vec::new();
        while input.line(&mut line)? {
            let text = input::chomp(&line);
            let new = key(text);
            if count > 0 && new == first_key {
                count += 1;
                continue;
            }
            show(&first, count);
            (first, first_key, count) = (text.to_vec(), new, 1);
        }
        show(&first, count);
        Ok(())
    };
    let result = Input::open(source).and_then(|mut input| { read }(&mut input));
    if let Err(error) = result {
        cli::warn_error(source, &error);
        return 1;
    }
    out.finish()
}
