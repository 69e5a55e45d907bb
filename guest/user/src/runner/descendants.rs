//! What a test leaves running.

use std::fs;
use std::time::{Duration, Instant};

use super::os;
use crate::sys::{self, Pid};

/// How long processes that are about to end may take for it.
const GRACE: Duration = Duration::from_millis(300);

/// How long killed processes may take to go away.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits a little for the runner's children, by birth and by adoption, to end by themselves; kills
/// those that do not, with all their descendants; gives their number.
pub fn end_all(signals: i32) -> u64 {
    if reap_for(signals, GRACE) {
        return 0;
    }
    let left = children().len() as u64;
    let deadline = Instant::now() + PATIENCE;
    // A killed process hands its children over to the runner: until there are none.
    while Instant::now() < deadline {
        for child in children() {
            let _ = sys::kill(child, libc::SIGKILL);
        }
        if reap_for(signals, Duration::from_millis(20)) {
            break;
        }
    }
    left.max(1)
}

/// Reaps for `time` at most; true: there are no children left.
fn reap_for(signals: i32, time: Duration) -> bool {
    let deadline = Instant::now() + time;
    loop {
        os::drain_signals(signals);
        loop {
            match os::reap() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return true,
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        os::wait_readable([signals, -1], left);
    }
}

/// The runner's children that have not ended, as `/proc` tells.
fn children() -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let me = sys::getpid();
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
            stat.is_ok_and(|stat| parent_if_alive(&stat) == Some(me))
        })
        .collect()
}

/// The parent in a line of `/proc/PID/stat`, unless the process has ended.
fn parent_if_alive(stat: &str) -> Option<Pid> {
    // The name, in parentheses, may hold anything.
    let mut words = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = words.next()?;
    let parent = words.next()?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parent_follows_name_and_state() {
        assert_eq!(parent_if_alive("12 (a) b (c)) S 7 12 12"), Some(7));
    }

    #[test]
    fn ended_process_is_left_out() {
        assert_eq!(parent_if_alive("12 (a) Z 7 12 12"), None);
    }
}
