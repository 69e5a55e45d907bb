//! Kinds of arguments.

use crate::flags::Names;

/// What an argument is. `Out…` ones are filled by the kernel and shown when the call is over.
#[derive(Clone, Copy)]
pub enum Arg {
    /// A signed number of 32 bits.
    Int,
    /// A signed number of 64 bits.
    Long,
    /// An unsigned number of 64 bits.
    Size,
    /// A number in hexadecimal.
    Hex,
    /// Permissions, in octal.
    Mode,
    /// A device number.
    Device,
    /// A descriptor.
    Fd,
    /// A descriptor that names start from; AT_FDCWD.
    DirFd,
    /// A process, or a group of them.
    Pid,
    /// A user or a group.
    Id,
    /// A signal.
    Signal,
    /// An address.
    Address,
    /// A name of a file.
    Path,
    /// A string.
    Text,
    /// Bytes that the program passes; their number is in that argument.
    In(usize),
    /// Bytes that the kernel gives; their number is the result.
    Out,
    /// A string that the kernel gives.
    OutText,
    /// A set of flags.
    Flags(&'static Names),
    /// One of several names.
    Choice(&'static Names),
    /// `open` flags: an access mode and flags.
    Open,
    /// `clone` flags, with a signal in the low byte.
    Clone,
    /// The kind and the flags of a socket.
    SocketKind,
    /// `char *argv[]`
    Argv,
    /// `char *envp[]`: their number.
    Env,
    /// Arrays of `struct iovec`: their number is in that argument.
    InVec(usize),
    /// As `InVec`, filled by the kernel.
    OutVec(usize),
    /// `struct timespec`
    Time,
    /// `struct timespec`, filled by the kernel.
    OutTime,
    /// Two of them (`utimensat`).
    Times,
    /// `struct timeval`
    TimeVal,
    /// `struct timeval`, filled by the kernel.
    OutTimeVal,
    /// `struct itimerval`
    Interval,
    /// `struct itimerval`, filled by the kernel.
    OutInterval,
    /// `struct itimerspec`
    IntervalSpec,
    /// `struct itimerspec`, filled by the kernel.
    OutIntervalSpec,
    /// `sigset_t`
    Set,
    /// `sigset_t`, filled by the kernel.
    OutSet,
    /// `struct sigaction`
    Action,
    /// `struct sigaction`, filled by the kernel.
    OutAction,
    /// `stack_t`
    Stack,
    /// `stack_t`, filled by the kernel.
    OutStack,
    /// `siginfo_t`
    Info,
    /// `siginfo_t`, filled by the kernel.
    OutInfo,
    /// `struct stat`
    OutStat,
    /// `struct statx`
    OutStatx,
    /// `struct statfs`
    OutStatfs,
    /// `struct linux_dirent64 []`: the number of entries.
    OutEntries,
    /// Two descriptors.
    OutPair,
    /// A wait status.
    OutStatus,
    /// `struct rusage`
    OutUsage,
    /// `struct rlimit`
    Limit,
    /// `struct rlimit`, filled by the kernel.
    OutLimit,
    /// `struct utsname`
    OutNames,
    /// `struct sysinfo`
    OutSysinfo,
    /// `struct pollfd []`: their number is in that argument.
    Poll(usize),
    /// An `fd_set` of that many descriptors.
    FdSet,
    /// `struct epoll_event`
    Epoll,
    /// `struct epoll_event []`, filled by the kernel.
    OutEpoll,
    /// `struct sockaddr`; its length is in that argument.
    Socket(usize),
    /// `struct sockaddr`, filled by the kernel.
    OutSocket(usize),
    /// `socklen_t *`
    OutLen,
    /// `struct msghdr`
    Message,
    /// `struct msghdr`, filled by the kernel.
    OutMessage,
    /// `int *` or `unsigned *`
    InWord,
    /// `int *`, filled by the kernel.
    OutWord,
    /// `off_t *`
    Offset,
    /// What `fcntl`'s command makes of it.
    Fcntl,
    /// `futex`'s operation.
    Futex,
    /// What `prctl`'s option makes of it.
    Prctl,
    /// What `futex`'s operation makes of it: its fourth argument.
    FutexTimeout,
    /// `struct clone_args`
    Clone3,
    /// What `ioctl`'s command makes of it.
    Ioctl,
    /// `struct open_how`
    How,
}

impl Arg {
    /// Whether the kernel fills it: it is shown when the call is over.
    pub fn is_out(self) -> bool {
        use Arg::*;
        matches!(
            self,
            Out | OutText
                | OutVec(_)
                | OutTime
                | OutTimeVal
                | OutInterval
                | OutIntervalSpec
                | OutSet
                | OutAction
                | OutStack
                | OutInfo
                | OutStat
                | OutStatx
                | OutStatfs
                | OutEntries
                | OutPair
                | OutStatus
                | OutUsage
                | OutLimit
                | OutNames
                | OutSysinfo
                | Poll(_)
                | OutEpoll
                | OutSocket(_)
                | OutLen
                | OutMessage
                | OutWord
                | Ioctl
        )
    }
}
