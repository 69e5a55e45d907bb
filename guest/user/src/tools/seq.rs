//! `seq [-w] [-s SEPARATOR] [FIRST [STEP]] LAST`: numbers in order.

use crate::cli::{self, Options, Out};

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    // A negative number is an operand, not an option.
    let at = args
        .iter()
        .position(|a| a.len() > 1 && a[0] == b'-' && (a[1].is_ascii_digit() || a[1] == b'.'));
    let (before, after) = args.split_at(at.unwrap_or(args.len()));
    let mut options = match Options::parse(before, "+ws:") {
        Ok(options) => options,
        Err(status) => return status,
    };
    options.operands.extend_from_slice(after);
    let mut numbers = Vec::new();
    for operand in &options.operands {
        match Decimal::parse(operand) {
            Some(number) => numbers.push(number),
            None => {
                cli::warn(format_args!("{}: no number", cli::show(operand)));
                return 1;
            }
        }
    }
    let one = Decimal {
        units: 1,
        places: 0,
    };
    let (first, step, last) = match numbers[..] {
        [last] => (one, one, last),
        [first, last] => (first, one, last),
        [first, step, last] => (first, step, last),
        _ => {
            cli::warn(format_args!("usage: seq [-w] [FIRST [STEP]] LAST"));
            return 1;
        }
    };
    if step.units == 0 {
        cli::warn(format_args!("the step must not be 0"));
        return 1;
    }
    let places = first.places.max(step.places);
    let scale = places.max(last.places);
    let (mut value, by, end) = (first.at(scale), step.at(scale), last.at(scale));
    let show = |value: i128, width: usize| {
        let sign = if value < 0 { "-" } else { "" };
        let unit = 10i128.pow(scale);
        let (whole, part) = (
            value.abs() / unit,
            value.abs() % unit / 10i128.pow(scale - places),
        );
        let text = match places {
            0 => whole.to_string(),
            places => format!("{whole}.{part:0>width$}", width = places as usize),
        };
        let width = width.saturating_sub(sign.len());
        format!("{sign}{text:0>width$}")
    };
    let width = match options.has(b'w') {
        true => show(value, 0).len().max(show(end, 0).len()),
        false => 0,
    };
    let separator = options.value(b's').unwrap_or(b"\n");
    let mut out = Out::stdout();
    let mut some = false;
    while if by > 0 { value <= end } else { value >= end } {
        if some {
            out.put(separator);
        }
        some = true;
        out.put(show(value, width).as_bytes());
        value += by;
        if out.failed() {
            break;
        }
    }
    if some {
        out.put(b"\n");
    }
    out.finish()
}

/// A number with a fixed count of decimal places: `units` / 10^`places`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Decimal {
    units: i128,
    places: u32,
}

impl Decimal {
    fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        if part.len() > 9 || whole.len() > 20 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let units: i128 = format!("{whole}{part}").parse().ok()?;
        Some(Decimal {
            units,
            places: part.len() as u32,
        })
    }

    fn at(self, scale: u32) -> i128 {
        self.units * 10i128.pow(scale - self.places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_their_places() {
        assert_eq!(
            Decimal::parse(b"-1.50"),
            Some(Decimal {
                units: -150,
                places: 2
            })
        );
        assert_eq!(Decimal::parse(b"x"), None);
        assert_eq!(
            Decimal {
                units: 5,
                places: 1
            }
            .at(3),
            500
        );
    }
}
