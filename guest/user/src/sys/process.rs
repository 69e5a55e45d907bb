//! Processes: making them, waiting for them, what they are and may use.

use std::io;

use super::{Pid, check};

/// Duplicates the calling process. 0 in the child.
pub fn fork() -> io::Result<Pid> {
    // The C library's fork makes seven system calls more, for locks and threads that there are
    // not here.
    // SAFETY: this program has one thread, so the child may go on as the parent would.
    let pid = unsafe { libc::syscall(libc::SYS_fork) };
    check(pid as libc::c_int)
}

/// How a child changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It exited with this status.
    Exited(i32),
    /// It was killed by this signal.
    Signaled(i32),
    /// It was killed by this signal and has left a core image.
    Dumped(i32),
    /// It was stopped by this signal.
    Stopped(i32),
    /// It goes on after a stop.
    Continued,
}

impl Wait {
    fn decode(status: i32) -> Self {
        if libc::WIFEXITED(status) {
            Wait::Exited(libc::WEXITSTATUS(status))
        } else if libc::WIFSTOPPED(status) {
            Wait::Stopped(libc::WSTOPSIG(status))
        } else if libc::WIFCONTINUED(status) {
            Wait::Continued
        } else if libc::WCOREDUMP(status) {
            Wait::Dumped(libc::WTERMSIG(status))
        } else {
            Wait::Signaled(libc::WTERMSIG(status))
        }
    }

    /// The status a shell gives: 128+n for signal n.
    pub fn status(self) -> i32 {
        match self {
            Wait::Exited(status) => status,
            Wait::Signaled(signal) | Wait::Dumped(signal) | Wait::Stopped(signal) => 128 + signal,
            Wait::Continued => 0,
        }
    }
}

/// Waits for a change of a child (`pid` -1: any). `None`: nothing yet (with `WNOHANG`).
pub fn waitpid(pid: Pid, flags: i32) -> io::Result<Option<(Pid, Wait)>> {
    let mut status = 0;
    // SAFETY: `status` is valid for writing.
    let pid = check(unsafe { libc::waitpid(pid, &mut status, flags) })?;
    Ok((pid != 0).then(|| (pid, Wait::decode(status))))
}

/// Waits until a child has ended.
pub fn wait_for(pid: Pid) -> io::Result<Wait> {
    loop {
        match waitpid(pid, 0) {
            Ok(Some((_, wait))) => return Ok(wait),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Ends the process at once, without any clean-up.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}

/// The process id.
pub fn getpid() -> Pid {
    // SAFETY: no preconditions.
    unsafe { libc::getpid() }
}

/// The parent's process id.
pub fn getppid() -> Pid {
    // SAFETY: no preconditions.
    unsafe { libc::getppid() }
}

/// The effective user id.
pub fn geteuid() -> u32 {
    // SAFETY: no preconditions.
    unsafe { libc::geteuid() }
}

/// The effective group id.
pub fn getegid() -> u32 {
    // SAFETY: no preconditions.
    unsafe { libc::getegid() }
}

/// The process group.
pub fn getpgrp() -> Pid {
    // SAFETY: no preconditions.
    unsafe { libc::getpgrp() }
}

/// Puts `pid` (0: itself) into the group `pgid` (0: its own).
pub fn setpgid(pid: Pid, pgid: Pid) -> io::Result<()> {
    // SAFETY: no preconditions.
    check(unsafe { libc::setpgid(pid, pgid) }).map(drop)
}

/// Starts a session.
pub fn setsid() -> io::Result<Pid> {
    // SAFETY: no preconditions.
    check(unsafe { libc::setsid() })
}

/// Sets the file creation mask, gives the old one.
pub fn umask(mask: u32) -> u32 {
    // SAFETY: no preconditions.
    unsafe { libc::umask(mask) }
}

/// Processor time used so far: user and system of the process, user and system of its children,
/// in ticks of 1/100 s.
pub fn times() -> [u64; 4] {
    // SAFETY: times fills the tms it is given.
    unsafe {
        let mut used: libc::tms = std::mem::zeroed();
        libc::times(&mut used);
        [
            used.tms_utime,
            used.tms_stime,
            used.tms_cutime,
            used.tms_cstime,
        ]
        .map(|t| t as u64)
    }
}

/// A resource limit (`libc::RLIMIT_…`): soft, hard.
pub fn getrlimit(resource: u32) -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid for writing.
    check(unsafe { libc::getrlimit(resource as _, &mut limit) })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// Sets a resource limit.
pub fn setrlimit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: `limit` is valid.
    check(unsafe { libc::setrlimit(resource as _, &limit) }).map(drop)
}

/// Environment as `NAME=value` strings.
pub fn environment() -> Vec<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    std::env::vars_os()
        .map(|(name, value)| {
            let mut entry = name.into_vec();
            entry.push(b'=');
            entry.extend(value.into_vec());
            entry
        })
        .collect()
}
