//! `read`, and reading a line without taking a byte of the next one.

use super::{Flow, Shell};
use crate::{cli, sys};

/// Appends a line, with its line feed, to `text`; false at the end of the input.
pub fn line(fd: i32, text: &mut Vec<u8>) -> bool {
    let mut block = [0; 1024];
    // In a file, read a block and go back; a pipe has to be read byte by byte.
    let step = if sys::seek_by(fd, 0).is_ok() {
        block.len()
    } else {
        1
    };
    loop {
        let count = match sys::read(fd, &mut block[..step]) {
            Ok(0) | Err(_) => return false,
            Ok(count) => count,
        };
        match block[..count].iter().position(|&b| b == b'\n') {
            Some(end) => {
                text.extend_from_slice(&block[..=end]);
                if end + 1 < count {
                    let _ = sys::seek_by(fd, (end + 1) as i64 - count as i64);
                }
                return true;
            }
            None => text.extend_from_slice(&block[..count]),
        }
    }
}

/// A byte of the line, and whether a backslash stood before it.
type Byte = (u8, bool);

/// Splits a line into as many fields as there are variables; the last takes the rest.
fn split(line: &[Byte], separators: &[u8], count: usize) -> Vec<Vec<u8>> {
    let separates = |&(byte, escaped): &Byte| !escaped && separators.contains(&byte);
    let blank = |b: &Byte| separates(b) && b.0.is_ascii_whitespace();
    let skip_blanks = |line: &mut &[Byte]| {
        let blanks = line.iter().take_while(|b| blank(b)).count();
        *line = &line[blanks..];
    };
    let plain = |bytes: &[Byte]| bytes.iter().map(|(b, _)| *b).collect::<Vec<u8>>();
    let mut fields = Vec::new();
    let mut rest = line;
    skip_blanks(&mut rest);
    for index in 0..count {
        let whole = rest;
        let length = rest.iter().position(separates).unwrap_or(rest.len());
        let field = &rest[..length];
        rest = &rest[length..];
        skip_blanks(&mut rest);
        if rest.first().is_some_and(separates) {
            rest = &rest[1..];
            skip_blanks(&mut rest);
        }
        if index + 1 == count && !rest.is_empty() {
            let trailing = whole.iter().rev().take_while(|b| blank(b)).count();
            fields.push(plain(&whole[..whole.len() - trailing]));
        } else {
            fields.push(plain(field));
        }
    }
    fields
}

impl Shell {
    /// `read [-r] [-p PROMPT] NAME…`.
    pub fn builtin_read(&mut self, args: &[Vec<u8>]) -> Flow {
        let options = match cli::Options::parse(args, "+rp:") {
            Ok(options) => options,
            Err(status) => return Ok(status),
        };
        if let Some(prompt) = options.value(b'p').filter(|_| sys::isatty(0)) {
            let _ = sys::write_all(2, prompt);
        }
        let raw = options.has(b'r');
        let mut line: Vec<Byte> = Vec::new();
        let mut escaped = false;
        let mut status = 0;
        loop {
            let mut byte = [0];
            match sys::read_once(0, &mut byte) {
                Ok(0) => {
                    status = 1;
                    break;
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {
                    match self.first_caught() {
                        Some(signal) => return Ok(128 + signal),
                        None => continue,
                    }
                }
                Err(error) => {
                    self.complain(b"read", &error);
                    return Ok(2);
                }
            }
            match byte[0] {
                0 => {}
                b'\n' if escaped => escaped = false,
                b'\n' => break,
                b'\\' if !raw && !escaped => escaped = true,
                other => line.push((other, std::mem::take(&mut escaped))),
            }
        }
        let default = [b"REPLY".to_vec()];
        let names = if options.operands.is_empty() {
            &default[..]
        } else {
            &options.operands
        };
        let separators = self.variables.get(b"IFS").unwrap_or(b" \t\n").to_vec();
        let fields = split(&line, &separators, names.len());
        for (name, value) in names.iter().zip(fields) {
            if !super::lexer::is_name(name) {
                return Err(
                    self.fatal(format_args!("read: {}: bad variable name", cli::show(name)))
                );
            }
            self.set_variable(name, &value)?;
        }
        Ok(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(line: &str, separators: &str, count: usize) -> Vec<String> {
        let bytes: Vec<Byte> = line.bytes().map(|b| (b, false)).collect();
        split(&bytes, separators.as_bytes(), count)
            .into_iter()
            .map(|f| String::from_utf8(f).unwrap())
            .collect()
    }

    #[test]
    fn last_variable_takes_the_rest() {
        assert_eq!(fields("  a b  c d  ", " \t", 2), ["a", "b  c d"]);
        assert_eq!(fields("a", " ", 2), ["a", ""]);
        assert_eq!(fields("a:b:", ":", 2), ["a", "b"]);
        assert_eq!(fields("a:b:c:", ":", 2), ["a", "b:c:"]);
        assert_eq!(fields("a::b", ":", 3), ["a", "", "b"]);
    }
}
