//! `date [-Iu] [-R] [-d TIME | -r FILE] [+FORMAT]`: the time of day, TIME, or that of a file. TIME is
//! `@SECONDS` or `YYYY-MM-DD [HH:MM[:SS]]`.

use std::os::unix::fs::MetadataExt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::{self, Options, Out};
use crate::sys;

/// The applet.
pub fn main(args: &[Vec<u8>]) -> i32 {
    let options = match Options::parse(args, "IRud:r:") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let utc = options.has(b'u');
    let seconds = match (options.value(b'd'), options.value(b'r')) {
        (Some(text), _) => match parse(text, utc) {
            Some(seconds) => seconds,
            None => return refuse(text),
        },
        (None, Some(file)) => match std::fs::metadata(cli::path(file)) {
            Ok(metadata) => metadata.mtime(),
            Err(error) => {
                cli::warn_error(file, &error);
                return 1;
            }
        },
        (None, None) => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs() as i64),
    };
    let format = match options.operands.first() {
        None if options.has(b'R') => b"%a, %d %b %Y %H:%M:%S %z".to_vec(),
        None if options.has(b'I') => b"%Y-%m-%d".to_vec(),
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
    out.line(&sys::format_time(&format, &sys::broken_down(seconds, utc)));
    out.finish()
}

/// Seconds since 1970 of `@SECONDS` or `YYYY-MM-DD [HH:MM[:SS]]`, a local time if not `utc`.
pub fn parse(text: &[u8], utc: bool) -> Option<i64> {
    if let Some(seconds) = text.strip_prefix(b"@") {
        return cli::number(seconds);
    }
    let text = std::str::from_utf8(text).ok()?;
    let (day, time) = text.split_once([' ', 'T']).unwrap_or((text, "00:00"));
    let fields = |text: &str, separator: char| -> Option<Vec<i32>> {
        text.split(separator)
            .map(|field| field.parse().ok().filter(|number| *number >= 0))
            .collect()
    };
    let (day, time) = (fields(day, '-')?, fields(time, ':')?);
    let (&[year, month, day], &[hour, minute, ref second @ ..]) = (&day[..], &time[..]) else {
        return None;
    };
    let second = match second {
        [] => 0,
        [second] => *second,
        _ => return None,
    };
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24;
    if !valid || minute > 59 || second > 60 {
        return None;
    }
    sys::seconds_of([year, month, day, hour, minute, second], utc)
}

/// Says that `text` is no time; the status.
pub fn refuse(text: &[u8]) -> i32 {
    cli::warn(format_args!(
        "{}: no time; use @SECONDS or YYYY-MM-DD HH:MM:SS",
        cli::show(text)
    ));
    1
}
