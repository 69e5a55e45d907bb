//! Words for the user: unlike `println!`, nothing here panics when nobody reads.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;

/// Why standard output has lost something.
static LOST: OnceLock<String> = OnceLock::new();

/// Write to standard output. A reader that has gone away is no fault; anything else that fails is
/// told by [`lost`].
pub fn out(text: Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    note(stdout.write_fmt(text).and_then(|()| stdout.flush()));
}

/// Note what has become of a write to standard output.
pub fn note(result: io::Result<()>) {
    if let Err(error) = result
        && error.kind() != ErrorKind::BrokenPipe
    {
        LOST.get_or_init(|| format!("standard output: {error}"));
    }
}

/// Why something that was written to standard output has been lost, if it has.
pub fn lost() -> Option<&'static str> {
    LOST.get().map(String::as_str)
}

/// Write to standard error, in one piece. A reader that has gone away is no fault.
pub fn err(text: Arguments<'_>) {
    let _ = io::stderr().write_all(text.to_string().as_bytes());
}
