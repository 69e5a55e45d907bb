//! `test-runner`: runs tests that a program holds, each as a fresh process, and reports.
//!
//! ```text
//! test-runner [-t SECONDS] [-b] REPORT PROGRAM        names of tests on standard input, one a line
//!
//!   name ─► count ─► PROGRAM NAME ─► its descendants killed ─► count again ─► lines to REPORT
//! ```
//!
//! A test is `PROGRAM NAME`: status 0 means passed, 77 skipped, anything else failed. It runs in a
//! session and a scratch directory of its own, with no input, for SECONDS at most; its output goes
//! into the report. With `-b` free frames, open files, threads and the objects of the kernel's heap
//! are counted before and after. If they differ, the test is run twice more, the caches dropped
//! before each count: what it has not given back both times is lost. Once does not count, since a
//! kernel may keep what it will need again.
//!
//! REPORT is written as `gnomon_abi::test_report` says, and nobody else should have it open: under
//! `gnomon test` it is a console that serves for nothing else. The program is an ordinary one, and
//! runs tests on any Linux.

mod balance;
mod descendants;
mod os;
mod trial;

use std::io::{self, Read};
use std::time::Duration;

use gnomon_abi::test_report::{Record, Text, VERSION};

use crate::{cli, sys};
use trial::{Ended, Setting};

/// How long a test may take when nothing is said.
const TIME_LIMIT: u64 = 60;

/// Bytes of a test's output in one line of the report.
const LINE: usize = 512;

const USAGE: &str = "usage: test-runner [-t SECONDS] [-b] REPORT PROGRAM";

/// What the command line asks for.
struct Args {
    limit: u64,
    balance: bool,
    report: Vec<u8>,
    program: Vec<u8>,
}

impl Args {
    fn parse(args: &[Vec<u8>]) -> Option<Self> {
        let (mut limit, mut balance) = (TIME_LIMIT, false);
        let mut rest = args;
        loop {
            match rest {
                [option, seconds, after @ ..] if option == b"-t" => {
                    limit = std::str::from_utf8(seconds).ok()?.parse().ok()?;
                    rest = after;
                }
                [option, after @ ..] if option == b"-b" => {
                    balance = true;
                    rest = after;
                }
                [report, program] => {
                    return Some(Self {
                        limit,
                        balance,
                        report: report.clone(),
                        program: program.clone(),
                    });
                }
                _ => return None,
            }
        }
    }
}

/// The applet. Status 0: every test has had its turn, whatever became of it.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let Some(args) = Args::parse(args) else {
        cli::warn(format_args!("{USAGE}"));
        return 2;
    };
    match run(args) {
        Ok(()) => 0,
        Err(error) => {
            cli::warn_error(b"cannot run tests", &error);
            1
        }
    }
}

fn run(args: Args) -> io::Result<()> {
    // A line must be out before what it announces happens.
    let flags = libc::O_WRONLY | libc::O_SYNC;
    let report = Report(sys::open(&args.report, flags, 0)?);
    report.write(&[Record::Hello(VERSION)])?;
    os::adopt_orphans()?;
    let setting = Setting {
        program: args.program,
        limit: Duration::from_secs(args.limit),
        balance: args.balance,
        scratch: std::env::temp_dir(),
        signals: os::child_signal_fd()?,
        null: sys::open(b"/dev/null", libc::O_RDWR, 0)?,
    };
    let mut names = String::new();
    io::stdin().read_to_string(&mut names)?;
    for name in names.lines() {
        let ended = setting.run(name, &|| report.write(&[Record::Begin(name)]))?;
        report.end(name, &ended)?;
    }
    report.write(&[Record::Done])
}

/// The report's descriptor.
struct Report(i32);

impl Report {
    /// Write lines, in one piece; they are out when this returns.
    fn write(&self, records: &[Record<'_>]) -> io::Result<()> {
        let text: String = records.iter().map(|record| format!("{record}\n")).collect();
        sys::write_all(self.0, text.as_bytes())
    }

    fn end(&self, name: &str, ended: &Ended) -> io::Result<()> {
        let output = ended.output.chunks(LINE);
        let mut records: Vec<_> = output
            .map(|bytes| Record::Output(Text::Plain(bytes)))
            .collect();
        records.extend(ended.losses.iter().map(|(count, what)| Record::Lost {
            count: *count,
            what,
        }));
        records.push(Record::End {
            name,
            outcome: ended.outcome,
            nanoseconds: ended.time.as_nanos() as u64,
        });
        self.write(&records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Option<Args> {
        let args: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        Args::parse(&args)
    }

    #[test]
    fn options_come_before_report_and_program() {
        let args = parse(&["-t", "5", "-b", "/dev/hvc2", "/bin/guest-tests"]).unwrap();
        assert_eq!((args.limit, args.balance), (5, true));
        assert_eq!(args.report, b"/dev/hvc2");
        assert_eq!(args.program, b"/bin/guest-tests");
    }

    #[test]
    fn mistakes_are_refused() {
        assert!(parse(&["report"]).is_none());
        assert!(parse(&["-t", "x", "report", "program"]).is_none());
    }
}
