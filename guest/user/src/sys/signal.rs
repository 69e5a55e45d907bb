//! Signals: their names, sending and catching them.

use std::ffi::CStr;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Pid, check};

/// Sends a signal; `pid` negative: to a group.
pub fn kill(pid: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: no preconditions.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Signals that [`catch`] has caught and [`take_caught`] has not yet taken, bit n for signal n.
static CAUGHT: AtomicU64 = AtomicU64::new(0);

extern "C" fn note_signal(signal: libc::c_int) {
    CAUGHT.fetch_or(1 << signal, Ordering::Relaxed);
}

/// What a signal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The kernel's default.
    Default,
    /// Nothing.
    Ignore,
    /// It is noted for [`take_caught`]; interrupted calls fail with EINTR.
    Catch,
}

/// Sets what `signal` does; gives whether it was ignored before.
pub fn set_signal(signal: i32, disposition: Disposition) -> io::Result<bool> {
    // SAFETY: the handler touches an atomic alone; all-zero bytes are a valid sigaction.
    unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        let mut old: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = match disposition {
            Disposition::Default => libc::SIG_DFL,
            Disposition::Ignore => libc::SIG_IGN,
            Disposition::Catch => note_signal as *const () as usize,
        };
        check(libc::sigaction(signal, &new, &mut old))?;
        Ok(old.sa_sigaction == libc::SIG_IGN)
    }
}

/// Whether `signal` is ignored.
pub fn is_ignored(signal: i32) -> bool {
    // SAFETY: a null new action only asks; all-zero bytes are a valid sigaction.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut old) == 0
            && old.sa_sigaction == libc::SIG_IGN
    }
}

/// Takes the set of signals caught since the last call, bit n for signal n.
pub fn take_caught() -> u64 {
    CAUGHT.swap(0, Ordering::Relaxed)
}

/// Whether a signal has been caught and not taken yet.
pub fn any_caught() -> bool {
    CAUGHT.load(Ordering::Relaxed) != 0
}

/// Puts a signal back among the caught ones.
pub fn put_back_caught(signal: i32) {
    note_signal(signal);
}

/// Signal names and numbers.
pub const SIGNALS: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

/// The signal that `name` (`INT`, `SIGINT`, `2`) means; 0 is `EXIT`.
pub fn signal_number(name: &[u8]) -> Option<i32> {
    let text = std::str::from_utf8(name).ok()?.to_ascii_uppercase();
    if let Ok(number) = text.parse::<i32>() {
        return (0..64).contains(&number).then_some(number);
    }
    let short = text.strip_prefix("SIG").unwrap_or(&text);
    if short == "EXIT" {
        return Some(0);
    }
    SIGNALS.iter().find(|(n, _)| *n == short).map(|(_, s)| *s)
}

/// The name of a signal, without `SIG`.
pub fn signal_name(signal: i32) -> Option<&'static str> {
    SIGNALS.iter().find(|(_, s)| *s == signal).map(|(n, _)| *n)
}

/// What a shell says about a program that `signal` has killed.
pub fn signal_text(signal: i32) -> String {
    // SAFETY: strsignal gives a valid string; it is copied at once, and this program has one
    // thread.
    unsafe {
        let text = libc::strsignal(signal);
        if text.is_null() {
            return format!("signal {signal}");
        }
        CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}
