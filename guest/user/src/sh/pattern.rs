//! Shell patterns: `*`, `?`, `[…]`, with `\` before a byte that means itself.

/// Whether `text` as a whole matches `pattern`.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on after the last star has swallowed one byte more.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = if p < pattern.len() {
            if pattern[p] == b'*' {
                retry = Some((p + 1, t));
                p += 1;
                continue;
            }
            text.get(t).and_then(|&byte| match_one(&pattern[p..], byte))
        } else if t == text.len() {
            return true;
        } else {
            None
        };
        match (step, retry) {
            (Some(length), _) => {
                p += length;
                t += 1;
            }
            (None, Some((after_star, from))) if from < text.len() => {
                retry = Some((after_star, from + 1));
                (p, t) = (after_star, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// Matches one byte against the start of a pattern that is not a star: the length of what it
/// matched.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern[0] {
        b'?' => Some(1),
        b'\\' if pattern.len() > 1 => (pattern[1] == byte).then_some(2),
        b'[' => match bracket(pattern, byte) {
            Some((true, length)) => Some(length),
            Some((false, _)) => None,
            None => (byte == b'[').then_some(1),
        },
        literal => (literal == byte).then_some(1),
    }
}

/// A bracket expression: whether it matches, and its length; `None` if it is not closed.
pub fn bracket(pattern: &[u8], byte: u8) -> Option<(bool, usize)> {
    let mut at = 1;
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    if negated {
        at += 1;
    }
    let first = at;
    let mut found = false;
    loop {
        let mut low = *pattern.get(at)?;
        if low == b']' && at > first {
            return Some((found != negated, at + 1));
        }
        if low == b'[' && pattern.get(at + 1) == Some(&b':') {
            let end = at + 2 + pattern[at + 2..].windows(2).position(|w| w == b":]")?;
            found |= in_class(&pattern[at + 2..end], byte);
            at = end + 2;
            continue;
        }
        if low == b'\\' {
            at += 1;
            low = *pattern.get(at)?;
        }
        at += 1;
        let mut high = low;
        if pattern.get(at) == Some(&b'-') && pattern.get(at + 1).is_some_and(|&b| b != b']') {
            at += 1;
            if pattern[at] == b'\\' {
                at += 1;
            }
            high = *pattern.get(at)?;
            at += 1;
        }
        found |= (low..=high).contains(&byte);
    }
}

/// Whether a byte is in the class that `[:name:]` names.
pub fn in_class(name: &[u8], byte: u8) -> bool {
    match name {
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"alpha" => byte.is_ascii_alphabetic(),
        b"blank" => byte == b' ' || byte == b'\t',
        b"cntrl" => byte.is_ascii_control(),
        b"digit" => byte.is_ascii_digit(),
        b"graph" => byte.is_ascii_graphic(),
        b"lower" => byte.is_ascii_lowercase(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"punct" => byte.is_ascii_punctuation(),
        b"space" => byte.is_ascii_whitespace() || byte == 0x0b,
        b"upper" => byte.is_ascii_uppercase(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => false,
    }
}

/// `text` with a backslash before every byte that means something in a pattern.
pub fn escape(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        if b"*?[]\\-!^".contains(&byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

/// The text that an escaped pattern without wildcards stands for.
pub fn unescape(pattern: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(pattern.len());
    let mut bytes = pattern.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => text.push(*bytes.next().unwrap_or(&b'\\')),
            _ => text.push(byte),
        }
    }
    text
}

/// Whether a pattern has wildcards.
pub fn is_pattern(pattern: &[u8]) -> bool {
    let mut bytes = pattern.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// The paths that match `pattern`, sorted; none if nothing does.
pub fn glob(pattern: &[u8]) -> Vec<Vec<u8>> {
    let mut found = vec![Vec::new()];
    let mut components = pattern.split(|&b| b == b'/').enumerate().peekable();
    while let Some((index, component)) = components.next() {
        let last = components.peek().is_none();
        let mut next = Vec::new();
        for mut prefix in found {
            if index > 0 {
                prefix.push(b'/');
            }
            if is_pattern(component) {
                for name in names_in(&prefix) {
                    let hidden = name[0] == b'.' && component[0] != b'.';
                    if !hidden && matches(component, &name) {
                        next.push([&prefix[..], &name].concat());
                    }
                }
            } else {
                prefix.extend(unescape(component));
                next.push(prefix);
            }
        }
        // What has only been put together so far must also exist.
        next.retain(|path| {
            let path = crate::cli::path(path);
            if last {
                path.symlink_metadata().is_ok()
            } else {
                path.as_os_str().is_empty() || path.is_dir()
            }
        });
        found = next;
    }
    found.sort();
    found
}

fn names_in(directory: &[u8]) -> Vec<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    let directory = if directory.is_empty() {
        b"."
    } else {
        directory
    };
    let Ok(entries) = std::fs::read_dir(crate::cli::path(directory)) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|e| e.file_name().into_vec())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_standard_says() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("*.rs", "main.rs", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]x]", "]", true),
            ("[a", "[a", true),
            (r"\*", "*", true),
            (r"\*", "a", false),
            ("[[:digit:]]*", "1x", true),
            ("*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn escaped_text_matches_itself_alone() {
        let mut pattern = Vec::new();
        escape(b"a*[b]?", &mut pattern);
        assert!(!is_pattern(&pattern));
        assert!(matches(&pattern, b"a*[b]?"));
        assert!(!matches(&pattern, b"axb?"));
        assert_eq!(unescape(&pattern), b"a*[b]?");
    }
}
