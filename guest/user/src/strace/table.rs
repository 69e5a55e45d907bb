//! Every system call: its name and what its arguments are.

use crate::flags;
use crate::kind::Arg;
use crate::other::OTHERS;

/// How a result is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ret {
    /// A signed number.
    Number,
    /// An address.
    Address,
    /// Permissions.
    Mode,
    /// There is none: the call does not come back.
    Never,
}

/// A system call.
pub struct Call {
    /// Its number.
    pub number: usize,
    /// Its name.
    pub name: &'static str,
    /// Its arguments.
    pub arguments: &'static [Arg],
    /// Its result.
    pub result: Ret,
}

impl Call {
    /// Whether it takes a file's name.
    pub fn takes_path(&self) -> bool {
        self.arguments.iter().any(|arg| matches!(arg, Arg::Path)) || self.name == "getcwd"
    }

    /// Whether it takes or makes a descriptor.
    pub fn takes_descriptor(&self) -> bool {
        self.arguments
            .iter()
            .any(|arg| matches!(arg, Arg::Fd | Arg::DirFd | Arg::OutPair))
            || matches!(
                self.name,
                "open"
                    | "creat"
                    | "socket"
                    | "epoll_create"
                    | "epoll_create1"
                    | "eventfd"
                    | "eventfd2"
                    | "timerfd_create"
                    | "memfd_create"
                    | "poll"
                    | "ppoll"
                    | "select"
                    | "pselect6"
            )
    }
}

/// One past the highest number.
pub const SIZE: usize = 512;

/// The call with that number.
pub fn by_number(number: u64) -> Option<&'static Call> {
    let at = CALLS
        .binary_search_by(|call| (call.number as u64).cmp(&number))
        .ok()?;
    Some(&CALLS[at])
}

/// The name of the call with that number.
pub fn name(number: u64) -> String {
    let other = || OTHERS.iter().find(|(known, _)| *known == number);
    match by_number(number) {
        Some(call) => call.name.into(),
        None => match other() {
            Some((_, name)) => (*name).into(),
            None => format!("syscall_{number:#x}"),
        },
    }
}

/// The call with that name.
pub fn by_name(name: &str) -> Option<&'static Call> {
    CALLS.iter().find(|call| call.name == name)
}

/// Makes entries of `number name(arguments) [= result];`.
macro_rules! calls {
    ($($number:literal $name:ident($($arg:ident $(($($inner:tt)*))?),*) $(= $ret:ident)?;)*) => {
        &[$(Call {
            number: $number,
            name: stringify!($name),
            arguments: &[$(Arg::$arg $(($($inner)*))?),*],
            result: calls!(@ret $($ret)?),
        }),*]
    };
    (@ret) => { Ret::Number };
    (@ret $ret:ident) => { Ret::$ret };
}

/// All calls, by number.
#[rustfmt::skip]
pub const CALLS: &[Call] = calls! {
    0 read(Fd, Out, Size);
    1 write(Fd, In(2), Size);
    2 open(Path, Open, Mode);
    3 close(Fd);
    4 stat(Path, OutStat);
    5 fstat(Fd, OutStat);
    6 lstat(Path, OutStat);
    7 poll(Poll(1), Size, Int);
    8 lseek(Fd, Long, Choice(&flags::WHENCE));
    9 mmap(Address, Size, Flags(&flags::PROT), Flags(&flags::MAP), Fd, Hex) = Address;
    10 mprotect(Address, Size, Flags(&flags::PROT));
    11 munmap(Address, Size);
    12 brk(Address) = Address;
    13 rt_sigaction(Signal, Action, OutAction, Size);
    14 rt_sigprocmask(Choice(&flags::SIG_HOW), Set, OutSet, Size);
    15 rt_sigreturn();
    16 ioctl(Fd, Choice(&flags::IOCTL), Ioctl);
    17 pread64(Fd, Out, Size, Long);
    18 pwrite64(Fd, In(2), Size, Long);
    19 readv(Fd, OutVec(2), Size);
    20 writev(Fd, InVec(2), Size);
    21 access(Path, Flags(&flags::ACCESS));
    22 pipe(OutPair);
    23 select(Int, FdSet, FdSet, FdSet, TimeVal);
    24 sched_yield();
    25 mremap(Address, Size, Size, Flags(&flags::MREMAP), Address) = Address;
    26 msync(Address, Size, Flags(&flags::MSYNC));
    27 mincore(Address, Size, Address);
    28 madvise(Address, Size, Choice(&flags::MADV));
    29 shmget(Hex, Size, Hex);
    30 shmat(Int, Address, Hex) = Address;
    31 shmctl(Int, Choice(&flags::IPC), Address);
    32 dup(Fd);
    33 dup2(Fd, Fd);
    34 pause();
    35 nanosleep(Time, OutTime);
    36 getitimer(Choice(&flags::ITIMER), OutInterval);
    37 alarm(Size);
    38 setitimer(Choice(&flags::ITIMER), Interval, OutInterval);
    39 getpid();
    40 sendfile(Fd, Fd, Offset, Size);
    41 socket(Choice(&flags::FAMILY), SocketKind, Int);
    42 connect(Fd, Socket(2), Size);
    43 accept(Fd, OutSocket(2), OutLen);
    44 sendto(Fd, In(2), Size, Flags(&flags::MSG), Socket(5), Size);
    45 recvfrom(Fd, Out, Size, Flags(&flags::MSG), OutSocket(5), OutLen);
    46 sendmsg(Fd, Message, Flags(&flags::MSG));
    47 recvmsg(Fd, OutMessage, Flags(&flags::MSG));
    48 shutdown(Fd, Choice(&flags::SHUT));
    49 bind(Fd, Socket(2), Size);
    50 listen(Fd, Int);
    51 getsockname(Fd, OutSocket(2), OutLen);
    52 getpeername(Fd, OutSocket(2), OutLen);
    53 socketpair(Choice(&flags::FAMILY), SocketKind, Int, OutPair);
    54 setsockopt(Fd, Choice(&flags::SOL), Choice(&flags::SO), InWord, Size);
    55 getsockopt(Fd, Choice(&flags::SOL), Choice(&flags::SO), OutWord, OutLen);
    56 clone(Clone, Address, OutWord, Address, Hex);
    57 fork();
    58 vfork();
    59 execve(Path, Argv, Env);
    60 exit(Int) = Never;
    61 wait4(Pid, OutStatus, Flags(&flags::WAIT), OutUsage);
    62 kill(Pid, Signal);
    63 uname(OutNames);
    64 semget(Hex, Int, Hex);
    65 semop(Int, Address, Size);
    66 semctl(Int, Int, Choice(&flags::IPC), Hex);
    67 shmdt(Address);
    68 msgget(Hex, Hex);
    69 msgsnd(Int, Address, Size, Hex);
    70 msgrcv(Int, Address, Size, Long, Hex);
    71 msgctl(Int, Choice(&flags::IPC), Address);
    72 fcntl(Fd, Choice(&flags::FCNTL), Fcntl);
    73 flock(Fd, Flags(&flags::FLOCK));
    74 fsync(Fd);
    75 fdatasync(Fd);
    76 truncate(Path, Long);
    77 ftruncate(Fd, Long);
    78 getdents(Fd, Address, Size);
    79 getcwd(OutText, Size);
    80 chdir(Path);
    81 fchdir(Fd);
    82 rename(Path, Path);
    83 mkdir(Path, Mode);
    84 rmdir(Path);
    85 creat(Path, Mode);
    86 link(Path, Path);
    87 unlink(Path);
    88 symlink(Text, Path);
    89 readlink(Path, Out, Size);
    90 chmod(Path, Mode);
    91 fchmod(Fd, Mode);
    92 chown(Path, Id, Id);
    93 fchown(Fd, Id, Id);
    94 lchown(Path, Id, Id);
    95 umask(Mode) = Mode;
    96 gettimeofday(OutTimeVal, Address);
    97 getrlimit(Choice(&flags::RLIMIT), OutLimit);
    98 getrusage(Choice(&flags::RUSAGE), OutUsage);
    99 sysinfo(OutSysinfo);
    100 times(Address);
    101 ptrace(Choice(&flags::PTRACE), Pid, Hex, Hex);
    102 getuid();
    103 syslog(Int, Address, Int);
    104 getgid();
    105 setuid(Id);
    106 setgid(Id);
    107 geteuid();
    108 getegid();
    109 setpgid(Pid, Pid);
    110 getppid();
    111 getpgrp();
    112 setsid();
    113 setreuid(Id, Id);
    114 setregid(Id, Id);
    115 getgroups(Int, Address);
    116 setgroups(Int, Address);
    117 setresuid(Id, Id, Id);
    118 getresuid(OutWord, OutWord, OutWord);
    119 setresgid(Id, Id, Id);
    120 getresgid(OutWord, OutWord, OutWord);
    121 getpgid(Pid);
    122 setfsuid(Id);
    123 setfsgid(Id);
    124 getsid(Pid);
    125 capget(Address, Address);
    126 capset(Address, Address);
    127 rt_sigpending(OutSet, Size);
    128 rt_sigtimedwait(Set, OutInfo, Time, Size);
    129 rt_sigqueueinfo(Pid, Signal, Info);
    130 rt_sigsuspend(Set, Size);
    131 sigaltstack(Stack, OutStack);
    132 utime(Path, Address);
    133 mknod(Path, Mode, Device);
    135 personality(Hex);
    137 statfs(Path, OutStatfs);
    138 fstatfs(Fd, OutStatfs);
    140 getpriority(Choice(&flags::PRIO), Int);
    141 setpriority(Choice(&flags::PRIO), Int, Int);
    142 sched_setparam(Pid, InWord);
    143 sched_getparam(Pid, OutWord);
    144 sched_setscheduler(Pid, Choice(&flags::SCHED), InWord);
    145 sched_getscheduler(Pid);
    146 sched_get_priority_max(Choice(&flags::SCHED));
    147 sched_get_priority_min(Choice(&flags::SCHED));
    148 sched_rr_get_interval(Pid, OutTime);
    149 mlock(Address, Size);
    150 munlock(Address, Size);
    151 mlockall(Flags(&flags::MLOCK));
    152 munlockall();
    157 prctl(Choice(&flags::PRCTL), Prctl, Hex, Hex, Hex);
    158 arch_prctl(Choice(&flags::ARCH), Hex);
    160 setrlimit(Choice(&flags::RLIMIT), Limit);
    161 chroot(Path);
    162 sync();
    164 settimeofday(TimeVal, Address);
    165 mount(Text, Path, Text, Flags(&flags::MOUNT), Address);
    166 umount2(Path, Flags(&flags::UMOUNT));
    167 swapon(Path, Hex);
    168 swapoff(Path);
    169 reboot(Hex, Hex, Hex, Address);
    170 sethostname(In(1), Size);
    171 setdomainname(In(1), Size);
    186 gettid();
    187 readahead(Fd, Long, Size);
    188 setxattr(Path, Text, Address, Size, Hex);
    189 lsetxattr(Path, Text, Address, Size, Hex);
    190 fsetxattr(Fd, Text, Address, Size, Hex);
    191 getxattr(Path, Text, Address, Size);
    192 lgetxattr(Path, Text, Address, Size);
    193 fgetxattr(Fd, Text, Address, Size);
    194 listxattr(Path, Address, Size);
    195 llistxattr(Path, Address, Size);
    196 flistxattr(Fd, Address, Size);
    197 removexattr(Path, Text);
    198 lremovexattr(Path, Text);
    199 fremovexattr(Fd, Text);
    200 tkill(Pid, Signal);
    201 time(OutWord);
    202 futex(Address, Futex, Int, FutexTimeout, Address, Hex);
    203 sched_setaffinity(Pid, Size, Address);
    204 sched_getaffinity(Pid, Size, Address);
    213 epoll_create(Int);
    217 getdents64(Fd, OutEntries, Size);
    218 set_tid_address(Address);
    219 restart_syscall();
    220 semtimedop(Int, Address, Size, Time);
    221 fadvise64(Fd, Long, Size, Choice(&flags::FADVISE));
    222 timer_create(Choice(&flags::CLOCK), Address, OutWord);
    223 timer_settime(Int, Flags(&flags::TIMER), IntervalSpec, OutIntervalSpec);
    224 timer_gettime(Int, OutIntervalSpec);
    225 timer_getoverrun(Int);
    226 timer_delete(Int);
    227 clock_settime(Choice(&flags::CLOCK), Time);
    228 clock_gettime(Choice(&flags::CLOCK), OutTime);
    229 clock_getres(Choice(&flags::CLOCK), OutTime);
    230 clock_nanosleep(Choice(&flags::CLOCK), Flags(&flags::TIMER), Time, OutTime);
    231 exit_group(Int) = Never;
    232 epoll_wait(Fd, OutEpoll, Int, Int);
    233 epoll_ctl(Fd, Choice(&flags::EPOLL_CTL), Fd, Epoll);
    234 tgkill(Pid, Pid, Signal);
    235 utimes(Path, Address);
    240 mq_open(Text, Open, Mode, Address);
    241 mq_unlink(Text);
    242 mq_timedsend(Fd, In(2), Size, Int, Time);
    243 mq_timedreceive(Fd, Out, Size, OutWord, Time);
    244 mq_notify(Fd, Address);
    245 mq_getsetattr(Fd, Address, Address);
    247 waitid(Choice(&flags::WAIT_ID), Pid, OutInfo, Flags(&flags::WAIT), OutUsage);
    251 ioprio_set(Int, Int, Hex);
    252 ioprio_get(Int, Int);
    257 openat(DirFd, Path, Open, Mode);
    258 mkdirat(DirFd, Path, Mode);
    259 mknodat(DirFd, Path, Mode, Device);
    260 fchownat(DirFd, Path, Id, Id, Flags(&flags::AT));
    261 futimesat(DirFd, Path, Address);
    262 newfstatat(DirFd, Path, OutStat, Flags(&flags::AT));
    263 unlinkat(DirFd, Path, Flags(&flags::UNLINK));
    264 renameat(DirFd, Path, DirFd, Path);
    265 linkat(DirFd, Path, DirFd, Path, Flags(&flags::AT));
    266 symlinkat(Text, DirFd, Path);
    267 readlinkat(DirFd, Path, Out, Size);
    268 fchmodat(DirFd, Path, Mode);
    269 faccessat(DirFd, Path, Flags(&flags::ACCESS));
    270 pselect6(Int, FdSet, FdSet, FdSet, Time, Address);
    271 ppoll(Poll(1), Size, Time, Set, Size);
    272 unshare(Flags(&flags::CLONE));
    273 set_robust_list(Address, Size);
    274 get_robust_list(Pid, Address, Address);
    275 splice(Fd, Offset, Fd, Offset, Size, Flags(&flags::SPLICE));
    276 tee(Fd, Fd, Size, Flags(&flags::SPLICE));
    277 sync_file_range(Fd, Long, Long, Hex);
    278 vmsplice(Fd, InVec(2), Size, Flags(&flags::SPLICE));
    280 utimensat(DirFd, Path, Times, Flags(&flags::AT));
    281 epoll_pwait(Fd, OutEpoll, Int, Int, Set, Size);
    282 signalfd(Fd, Set, Size);
    283 timerfd_create(Choice(&flags::CLOCK), Flags(&flags::TFD));
    284 eventfd(Size);
    285 fallocate(Fd, Flags(&flags::FALLOCATE), Long, Long);
    286 timerfd_settime(Fd, Flags(&flags::TFD_SET), IntervalSpec, OutIntervalSpec);
    287 timerfd_gettime(Fd, OutIntervalSpec);
    288 accept4(Fd, OutSocket(2), OutLen, Flags(&flags::SOCK));
    289 signalfd4(Fd, Set, Size, Flags(&flags::SFD));
    290 eventfd2(Size, Flags(&flags::EFD));
    291 epoll_create1(Flags(&flags::EPOLL));
    292 dup3(Fd, Fd, Flags(&flags::FD));
    293 pipe2(OutPair, Flags(&flags::FD));
    295 preadv(Fd, OutVec(2), Size, Long);
    296 pwritev(Fd, InVec(2), Size, Long);
    297 rt_tgsigqueueinfo(Pid, Pid, Signal, Info);
    302 prlimit64(Pid, Choice(&flags::RLIMIT), Limit, OutLimit);
    306 syncfs(Fd);
    309 getcpu(OutWord, OutWord, Address);
    310 process_vm_readv(Pid, Address, Size, Address, Size, Hex);
    311 process_vm_writev(Pid, Address, Size, Address, Size, Hex);
    314 sched_setattr(Pid, Address, Hex);
    315 sched_getattr(Pid, Address, Size, Hex);
    316 renameat2(DirFd, Path, DirFd, Path, Flags(&flags::RENAME));
    318 getrandom(Out, Size, Flags(&flags::RANDOM));
    319 memfd_create(Text, Flags(&flags::MFD));
    322 execveat(DirFd, Path, Argv, Env, Flags(&flags::AT));
    324 membarrier(Int, Hex, Int);
    325 mlock2(Address, Size, Hex);
    326 copy_file_range(Fd, Offset, Fd, Offset, Size, Hex);
    327 preadv2(Fd, OutVec(2), Size, Long, Hex);
    328 pwritev2(Fd, InVec(2), Size, Long, Hex);
    332 statx(DirFd, Path, Flags(&flags::AT), Hex, OutStatx);
    334 rseq(Address, Size, Hex, Hex);
    424 pidfd_send_signal(Fd, Signal, Info, Hex);
    434 pidfd_open(Pid, Hex);
    435 clone3(Clone3, Size);
    436 close_range(Fd, Fd, Hex);
    437 openat2(DirFd, Path, How, Size);
    438 pidfd_getfd(Fd, Fd, Hex);
    439 faccessat2(DirFd, Path, Flags(&flags::ACCESS), Flags(&flags::AT));
    441 epoll_pwait2(Fd, OutEpoll, Int, Time, Set, Size);
    452 fchmodat2(DirFd, Path, Mode, Flags(&flags::AT));
};
