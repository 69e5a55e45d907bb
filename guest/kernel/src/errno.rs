//! Error numbers of system calls: Linux's values (`errno(3)`), plus the kernel's own restart codes,
//! which the signal code turns into a restart or into `EINTR` and a program never sees. The numbers
//! that something here returns are listed; Linux has more.

/// The result of anything that can fail with an error number.
pub type KResult<T> = Result<T, Errno>;

/// An error number; always positive.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Errno(i32);

impl Errno {
    /// The number itself, positive.
    pub const fn code(self) -> i32 {
        self.0
    }

    /// What a system call leaves in `rax`: the negated number.
    pub const fn to_ret(self) -> usize {
        (-(self.0 as isize)) as usize
    }

    /// An error from a positive number found elsewhere.
    pub const fn from_code(code: i32) -> Errno {
        Errno(code)
    }
}

impl core::fmt::Debug for Errno {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "errno {}", self.0)
    }
}

/// Defines [`Errno`]'s constants.
macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident = $n:literal;)*) => {
        impl Errno {
            $($(#[$doc])* pub const $name: Errno = Errno($n);)*
        }
    };
}

errnos! {
    /// Operation not permitted.
    EPERM = 1;
    /// No such file or directory.
    ENOENT = 2;
    /// No such process.
    ESRCH = 3;
    /// Interrupted system call.
    EINTR = 4;
    /// Input/output error.
    EIO = 5;
    /// No such device or address.
    ENXIO = 6;
    /// Argument list too long.
    E2BIG = 7;
    /// Exec format error.
    ENOEXEC = 8;
    /// Bad file descriptor.
    EBADF = 9;
    /// No child processes.
    ECHILD = 10;
    /// Resource temporarily unavailable.
    EAGAIN = 11;
    /// Cannot allocate memory.
    ENOMEM = 12;
    /// Permission denied.
    EACCES = 13;
    /// Bad address.
    EFAULT = 14;
    /// Block device required.
    ENOTBLK = 15;
    /// Device or resource busy.
    EBUSY = 16;
    /// File exists.
    EEXIST = 17;
    /// Invalid cross-device link.
    EXDEV = 18;
    /// No such device.
    ENODEV = 19;
    /// Not a directory.
    ENOTDIR = 20;
    /// Is a directory.
    EISDIR = 21;
    /// Invalid argument.
    EINVAL = 22;
    /// Too many open files.
    EMFILE = 24;
    /// Inappropriate ioctl for device.
    ENOTTY = 25;
    /// Text file busy.
    ETXTBSY = 26;
    /// File too large.
    EFBIG = 27;
    /// No space left on device.
    ENOSPC = 28;
    /// Illegal seek.
    ESPIPE = 29;
    /// Read-only file system.
    EROFS = 30;
    /// Too many links.
    EMLINK = 31;
    /// Broken pipe.
    EPIPE = 32;
    /// Argument outside of a function's domain.
    EDOM = 33;
    /// Numerical result out of range.
    ERANGE = 34;
    /// Resource deadlock avoided.
    EDEADLK = 35;
    /// File name too long.
    ENAMETOOLONG = 36;
    /// No locks available.
    ENOLCK = 37;
    /// Function not implemented.
    ENOSYS = 38;
    /// Directory not empty.
    ENOTEMPTY = 39;
    /// Too many levels of symbolic links.
    ELOOP = 40;
    /// No message of desired type.
    ENOMSG = 42;
    /// Identifier removed.
    EIDRM = 43;
    /// Value too large for defined data type.
    EOVERFLOW = 75;
    /// Socket operation on non-socket.
    ENOTSOCK = 88;
    /// Message too long.
    EMSGSIZE = 90;
    /// Protocol wrong type for socket.
    EPROTOTYPE = 91;
    /// Protocol not available.
    ENOPROTOOPT = 92;
    /// Protocol not supported.
    EPROTONOSUPPORT = 93;
    /// Socket type not supported.
    ESOCKTNOSUPPORT = 94;
    /// Operation not supported.
    EOPNOTSUPP = 95;
    /// Address family not supported by protocol.
    EAFNOSUPPORT = 97;
    /// Address already in use.
    EADDRINUSE = 98;
    /// Transport endpoint is already connected.
    EISCONN = 106;
    /// Transport endpoint is not connected.
    ENOTCONN = 107;
    /// Connection timed out.
    ETIMEDOUT = 110;
    /// Connection refused.
    ECONNREFUSED = 111;
    /// Stale file handle.
    ESTALE = 116;
    /// Kernel only: interrupted by a signal; restart if the handler has `SA_RESTART`.
    ERESTARTSYS = 512;
    /// Kernel only: interrupted by a signal; restart in any case.
    ERESTARTNOINTR = 513;
    /// Kernel only: interrupted by a signal; restart if no handler ran.
    ERESTARTNOHAND = 514;
    /// Kernel only: restart by `restart_syscall`.
    ERESTART_RESTARTBLOCK = 516;
}
