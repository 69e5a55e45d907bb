//! `echo [-neE] [TEXT…]`: writes its arguments; `-e` interprets escapes.

use crate::cli::Out;

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let (mut line_feed, mut escapes) = (true, false);
    let mut args = args;
    while let Some((first, rest)) = args.split_first() {
        let letters = first.strip_prefix(b"-").unwrap_or_default();
        if letters.is_empty() || !letters.iter().all(|l| b"neE".contains(l)) {
            break;
        }
        for letter in letters {
            match letter {
                b'n' => line_feed = false,
                b'e' => escapes = true,
                _ => escapes = false,
            }
        }
        args = rest;
    }
    let mut text = args.join(&b' ');
    if escapes {
        let (plain, stop) = unescape(&text);
        text = plain;
        line_feed &= !stop;
    }
    if line_feed {
        text.push(b'\n');
    }
    let mut out = Out::stdout();
    out.put(&text);
    out.finish()
}

/// Interprets backslash escapes (octal ones as `\0NNN` or `\NNN`). True: `\c` ends all output.
pub fn unescape(text: &[u8]) -> (Vec<u8>, bool) {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        let octal_after_zero =
            rest.len() > 1 && rest[0] == b'0' && (b'0'..=b'7').contains(&rest[1]);
        if octal_after_zero {
            rest = &rest[1..];
        }
        let (byte, length) = match escape(rest) {
            Some(found) => found,
            None if rest.first() == Some(&b'c') => return (plain, true),
            None => (b'\\', 0),
        };
        plain.push(byte);
        rest = &rest[length..];
    }
    (plain, false)
}

/// What the letters after a backslash stand for, and how many they are.
pub fn escape(text: &[u8]) -> Option<(u8, usize)> {
    let digits = |from: usize, most: usize, radix: u32| {
        let digits = text[from..].iter().take(most);
        let digits = digits.map_while(|&b| (b as char).to_digit(radix));
        digits.fold((0u32, 0), |(value, count), digit| {
            (value * radix + digit, count + 1)
        })
    };
    Some(match text.first()? {
        b'a' => (7, 1),
        b'b' => (8, 1),
        b'e' => (0x1b, 1),
        b'f' => (0x0c, 1),
        b'n' => (b'\n', 1),
        b'r' => (b'\r', 1),
        b't' => (b'\t', 1),
        b'v' => (0x0b, 1),
        b'\\' => (b'\\', 1),
        b'x' => match digits(1, 2, 16) {
            (_, 0) => return None,
            (value, count) => (value as u8, 1 + count),
        },
        b'0'..=b'7' => {
            let (value, count) = digits(0, 3, 8);
            (value as u8, count)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_stand_for_bytes() {
        assert_eq!(
            unescape(br"a\tb\\n\0101\x41\q"),
            (b"a\tb\\nAA\\q".to_vec(), false)
        );
        assert_eq!(unescape(br"a\cb"), (b"a".to_vec(), true));
        assert_eq!(unescape(b"\\"), (b"\\".to_vec(), false));
    }
}
