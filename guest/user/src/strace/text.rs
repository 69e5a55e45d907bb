//! Bytes as a C string.

use std::fmt::Write;

/// `bytes` in quotes, escaped; `…` behind it if it goes on.
pub fn quote(bytes: &[u8], whole: bool) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for (index, &byte) in bytes.iter().enumerate() {
        match byte {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'\r' => text.push_str("\\r"),
            0x0b => text.push_str("\\v"),
            0x0c => text.push_str("\\f"),
            b' '..=b'~' => text.push(byte as char),
            _ => {
                // As few digits as can be, unless another octal digit follows.
                let digit_follows = bytes
                    .get(index + 1)
                    .is_some_and(|next| (b'0'..=b'7').contains(next));
                let _ = if digit_follows {
                    write!(text, "\\{byte:03o}")
                } else {
                    write!(text, "\\{byte:o}")
                };
            }
        }
    }
    text.push('"');
    if !whole {
        text.push_str("...");
    }
    text
}
