//! The kernel's structures, zeroed.

/// Structures for which all bytes zero are a value.
///
/// # Safety
/// They are integers and raw pointers throughout.
pub unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($name:ty),* $(,)?) => {
        // SAFETY: C structures of integers, pointers and optional function pointers.
        $(unsafe impl Plain for $name {})*
    };
}
plain!(
    libc::epoll_event,
    libc::flock,
    libc::itimerspec,
    libc::itimerval,
    libc::msghdr,
    libc::msqid_ds,
    libc::pollfd,
    libc::rlimit64,
    libc::rusage,
    libc::shmid_ds,
    libc::sigevent,
    libc::siginfo_t,
    libc::signalfd_siginfo,
    libc::sockaddr_un,
    libc::stack_t,
    libc::stat64,
    libc::statfs64,
    libc::sysinfo,
    libc::timespec,
    libc::timeval,
    libc::tms,
    libc::ucred,
    libc::user_regs_struct,
    libc::utsname,
);

/// One of them with all bytes zero.
pub fn zeroed<T: Plain>() -> T {
    // SAFETY: the trait's promise.
    unsafe { std::mem::zeroed() }
}
