//! How the guest's test runner (`test-runner`) reports to `gnomon test`: lines of text.
//!
//! ```text
//! gnomon-tests 1                          the first line: the format's version
//! begin memory::anonymous_memory_is_zero  a test starts: written, and out, before it does; once more
//!                                         if it is run again, and what was said of it is void
//! output assertion failed\x0aleft: 1      what it wrote to standard output and error, if it matters
//! lost 3 pages                            what was not given back, for each kind
//! end memory::… failed:101 8123456        its end: outcome and nanoseconds
//! done                                    all tests have had their turn
//! ```
//!
//! Words are parted by single spaces. Names are of `[A-Za-z0-9_:.-]`. In an `output` line the rest of
//! the line is text in which every byte other than printable ASCII, and the backslash, is written
//! `\xHH`; one test may have several of these lines. A line that is none of these is to be ignored:
//! a later version may have more.

use core::fmt;

/// The format's version, for [`Record::Hello`].
pub const VERSION: u32 = 1;

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// The runner is there, and speaks this version of the format.
    Hello(u32),
    /// The test of this name starts.
    Begin(&'a str),
    /// The test that runs wrote this.
    Output(Text<'a>),
    /// The test that ran has not given back `count` things of the kind `what`.
    Lost {
        /// How many.
        count: u64,
        /// What: `pages`, `files`, `tasks`, `objects-64` (of the kernel's heap, 64 bytes each).
        what: &'a str,
    },
    /// The test of this name has ended.
    End {
        /// The test.
        name: &'a str,
        /// How.
        outcome: Outcome,
        /// How long it took, by the guest's monotonic clock.
        nanoseconds: u64,
    },
    /// All tests have had their turn.
    Done,
}

/// How a test has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Status 0.
    Passed,
    /// Status 77: it cannot run here.
    Skipped,
    /// Any other status.
    Failed(i32),
    /// Killed by this signal.
    Killed(i32),
    /// It ran past its time, and was killed with all its children.
    TimedOut,
}

/// The status by which a test says that it cannot run here, as Automake's tests do.
pub const SKIP_STATUS: i32 = 77;

impl Outcome {
    /// The outcome for an exit status.
    pub const fn of_status(status: i32) -> Self {
        match status {
            0 => Self::Passed,
            SKIP_STATUS => Self::Skipped,
            status => Self::Failed(status),
        }
    }

    fn parse(word: &str) -> Option<Self> {
        match (word, word.split_once(':')) {
            ("passed", _) => Some(Self::Passed),
            ("skipped", _) => Some(Self::Skipped),
            ("timed-out", _) => Some(Self::TimedOut),
            (_, Some(("failed", status))) => status.parse().ok().map(Self::Failed),
            (_, Some(("killed", signal))) => signal.parse().ok().map(Self::Killed),
            _ => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Skipped => f.write_str("skipped"),
            Self::Failed(status) => write!(f, "failed:{status}"),
            Self::Killed(signal) => write!(f, "killed:{signal}"),
            Self::TimedOut => f.write_str("timed-out"),
        }
    }
}

/// Bytes that a test wrote; displayed as they stand in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text<'a> {
    /// As they are.
    Plain(&'a [u8]),
    /// As they stand in a line.
    Escaped(&'a str),
}

impl Text<'_> {
    /// The bytes as they are.
    pub fn bytes(&self) -> impl Iterator<Item = u8> {
        let (mut rest, escaped) = match self {
            Self::Plain(bytes) => (*bytes, false),
            Self::Escaped(text) => (text.as_bytes(), true),
        };
        core::iter::from_fn(move || {
            let (first, after) = rest.split_first()?;
            if escaped
                && let Some((code, after)) = rest.split_at_checked(4)
                && let Some(byte) = unescape(code)
            {
                rest = after;
                return Some(byte);
            }
            rest = after;
            Some(*first)
        })
    }
}

/// The byte that `\xHH` stands for.
fn unescape(code: &[u8]) -> Option<u8> {
    let digits = core::str::from_utf8(code.strip_prefix(b"\\x")?).ok()?;
    u8::from_str_radix(digits, 16).ok()
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Escaped(text) => f.write_str(text),
            Self::Plain(bytes) => bytes.iter().try_for_each(|&byte| match byte {
                b' '..=b'~' if byte != b'\\' => fmt::Write::write_char(f, byte.into()),
                _ => write!(f, "\\x{byte:02x}"),
            }),
        }
    }
}

impl<'a> Record<'a> {
    /// The record in `line`, which has no line feed. None: it is none.
    pub fn parse(line: &'a str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "output" {
            return Some(Self::Output(Text::Escaped(rest)));
        }
        let mut words = rest.split(' ').filter(|word| !word.is_empty());
        let mut next = || words.next();
        let record = match word {
            "gnomon-tests" => Self::Hello(next()?.parse().ok()?),
            "begin" => Self::Begin(next()?),
            "lost" => Self::Lost {
                count: next()?.parse().ok()?,
                what: next()?,
            },
            "end" => Self::End {
                name: next()?,
                outcome: Outcome::parse(next()?)?,
                nanoseconds: next()?.parse().ok()?,
            },
            "done" => Self::Done,
            _ => return None,
        };
        next().is_none().then_some(record)
    }
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello(version) => write!(f, "gnomon-tests {version}"),
            Self::Begin(name) => write!(f, "begin {name}"),
            Self::Output(text) => write!(f, "output {text}"),
            Self::Lost { count, what } => write!(f, "lost {count} {what}"),
            Self::End {
                name,
                outcome,
                nanoseconds,
            } => write!(f, "end {name} {outcome} {nanoseconds}"),
            Self::Done => f.write_str("done"),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    #[test]
    fn every_record_is_read_as_it_was_written() {
        let end = |outcome| Record::End {
            name: "pipe::write_wakes_a_reader",
            outcome,
            nanoseconds: 8_123_456,
        };
        let records = [
            Record::Hello(VERSION),
            Record::Begin("memory::a"),
            Record::Lost {
                count: 3,
                what: "objects-64",
            },
            end(Outcome::Passed),
            end(Outcome::Skipped),
            end(Outcome::Failed(101)),
            end(Outcome::Killed(11)),
            end(Outcome::TimedOut),
            Record::Done,
        ];
        for record in records {
            assert_eq!(Record::parse(&record.to_string()), Some(record));
        }
    }

    #[test]
    fn any_bytes_pass_through_an_output_line() {
        let bytes: Vec<u8> = (0..=255).collect();
        let line = Record::Output(Text::Plain(&bytes)).to_string();
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        let Some(Record::Output(text)) = Record::parse(&line) else {
            panic!("{line}");
        };
        assert_eq!(text.bytes().collect::<Vec<_>>(), bytes);
    }

    #[test]
    fn spaces_at_both_ends_of_output_are_kept() {
        let Some(Record::Output(text)) = Record::parse("output  a ") else {
            panic!("no output");
        };
        assert_eq!(text.bytes().collect::<Vec<_>>(), b" a ");
    }

    #[test]
    fn broken_escape_stands_for_itself() {
        let bytes: Vec<u8> = Text::Escaped("\\xg1\\x4").bytes().collect();
        assert_eq!(bytes, b"\\xg1\\x4");
    }

    #[test]
    fn what_is_no_record_is_none() {
        for line in [
            "",
            "hello",
            "begin",
            "begin a b",
            "end a passed",
            "end a broken 1",
            "lost x pages",
            "done 1",
        ] {
            assert_eq!(Record::parse(line), None, "{line:?}");
        }
    }
}
