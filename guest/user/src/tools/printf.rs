//! `printf FORMAT [ARGUMENT…]`.

use super::echo;
use crate::cli::{self, Out};

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let args = match args.first() {
        Some(first) if first == b"--" => &args[1..],
        _ => args,
    };
    let Some((format, arguments)) = args.split_first() else {
        cli::warn(format_args!("usage: printf FORMAT [ARGUMENT…]"));
        return 2;
    };
    let mut printer = Printer {
        arguments,
        used: 0,
        text: Vec::new(),
        status: 0,
    };
    // The format is used again as long as it takes arguments and some are left.
    loop {
        let before = printer.used;
        let stop = printer.format(format);
        if stop || printer.used == before || printer.used >= arguments.len() {
            break;
        }
    }
    let mut out = Out::stdout();
    out.put(&printer.text);
    out.finish() | printer.status
}

/// What stands between `%` and the letter.
#[derive(Default)]
struct Directive {
    left: bool,
    zeros: bool,
    plus: bool,
    blank: bool,
    alternative: bool,
    width: usize,
    precision: Option<usize>,
}

struct Printer<'a> {
    arguments: &'a [Vec<u8>],
    used: usize,
    text: Vec<u8>,
    status: i32,
}

/// The widest field, so that a mistyped width does not take all memory.
const MAX_WIDTH: i128 = 1 << 20;

impl<'a> Printer<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        self.used += 1;
        self.arguments.get(self.used - 1).map(|a| &a[..])
    }

    /// Goes through the format once. True: `\c` ends all output.
    fn format(&mut self, format: &[u8]) -> bool {
        let mut rest = format;
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            match byte {
                b'\\' => match echo::escape(rest) {
                    Some((byte, length)) => {
                        self.text.push(byte);
                        rest = &rest[length..];
                    }
                    None if rest.first() == Some(&b'c') => return true,
                    None => self.text.push(b'\\'),
                },
                b'%' if rest.first() == Some(&b'%') => {
                    self.text.push(b'%');
                    rest = &rest[1..];
                }
                b'%' => {
                    let (directive, length) = self.directive(rest);
                    let Some(&letter) = rest.get(length) else {
                        self.fail("%", "incomplete directive");
                        return true;
                    };
                    rest = &rest[length + 1..];
                    if self.convert(&directive, letter) {
                        return true;
                    }
                }
                _ => self.text.push(byte),
            }
        }
        false
    }

    /// Reads flags, width and precision; gives their length too.
    fn directive(&mut self, text: &[u8]) -> (Directive, usize) {
        let mut directive = Directive::default();
        let mut at = 0;
        while let Some(flag) = text.get(at) {
            match flag {
                b'-' => directive.left = true,
                b'0' => directive.zeros = true,
                b'+' => directive.plus = true,
                b' ' => directive.blank = true,
                b'#' => directive.alternative = true,
                _ => break,
            }
            at += 1;
        }
        let width = self.count(text, &mut at).unwrap_or(0);
        directive.left |= width < 0;
        directive.width = width.unsigned_abs() as usize;
        if text.get(at) == Some(&b'.') {
            at += 1;
            let precision = self.count(text, &mut at).unwrap_or(0);
            directive.precision = usize::try_from(precision).ok();
        }
        while text.get(at).is_some_and(|b| b"hlLjzt".contains(b)) {
            at += 1;
        }
        (directive, at)
    }

    /// A number in the format, or `*` for the next argument.
    fn count(&mut self, text: &[u8], at: &mut usize) -> Option<i64> {
        if text.get(*at) == Some(&b'*') {
            *at += 1;
            let argument = self.next().unwrap_or(b"0");
            return Some(self.integer(argument).clamp(-MAX_WIDTH, MAX_WIDTH) as i64);
        }
        let start = *at;
        while text.get(*at).is_some_and(u8::is_ascii_digit) {
            *at += 1;
        }
        let count = cli::number::<i128>(&text[start..*at])?;
        Some(count.min(MAX_WIDTH) as i64)
    }

    fn fail(&mut self, what: &str, why: &str) {
        cli::warn(format_args!("{what}: {why}"));
        self.status = 1;
    }

    /// Writes one argument. True: `\c` ends all output.
    fn convert(&mut self, directive: &Directive, letter: u8) -> bool {
        match letter {
            b's' | b'b' | b'c' => {
                let argument = self.next().unwrap_or(b"");
                let (text, stop) = match letter {
                    b'b' => echo::unescape(argument),
                    b'c' => (argument[..argument.len().min(1)].to_vec(), false),
                    _ => (argument.to_vec(), false),
                };
                let length = directive
                    .precision
                    .map_or(text.len(), |p| p.min(text.len()));
                self.pad(directive, b"", &text[..length], b' ');
                return stop;
            }
            b'd' | b'i' | b'u' | b'o' | b'x' | b'X' => {
                let argument = self.next().unwrap_or(b"0");
                let value = self.integer(argument);
                self.put_integer(directive, letter, value);
            }
            b'f' | b'F' | b'e' | b'E' | b'g' | b'G' => {
                let argument = self.next().unwrap_or(b"0");
                let value = self.float(argument);
                self.put_float(directive, letter, value);
            }
            _ => {
                self.fail(&format!("%{}", letter as char), "invalid directive");
                return true;
            }
        }
        false
    }

    fn put_integer(&mut self, directive: &Directive, letter: u8, value: i128) {
        let signed = matches!(letter, b'd' | b'i');
        // Unsigned conversions show a negative number as C does.
        let magnitude = if signed {
            value.unsigned_abs()
        } else {
            u128::from(value as u64)
        };
        let mut digits = match letter {
            b'o' => format!("{magnitude:o}"),
            b'x' => format!("{magnitude:x}"),
            b'X' => format!("{magnitude:X}"),
            _ => magnitude.to_string(),
        };
        if let Some(precision) = directive.precision {
            digits = format!("{digits:0>precision$}");
        }
        let prefix: &[u8] = match letter {
            _ if signed && value < 0 => b"-",
            _ if signed && directive.plus => b"+",
            _ if signed && directive.blank => b" ",
            b'x' if directive.alternative && value != 0 => b"0x",
            b'X' if directive.alternative && value != 0 => b"0X",
            b'o' if directive.alternative && !digits.starts_with('0') => b"0",
            _ => b"",
        };
        let zeros = directive.zeros && directive.precision.is_none();
        self.pad(
            directive,
            prefix,
            digits.as_bytes(),
            if zeros { b'0' } else { b' ' },
        );
    }

    fn put_float(&mut self, directive: &Directive, letter: u8, value: f64) {
        let precision = directive.precision.unwrap_or(6);
        let magnitude = value.abs();
        let exponential = |precision: usize| {
            let text = format!("{magnitude:.precision$e}");
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let exponent: i32 = exponent.parse().unwrap_or(0);
            let sign = if exponent < 0 { '-' } else { '+' };
            (format!("{mantissa}e{sign}{:02}", exponent.abs()), exponent)
        };
        let mut digits = if !magnitude.is_finite() {
            if magnitude.is_nan() {
                "nan".to_owned()
            } else {
                "inf".to_owned()
            }
        } else {
            match letter.to_ascii_lowercase() {
                b'f' => format!("{magnitude:.precision$}"),
                b'e' => exponential(precision).0,
                _ => {
                    let precision = precision.max(1);
                    let (text, exponent) = exponential(precision - 1);
                    let small = exponent < -4 || exponent >= precision as i32;
                    let plain = (precision as i32 - 1 - exponent).max(0) as usize;
                    let text = if small {
                        text
                    } else {
                        format!("{magnitude:.plain$}")
                    };
                    match text.split_once('e') {
                        _ if directive.alternative || !text.contains('.') => text,
                        Some((mantissa, exponent)) => {
                            let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
                            format!("{mantissa}e{exponent}")
                        }
                        None => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                    }
                }
            }
        };
        if letter.is_ascii_uppercase() {
            digits.make_ascii_uppercase();
        }
        let prefix: &[u8] = match (value.is_sign_negative(), directive.plus, directive.blank) {
            (true, _, _) => b"-",
            (_, true, _) => b"+",
            (_, _, true) => b" ",
            _ => b"",
        };
        let zeros = directive.zeros && magnitude.is_finite();
        self.pad(
            directive,
            prefix,
            digits.as_bytes(),
            if zeros { b'0' } else { b' ' },
        );
    }

    fn pad(&mut self, directive: &Directive, prefix: &[u8], body: &[u8], fill: u8) {
        let padding = directive.width.saturating_sub(prefix.len() + body.len());
        let padding = vec![if directive.left { b' ' } else { fill }; padding];
        let order = match (directive.left, fill) {
            (true, _) => [prefix, body, &padding],
            (false, b'0') => [prefix, &padding, body],
            (false, _) => [&padding, prefix, body],
        };
        self.text.extend(order.concat());
    }

    /// An argument as a number: decimal, octal, hexadecimal, or a character behind a quote.
    fn integer(&mut self, argument: &[u8]) -> i128 {
        if let [b'\'' | b'"', byte, ..] = argument {
            return i128::from(*byte);
        }
        let text = String::from_utf8_lossy(argument);
        let text = text.trim_start();
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        let (radix, digits) = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
            Some(digits) => (16, digits),
            None if digits.starts_with('0') => (8, digits),
            None => (10, digits),
        };
        let end = digits
            .find(|c: char| !c.is_digit(radix))
            .unwrap_or(digits.len());
        if end < digits.len() || text.is_empty() && !argument.is_empty() {
            self.fail(&cli::show(argument), "expected a number");
        }
        let value = i128::from_str_radix(&digits[..end], radix).unwrap_or(0);
        if value > u64::MAX.into() {
            self.fail(&cli::show(argument), "number too large");
        }
        sign * value.min(u64::MAX.into())
    }

    fn float(&mut self, argument: &[u8]) -> f64 {
        if argument.starts_with(b"'") || argument.starts_with(b"0x") {
            return self.integer(argument) as f64;
        }
        let text = String::from_utf8_lossy(argument);
        if text.is_empty() {
            return 0.0;
        }
        text.trim().parse().unwrap_or_else(|_| {
            self.fail(&text, "expected a number");
            0.0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(format: &str, arguments: &[&str]) -> String {
        let arguments: Vec<Vec<u8>> = arguments.iter().map(|a| a.as_bytes().to_vec()).collect();
        let mut printer = Printer {
            arguments: &arguments,
            used: 0,
            text: Vec::new(),
            status: 0,
        };
        printer.format(format.as_bytes());
        String::from_utf8(printer.text).unwrap()
    }

    #[test]
    fn directives_print_as_in_c() {
        for (format, argument, text) in [
            ("%5d|", "42", "   42|"),
            ("%-5d|", "42", "42   |"),
            ("%05d", "-42", "-0042"),
            ("%+d", "7", "+7"),
            ("%x", "255", "ff"),
            ("%#o", "8", "010"),
            ("%X", "0xff", "FF"),
            ("%u", "-1", "18446744073709551615"),
            ("%.3d", "7", "007"),
            ("%c", "abc", "a"),
            ("%.2s", "abc", "ab"),
            ("%b", r"a\tb", "a\tb"),
            ("%d", "'A", "65"),
            ("%.2f", "3.14159", "3.14"),
            ("%e", "12345.678", "1.234568e+04"),
            ("%g", "0.0001", "0.0001"),
            ("%g", "1000000", "1e+06"),
            ("%s%%", "5", "5%"),
        ] {
            assert_eq!(print(format, &[argument]), text, "{format} {argument}");
        }
    }

    #[test]
    fn missing_arguments_are_empty_or_zero() {
        assert_eq!(print("%s|%d|", &[]), "|0|");
        assert_eq!(print("%*d", &["4", "1"]), "   1");
    }
}
