//! `cut -b LIST | -c LIST | -f LIST [-d CHAR] [-s] [FILE…]`: takes columns out of lines.

use super::input;
use crate::cli::{self, Options, Out};

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "b:c:f:d:sn") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let Some(letter) = options.last_of(b"bcf") else {
        cli::warn(format_args!("say what to cut: -b, -c or -f LIST"));
        return 1;
    };
    let Some(ranges) = parse_list(options.value(letter).unwrap_or_default()) else {
        cli::warn(format_args!("invalid list of fields"));
        return 1;
    };
    let delimiter = options
        .value(b'd')
        .and_then(|d| d.first())
        .copied()
        .unwrap_or(b'\t');
    let chosen = |number: usize| {
        ranges
            .iter()
            .any(|(low, high)| (*low..=*high).contains(&number))
    };
    let mut out = Out::stdout();
    let status = input::each(&options.operands, |_, input| {
        let mut line = Vec::new();
        while input.line(&mut line)? {
            let text = input::chomp(&line);
            if letter == b'f' {
                if !text.contains(&delimiter) {
                    if !options.has(b's') {
                        out.line(text);
                    }
                    continue;
                }
                let fields = text.split(|&b| b == delimiter).enumerate();
                let fields = fields.filter(|(index, _)| chosen(index + 1));
                let fields: Vec<&[u8]> = fields.map(|(_, field)| field).collect();
                out.line(&fields.join(&delimiter));
            } else {
                let bytes = text.iter().enumerate();
                let bytes = bytes
                    .filter(|(index, _)| chosen(index + 1))
                    .map(|(_, b)| *b);
                out.line(&bytes.collect::<Vec<u8>>());
            }
        }
        Ok(())
    });
    status | out.finish()
}

/// `1,3-5,7-`: the ranges, from 1, ends included.
fn parse_list(text: &[u8]) -> Option<Vec<(usize, usize)>> {
    let mut ranges = Vec::new();
    for range in text.split(|&b| b == b',' || b == b' ') {
        let (low, high) = match range.iter().position(|&b| b == b'-') {
            Some(at) => {
                let (low, high) = (&range[..at], &range[at + 1..]);
                if low.is_empty() && high.is_empty() {
                    return None;
                }
                let low = if low.is_empty() { 1 } else { cli::number(low)? };
                let high = if high.is_empty() {
                    usize::MAX
                } else {
                    cli::number(high)?
                };
                (low, high)
            }
            None => {
                let number = cli::number(range)?;
                (number, number)
            }
        };
        if low == 0 || high < low {
            return None;
        }
        ranges.push((low, high));
    }
    Some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hold_numbers_and_ranges() {
        assert_eq!(parse_list(b"1,3-5"), Some(vec![(1, 1), (3, 5)]));
        assert_eq!(parse_list(b"-2,4-"), Some(vec![(1, 2), (4, usize::MAX)]));
        for wrong in ["", "0", "-", "5-3", "x"] {
            assert_eq!(parse_list(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
