//! `xargs [-0rtx] [-n ARGS] [-L LINES] [-I TEXT] [-s BYTES] [PROGRAM ARGS…]`: makes arguments of
//! standard input.

use super::input::Input;
use crate::cli::{self, Options};
use crate::program::{self, Program, SpawnError};
use crate::sys;

/// Bytes of arguments to one program; Linux takes 128 KiB at the least.
const LARGEST: usize = 96 << 10;

/// The applet. 123: a program failed, 124: one exited with 255, 125: one was killed, 126, 127: it
/// could not be executed or found.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "+0rtxn:L:I:s:d:P:") {
        Ok(options) => options,
        Err(_) => return 1,
    };
    let number = |letter| {
        options
            .value(letter)
            .and_then(cli::number::<usize>)
            .filter(|n| *n > 0)
    };
    let echo = [b"echo".to_vec()];
    let command = if options.operands.is_empty() {
        &echo[..]
    } else {
        &options.operands
    };
    let delimiter = match options.value(b'd') {
        Some(text) => Some(
            super::echo::unescape(text)
                .0
                .first()
                .copied()
                .unwrap_or(b'\n'),
        ),
        None => options.has(b'0').then_some(0),
    };
    let by_line = options.has(b'I') || options.has(b'L');
    // What comes on standard input is for xargs, not for the programs.
    let Ok(stdin) = sys::dup_above(0, 3) else {
        cli::warn(format_args!("standard input is not open"));
        return 1;
    };
    if let Ok(null) = sys::open(b"/dev/null", libc::O_RDONLY, 0) {
        let _ = sys::dup2(null, 0);
        sys::close(null);
    }
    let mut source = Source {
        input: Input::on(stdin),
        delimiter,
        whole_lines: options.has(b'I'),
    };
    let base: usize = command.iter().map(|a| a.len() + 1).sum();
    let room = number(b's').unwrap_or(LARGEST).min(LARGEST);
    let most = match options.has(b'I') {
        true => 1,
        false => number(b'n').unwrap_or(usize::MAX),
    };
    let most_lines = if by_line {
        number(b'L').unwrap_or(1)
    } else {
        usize::MAX
    };
    let mut runner = Runner {
        environment: sys::environment(),
        trace: options.has(b't'),
        status: 0,
    };
    let mut batch: Vec<Vec<u8>> = Vec::new();
    let (mut size, mut lines, mut ran) = (base, 0, false);
    let mut run = |batch: &mut Vec<Vec<u8>>| {
        let words = std::mem::take(batch);
        match options.value(b'I') {
            Some(text) => {
                let word = words.first().map_or(&b""[..], |w| w);
                let argv = command.iter().map(|arg| replace(arg, text, word));
                runner.run(&argv.collect::<Vec<_>>())
            }
            None => runner.run(&[command, &words[..]].concat()),
        }
    };
    loop {
        let next = match source.next() {
            Ok(next) => next,
            Err(message) => {
                cli::warn(format_args!("{message}"));
                return 1;
            }
        };
        let Some((word, ends_line)) = next else {
            break;
        };
        if !batch.is_empty() && size + word.len() + 1 > room {
            ran = true;
            size = base;
            lines = 0;
            if !run(&mut batch) {
                return runner.status;
            }
        }
        size += word.len() + 1;
        batch.push(word);
        lines += usize::from(ends_line);
        if batch.len() >= most || lines >= most_lines {
            ran = true;
            size = base;
            lines = 0;
            if !run(&mut batch) {
                return runner.status;
            }
        }
    }
    if !batch.is_empty() || !ran && !options.has(b'r') && !options.has(b'I') {
        run(&mut batch);
    }
    runner.status
}

/// `arg` with every `text` in it replaced.
fn replace(arg: &[u8], text: &[u8], word: &[u8]) -> Vec<u8> {
    let mut result = Vec::new();
    let mut rest = arg;
    while !rest.is_empty() {
        match rest.strip_prefix(text).filter(|_| !text.is_empty()) {
            Some(tail) => {
                result.extend_from_slice(word);
                rest = tail;
            }
            None => {
                result.push(rest[0]);
                rest = &rest[1..];
            }
        }
    }
    result
}

struct Runner {
    environment: Vec<Vec<u8>>,
    trace: bool,
    status: i32,
}

impl Runner {
    /// Runs a program and notes how it ended; false if no other is to be run.
    fn run(&mut self, argv: &[Vec<u8>]) -> bool {
        if self.trace {
            let _ = sys::write_all(2, &[&argv.join(&b' ')[..], b"\n"].concat());
        }
        let path = self
            .environment
            .iter()
            .find_map(|e| e.strip_prefix(b"PATH="));
        let path = path.unwrap_or(b"/bin:/usr/bin");
        let pid = match Program::new(argv, &self.environment, path).spawn() {
            Ok(pid) => pid,
            Err(SpawnError::Exec(error)) => {
                cli::warn_error(&argv[0], &error);
                self.status = program::exec_status(&error);
                return false;
            }
            Err(SpawnError::Fork(error)) => {
                cli::warn_error(b"cannot fork", &error);
                self.status = 1;
                return false;
            }
        };
        let Ok(wait) = sys::wait_for(pid) else {
            self.status = 1;
            return false;
        };
        match wait {
            sys::Wait::Exited(0) => return true,
            sys::Wait::Exited(status @ (126 | 127)) => self.status = status,
            sys::Wait::Exited(255) => self.status = 124,
            sys::Wait::Exited(_) => {
                self.status = 123;
                return true;
            }
            _ => self.status = 125,
        }
        false
    }
}

struct Source {
    input: Input,
    delimiter: Option<u8>,
    /// An argument is a line, without the blanks before it.
    whole_lines: bool,
}

impl Source {
    fn byte(&mut self) -> Result<Option<u8>, String> {
        match self.input.some(1) {
            Ok(bytes) => Ok(bytes.first().copied()),
            Err(error) => Err(cli::error_text(&error)),
        }
    }

    /// The next argument, and whether its line ends after it.
    fn next(&mut self) -> Result<Option<(Vec<u8>, bool)>, String> {
        let mut word = Vec::new();
        if let Some(delimiter) = self.delimiter {
            let more = self.input.record(&mut word, delimiter);
            if !more.map_err(|error| cli::error_text(&error))? {
                return Ok(None);
            }
            word.pop_if(|b| *b == delimiter);
            return Ok(Some((word, true)));
        }
        let mut started = false;
        let mut quote = None;
        loop {
            let Some(byte) = self.byte()? else {
                return match quote {
                    Some(_) => Err("unmatched quote".to_owned()),
                    None => Ok(started.then_some((word, true))),
                };
            };
            match (byte, quote) {
                (b'\n', Some(_)) => return Err("unmatched quote".to_owned()),
                (_, Some(open)) if byte == open => quote = None,
                (_, Some(_)) => word.push(byte),
                (b'\\', None) => {
                    started = true;
                    word.extend(self.byte()?);
                }
                (b'\'' | b'"', None) => {
                    started = true;
                    quote = Some(byte);
                }
                (b'\n', None) if started => return Ok(Some((word, true))),
                (b' ' | b'\t', None) if started && !self.whole_lines => {
                    return Ok(Some((word, false)));
                }
                (b' ' | b'\t' | b'\n', None) if !started => {}
                (_, None) => {
                    started = true;
                    word.push(byte);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_replaced_everywhere() {
        assert_eq!(replace(b"a{}b{}", b"{}", b"X"), b"aXbX");
        assert_eq!(replace(b"abc", b"", b"X"), b"abc");
    }
}
