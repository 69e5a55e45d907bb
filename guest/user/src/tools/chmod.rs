//! `chmod [-R] MODE FILE…`: changes permissions.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::names;
use crate::cli::{self, Options};

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    // A mode may start with a dash, as in `chmod -x FILE`.
    let is_mode = |arg: &[u8]| {
        arg.len() > 1 && arg[0] == b'-' && arg[1..].iter().all(|b| b"rwxXst".contains(b))
    };
    let (modes, others): (Vec<_>, Vec<_>) = args.iter().cloned().partition(|a| is_mode(a));
    let mut options = match Options::parse(&others, "Rfv") {
        Ok(options) => options,
        Err(status) => return status,
    };
    if let Some(mode) = modes.first() {
        options.operands.insert(0, mode.clone());
    }
    let Some((mode, files)) = options
        .operands
        .split_first()
        .filter(|(_, f)| !f.is_empty())
    else {
        cli::warn(format_args!("usage: chmod [-R] MODE FILE…"));
        return 2;
    };
    if parse_mode(mode, 0, false).is_none() {
        cli::warn(format_args!("invalid mode: {}", cli::show(mode)));
        return 1;
    }
    let mut status = 0;
    for file in files {
        status |= change(file, mode, options.has(b'R'));
    }
    status
}

fn change(file: &[u8], mode: &[u8], recursive: bool) -> i32 {
    let path = cli::path(file);
    let changed = fs::metadata(path).and_then(|metadata| {
        let new = parse_mode(mode, metadata.mode() & 0o7777, metadata.is_dir());
        let new = new.unwrap_or(metadata.mode() & 0o7777);
        fs::set_permissions(path, fs::Permissions::from_mode(new))?;
        if recursive && metadata.is_dir() {
            return names::entries(file);
        }
        Ok(Vec::new())
    });
    match changed {
        Ok(names) => {
            let mut status = 0;
            for name in names {
                let inner = names::join(file, &name);
                if !cli::path(&inner).is_symlink() {
                    status |= change(&inner, mode, true);
                }
            }
            status
        }
        Err(error) => {
            cli::warn_error(file, &error);
            1
        }
    }
}

/// The mode that `text` makes of `current`: octal, or clauses such as `u+x,go-w`. `None` if the
/// text is no mode. `directory`: `X` then means `x`.
pub fn parse_mode(text: &[u8], current: u32, directory: bool) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?;
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return u32::from_str_radix(text, 8).ok().filter(|m| *m <= 0o7777);
    }
    let mut mode = current;
    for clause in text.split(',') {
        let letters = clause.len() - clause.trim_start_matches(['u', 'g', 'o', 'a']).len();
        let (who, mut actions) = clause.split_at(letters);
        let mut mask = who.bytes().fold(0, |mask, letter| {
            mask | match letter {
                b'u' => 0o4700,
                b'g' => 0o2070,
                b'o' => 0o1007,
                _ => 0o7777,
            }
        });
        if who.is_empty() {
            let umask = crate::sys::umask(0);
            crate::sys::umask(umask);
            mask = 0o7777 & !umask;
        }
        if actions.is_empty() {
            return None;
        }
        while let Some(operator) = actions.chars().next() {
            actions = actions.get(1..)?;
            let end = actions.find(['+', '-', '=']).unwrap_or(actions.len());
            let (letters, rest) = actions.split_at(end);
            actions = rest;
            let mut bits = 0;
            for letter in letters.chars() {
                bits |= match letter {
                    'r' => 0o444,
                    'w' => 0o222,
                    'x' => 0o111,
                    'X' if directory || mode & 0o111 != 0 => 0o111,
                    'X' => 0,
                    's' => 0o6000,
                    't' => 0o1000,
                    'u' => (mode >> 6 & 7) * 0o111,
                    'g' => (mode >> 3 & 7) * 0o111,
                    'o' => (mode & 7) * 0o111,
                    _ => return None,
                };
            }
            // `+t` alone is for the file as a whole.
            let bits = bits & (mask | if who.is_empty() { 0o1000 } else { 0 });
            match operator {
                '+' => mode |= bits,
                '-' => mode &= !bits,
                '=' => mode = mode & !(mask & 0o777) & !(mask & 0o7000 & !bits) | bits,
                _ => return None,
            }
        }
    }
    Some(mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_or_symbolic() {
        for (text, current, mode) in [
            ("644", 0, Some(0o644)),
            ("u+x", 0o644, Some(0o744)),
            ("a=r", 0o777, Some(0o444)),
            ("go-rwx", 0o777, Some(0o700)),
            ("u=rw,g=u,o=", 0o777, Some(0o660)),
            ("a+X", 0o644, Some(0o644)),
            ("u+s", 0o755, Some(0o4755)),
            ("u+q", 0, None),
            ("u", 0, None),
            ("9", 0, None),
            ("77777", 0, None),
        ] {
            assert_eq!(parse_mode(text.as_bytes(), current, false), mode, "{text}");
        }
    }
}
