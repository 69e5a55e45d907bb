//! System calls that std does not offer, as safe functions over file-descriptor numbers.

use std::ffi::{CStr, CString};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// A process or process-group id.
pub type Pid = libc::pid_t;

fn check(result: libc::c_int) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// A NUL-ended copy; bytes after an embedded NUL are dropped, as a C program would.
pub fn c_string(bytes: &[u8]) -> CString {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    CString::new(&bytes[..end]).unwrap_or_default()
}

/// The C library's text for an error number.
pub fn error_text(code: i32) -> String {
    // SAFETY: strerror gives a valid string for every number; it is copied at once, and this
    // program has one thread.
    let text = unsafe { CStr::from_ptr(libc::strerror(code)) };
    text.to_string_lossy().into_owned()
}

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

/// Makes the terminal `fd` the session's controlling terminal.
pub fn set_controlling_terminal(fd: i32) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes an integer.
    check(unsafe { libc::ioctl(fd, libc::TIOCSCTTY as _, 0) }).map(drop)
}

/// The foreground process group of the terminal `fd`.
pub fn tcgetpgrp(fd: i32) -> io::Result<Pid> {
    // SAFETY: no preconditions.
    check(unsafe { libc::tcgetpgrp(fd) })
}

/// Sets the foreground process group of the terminal `fd`.
pub fn tcsetpgrp(fd: i32, pgid: Pid) -> io::Result<()> {
    // SAFETY: no preconditions.
    check(unsafe { libc::tcsetpgrp(fd, pgid) }).map(drop)
}

/// Whether `fd` is a terminal.
pub fn isatty(fd: i32) -> bool {
    // SAFETY: no preconditions.
    unsafe { libc::isatty(fd) == 1 }
}

/// The terminal's settings.
pub fn tcgetattr(fd: i32) -> io::Result<libc::termios> {
    let mut settings = std::mem::MaybeUninit::uninit();
    // SAFETY: tcgetattr fills `settings` if it succeeds, and only then is it taken.
    unsafe {
        check(libc::tcgetattr(fd, settings.as_mut_ptr()))?;
        Ok(settings.assume_init())
    }
}

/// Changes the terminal's settings after pending output has gone out.
pub fn tcsetattr(fd: i32, settings: &libc::termios) -> io::Result<()> {
    // SAFETY: `settings` is a valid termios.
    check(unsafe { libc::tcsetattr(fd, libc::TCSADRAIN, settings) }).map(drop)
}

/// Columns and rows of the terminal, 80 by 24 if it does not say.
pub fn window_size(fd: i32) -> (usize, usize) {
    // SAFETY: all-zero bytes are a valid winsize, and TIOCGWINSZ fills one.
    let (ok, size) = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        (libc::ioctl(fd, libc::TIOCGWINSZ, &mut size) == 0, size)
    };
    match (ok, size.ws_col, size.ws_row) {
        (true, columns, rows) if columns > 0 && rows > 0 => (columns.into(), rows.into()),
        _ => (80, 24),
    }
}

/// Sends a signal; `pid` negative: to a group.
pub fn kill(pid: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: no preconditions.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Opens a file with close-on-exec.
pub fn open(path: &[u8], flags: i32, mode: u32) -> io::Result<i32> {
    let path = c_string(path);
    // SAFETY: `path` ends with NUL.
    check(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, mode) })
}

/// Closes a descriptor.
pub fn close(fd: i32) {
    // SAFETY: closing a number that no Rust object owns; descriptors here are plain numbers.
    unsafe { libc::close(fd) };
}

/// A pipe's reading and writing end, both close-on-exec.
pub fn pipe() -> io::Result<(i32, i32)> {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for two numbers.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    Ok((ends[0], ends[1]))
}

/// Makes `to` a copy of `from` that stays open on exec.
pub fn dup2(from: i32, to: i32) -> io::Result<()> {
    if from == to {
        // SAFETY: F_SETFD takes an integer.
        return check(unsafe { libc::fcntl(from, libc::F_SETFD, 0) }).map(drop);
    }
    // SAFETY: no preconditions beyond those of `close`.
    check(unsafe { libc::dup2(from, to) }).map(drop)
}

/// A copy of `fd` numbered `least` or more, close-on-exec.
pub fn dup_above(fd: i32, least: i32) -> io::Result<i32> {
    // SAFETY: F_DUPFD_CLOEXEC takes an integer.
    check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, least) })
}

/// Reads once; goes on if a signal interrupts.
pub fn read(fd: i32, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match read_once(fd, buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Reads once; an interruption is an error.
pub fn read_once(fd: i32, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer is valid for writing its length.
    let count = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Writes all of `bytes`.
pub fn write_all(fd: i32, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        // SAFETY: the buffer is valid for reading its length.
        let count = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(count) {
            Ok(count) => bytes = &bytes[count..],
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// Moves the file offset relative to where it is; fails on pipes and terminals.
pub fn seek_by(fd: i32, distance: i64) -> io::Result<u64> {
    // SAFETY: no preconditions.
    let offset = unsafe { libc::lseek(fd, distance, libc::SEEK_CUR) };
    u64::try_from(offset).map_err(|_| io::Error::last_os_error())
}

/// Sets the file creation mask, gives the old one.
pub fn umask(mask: u32) -> u32 {
    // SAFETY: no preconditions.
    unsafe { libc::umask(mask) }
}

/// Whether the file may be accessed in the given manner (`libc::R_OK` …).
pub fn access(path: &[u8], how: i32) -> bool {
    let path = c_string(path);
    // SAFETY: `path` ends with NUL.
    unsafe { libc::access(path.as_ptr(), how) == 0 }
}

/// Makes a named pipe.
pub fn mkfifo(path: &[u8], mode: u32) -> io::Result<()> {
    let path = c_string(path);
    // SAFETY: `path` ends with NUL.
    check(unsafe { libc::mkfifo(path.as_ptr(), mode) }).map(drop)
}

/// Sets access and modification time, `None` for now; follows symbolic links.
pub fn set_times(path: &[u8], times: Option<[libc::timespec; 2]>) -> io::Result<()> {
    let path = c_string(path);
    let times = times.as_ref().map_or(std::ptr::null(), |t| t.as_ptr());
    // SAFETY: `path` ends with NUL, `times` is null or two timespecs.
    check(unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), times, 0) }).map(drop)
}

/// Writes all that the kernel holds back.
pub fn sync() {
    // SAFETY: no preconditions.
    unsafe { libc::sync() };
}

/// Stops the machine: `libc::RB_POWER_OFF`, `libc::RB_AUTOBOOT`.
pub fn reboot(how: i32) -> io::Result<()> {
    // SAFETY: no preconditions.
    check(unsafe { libc::reboot(how) }).map(drop)
}

/// Mounts `source` at `target`.
pub fn mount(source: &[u8], target: &[u8], kind: &[u8], flags: u64, data: &[u8]) -> io::Result<()> {
    let (source, target) = (c_string(source), c_string(target));
    let (kind, data) = (c_string(kind), c_string(data));
    // SAFETY: all strings end with NUL.
    let result = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr().cast(),
        )
    };
    check(result).map(drop)
}

/// Unmounts what is mounted at `target`.
pub fn umount(target: &[u8]) -> io::Result<()> {
    let target = c_string(target);
    // SAFETY: `target` ends with NUL.
    check(unsafe { libc::umount2(target.as_ptr(), 0) }).map(drop)
}

/// Space on the file system that holds `path`.
pub fn statvfs(path: &[u8]) -> io::Result<libc::statvfs> {
    let path = c_string(path);
    let mut space = std::mem::MaybeUninit::uninit();
    // SAFETY: statvfs fills `space` if it succeeds, and only then is it taken.
    unsafe {
        check(libc::statvfs(path.as_ptr(), space.as_mut_ptr()))?;
        Ok(space.assume_init())
    }
}

/// The fields of `uname`: system, node, release, version, machine.
pub fn uname() -> io::Result<[Vec<u8>; 5]> {
    // SAFETY: all-zero bytes are a valid utsname; uname fills it with strings ended by NUL.
    unsafe {
        let mut names: libc::utsname = std::mem::zeroed();
        check(libc::uname(&mut names))?;
        let text = |field: &[libc::c_char]| CStr::from_ptr(field.as_ptr()).to_bytes().to_vec();
        Ok([
            text(&names.sysname),
            text(&names.nodename),
            text(&names.release),
            text(&names.version),
            text(&names.machine),
        ])
    }
}

/// Sleeps; returns early if a signal is caught.
pub fn sleep(seconds: u64, nanoseconds: u32) {
    let time = libc::timespec {
        tv_sec: seconds as _,
        tv_nsec: nanoseconds.into(),
    };
    // SAFETY: `time` is valid; the remaining time is not asked for.
    unsafe { libc::nanosleep(&time, std::ptr::null_mut()) };
}

/// Broken-down time of `seconds` since 1970: local (by `TZ`) or UTC.
pub fn broken_down(seconds: i64, utc: bool) -> libc::tm {
    // SAFETY: both functions fill the tm they are given.
    unsafe {
        let mut time: libc::tm = std::mem::zeroed();
        let seconds = seconds as _;
        if utc {
            libc::gmtime_r(&seconds, &mut time);
            // musl says UTC and takes no other name; glibc says GMT.
            if cfg!(target_env = "gnu") {
                time.tm_zone = c"UTC".as_ptr();
            }
        } else {
            libc::localtime_r(&seconds, &mut time);
        }
        time
    }
}

/// Broken-down time by a format of `strftime`.
pub fn format_time(format: &[u8], time: &libc::tm) -> Vec<u8> {
    // A result may be empty by right; the mark tells that from one that does not fit.
    let format = c_string(&[format, b"|"].concat());
    let mut text = vec![0; 128];
    loop {
        // SAFETY: the buffer is valid for writing its length, `format` ends with NUL.
        let length =
            unsafe { libc::strftime(text.as_mut_ptr().cast(), text.len(), format.as_ptr(), time) };
        if length > 0 || text.len() > 1 << 16 {
            text.truncate(length.saturating_sub(1));
            return text;
        }
        text.resize(2 * text.len(), 0);
    }
}

/// Writes a file's data and metadata to its device.
pub fn fsync(fd: i32) -> io::Result<()> {
    // SAFETY: no preconditions.
    check(unsafe { libc::fsync(fd) }).map(drop)
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
