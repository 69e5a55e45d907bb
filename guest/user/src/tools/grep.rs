//! `grep [-EFGHLchilnoqrsvwx] [-A N] [-B N] [-C N] [-m N] [-e PATTERN] [-f FILE] [PATTERN]
//! [FILE…]`: lines that match.

use std::collections::VecDeque;
use std::io;

use super::input::{self, Input};
use super::names;
use super::regex::{Regex, Syntax};
use crate::cli::{self, Options, Out};

/// The applet. 0: a line matched, 1: none, 2: an error.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let mut options = match Options::parse(args, "EFGHLcghilnoqrRsvwxaA:B:C:m:e:f:") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let syntax = Syntax {
        extended: options.last_of(b"EFG") == Some(b'E'),
        fixed: options.last_of(b"EFG") == Some(b'F'),
        fold: options.has(b'i'),
    };
    let patterns = match patterns(&mut options) {
        Ok(patterns) => patterns,
        Err(status) => return status,
    };
    let mut compiled = Vec::new();
    for pattern in &patterns {
        match Regex::new(pattern, syntax) {
            Ok(regex) => compiled.push(regex),
            Err(wrong) => {
                cli::warn(format_args!("{}: {wrong}", cli::show(pattern)));
                return 2;
            }
        }
    }
    let around = |letter| {
        let value = options.value(letter).or(options.value(b'C'));
        value.and_then(cli::number::<usize>).unwrap_or(0)
    };
    let recursive = options.has(b'r') || options.has(b'R');
    let many = options.operands.len() > 1 || recursive;
    let mut search = Search {
        patterns: compiled,
        whole_lines: options.has(b'x'),
        words: options.has(b'w'),
        inverted: options.has(b'v'),
        names: match options.last_of(b"Hh") {
            Some(letter) => letter == b'H',
            None => many,
        },
        numbers: options.has(b'n'),
        only: options.has(b'o'),
        show: options.last_of(b"Llcq"),
        before: around(b'B'),
        after: around(b'A'),
        most: options
            .value(b'm')
            .and_then(cli::number)
            .unwrap_or(u64::MAX),
        out: Out::stdout(),
        found: false,
    };
    let mut failed = false;
    let default = [if recursive {
        b".".to_vec()
    } else {
        b"-".to_vec()
    }];
    let operands = if options.operands.is_empty() {
        &default[..]
    } else {
        &options.operands
    };
    for operand in operands {
        if search.done() {
            break;
        }
        if let Err(error) = search.path(operand, recursive, &mut failed) {
            failed = true;
            if !options.has(b's') {
                cli::warn_error(operand, &error);
            }
        }
    }
    let found = search.found;
    if search.out.finish() != 0 || failed && !(found && options.has(b'q')) {
        return 2;
    }
    i32::from(!found)
}

/// The patterns of `-e`, `-f` or the first operand, one a line.
fn patterns(options: &mut Options) -> Result<Vec<Vec<u8>>, i32> {
    let mut texts: Vec<Vec<u8>> = options.values(b'e').map(<[u8]>::to_vec).collect();
    for file in options.values(b'f') {
        match Input::open(file).and_then(|mut input| input.rest()) {
            Ok(text) if text.is_empty() => {}
            Ok(text) => texts.push(input::chomp(&text).to_vec()),
            Err(error) => {
                cli::warn_error(file, &error);
                return Err(2);
            }
        }
    }
    if !options.has(b'e') && !options.has(b'f') {
        if options.operands.is_empty() {
            cli::warn(format_args!("a pattern is missing"));
            return Err(2);
        }
        texts.push(options.operands.remove(0));
    }
    let lines = texts.iter().flat_map(|text| text.split(|&b| b == b'\n'));
    Ok(lines.map(<[u8]>::to_vec).collect())
}

struct Search {
    patterns: Vec<Regex>,
    whole_lines: bool,
    words: bool,
    inverted: bool,
    names: bool,
    numbers: bool,
    only: bool,
    /// What is shown instead of lines: `l` and `L` names, `c` counts, `q` nothing.
    show: Option<u8>,
    before: usize,
    after: usize,
    most: u64,
    out: Out,
    found: bool,
}

impl Search {
    /// Whether nothing that is still to come matters.
    fn done(&self) -> bool {
        self.found && self.show == Some(b'q') || self.out.failed()
    }

    fn path(&mut self, path: &[u8], recursive: bool, failed: &mut bool) -> io::Result<()> {
        if path != b"-" && cli::path(path).is_dir() {
            if !recursive {
                return Err(io::Error::from_raw_os_error(libc::EISDIR));
            }
            for name in names::entries(path)? {
                let inner = names::join(path, &name);
                let special = cli::path(&inner).symlink_metadata()?;
                if !(special.is_dir() || special.is_file()) || self.done() {
                    continue;
                }
                if let Err(error) = self.path(&inner, true, failed) {
                    *failed = true;
                    cli::warn_error(&inner, &error);
                }
            }
            return Ok(());
        }
        let name = if path == b"-" {
            b"(standard input)"
        } else {
            path
        };
        self.file(name, &mut Input::open(path)?)
    }

    fn file(&mut self, name: &[u8], input: &mut Input) -> io::Result<()> {
        let (mut number, mut count, mut trailing) = (0u64, 0u64, 0);
        let mut earlier: VecDeque<(u64, Vec<u8>)> = VecDeque::new();
        // The last line that was shown, so that gaps get a separator.
        let mut shown = 0;
        let mut line = Vec::new();
        while (count < self.most || trailing > 0) && input.line(&mut line)? && !self.out.failed() {
            number += 1;
            let text = input::chomp(&line);
            let first = self.find(text, 0);
            if count < self.most && first.is_some() != self.inverted {
                count += 1;
                self.found = true;
                match self.show {
                    Some(b'c') => continue,
                    Some(_) => break,
                    None => {}
                }
                if self.only {
                    self.matches(name, number, text, first);
                    continue;
                }
                let start = earlier.front().map_or(number, |(n, _)| *n);
                if self.before + self.after > 0 && shown > 0 && start > shown + 1 {
                    self.out.line(b"--");
                }
                for (number, text) in earlier.drain(..) {
                    self.line(name, number, &text, b'-');
                }
                self.line(name, number, text, b':');
                shown = number;
                trailing = self.after;
            } else if trailing > 0 {
                trailing -= 1;
                self.line(name, number, text, b'-');
                shown = number;
            } else if self.before > 0 {
                if earlier.len() == self.before {
                    earlier.pop_front();
                }
                earlier.push_back((number, text.to_vec()));
            }
        }
        match self.show {
            Some(b'c') => {
                self.prefix(name, None, b':');
                self.out.line(count.to_string().as_bytes());
            }
            Some(b'l') if count > 0 => self.out.line(name),
            Some(b'L') if count == 0 => self.out.line(name),
            _ => {}
        }
        Ok(())
    }

    fn prefix(&mut self, name: &[u8], number: Option<u64>, separator: u8) {
        if self.names {
            self.out.put(name);
            self.out.put(&[separator]);
        }
        if let Some(number) = number.filter(|_| self.numbers) {
            self.out.put(number.to_string().as_bytes());
            self.out.put(&[separator]);
        }
    }

    fn line(&mut self, name: &[u8], number: u64, text: &[u8], separator: u8) {
        self.prefix(name, Some(number), separator);
        self.out.line(text);
    }

    /// The parts of a line that match (`-o`).
    fn matches(&mut self, name: &[u8], number: u64, text: &[u8], first: Option<(usize, usize)>) {
        let mut next = first;
        while let Some((start, end)) = next {
            if end > start {
                self.line(name, number, &text[start..end], b':');
            }
            next = self.find(text, end.max(start + 1));
        }
    }

    /// The leftmost longest match of any pattern from `from` on.
    fn find(&self, text: &[u8], from: usize) -> Option<(usize, usize)> {
        if from > text.len() {
            return None;
        }
        let found = self
            .patterns
            .iter()
            .filter_map(|p| self.find_one(p, text, from));
        found.min_by_key(|(start, end)| (*start, usize::MAX - end))
    }

    fn find_one(&self, pattern: &Regex, text: &[u8], from: usize) -> Option<(usize, usize)> {
        let word = |at: Option<&u8>| at.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
        let mut from = from;
        loop {
            let (start, end) = pattern.find(text, from)?;
            if self.whole_lines {
                return (start == 0 && end == text.len()).then_some((start, end));
            }
            let inside = start > 0 && word(text.get(start - 1)) || word(text.get(end));
            if !self.words || !inside {
                return Some((start, end));
            }
            from = start + 1;
            if from > text.len() {
                return None;
            }
        }
    }
}
