//! System calls that the runner alone needs.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use crate::sys::{self, Pid};

fn check(result: libc::c_int) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// From now on the caller inherits the orphans among its descendants.
pub fn adopt_orphans() -> io::Result<()> {
    // SAFETY: the option takes a number.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) }).map(drop)
}

/// The set with SIGCHLD alone.
fn child_signal() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set; the signal's number is valid.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        set.assume_init()
    }
}

/// A descriptor that is readable while SIGCHLD is pending; the signal is blocked.
pub fn child_signal_fd() -> io::Result<i32> {
    let set = child_signal();
    // SAFETY: the set is initialised, the old one is not asked for.
    unsafe {
        check(libc::sigprocmask(
            libc::SIG_BLOCK,
            &set,
            std::ptr::null_mut(),
        ))?;
        check(libc::signalfd(
            -1,
            &set,
            libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
        ))
    }
}

/// In a child: takes SIGCHLD again, as a fresh program expects.
pub fn unblock_child_signal() {
    let set = child_signal();
    // SAFETY: as above.
    unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut()) };
}

/// Takes what is pending from [`child_signal_fd`].
pub fn drain_signals(fd: i32) {
    let mut buffer = [0; 4 * size_of::<libc::signalfd_siginfo>()];
    while sys::read_once(fd, &mut buffer).is_ok_and(|count| count > 0) {}
}

/// Waits until one of two descriptors is readable (or at its end), for `time` at most; says which are.
pub fn wait_readable(fds: [i32; 2], time: Duration) -> [bool; 2] {
    let mut polled = fds.map(|fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    });
    // Rounded up, so that a wait that ends is over.
    let milliseconds = time.as_micros().div_ceil(1000).min(i32::MAX as u128);
    // SAFETY: the array is valid for its length.
    unsafe { libc::poll(polled.as_mut_ptr(), 2, milliseconds as i32) };
    polled.map(|polled| polled.revents != 0)
}

/// A pipe: its reading end does not wait.
pub fn output_pipe() -> io::Result<(i32, i32)> {
    let (reader, writer) = sys::pipe()?;
    // SAFETY: F_SETFL takes flags.
    check(unsafe { libc::fcntl(reader, libc::F_SETFL, libc::O_NONBLOCK) })?;
    Ok((reader, writer))
}

/// A child that has ended, if there is one, with its wait status; Err(ECHILD): there are no children.
pub fn reap() -> io::Result<Option<(Pid, sys::Wait)>> {
    sys::waitpid(-1, libc::WNOHANG)
}
