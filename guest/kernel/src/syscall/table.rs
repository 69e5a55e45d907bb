//! The handlers by number (`arch/x86/entry/syscalls/syscall_64.tbl` of Linux).

use crate::arch::TrapFrame;
use crate::errno::KResult;
use crate::mm;

use super::attr::*;
use super::clone::*;
use super::copy::*;
use super::cwd::*;
use super::exec::*;
use super::fcntl::*;
use super::file::*;
use super::futex::*;
use super::ids::*;
use super::ioctl::*;
use super::limits::*;
use super::link::*;
use super::memory::*;
use super::mount::*;
use super::mqueue::*;
use super::open::*;
use super::pidfd::*;
use super::pipe::*;
use super::poll::*;
use super::prctl::*;
use super::process::*;
use super::ptrace::*;
use super::rename::*;
use super::sched::*;
use super::signal::*;
use super::socket::message::*;
use super::socket::option::*;
use super::socket::*;
use super::stat::*;
use super::swap::*;
use super::system::*;
use super::sysv::*;
use super::time::*;
use super::timers::*;
use super::truncate::*;
use super::wait::*;
use super::xattr::*;

/// One past the highest number in the table.
const SIZE: usize = 462;

/// A table of handlers by number.
pub type Table = [Option<Handler>; SIZE];

/// A handler as the dispatcher calls it.
pub type Handler = fn(&mut TrapFrame) -> KResult<usize>;

/// Takes the arguments out of the registers: RDI RSI RDX R10 R8 R9. `(new N)`: the call makes an
/// object of the kernel's, and needs memory above the reserve.
macro_rules! call {
    ($handler:ident, (new $arguments:tt)) => {
        |f: &mut TrapFrame| {
            mm::require_reserve()?;
            (call!($handler, $arguments))(f)
        }
    };
    ($handler:ident, frame) => {
        $handler
    };
    ($handler:ident, 0) => {
        |_: &mut TrapFrame| $handler()
    };
    ($handler:ident, 1) => {
        |f: &mut TrapFrame| $handler(f.rdi)
    };
    ($handler:ident, 2) => {
        |f: &mut TrapFrame| $handler(f.rdi, f.rsi)
    };
    ($handler:ident, 3) => {
        |f: &mut TrapFrame| $handler(f.rdi, f.rsi, f.rdx)
    };
    ($handler:ident, 4) => {
        |f: &mut TrapFrame| $handler(f.rdi, f.rsi, f.rdx, f.r10)
    };
    ($handler:ident, 5) => {
        |f: &mut TrapFrame| $handler(f.rdi, f.rsi, f.rdx, f.r10, f.r8)
    };
    ($handler:ident, 6) => {
        |f: &mut TrapFrame| $handler(f.rdi, f.rsi, f.rdx, f.r10, f.r8, f.r9)
    };
}

/// Builds the table from `number handler arguments;` (`frame`: the handler wants the registers).
macro_rules! table {
    ($($number:literal $handler:ident $arguments:tt;)*) => {{
        let mut table: Table = [None; SIZE];
        $(table[$number] = Some(call!($handler, $arguments));)*
        table
    }};
}

/// The table.
pub static TABLE: Table = table! {
    0 sys_read 3;
    1 sys_write 3;
    2 sys_open (new 3);
    3 sys_close 1;
    4 sys_stat 2;
    5 sys_fstat 2;
    6 sys_lstat 2;
    7 sys_poll 3;
    8 sys_lseek 3;
    9 sys_mmap (new 6);
    10 sys_mprotect (new 3);
    11 sys_munmap 2;
    12 sys_brk 1;
    13 sys_rt_sigaction 4;
    14 sys_rt_sigprocmask 4;
    15 sys_rt_sigreturn frame;
    16 sys_ioctl 3;
    17 sys_pread64 4;
    18 sys_pwrite64 4;
    19 sys_readv 3;
    20 sys_writev 3;
    21 sys_access 2;
    22 sys_pipe (new 1);
    23 sys_select 5;
    24 sys_sched_yield 0;
    25 sys_mremap (new 5);
    26 sys_msync 3;
    27 sys_mincore 3;
    28 sys_madvise 3;
    29 sys_shmget (new 3);
    30 sys_shmat (new 3);
    31 sys_shmctl 3;
    32 sys_dup 1;
    33 sys_dup2 2;
    34 sys_pause 0;
    35 sys_nanosleep 2;
    36 sys_getitimer 2;
    37 sys_alarm 1;
    38 sys_setitimer 3;
    39 sys_getpid 0;
    40 sys_sendfile 4;
    41 sys_socket (new 3);
    42 sys_connect (new 3);
    43 sys_accept (new 3);
    44 sys_sendto (new 6);
    45 sys_recvfrom 6;
    46 sys_sendmsg (new 3);
    47 sys_recvmsg (new 3);
    48 sys_shutdown 2;
    49 sys_bind (new 3);
    50 sys_listen 2;
    51 sys_getsockname 3;
    52 sys_getpeername 3;
    53 sys_socketpair (new 4);
    54 sys_setsockopt 5;
    55 sys_getsockopt 5;
    56 sys_clone (new frame);
    57 sys_fork (new frame);
    58 sys_vfork (new frame);
    59 sys_execve (new frame);
    60 sys_exit 1;
    61 sys_wait4 4;
    62 sys_kill 2;
    63 sys_uname 1;
    64 sys_semget (new 3);
    65 sys_semop (new 3);
    66 sys_semctl 4;
    67 sys_shmdt 1;
    68 sys_msgget (new 2);
    69 sys_msgsnd (new 4);
    70 sys_msgrcv 5;
    71 sys_msgctl 3;
    72 sys_fcntl (new 3);
    73 sys_flock (new 2);
    74 sys_fsync 1;
    75 sys_fdatasync 1;
    76 sys_truncate 2;
    77 sys_ftruncate 2;
    78 sys_getdents 3;
    79 sys_getcwd 2;
    80 sys_chdir 1;
    81 sys_fchdir 1;
    82 sys_rename (new 2);
    83 sys_mkdir (new 2);
    84 sys_rmdir 1;
    85 sys_creat (new 2);
    86 sys_link (new 2);
    87 sys_unlink 1;
    88 sys_symlink (new 2);
    89 sys_readlink 3;
    90 sys_chmod 2;
    91 sys_fchmod 2;
    92 sys_chown 3;
    93 sys_fchown 3;
    94 sys_lchown 3;
    95 sys_umask 1;
    96 sys_gettimeofday 2;
    97 sys_getrlimit 2;
    98 sys_getrusage 2;
    99 sys_sysinfo 1;
    100 sys_times 1;
    101 sys_ptrace (new 4);
    102 sys_getuid 0;
    103 sys_syslog 3;
    104 sys_getgid 0;
    105 sys_setuid 1;
    106 sys_setgid 1;
    107 sys_geteuid 0;
    108 sys_getegid 0;
    109 sys_setpgid 2;
    110 sys_getppid 0;
    111 sys_getpgrp 0;
    112 sys_setsid 0;
    113 sys_setreuid 2;
    114 sys_setregid 2;
    115 sys_getgroups 2;
    116 sys_setgroups 2;
    117 sys_setresuid 3;
    118 sys_getresuid 3;
    119 sys_setresgid 3;
    120 sys_getresgid 3;
    121 sys_getpgid 1;
    122 sys_setfsuid 1;
    123 sys_setfsgid 1;
    124 sys_getsid 1;
    125 sys_capget 2;
    126 sys_capset 2;
    127 sys_rt_sigpending 2;
    128 sys_rt_sigtimedwait 4;
    129 sys_rt_sigqueueinfo (new 3);
    130 sys_rt_sigsuspend 2;
    131 sys_sigaltstack frame;
    132 sys_utime 2;
    133 sys_mknod (new 3);
    135 sys_personality 1;
    137 sys_statfs 2;
    138 sys_fstatfs 2;
    140 sys_getpriority 2;
    141 sys_setpriority 3;
    142 sys_sched_setparam 2;
    143 sys_sched_getparam 2;
    144 sys_sched_setscheduler 3;
    145 sys_sched_getscheduler 1;
    146 sys_sched_get_priority_max 1;
    147 sys_sched_get_priority_min 1;
    148 sys_sched_rr_get_interval 2;
    149 sys_mlock 2;
    150 sys_munlock 2;
    151 sys_mlockall 1;
    152 sys_munlockall 0;
    157 sys_prctl 5;
    158 sys_arch_prctl 2;
    160 sys_setrlimit 2;
    161 sys_chroot 1;
    162 sys_sync 0;
    164 sys_settimeofday 2;
    165 sys_mount (new 5);
    166 sys_umount2 2;
    167 sys_swapon (new 2);
    168 sys_swapoff 1;
    169 sys_reboot 4;
    170 sys_sethostname 2;
    171 sys_setdomainname 2;
    186 sys_gettid 0;
    187 sys_readahead 3;
    188 sys_setxattr 2;
    189 sys_lsetxattr 2;
    190 sys_fsetxattr 2;
    191 sys_getxattr 2;
    192 sys_lgetxattr 2;
    193 sys_fgetxattr 2;
    194 sys_listxattr 1;
    195 sys_llistxattr 1;
    196 sys_flistxattr 1;
    197 sys_removexattr 2;
    198 sys_lremovexattr 2;
    199 sys_fremovexattr 2;
    200 sys_tkill 2;
    201 sys_time 1;
    202 sys_futex 6;
    203 sys_sched_setaffinity 3;
    204 sys_sched_getaffinity 3;
    213 sys_epoll_create (new 1);
    217 sys_getdents64 3;
    218 sys_set_tid_address 1;
    219 sys_restart_syscall 0;
    220 sys_semtimedop (new 4);
    221 sys_fadvise64 4;
    222 sys_timer_create (new 3);
    223 sys_timer_settime 4;
    224 sys_timer_gettime 2;
    225 sys_timer_getoverrun 1;
    226 sys_timer_delete 1;
    227 sys_clock_settime 2;
    228 sys_clock_gettime 2;
    229 sys_clock_getres 2;
    230 sys_clock_nanosleep 4;
    231 sys_exit_group 1;
    232 sys_epoll_wait 4;
    233 sys_epoll_ctl (new 4);
    234 sys_tgkill 3;
    235 sys_utimes 2;
    240 sys_mq_open (new 4);
    241 sys_mq_unlink 1;
    242 sys_mq_timedsend (new 5);
    243 sys_mq_timedreceive 5;
    244 sys_mq_notify 2;
    245 sys_mq_getsetattr 3;
    247 sys_waitid 5;
    251 sys_ioprio_set 3;
    252 sys_ioprio_get 2;
    257 sys_openat (new 4);
    258 sys_mkdirat (new 3);
    259 sys_mknodat (new 4);
    260 sys_fchownat 5;
    261 sys_futimesat 3;
    262 sys_newfstatat 4;
    263 sys_unlinkat 3;
    264 sys_renameat (new 4);
    265 sys_linkat (new 5);
    266 sys_symlinkat (new 3);
    267 sys_readlinkat 4;
    268 sys_fchmodat 3;
    269 sys_faccessat 3;
    270 sys_pselect6 6;
    271 sys_ppoll 5;
    272 sys_unshare 1;
    273 sys_set_robust_list 2;
    274 sys_get_robust_list 3;
    275 sys_splice 6;
    276 sys_tee 4;
    277 sys_sync_file_range 4;
    278 sys_vmsplice 4;
    280 sys_utimensat 4;
    281 sys_epoll_pwait 6;
    282 sys_signalfd (new 3);
    283 sys_timerfd_create (new 2);
    284 sys_eventfd (new 1);
    285 sys_fallocate 4;
    286 sys_timerfd_settime 4;
    287 sys_timerfd_gettime 2;
    288 sys_accept4 (new 4);
    289 sys_signalfd4 (new 4);
    290 sys_eventfd2 (new 2);
    291 sys_epoll_create1 (new 1);
    292 sys_dup3 3;
    293 sys_pipe2 (new 2);
    295 sys_preadv 5;
    296 sys_pwritev 5;
    297 sys_rt_tgsigqueueinfo (new 4);
    299 sys_recvmmsg 5;
    302 sys_prlimit64 4;
    306 sys_syncfs 1;
    307 sys_sendmmsg (new 4);
    309 sys_getcpu 3;
    310 sys_process_vm_readv (new 6);
    311 sys_process_vm_writev (new 6);
    314 sys_sched_setattr 3;
    315 sys_sched_getattr 4;
    316 sys_renameat2 (new 5);
    318 sys_getrandom 3;
    319 sys_memfd_create (new 2);
    322 sys_execveat (new frame);
    324 sys_membarrier 3;
    325 sys_mlock2 3;
    326 sys_copy_file_range 6;
    327 sys_preadv2 6;
    328 sys_pwritev2 6;
    332 sys_statx 5;
    334 sys_rseq 4;
    424 sys_pidfd_send_signal 4;
    434 sys_pidfd_open (new 2);
    435 sys_clone3 (new frame);
    436 sys_close_range 3;
    437 sys_openat2 4;
    438 sys_pidfd_getfd 3;
    439 sys_faccessat2 4;
    441 sys_epoll_pwait2 6;
    452 sys_fchmodat2 4;
};

/// The table while the calls of the running thread are watched.
pub static WATCHED: Table = [Some(super::ptrace::watched); SIZE];
