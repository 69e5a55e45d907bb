//! `test EXPRESSION` and `[ EXPRESSION ]`.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use crate::cli;
use crate::sys;

/// `test`. 0: true, 1: false, 2: no expression.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let words: Vec<&[u8]> = args.iter().map(|a| &a[..]).collect();
    match evaluate(&words) {
        Ok(value) => i32::from(!value),
        Err(wrong) => {
            cli::warn(format_args!("test: {wrong}"));
            2
        }
    }
}

/// `[`, whose last argument is `]`.
pub fn bracket(args: &[Vec<u8>]) -> i32 {
    match args.split_last() {
        Some((last, args)) if last == b"]" => main(args),
        _ => {
            cli::warn(format_args!("[: missing ]"));
            2
        }
    }
}

type Value = Result<bool, String>;

/// With up to four words their number alone decides how they are read (POSIX, `test`).
fn evaluate(words: &[&[u8]]) -> Value {
    match words {
        [] => Ok(false),
        [word] => Ok(!word.is_empty()),
        [b"!", word] => Ok(word.is_empty()),
        [operator, word] if is_unary(operator) => unary(operator, word),
        [left, operator, right] if is_binary(operator) => binary(left, operator, right),
        [b"!", rest @ ..] if rest.len() <= 3 => evaluate(rest).map(|v| !v),
        [b"(", rest @ .., b")"] if rest.len() <= 2 => evaluate(rest),
        _ => {
            let mut parser = Parser { words, at: 0 };
            let value = parser.any()?;
            match parser.peek() {
                None => Ok(value),
                Some(word) => Err(format!("{}: unexpected operator", cli::show(word))),
            }
        }
    }
}

struct Parser<'w> {
    words: &'w [&'w [u8]],
    at: usize,
}

impl<'w> Parser<'w> {
    fn peek(&self) -> Option<&'w [u8]> {
        self.words.get(self.at).copied()
    }

    fn take(&mut self, word: &[u8]) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn any(&mut self) -> Value {
        let mut value = self.all()?;
        while self.take(b"-o") {
            value |= self.all()?;
        }
        Ok(value)
    }

    fn all(&mut self) -> Value {
        let mut value = self.not()?;
        while self.take(b"-a") {
            value &= self.not()?;
        }
        Ok(value)
    }

    fn not(&mut self) -> Value {
        let mut negated = false;
        while self.take(b"!") {
            negated = !negated;
        }
        Ok(self.primary()? != negated)
    }

    fn primary(&mut self) -> Value {
        let rest = &self.words[self.at..];
        match rest {
            [] => Err("argument expected".to_owned()),
            [left, operator, right, ..] if is_binary(operator) => {
                self.at += 3;
                binary(left, operator, right)
            }
            [b"(", ..] => {
                self.at += 1;
                let value = self.any()?;
                if !self.take(b")") {
                    return Err("closing parenthesis expected".to_owned());
                }
                Ok(value)
            }
            [operator, word, ..] if is_unary(operator) => {
                self.at += 2;
                unary(operator, word)
            }
            [word, ..] => {
                self.at += 1;
                Ok(!word.is_empty())
            }
        }
    }
}

fn is_unary(operator: &[u8]) -> bool {
    matches!(operator, [b'-', letter] if b"bcdefghknprstuwxzLOGS".contains(letter))
}

fn is_binary(operator: &[u8]) -> bool {
    let operators: [&[u8]; 14] = [
        b"=", b"==", b"!=", b"<", b">", b"-eq", b"-ne", b"-lt", b"-le", b"-gt", b"-ge", b"-nt",
        b"-ot", b"-ef",
    ];
    operators.contains(&operator)
}

fn unary(operator: &[u8], word: &[u8]) -> Value {
    let letter = operator[1];
    match letter {
        b'n' => return Ok(!word.is_empty()),
        b'z' => return Ok(word.is_empty()),
        b't' => return Ok(sys::isatty(integer(word)? as i32)),
        b'r' => return Ok(sys::access(word, libc::R_OK)),
        b'w' => return Ok(sys::access(word, libc::W_OK)),
        b'x' => return Ok(sys::access(word, libc::X_OK)),
        b'h' | b'L' => return Ok(cli::path(word).is_symlink()),
        _ => {}
    }
    let Ok(metadata) = fs::metadata(cli::path(word)) else {
        return Ok(false);
    };
    let kind = metadata.file_type();
    Ok(match letter {
        b'b' => kind.is_block_device(),
        b'c' => kind.is_char_device(),
        b'd' => kind.is_dir(),
        b'f' => kind.is_file(),
        b'p' => kind.is_fifo(),
        b'S' => kind.is_socket(),
        b's' => metadata.size() > 0,
        b'u' => metadata.mode() & 0o4000 != 0,
        b'g' => metadata.mode() & 0o2000 != 0,
        b'k' => metadata.mode() & 0o1000 != 0,
        b'O' => metadata.uid() == sys::geteuid(),
        b'G' => metadata.gid() == sys::getegid(),
        _ => true,
    })
}

fn integer(word: &[u8]) -> Result<i64, String> {
    cli::number(word).ok_or_else(|| format!("{}: no number", cli::show(word)))
}

fn binary(left: &[u8], operator: &[u8], right: &[u8]) -> Value {
    match operator {
        b"=" | b"==" => return Ok(left == right),
        b"!=" => return Ok(left != right),
        b"<" => return Ok(left < right),
        b">" => return Ok(left > right),
        b"-nt" | b"-ot" | b"-ef" => {
            let metadata = |path| fs::metadata(cli::path(path)).ok();
            let (left, right) = (metadata(left), metadata(right));
            let modified = |m: &fs::Metadata| (m.mtime(), m.mtime_nsec());
            let (l, r) = (left.as_ref().map(modified), right.as_ref().map(modified));
            // A file that does not exist is older than one that does.
            return Ok(match operator {
                b"-nt" => l > r,
                b"-ot" => l < r,
                _ => {
                    let identity = |m: &fs::Metadata| (m.dev(), m.ino());
                    left.is_some() && left.as_ref().map(identity) == right.as_ref().map(identity)
                }
            });
        }
        _ => {}
    }
    let (left, right) = (integer(left)?, integer(right)?);
    Ok(match operator {
        b"-eq" => left == right,
        b"-ne" => left != right,
        b"-lt" => left < right,
        b"-le" => left <= right,
        b"-gt" => left > right,
        _ => left >= right,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(expression: &str) -> Value {
        let words: Vec<&[u8]> = expression.split_whitespace().map(str::as_bytes).collect();
        evaluate(&words)
    }

    #[test]
    fn expressions_are_read_by_their_length() {
        for (expression, value) in [
            ("", false),
            ("x", true),
            ("!", true),
            ("-n", true),
            ("! x", false),
            ("-n x", true),
            ("-d /", true),
            ("-f /", false),
            ("a = a", true),
            ("! = !", true),
            ("( = (", true),
            ("1 -lt 2", true),
            ("! 1 -lt 2", false),
            ("( x )", true),
            ("1 -eq 1 -a 2 -eq 3", false),
            ("1 -eq 1 -o 2 -eq 3", true),
            ("! x -o x", false),
            ("( 1 -eq 2 -o x ) -a x", true),
            ("-e /nowhere", false),
        ] {
            assert_eq!(test(expression), Ok(value), "{expression}");
        }
    }

    #[test]
    fn wrong_expressions_are_errors() {
        for expression in ["1 -eq x", "a b", "a b c", "( a -o b c d"] {
            assert!(test(expression).is_err(), "{expression}");
        }
    }
}
