//! `sleep NUMBER[smhd]…`: waits.

use crate::{cli, sys};

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    if args.is_empty() {
        cli::warn(format_args!("a time is missing"));
        return 1;
    }
    let mut total = 0.0;
    for arg in args {
        let Some(seconds) = seconds(arg) else {
            cli::warn(format_args!("{}: no time", cli::show(arg)));
            return 1;
        };
        total += seconds;
    }
    // Rounding gives a second too few or too many at the most, at the end of time.
    sys::sleep(total as u64, (total.fract() * 1e9) as u32);
    0
}

fn seconds(text: &[u8]) -> Option<f64> {
    let (digits, factor) = match text.last()? {
        b's' => (&text[..text.len() - 1], 1.0),
        b'm' => (&text[..text.len() - 1], 60.0),
        b'h' => (&text[..text.len() - 1], 3600.0),
        b'd' => (&text[..text.len() - 1], 86_400.0),
        _ => (text, 1.0),
    };
    cli::number::<f64>(digits)
        .filter(|n| *n >= 0.0)
        .map(|n| n * factor)
}
