//! Where gnomon's own messages go: standard error, a line each.

use std::io::Write;

use log::{LevelFilter, Log, Metadata, Record};

use crate::terminal::LineWriter;

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = format!("gnomon: {}\n", record.args());
            let _ = LineWriter(std::io::stderr()).write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// Show messages up to the level in the environment variable `GNOMON_LOG` (error, warn, info,
/// debug, trace), warnings and errors otherwise.
pub fn init() {
    let level = std::env::var("GNOMON_LOG")
        .ok()
        .and_then(|level| level.parse().ok())
        .unwrap_or(LevelFilter::Warn);
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(level);
    }
}
