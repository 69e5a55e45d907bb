//! Structures of the kernel's interface as text.

use crate::flags;
use crate::signal;

/// Little-endian fields of a structure.
pub struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    /// The bytes from `at` on as a number of `len` bytes; what is not there is zero.
    pub fn number(&self, at: usize, len: usize) -> u64 {
        self.0
            .iter()
            .skip(at)
            .take(len)
            .rev()
            .fold(0, |value, &byte| value << 8 | u64::from(byte))
    }

    /// A signed 64-bit number.
    pub fn long(&self, at: usize) -> i64 {
        self.number(at, 8) as i64
    }

    /// A signed 32-bit number.
    pub fn int(&self, at: usize) -> i32 {
        self.number(at, 4) as i32
    }
}

/// A structure of two 64-bit numbers.
fn pair(f: &Fields<'_>, at: usize, names: [&str; 2]) -> String {
    format!(
        "{{{}={}, {}={}}}",
        names[0],
        f.long(at),
        names[1],
        f.long(at + 8)
    )
}

/// `struct timespec` at `at`.
pub fn timespec(f: &Fields<'_>, at: usize) -> String {
    match f.number(at + 8, 8) {
        0x3fff_ffff => "UTIME_NOW".into(),
        0x3fff_fffe => "UTIME_OMIT".into(),
        _ => pair(f, at, ["tv_sec", "tv_nsec"]),
    }
}

/// `struct timeval` at `at`.
pub fn timeval(f: &Fields<'_>, at: usize) -> String {
    pair(f, at, ["tv_sec", "tv_usec"])
}

/// `struct itimerspec`, `struct itimerval`.
pub fn interval(f: &Fields<'_>, one: fn(&Fields<'_>, usize) -> String) -> String {
    format!("{{it_interval={}, it_value={}}}", one(f, 0), one(f, 16))
}

/// The type and the permissions of a file.
pub fn mode(mode: u64) -> String {
    let kind = match mode & 0o170_000 {
        0o140_000 => "S_IFSOCK|",
        0o120_000 => "S_IFLNK|",
        0o100_000 => "S_IFREG|",
        0o060_000 => "S_IFBLK|",
        0o040_000 => "S_IFDIR|",
        0o020_000 => "S_IFCHR|",
        0o010_000 => "S_IFIFO|",
        _ => "",
    };
    format!("{kind}{}", octal(mode & 0o7777))
}

/// Permissions: `0644`; none: `000`.
pub fn octal(mode: u64) -> String {
    match mode {
        0 => "000".into(),
        1..8 => format!("00{mode}"),
        8..64 => format!("0{mode:02o}"),
        _ => format!("0{mode:o}"),
    }
}

/// `makedev(0x8, 0x1)`
pub fn device(device: u64) -> String {
    let major = device >> 8 & 0xfff | device >> 32 & 0xffff_f000;
    let minor = device & 0xff | device >> 12 & 0xffff_ff00;
    format!("makedev({major:#x}, {minor:#x})")
}

/// `struct stat`: the kind, and the size or the device.
pub fn stat(f: &Fields<'_>) -> String {
    let kind = f.number(24, 4);
    let what = match kind & 0o170_000 {
        0o020_000 | 0o060_000 => format!("st_rdev={}", device(f.number(40, 8))),
        _ => format!("st_size={}", f.number(48, 8)),
    };
    format!("{{st_mode={}, {what}, ...}}", mode(kind))
}

/// `struct statx`: the same.
pub fn statx(f: &Fields<'_>) -> String {
    format!(
        "{{stx_mask={:#x}, stx_attributes={:#x}, stx_mode={}, stx_size={}, ...}}",
        f.number(0, 4),
        f.number(8, 8),
        mode(f.number(28, 2)),
        f.number(40, 8)
    )
}

/// `struct statfs`
pub fn statfs(f: &Fields<'_>) -> String {
    format!(
        "{{f_type={:#x}, f_bsize={}, f_blocks={}, f_bfree={}, f_bavail={}, f_files={}, f_ffree={}, \
         f_namelen={}, ...}}",
        f.number(0, 8),
        f.number(8, 8),
        f.number(16, 8),
        f.number(24, 8),
        f.number(32, 8),
        f.number(40, 8),
        f.number(48, 8),
        f.number(64, 8)
    )
}

/// `struct sigaction` of the kernel.
pub fn action(f: &Fields<'_>) -> String {
    let handler = match f.number(0, 8) {
        0 => "SIG_DFL".into(),
        1 => "SIG_IGN".into(),
        address => format!("{address:#x}"),
    };
    let flags = f.number(8, 8);
    let restorer = if flags & 0x0400_0000 != 0 {
        format!(", sa_restorer={:#x}", f.number(16, 8))
    } else {
        String::new()
    };
    format!(
        "{{sa_handler={handler}, sa_mask={}, sa_flags={}{restorer}}}",
        signal::set(f.number(24, 8)),
        flags::SA.flags(flags)
    )
}

/// `stack_t`
pub fn stack(f: &Fields<'_>) -> String {
    format!(
        "{{ss_sp={}, ss_flags={}, ss_size={}}}",
        address(f.number(0, 8)),
        flags::SS.flags(f.number(8, 4)),
        f.number(16, 8)
    )
}

/// An address; NULL.
pub fn address(value: u64) -> String {
    match value {
        0 => "NULL".into(),
        value => format!("{value:#x}"),
    }
}

/// `struct rusage`: the times.
pub fn usage(f: &Fields<'_>) -> String {
    format!(
        "{{ru_utime={}, ru_stime={}, ...}}",
        timeval(f, 0),
        timeval(f, 16)
    )
}

/// One limit: units of 1024 where it is one.
fn limit_value(value: u64) -> String {
    match value {
        u64::MAX => "RLIM64_INFINITY".into(),
        value if value > 1024 && value % 1024 == 0 => format!("{}*1024", value / 1024),
        value => value.to_string(),
    }
}

/// `struct rlimit`
pub fn limit(f: &Fields<'_>) -> String {
    format!(
        "{{rlim_cur={}, rlim_max={}}}",
        limit_value(f.number(0, 8)),
        limit_value(f.number(8, 8))
    )
}

/// `struct utsname`: the first two names.
pub fn names(f: &Fields<'_>) -> String {
    let field = |index: usize| {
        let bytes = f.0.get(index * 65..(index + 1) * 65).unwrap_or_default();
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        crate::text::quote(&bytes[..end], true)
    };
    format!("{{sysname={}, nodename={}, ...}}", field(0), field(1))
}

/// `struct sysinfo`
pub fn sysinfo(f: &Fields<'_>) -> String {
    format!(
        "{{uptime={}, loads=[{}, {}, {}], totalram={}, freeram={}, sharedram={}, bufferram={}, \
         totalswap={}, freeswap={}, procs={}, totalhigh={}, freehigh={}, mem_unit={}}}",
        f.long(0),
        f.number(8, 8),
        f.number(16, 8),
        f.number(24, 8),
        f.number(32, 8),
        f.number(40, 8),
        f.number(48, 8),
        f.number(56, 8),
        f.number(64, 8),
        f.number(72, 8),
        f.number(80, 2),
        f.number(88, 8),
        f.number(96, 8),
        f.number(104, 4)
    )
}

/// A wait status.
pub fn wait_status(status: u32) -> String {
    let (low, high) = (status & 0x7f, status >> 8 & 0xff);
    if status == 0xffff {
        "[{WIFCONTINUED(s)}]".into()
    } else if low == 0 {
        format!("[{{WIFEXITED(s) && WEXITSTATUS(s) == {high}}}]")
    } else if low == 0x7f {
        format!(
            "[{{WIFSTOPPED(s) && WSTOPSIG(s) == {}}}]",
            signal::name(high)
        )
    } else {
        let core = if status & 0x80 != 0 {
            " && WCOREDUMP(s)"
        } else {
            ""
        };
        format!(
            "[{{WIFSIGNALED(s) && WTERMSIG(s) == {}{core}}}]",
            signal::name(low)
        )
    }
}

/// `struct epoll_event`
pub fn epoll_event(f: &Fields<'_>, at: usize) -> String {
    format!(
        "{{events={}, data={{u32={}, u64={:#x}}}}}",
        flags::EPOLL_EVENT.flags(f.number(at, 4)),
        f.number(at + 4, 4),
        f.number(at + 4, 8)
    )
}

/// `struct clone_args`
pub fn clone_args(f: &Fields<'_>) -> String {
    let mut text = format!("{{flags={}", flags::CLONE.flags(f.number(0, 8)));
    for (at, name) in [(8, "pidfd"), (16, "child_tid"), (24, "parent_tid")] {
        if f.number(at, 8) != 0 {
            text += &format!(", {name}={:#x}", f.number(at, 8));
        }
    }
    let signo = f.number(32, 8) as u32;
    let signo = if signo == 0 {
        "0".into()
    } else {
        signal::name(signo)
    };
    text += &format!(
        ", exit_signal={signo}, stack={}, stack_size={:#x}",
        address(f.number(40, 8)),
        f.number(48, 8)
    );
    if f.number(56, 8) != 0 {
        text += &format!(", tls={:#x}", f.number(56, 8));
    }
    text + "}"
}

/// `struct flock`
pub fn flock(f: &Fields<'_>) -> String {
    let kind = match f.number(0, 2) {
        0 => "F_RDLCK".into(),
        1 => "F_WRLCK".into(),
        2 => "F_UNLCK".into(),
        other => other.to_string(),
    };
    format!(
        "{{l_type={kind}, l_whence={}, l_start={}, l_len={}}}",
        flags::WHENCE.choice(f.number(2, 2)),
        f.long(8),
        f.long(16)
    )
}

/// `struct winsize`
pub fn winsize(f: &Fields<'_>) -> String {
    format!(
        "{{ws_row={}, ws_col={}, ws_xpixel={}, ws_ypixel={}}}",
        f.number(0, 2),
        f.number(2, 2),
        f.number(4, 2),
        f.number(6, 2)
    )
}
