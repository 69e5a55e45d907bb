//! Names of flags and choices.

/// Values and their names. For flags, the first value that fits goes first; 0 has a name of its
/// own if one is listed.
pub struct Names {
    /// What unknown bits or values are said to be (`PROT_???`).
    pub prefix: &'static str,
    /// The names.
    pub entries: &'static [(u64, &'static str)],
}

impl Names {
    /// The name of one value.
    pub fn choice(&self, value: u64) -> String {
        match self.entries.iter().find(|(known, _)| *known == value) {
            Some((_, name)) => (*name).into(),
            None => format!("{value:#x} /* {}??? */", self.prefix),
        }
    }

    /// The names of all bits.
    pub fn flags(&self, value: u64) -> String {
        if let Some((_, name)) = self.entries.iter().find(|(known, _)| *known == value) {
            return (*name).into();
        }
        if value == 0 {
            return "0".into();
        }
        let mut left = value;
        let mut text = String::new();
        for &(bits, name) in self.entries {
            if bits != 0 && left & bits == bits {
                left &= !bits;
                if !text.is_empty() {
                    text.push('|');
                }
                text.push_str(name);
            }
        }
        match (text.is_empty(), left) {
            (true, _) => format!("{value:#x} /* {}??? */", self.prefix),
            (false, 0) => text,
            (false, left) => format!("{text}|{left:#x}"),
        }
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $id:ident $prefix:literal { $($name:ident $value:expr),* $(,)? })*) => {
        $($(#[$doc])* pub static $id: Names = Names {
            prefix: $prefix,
            entries: &[$(($value, stringify!($name))),*],
        };)*
    };
}

#[rustfmt::skip]
names! {
    /// `lseek`
    WHENCE "SEEK_" { SEEK_SET 0, SEEK_CUR 1, SEEK_END 2, SEEK_DATA 3, SEEK_HOLE 4 }
    /// Protection of memory.
    PROT "PROT_" { PROT_NONE 0, PROT_READ 1, PROT_WRITE 2, PROT_EXEC 4, PROT_GROWSDOWN 0x0100_0000 }
    /// `mmap`
    MAP "MAP_" {
        MAP_SHARED_VALIDATE 3, MAP_SHARED 1, MAP_PRIVATE 2, MAP_FIXED 0x10, MAP_ANONYMOUS 0x20,
        MAP_GROWSDOWN 0x100, MAP_DENYWRITE 0x800, MAP_LOCKED 0x2000, MAP_NORESERVE 0x4000,
        MAP_POPULATE 0x8000, MAP_NONBLOCK 0x1_0000, MAP_STACK 0x2_0000, MAP_HUGETLB 0x4_0000,
        MAP_FIXED_NOREPLACE 0x10_0000,
    }
    /// `mremap`
    MREMAP "MREMAP_" { MREMAP_MAYMOVE 1, MREMAP_FIXED 2, MREMAP_DONTUNMAP 4 }
    /// `msync`
    MSYNC "MS_" { MS_ASYNC 1, MS_INVALIDATE 2, MS_SYNC 4 }
    /// `madvise`
    MADV "MADV_" {
        MADV_NORMAL 0, MADV_RANDOM 1, MADV_SEQUENTIAL 2, MADV_WILLNEED 3, MADV_DONTNEED 4,
        MADV_FREE 8, MADV_REMOVE 9, MADV_DONTFORK 10, MADV_DOFORK 11, MADV_MERGEABLE 12,
        MADV_UNMERGEABLE 13, MADV_HUGEPAGE 14, MADV_NOHUGEPAGE 15, MADV_DONTDUMP 16,
        MADV_DODUMP 17, MADV_WIPEONFORK 18, MADV_KEEPONFORK 19, MADV_COLD 20, MADV_PAGEOUT 21,
    }
    /// `sigprocmask`
    SIG_HOW "SIG_" { SIG_BLOCK 0, SIG_UNBLOCK 1, SIG_SETMASK 2 }
    /// `ioctl`
    IOCTL "" {
        TCGETS 0x5401, TCSETS 0x5402, TCSETSW 0x5403, TCSETSF 0x5404, TCSBRK 0x5409, TCXONC 0x540a,
        TCFLSH 0x540b, TIOCSCTTY 0x540e, TIOCGPGRP 0x540f, TIOCSPGRP 0x5410, TIOCGWINSZ 0x5413,
        TIOCSWINSZ 0x5414, FIONREAD 0x541b, FIONBIO 0x5421, TIOCNOTTY 0x5422, TIOCGSID 0x5429,
        FIONCLEX 0x5450, FIOCLEX 0x5451, BLKGETSIZE64 0x8008_1272,
    }
    /// `access`
    ACCESS "?_OK" { F_OK 0, R_OK 4, W_OK 2, X_OK 1 }
    /// `setitimer`
    ITIMER "ITIMER_" { ITIMER_REAL 0, ITIMER_VIRTUAL 1, ITIMER_PROF 2 }
    /// Address families.
    FAMILY "AF_" { AF_UNSPEC 0, AF_UNIX 1, AF_INET 2, AF_INET6 10, AF_NETLINK 16, AF_PACKET 17 }
    /// Kinds of sockets.
    SOCK_TYPE "SOCK_" { SOCK_STREAM 1, SOCK_DGRAM 2, SOCK_RAW 3, SOCK_SEQPACKET 5 }
    /// Flags of sockets.
    SOCK "SOCK_" { SOCK_CLOEXEC 0x8_0000, SOCK_NONBLOCK 0x800 }
    /// Flags of messages.
    MSG "MSG_" {
        MSG_OOB 1, MSG_PEEK 2, MSG_DONTROUTE 4, MSG_CTRUNC 8, MSG_TRUNC 0x20, MSG_DONTWAIT 0x40,
        MSG_EOR 0x80, MSG_WAITALL 0x100, MSG_NOSIGNAL 0x4000, MSG_MORE 0x8000,
        MSG_CMSG_CLOEXEC 0x4000_0000,
    }
    /// `shutdown`
    SHUT "SHUT_" { SHUT_RD 0, SHUT_WR 1, SHUT_RDWR 2 }
    /// Levels of socket options.
    SOL "SOL_" { SOL_IP 0, SOL_SOCKET 1, SOL_TCP 6, SOL_UDP 17 }
    /// Socket options.
    SO "SO_" {
        SO_DEBUG 1, SO_REUSEADDR 2, SO_TYPE 3, SO_ERROR 4, SO_BROADCAST 6, SO_SNDBUF 7,
        SO_RCVBUF 8, SO_KEEPALIVE 9, SO_LINGER 13, SO_REUSEPORT 15, SO_PASSCRED 16, SO_PEERCRED 17,
        SO_RCVTIMEO 20, SO_SNDTIMEO 21, SO_ACCEPTCONN 30, SO_PROTOCOL 38, SO_DOMAIN 39,
    }
    /// `clone`
    CLONE "CLONE_" {
        CLONE_VM 0x100, CLONE_FS 0x200, CLONE_FILES 0x400, CLONE_SIGHAND 0x800, CLONE_PIDFD 0x1000,
        CLONE_PTRACE 0x2000, CLONE_VFORK 0x4000, CLONE_PARENT 0x8000, CLONE_THREAD 0x1_0000,
        CLONE_NEWNS 0x2_0000, CLONE_SYSVSEM 0x4_0000, CLONE_SETTLS 0x8_0000,
        CLONE_PARENT_SETTID 0x10_0000, CLONE_CHILD_CLEARTID 0x20_0000, CLONE_DETACHED 0x40_0000,
        CLONE_UNTRACED 0x80_0000, CLONE_CHILD_SETTID 0x100_0000, CLONE_NEWCGROUP 0x200_0000,
        CLONE_NEWUTS 0x400_0000, CLONE_NEWIPC 0x800_0000, CLONE_NEWUSER 0x1000_0000,
        CLONE_NEWPID 0x2000_0000, CLONE_NEWNET 0x4000_0000, CLONE_IO 0x8000_0000,
        CLONE_CLEAR_SIGHAND 0x1_0000_0000,
    }
    /// `wait4`, `waitid`
    WAIT "W???" {
        WNOHANG 1, WSTOPPED 2, WEXITED 4, WCONTINUED 8, WNOWAIT 0x0100_0000,
        __WNOTHREAD 0x2000_0000, __WALL 0x4000_0000, __WCLONE 0x8000_0000,
    }
    /// `waitid`
    WAIT_ID "P_" { P_ALL 0, P_PID 1, P_PGID 2, P_PIDFD 3 }
    /// `fcntl`
    FCNTL "F_" {
        F_DUPFD 0, F_GETFD 1, F_SETFD 2, F_GETFL 3, F_SETFL 4, F_GETLK 5, F_SETLK 6, F_SETLKW 7,
        F_SETOWN 8, F_GETOWN 9, F_OFD_GETLK 36, F_OFD_SETLK 37, F_OFD_SETLKW 38, F_SETLEASE 1024,
        F_GETLEASE 1025, F_DUPFD_CLOEXEC 1030, F_SETPIPE_SZ 1031, F_GETPIPE_SZ 1032,
        F_ADD_SEALS 1033, F_GET_SEALS 1034,
    }
    /// `F_SETFD`
    FD_CLOEXEC "FD_" { FD_CLOEXEC 1 }
    /// `flock`
    FLOCK "LOCK_" { LOCK_SH 1, LOCK_EX 2, LOCK_NB 4, LOCK_UN 8 }
    /// Resource limits.
    RLIMIT "RLIMIT_" {
        RLIMIT_CPU 0, RLIMIT_FSIZE 1, RLIMIT_DATA 2, RLIMIT_STACK 3, RLIMIT_CORE 4, RLIMIT_RSS 5,
        RLIMIT_NPROC 6, RLIMIT_NOFILE 7, RLIMIT_MEMLOCK 8, RLIMIT_AS 9, RLIMIT_LOCKS 10,
        RLIMIT_SIGPENDING 11, RLIMIT_MSGQUEUE 12, RLIMIT_NICE 13, RLIMIT_RTPRIO 14,
        RLIMIT_RTTIME 15,
    }
    /// `getrusage`
    RUSAGE "RUSAGE_" {
        RUSAGE_SELF 0, RUSAGE_CHILDREN 0xffff_ffff_ffff_ffff, RUSAGE_THREAD 1,
        RUSAGE_CHILDREN 0xffff_ffff,
    }
    /// `ptrace`
    PTRACE "PTRACE_" {
        PTRACE_TRACEME 0, PTRACE_PEEKTEXT 1, PTRACE_PEEKDATA 2, PTRACE_PEEKUSER 3,
        PTRACE_POKETEXT 4, PTRACE_POKEDATA 5, PTRACE_POKEUSER 6, PTRACE_CONT 7, PTRACE_KILL 8,
        PTRACE_SINGLESTEP 9, PTRACE_GETREGS 12, PTRACE_SETREGS 13, PTRACE_GETFPREGS 14,
        PTRACE_SETFPREGS 15, PTRACE_ATTACH 16, PTRACE_DETACH 17, PTRACE_SYSCALL 24,
        PTRACE_SETOPTIONS 0x4200, PTRACE_GETEVENTMSG 0x4201, PTRACE_GETSIGINFO 0x4202,
        PTRACE_SETSIGINFO 0x4203, PTRACE_GETREGSET 0x4204, PTRACE_SETREGSET 0x4205,
        PTRACE_SEIZE 0x4206, PTRACE_INTERRUPT 0x4207, PTRACE_LISTEN 0x4208,
        PTRACE_GETSIGMASK 0x420a, PTRACE_SETSIGMASK 0x420b, PTRACE_GET_SYSCALL_INFO 0x420e,
    }
    /// System V IPC commands.
    IPC "IPC_" { IPC_RMID 0, IPC_SET 1, IPC_STAT 2, IPC_INFO 3 }
    /// `getpriority`
    PRIO "PRIO_" { PRIO_PROCESS 0, PRIO_PGRP 1, PRIO_USER 2 }
    /// Scheduling policies.
    SCHED "SCHED_" { SCHED_OTHER 0, SCHED_FIFO 1, SCHED_RR 2, SCHED_BATCH 3, SCHED_IDLE 5 }
    /// `mlockall`
    MLOCK "MCL_" { MCL_CURRENT 1, MCL_FUTURE 2, MCL_ONFAULT 4 }
    /// `prctl`
    PRCTL "PR_" {
        PR_SET_PDEATHSIG 1, PR_GET_PDEATHSIG 2, PR_GET_DUMPABLE 3, PR_SET_DUMPABLE 4,
        PR_GET_KEEPCAPS 7, PR_SET_KEEPCAPS 8, PR_SET_NAME 15, PR_GET_NAME 16, PR_GET_SECCOMP 21,
        PR_SET_SECCOMP 22, PR_CAPBSET_READ 23, PR_CAPBSET_DROP 24, PR_SET_TIMERSLACK 29,
        PR_GET_TIMERSLACK 30, PR_SET_CHILD_SUBREAPER 36, PR_GET_CHILD_SUBREAPER 37,
        PR_SET_NO_NEW_PRIVS 38, PR_GET_NO_NEW_PRIVS 39, PR_GET_TID_ADDRESS 40, PR_SET_VMA 0x5356_4d41,
    }
    /// `arch_prctl`
    ARCH "ARCH_" { ARCH_SET_GS 0x1001, ARCH_SET_FS 0x1002, ARCH_GET_FS 0x1003, ARCH_GET_GS 0x1004 }
    /// `mount`
    MOUNT "MS_" {
        MS_RDONLY 1, MS_NOSUID 2, MS_NODEV 4, MS_NOEXEC 8, MS_SYNCHRONOUS 0x10, MS_REMOUNT 0x20,
        MS_NOATIME 0x400, MS_NODIRATIME 0x800, MS_BIND 0x1000, MS_MOVE 0x2000, MS_REC 0x4000,
        MS_SILENT 0x8000, MS_PRIVATE 0x4_0000, MS_RELATIME 0x20_0000,
    }
    /// `umount2`
    UMOUNT "MNT_" { MNT_FORCE 1, MNT_DETACH 2, MNT_EXPIRE 4, UMOUNT_NOFOLLOW 8 }
    /// `futex`
    FUTEX "FUTEX_" {
        FUTEX_WAIT 0, FUTEX_WAKE 1, FUTEX_REQUEUE 3, FUTEX_CMP_REQUEUE 4, FUTEX_WAKE_OP 5,
        FUTEX_LOCK_PI 6, FUTEX_UNLOCK_PI 7, FUTEX_TRYLOCK_PI 8, FUTEX_WAIT_BITSET 9,
        FUTEX_WAKE_BITSET 10, FUTEX_WAIT_PRIVATE 128, FUTEX_WAKE_PRIVATE 129,
        FUTEX_REQUEUE_PRIVATE 131, FUTEX_CMP_REQUEUE_PRIVATE 132, FUTEX_WAKE_OP_PRIVATE 133,
        FUTEX_LOCK_PI_PRIVATE 134, FUTEX_UNLOCK_PI_PRIVATE 135, FUTEX_TRYLOCK_PI_PRIVATE 136,
        FUTEX_WAIT_BITSET_PRIVATE 137, FUTEX_WAKE_BITSET_PRIVATE 138,
    }
    /// `posix_fadvise`
    FADVISE "POSIX_FADV_" {
        POSIX_FADV_NORMAL 0, POSIX_FADV_RANDOM 1, POSIX_FADV_SEQUENTIAL 2, POSIX_FADV_WILLNEED 3,
        POSIX_FADV_DONTNEED 4, POSIX_FADV_NOREUSE 5,
    }
    /// Clocks.
    CLOCK "CLOCK_" {
        CLOCK_REALTIME 0, CLOCK_MONOTONIC 1, CLOCK_PROCESS_CPUTIME_ID 2, CLOCK_THREAD_CPUTIME_ID 3,
        CLOCK_MONOTONIC_RAW 4, CLOCK_REALTIME_COARSE 5, CLOCK_MONOTONIC_COARSE 6, CLOCK_BOOTTIME 7,
        CLOCK_REALTIME_ALARM 8, CLOCK_BOOTTIME_ALARM 9, CLOCK_TAI 11,
    }
    /// `timer_settime`, `clock_nanosleep`
    TIMER "TIMER_" { TIMER_ABSTIME 1 }
    /// `epoll_ctl`
    EPOLL_CTL "EPOLL_CTL_" { EPOLL_CTL_ADD 1, EPOLL_CTL_DEL 2, EPOLL_CTL_MOD 3 }
    /// Events of `epoll`.
    EPOLL_EVENT "EPOLL" {
        EPOLLIN 1, EPOLLPRI 2, EPOLLOUT 4, EPOLLERR 8, EPOLLHUP 0x10, EPOLLRDNORM 0x40,
        EPOLLRDBAND 0x80, EPOLLWRNORM 0x100, EPOLLWRBAND 0x200, EPOLLRDHUP 0x2000,
        EPOLLEXCLUSIVE 0x1000_0000, EPOLLWAKEUP 0x2000_0000, EPOLLONESHOT 0x4000_0000,
        EPOLLET 0x8000_0000,
    }
    /// Events of `poll`.
    POLL_EVENT "POLL" {
        POLLIN 1, POLLPRI 2, POLLOUT 4, POLLERR 8, POLLHUP 0x10, POLLNVAL 0x20, POLLRDNORM 0x40,
        POLLRDBAND 0x80, POLLWRNORM 0x100, POLLWRBAND 0x200, POLLRDHUP 0x2000,
    }
    /// The access mode of `open`.
    OPEN_MODE "O_" { O_RDONLY 0, O_WRONLY 1, O_RDWR 2, O_ACCMODE 3 }
    /// Flags of `open`.
    OPEN "O_" {
        O_TMPFILE 0o20200000, O_SYNC 0o4010000, O_CREAT 0o100, O_EXCL 0o200, O_NOCTTY 0o400,
        O_TRUNC 0o1000, O_APPEND 0o2000, O_NONBLOCK 0o4000, O_DSYNC 0o10000, O_ASYNC 0o20000,
        O_DIRECT 0o40000, O_LARGEFILE 0o100000, O_DIRECTORY 0o200000, O_NOFOLLOW 0o400000,
        O_NOATIME 0o1000000, O_CLOEXEC 0o2000000, O_PATH 0o10000000,
    }
    /// Flags of `…at` calls.
    AT "AT_" {
        AT_SYMLINK_NOFOLLOW 0x100, AT_EACCESS 0x200, AT_SYMLINK_FOLLOW 0x400,
        AT_NO_AUTOMOUNT 0x800, AT_EMPTY_PATH 0x1000, AT_STATX_FORCE_SYNC 0x2000,
        AT_STATX_DONT_SYNC 0x4000,
    }
    /// `unlinkat`
    UNLINK "AT_" { AT_REMOVEDIR 0x200 }
    /// `splice`
    SPLICE "SPLICE_F_" {
        SPLICE_F_MOVE 1, SPLICE_F_NONBLOCK 2, SPLICE_F_MORE 4, SPLICE_F_GIFT 8,
    }
    /// `timerfd_create`
    TFD "TFD_" { TFD_CLOEXEC 0x8_0000, TFD_NONBLOCK 0x800 }
    /// `timerfd_settime`
    TFD_SET "TFD_" { TFD_TIMER_ABSTIME 1, TFD_TIMER_CANCEL_ON_SET 2 }
    /// `fallocate`
    FALLOCATE "FALLOC_FL_" { FALLOC_FL_KEEP_SIZE 1, FALLOC_FL_PUNCH_HOLE 2, FALLOC_FL_ZERO_RANGE 0x10 }
    /// `signalfd4`
    SFD "SFD_" { SFD_CLOEXEC 0x8_0000, SFD_NONBLOCK 0x800 }
    /// `eventfd2`
    EFD "EFD_" { EFD_SEMAPHORE 1, EFD_CLOEXEC 0x8_0000, EFD_NONBLOCK 0x800 }
    /// `epoll_create1`
    EPOLL "EPOLL_" { EPOLL_CLOEXEC 0x8_0000 }
    /// `pipe2`, `dup3`
    FD "O_" { O_CLOEXEC 0x8_0000, O_NONBLOCK 0x800, O_DIRECT 0x4000 }
    /// `renameat2`
    RENAME "RENAME_" { RENAME_NOREPLACE 1, RENAME_EXCHANGE 2, RENAME_WHITEOUT 4 }
    /// `getrandom`
    RANDOM "GRND_" { GRND_NONBLOCK 1, GRND_RANDOM 2, GRND_INSECURE 4 }
    /// `memfd_create`
    MFD "MFD_" { MFD_CLOEXEC 1, MFD_ALLOW_SEALING 2, MFD_HUGETLB 4 }
    /// `sigaction`
    SA "SA_" {
        SA_RESTORER 0x0400_0000, SA_NOCLDSTOP 1, SA_NOCLDWAIT 2, SA_SIGINFO 4, SA_ONSTACK 0x0800_0000,
        SA_RESTART 0x1000_0000, SA_NODEFER 0x4000_0000, SA_RESETHAND 0x8000_0000,
    }
    /// `sigaltstack`
    SS "SS_" { SS_ONSTACK 1, SS_DISABLE 2, SS_AUTODISARM 0x8000_0000 }
}
