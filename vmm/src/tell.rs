//! Words for the user that may be lost: unlike `println!`, nothing here panics when nobody reads.

use std::fmt::Arguments;
use std::io::Write;

/// Write to standard output. A reader that has gone away is no fault.
pub fn out(text: Arguments<'_>) {
    let _ = std::io::stdout().write_fmt(text);
}

/// Write to standard error, in one piece. A reader that has gone away is no fault.
pub fn err(text: Arguments<'_>) {
    let _ = std::io::stderr().write_all(text.to_string().as_bytes());
}
