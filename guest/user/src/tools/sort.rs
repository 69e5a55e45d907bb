//! `sort [-bcdfmnrsu] [-k KEY] [-t CHAR] [-o FILE] [FILE…]`: lines in order, by bytes.

use std::cmp::Ordering;

use super::input::{self, Input};
use crate::cli::{self, Options, Out};
use crate::sys;

/// How keys are compared.
#[derive(Clone, Copy, Default)]
struct Manner {
    numeric: bool,
    human: bool,
    reverse: bool,
    fold: bool,
    blanks: bool,
    dictionary: bool,
}

impl Manner {
    fn add(&mut self, letter: u8) -> bool {
        match letter {
            b'n' => self.numeric = true,
            b'h' => self.human = true,
            b'r' => self.reverse = true,
            b'f' => self.fold = true,
            b'b' => self.blanks = true,
            b'd' => self.dictionary = true,
            _ => return false,
        }
        true
    }

    fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        let order = if self.numeric || self.human {
            let value = |text| number(text) * if self.human { unit(text) } else { 1.0 };
            value(a).total_cmp(&value(b))
        } else {
            let (a, b) = match self.blanks {
                true => (a.trim_ascii_start(), b.trim_ascii_start()),
                false => (a, b),
            };
            if self.fold || self.dictionary {
                let keep = |byte: &&u8| {
                    !self.dictionary || byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace()
                };
                let change = |byte: &u8| {
                    if self.fold {
                        byte.to_ascii_uppercase()
                    } else {
                        *byte
                    }
                };
                a.iter()
                    .filter(keep)
                    .map(change)
                    .cmp(b.iter().filter(keep).map(change))
            } else {
                a.cmp(b)
            }
        };
        if self.reverse { order.reverse() } else { order }
    }
}

/// The number that a text starts with; 0 if it is none.
fn number(text: &[u8]) -> f64 {
    let text = text.trim_ascii_start();
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let mut point = false;
    let length = digits
        .iter()
        .take_while(|&&b| b.is_ascii_digit() || b == b'.' && !std::mem::replace(&mut point, true))
        .count();
    let value: f64 = cli::number(&digits[..length]).unwrap_or(0.0);
    if digits.len() < text.len() {
        -value
    } else {
        value
    }
}

/// The factor that the letter behind a number stands for.
fn unit(text: &[u8]) -> f64 {
    let text = text.trim_ascii_start();
    let letter = text
        .iter()
        .find(|b| !b.is_ascii_digit() && **b != b'.' && **b != b'-');
    match letter.map(u8::to_ascii_uppercase) {
        Some(b'K') => 1024.0,
        Some(b'M') => 1024.0 * 1024.0,
        Some(b'G') => 1024.0 * 1024.0 * 1024.0,
        _ => 1.0,
    }
}

/// A place in a line: field and character, from 1; character 0: the field's end.
type Place = (usize, usize);

struct Key {
    start: Place,
    end: Option<Place>,
    manner: Option<Manner>,
}

/// `F[.C][OPTIONS][,F[.C][OPTIONS]]`.
fn parse_key(text: &[u8]) -> Option<Key> {
    let mut manner = Manner::default();
    let mut own = false;
    let mut place = |text: &[u8], default: usize| -> Option<Place> {
        let end = text
            .iter()
            .position(|b| !b.is_ascii_digit() && *b != b'.')
            .unwrap_or(text.len());
        for letter in &text[end..] {
            own = true;
            if !manner.add(*letter) {
                return None;
            }
        }
        let mut numbers = text[..end].split(|&b| b == b'.');
        let field = cli::number(numbers.next()?).filter(|n| *n > 0)?;
        let character = match numbers.next() {
            Some(character) => cli::number(character)?,
            None => default,
        };
        Some((field, character))
    };
    let (start, end) = match text.iter().position(|&b| b == b',') {
        Some(at) => (place(&text[..at], 1)?, Some(place(&text[at + 1..], 0)?)),
        None => (place(text, 1)?, None),
    };
    let manner = own.then_some(manner);
    Some(Key { start, end, manner })
}

impl Key {
    /// The part of a line that counts.
    fn of<'l>(&self, line: &'l [u8], separator: Option<u8>, blanks: bool) -> &'l [u8] {
        let mut start = field(line, separator, self.start.0).0;
        if blanks {
            start += line[start..]
                .iter()
                .take_while(|b| b.is_ascii_whitespace())
                .count();
        }
        let start = (start + self.start.1.saturating_sub(1)).min(line.len());
        let end = match self.end {
            None => line.len(),
            Some((number, 0)) => field(line, separator, number).1,
            Some((number, character)) => {
                let mut from = field(line, separator, number).0;
                if blanks {
                    from += line[from..]
                        .iter()
                        .take_while(|b| b.is_ascii_whitespace())
                        .count();
                }
                (from + character).min(line.len())
            }
        };
        &line[start..end.max(start)]
    }
}

/// Start and end of a field. Without a separator, fields start with the blanks before them.
fn field(line: &[u8], separator: Option<u8>, number: usize) -> (usize, usize) {
    let mut start = 0;
    for count in 1.. {
        let rest = &line[start..];
        let length = match separator {
            Some(separator) => rest.iter().position(|&b| b == separator),
            None => {
                let blanks = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
                let word = rest[blanks..].iter().position(u8::is_ascii_whitespace);
                word.map(|length| blanks + length)
            }
        };
        let end = length.map_or(line.len(), |length| start + length);
        if count == number {
            return (start, end);
        }
        if end == line.len() {
            break;
        }
        start = end + usize::from(separator.is_some());
    }
    (line.len(), line.len())
}

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "bcCdfhmnrsuzk:t:o:S:T:") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let mut global = Manner::default();
    for &letter in b"bdfhnr" {
        if options.has(letter) {
            global.add(letter);
        }
    }
    let mut keys = Vec::new();
    for text in options.values(b'k') {
        match parse_key(text) {
            Some(key) => keys.push(key),
            None => {
                cli::warn(format_args!("{}: invalid key", cli::show(text)));
                return 2;
            }
        }
    }
    let separator = options.value(b't').map(|t| {
        if t == b"\\0" {
            0
        } else {
            t.first().copied().unwrap_or(0)
        }
    });
    let by_keys = |a: &[u8], b: &[u8]| {
        if keys.is_empty() {
            return global.compare(a, b);
        }
        let orders = keys.iter().map(|key| {
            let manner = key.manner.unwrap_or(global);
            let part = |line| key.of(line, separator, manner.blanks);
            manner.compare(part(a), part(b))
        });
        orders.fold(Ordering::Equal, Ordering::then)
    };
    let stable = options.has(b's') || options.has(b'u');
    let compare = |a: &[u8], b: &[u8]| {
        by_keys(a, b).then_with(|| match (stable, global.reverse) {
            (true, _) => Ordering::Equal,
            (false, true) => b.cmp(a),
            (false, false) => a.cmp(b),
        })
    };
    let mut texts: Vec<Vec<u8>> = Vec::new();
    let status = input::each(&options.operands, |_, input| read(input, &mut texts));
    if status != 0 {
        return 2;
    }
    let mut lines: Vec<&[u8]> = texts
        .iter()
        .flat_map(|text| text.split_inclusive(|&b| b == b'\n'))
        .map(input::chomp)
        .collect();
    if options.has(b'c') || options.has(b'C') {
        let wrong = |pair: &[&[u8]]| {
            let order = compare(pair[0], pair[1]);
            order.is_gt() || order.is_eq() && options.has(b'u')
        };
        let Some(at) = lines.windows(2).position(wrong) else {
            return 0;
        };
        if options.has(b'c') {
            cli::warn(format_args!(
                "disorder in line {}: {}",
                at + 2,
                cli::show(lines[at + 1])
            ));
        }
        return 1;
    }
    lines.sort_by(|a, b| compare(a, b));
    if options.has(b'u') {
        lines.dedup_by(|b, a| by_keys(a, b).is_eq());
    }
    if let Some(file) = options.value(b'o') {
        // Only now, since the file may be one of those that have been read.
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;
        let opened = sys::open(file, flags, 0o666).and_then(|fd| sys::dup2(fd, 1));
        if let Err(error) = opened {
            cli::warn_error(file, &error);
            return 2;
        }
    }
    let mut out = Out::stdout();
    for line in lines {
        out.line(line);
        if out.failed() {
            break;
        }
    }
    if out.finish() == 0 { 0 } else { 2 }
}

fn read(input: &mut Input, texts: &mut Vec<Vec<u8>>) -> std::io::Result<()> {
    texts.push(input.rest()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_the_blanks_before_them() {
        assert_eq!(field(b"a  bb c", None, 2), (1, 5));
        assert_eq!(field(b"a:b::c", Some(b':'), 4), (5, 6));
        assert_eq!(field(b"a", None, 3), (1, 1));
    }

    #[test]
    fn keys_take_places_and_letters() {
        let key = parse_key(b"2.2n,3").unwrap();
        assert_eq!((key.start, key.end), ((2, 2), Some((3, 0))));
        assert!(key.manner.unwrap().numeric);
        assert_eq!(key.of(b"x:abc:d:e", Some(b':'), false), b"bc:d");
        assert!(parse_key(b"0").is_none());
        assert!(parse_key(b"1q").is_none());
    }

    #[test]
    fn numbers_are_what_a_text_starts_with() {
        assert_eq!(number(b"  -12.5x"), -12.5);
        assert_eq!(number(b"x"), 0.0);
    }
}
