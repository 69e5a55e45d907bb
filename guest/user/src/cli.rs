//! What every applet needs of a command line: its name in messages, options, buffered output.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use crate::sys;

static NAME: OnceLock<Vec<u8>> = OnceLock::new();

/// Sets the applet's name for messages; the first call counts.
pub fn set_name(name: Vec<u8>) {
    let _ = NAME.set(name);
}

/// Bytes as text for a message.
pub fn show(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// An argument as a path.
pub fn path(arg: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(arg))
}

/// One line on stderr, after the applet's name.
pub fn warn(message: fmt::Arguments<'_>) {
    let name = NAME.get().map_or(&b"gnomon-user"[..], |n| n);
    let text = format!("{}: {message}\n", show(name));
    // A message that cannot be written has nowhere else to go.
    let _ = sys::write_all(2, text.as_bytes());
}

/// One line on stdout about what has been done (`-v`); the status.
pub fn tell(message: fmt::Arguments<'_>) -> i32 {
    let mut out = Out::stdout();
    out.line(message.to_string().as_bytes());
    out.finish()
}

/// Says what failed with `subject`, as the C library words it.
pub fn warn_error(subject: &[u8], error: &io::Error) {
    warn(format_args!("{}: {}", show(subject), error_text(error)));
}

/// The text of an error without Rust's "(os error n)".
pub fn error_text(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => sys::error_text(code),
        None => error.to_string(),
    }
}

/// Options taken from a command line, in the manner of `getopt`.
pub struct Options {
    found: Vec<(u8, Vec<u8>)>,
    /// What is not an option.
    pub operands: Vec<Vec<u8>>,
}

impl Options {
    /// Parses `args` by `spec`: letters, one followed by `:` takes a value. Options end at `--`,
    /// and with a leading `+` in `spec` at the first operand. On an unknown option: says so and
    /// gives `Err(2)`.
    pub fn parse(args: &[Vec<u8>], spec: &str) -> Result<Self, i32> {
        let (spec, stop_early) = match spec.strip_prefix('+') {
            Some(rest) => (rest.as_bytes(), true),
            None => (spec.as_bytes(), false),
        };
        let mut options = Options {
            found: Vec::new(),
            operands: Vec::new(),
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == b"--" {
                options.operands.extend(args.cloned());
                break;
            }
            if arg.len() < 2 || arg[0] != b'-' {
                options.operands.push(arg.clone());
                if stop_early {
                    options.operands.extend(args.cloned());
                    break;
                }
                continue;
            }
            let mut letters = &arg[1..];
            while let Some((&letter, rest)) = letters.split_first() {
                let place = spec.iter().position(|&s| s == letter && letter != b':');
                let Some(place) = place else {
                    warn(format_args!("unknown option -{}", letter as char));
                    return Err(2);
                };
                if spec.get(place + 1) == Some(&b':') {
                    let value = if rest.is_empty() {
                        args.next().cloned()
                    } else {
                        Some(rest.to_vec())
                    };
                    let Some(value) = value else {
                        warn(format_args!("option -{} needs a value", letter as char));
                        return Err(2);
                    };
                    options.found.push((letter, value));
                    break;
                }
                options.found.push((letter, Vec::new()));
                letters = rest;
            }
        }
        Ok(options)
    }

    /// Whether the option was given.
    pub fn has(&self, letter: u8) -> bool {
        self.found.iter().any(|(l, _)| *l == letter)
    }

    /// The value of the option's last use.
    pub fn value(&self, letter: u8) -> Option<&[u8]> {
        let mut values = self.found.iter().rev().filter(|(l, _)| *l == letter);
        values.next().map(|(_, v)| &v[..])
    }

    /// Every value given to the option, in order.
    pub fn values(&self, letter: u8) -> impl Iterator<Item = &[u8]> {
        let of_letter = self.found.iter().filter(move |(l, _)| *l == letter);
        of_letter.map(|(_, v)| &v[..])
    }

    /// Which of `letters` came last, for options that override each other.
    pub fn last_of(&self, letters: &[u8]) -> Option<u8> {
        let mut found = self.found.iter().rev().map(|(l, _)| *l);
        found.find(|l| letters.contains(l))
    }
}

/// A number in decimal, or `None`.
pub fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// A size with an optional suffix: `k`, `M`, `G` (powers of 1024), `b` (512).
pub fn size(text: &[u8]) -> Option<u64> {
    let (digits, factor) = match text.last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        b'g' | b'G' => (&text[..text.len() - 1], 1 << 30),
        b'b' => (&text[..text.len() - 1], 512),
        _ => (text, 1),
    };
    number::<u64>(digits)?.checked_mul(factor)
}

/// A number of KiB as `df -h` and friends show it: `1.5M`.
pub fn human(kib: u64) -> String {
    let mut value = kib as f64;
    for unit in ["K", "M", "G"] {
        if value < 1024.0 {
            return if value < 10.0 && unit != "K" {
                format!("{value:.1}{unit}")
            } else {
                format!("{value:.0}{unit}")
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1}T")
}

/// Buffered output on a file descriptor. An error is kept for [`Out::finish`].
pub struct Out {
    fd: i32,
    buffer: Vec<u8>,
    error: Option<io::Error>,
}

impl Out {
    const CAPACITY: usize = 64 << 10;

    /// Output on descriptor 1.
    pub fn stdout() -> Self {
        Out {
            fd: 1,
            buffer: Vec::new(),
            error: None,
        }
    }

    /// Appends bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= Self::CAPACITY {
            self.drain();
        }
    }

    /// Appends bytes and a line feed.
    pub fn line(&mut self, bytes: &[u8]) {
        self.put(bytes);
        self.put(b"\n");
    }

    /// Writes out what is buffered.
    pub fn drain(&mut self) {
        if let Err(error) = sys::write_all(self.fd, &self.buffer) {
            self.error.get_or_insert(error);
        }
        self.buffer.clear();
    }

    /// Whether a write has failed: further output is in vain.
    pub fn failed(&self) -> bool {
        self.error.is_some()
    }

    /// Writes out the rest. 0, or 1 after saying what went wrong.
    pub fn finish(mut self) -> i32 {
        self.drain();
        match self.error.take() {
            Some(error) => {
                warn_error(b"write error", &error);
                1
            }
            None => 0,
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.drain();
        Ok(())
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        self.drain();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> Vec<Vec<u8>> {
        words.iter().map(|w| w.as_bytes().to_vec()).collect()
    }

    #[test]
    fn options_are_grouped_and_take_values() {
        let o = Options::parse(&args(&["-ab", "-n5", "x", "-n", "6", "--", "-a"]), "abn:").unwrap();
        assert!(o.has(b'a') && o.has(b'b'));
        assert_eq!(o.value(b'n'), Some(&b"6"[..]));
        assert_eq!(o.values(b'n').count(), 2);
        assert_eq!(o.operands, args(&["x", "-a"]));
    }

    #[test]
    fn plus_stops_at_first_operand() {
        let o = Options::parse(&args(&["-i", "ls", "-l"]), "+i").unwrap();
        assert_eq!(o.operands, args(&["ls", "-l"]));
    }

    #[test]
    fn sizes_take_suffixes() {
        assert_eq!(size(b"4k"), Some(4096));
        assert_eq!(size(b"2M"), Some(2 << 20));
        assert_eq!(size(b"7"), Some(7));
        assert_eq!(size(b"x"), None);
    }
}
