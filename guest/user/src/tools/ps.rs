//! `ps`: processes, from `/proc`. Options of other systems are taken and show the same.

use std::fs;

use super::names;
use crate::cli::{self, Out};
use crate::sys;

/// Clock ticks in a second, as `/proc` counts (Linux's USER_HZ).
const TICKS: u64 = 100;

/// The applet.
pub fn main(_: &[Vec<u8>]) -> i32 {
    let names = match names::entries(b"/proc") {
        Ok(names) => names,
        Err(error) => {
            cli::warn_error(b"/proc", &error);
            return 1;
        }
    };
    let mut pids: Vec<u32> = names.iter().filter_map(|name| cli::number(name)).collect();
    pids.sort_unstable();
    let width = match sys::isatty(1) {
        true => sys::window_size(1).0,
        false => usize::MAX,
    };
    let mut out = Out::stdout();
    out.line(b"    PID   PPID STAT     TIME COMMAND");
    // One that has ended since is left out.
    for line in pids.iter().filter_map(|pid| describe(*pid)) {
        out.line(&line.as_bytes()[..line.len().min(width)]);
    }
    out.finish()
}

/// A process in one line; `None` if it is gone.
fn describe(pid: u32) -> Option<String> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = cli::show(&stat);
    // The name is in parentheses, and may hold some itself.
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let state = fields.first()?;
    let parent = number(1)?;
    let ticks = number(11).unwrap_or(0) + number(12).unwrap_or(0);
    let seconds = ticks / TICKS;
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = if arguments.is_empty() {
        format!("[{name}]")
    } else {
        let words = arguments.strip_suffix(b"\0").unwrap_or(&arguments);
        words
            .split(|&b| b == 0)
            .map(cli::show)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    Some(format!(
        "{pid:7} {parent:6} {state:<4} {minutes:5}:{seconds:02} {command}"
    ))
}
