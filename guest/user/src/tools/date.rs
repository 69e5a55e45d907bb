//! `date [-u] [-d @SECONDS] [+FORMAT]`: the time of day.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::{self, Options, Out};
use crate::sys;

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "ud:") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let seconds = match options.value(b'd') {
        Some(text) => {
            let seconds = text.strip_prefix(b"@").and_then(cli::number::<i64>);
            let Some(seconds) = seconds else {
                cli::warn(format_args!("{}: use @SECONDS", cli::show(text)));
                return 1;
            };
            seconds
        }
        None => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs() as i64),
    };
    let format = match options.operands.first() {
        None => b"%a %b %e %H:%M:%S %Z %Y".to_vec(),
        Some(operand) => match operand.strip_prefix(b"+") {
            Some(format) => format.to_vec(),
            None => {
                cli::warn(format_args!(
                    "{}: a format starts with +",
                    cli::show(operand)
                ));
                return 1;
            }
        },
    };
    let mut out = Out::stdout();
    out.line(&sys::format_time(
        &format,
        &sys::broken_down(seconds, options.has(b'u')),
    ));
    out.finish()
}
