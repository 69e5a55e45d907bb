//! The value of an argument as text, by its kind.

use crate::flags::{self, Names};
use crate::kind::Arg;
use crate::structs::{self, Fields};
use crate::text::quote;
use crate::tracee::Tracee;
use crate::{signal, socket};

/// `prctl`: the thread's name.
const PR_SET_NAME: u64 = 15;
/// Elements of arrays that are shown.
const ELEMENTS: usize = 32;

/// A call that is being shown.
pub struct Context<'a> {
    /// Who makes it.
    pub tracee: Tracee,
    /// Its name.
    pub name: &'static str,
    /// Its arguments, as they were before it.
    pub arguments: &'a [u64; 6],
    /// What it gave, once it is over; negative: an error.
    pub result: Option<i64>,
    /// Bytes of a string that are shown.
    pub limit: usize,
}

impl Context<'_> {
    /// Whether the call is over and has failed.
    fn failed(&self) -> bool {
        self.result.is_none_or(|result| result < 0)
    }

    /// Bytes that the kernel has said that it gave.
    fn given(&self) -> usize {
        self.result.map_or(0, |result| result.max(0) as usize)
    }

    /// A string of the program's.
    fn text(&self, at: u64, max: usize) -> String {
        if at == 0 {
            return "NULL".into();
        }
        match self.tracee.string(at, max) {
            Some((string, whole)) => quote(&string, whole),
            None => format!("{at:#x}"),
        }
    }

    /// `len` bytes of the program's.
    fn buffer(&self, at: u64, len: usize) -> String {
        if at == 0 {
            return "NULL".into();
        }
        let shown = len.min(self.limit);
        match self.tracee.bytes(at, shown) {
            Some(bytes) => quote(&bytes, shown == len),
            None => format!("{at:#x}"),
        }
    }

    /// A structure of `len` bytes.
    fn structure(&self, at: u64, len: usize, show: impl FnOnce(&Fields<'_>) -> String) -> String {
        match (at, self.tracee.bytes(at, len)) {
            (0, _) => "NULL".into(),
            (_, Some(bytes)) => show(&Fields(&bytes)),
            (_, None) => format!("{at:#x}"),
        }
    }

    /// A structure that the kernel fills.
    fn filled(&self, at: u64, len: usize, show: impl FnOnce(&Fields<'_>) -> String) -> String {
        if self.failed() {
            return structs::address(at);
        }
        self.structure(at, len, show)
    }

    /// An array of structures.
    fn array(
        &self,
        at: u64,
        count: usize,
        size: usize,
        mut show: impl FnMut(&Fields<'_>, usize) -> String,
    ) -> String {
        if at == 0 {
            return "NULL".into();
        }
        let shown = count.min(ELEMENTS);
        let Some(bytes) = self.tracee.bytes(at, shown * size) else {
            return format!("{at:#x}");
        };
        let f = Fields(&bytes);
        let mut items: Vec<String> = (0..shown).map(|index| show(&f, index * size)).collect();
        if shown < count {
            items.push("...".into());
        }
        format!("[{}]", items.join(", "))
    }

    fn vectors(&self, at: u64, count: u64, mut left: usize) -> String {
        self.array(at, count as usize, 16, |f, at| {
            let (base, len) = (f.number(at, 8), f.number(at + 8, 8) as usize);
            let valid = len.min(left);
            left -= valid;
            format!("{{iov_base={}, iov_len={len}}}", self.buffer(base, valid))
        })
    }

    fn strings(&self, at: u64) -> String {
        if at == 0 {
            return "NULL".into();
        }
        let mut items = Vec::new();
        for index in 0.. {
            match self.tracee.word(at + index * 8) {
                Some(0) => break,
                Some(_) if index == ELEMENTS as u64 => {
                    items.push("...".into());
                    break;
                }
                Some(string) => items.push(self.text(string, self.limit)),
                None => return format!("{at:#x}"),
            }
        }
        format!("[{}]", items.join(", "))
    }

    fn environment(&self, at: u64) -> String {
        if at == 0 {
            return "NULL".into();
        }
        let count = (0..)
            .take_while(|index| self.tracee.word(at + index * 8).unwrap_or(0) != 0)
            .count();
        let ending = if count == 1 { "" } else { "s" };
        format!("{at:#x} /* {count} var{ending} */")
    }

    fn polled(&self, at: u64, count: u64) -> String {
        let show = |f: &Fields<'_>, at: usize| {
            format!(
                "{{fd={}, events={}}}",
                f.int(at),
                flags::POLL_EVENT.flags(f.number(at + 4, 2))
            )
        };
        let mut text = self.array(at, count as usize, 8, show);
        if self.given() > 0 {
            let ready = self.array(at, count as usize, 8, |f, at| {
                format!(
                    "{{fd={}, revents={}}}",
                    f.int(at),
                    flags::POLL_EVENT.flags(f.number(at + 6, 2))
                )
            });
            text += &format!(" /* {ready} */");
        }
        text
    }

    fn descriptors(&self, at: u64) -> String {
        let count = self.arguments[0].min(1024);
        self.structure(at, count.div_ceil(64) as usize * 8, |f| {
            let set = (0..count).filter(|fd| f.number(*fd as usize / 8, 1) >> (fd % 8) & 1 != 0);
            let items: Vec<String> = set.map(|fd| fd.to_string()).collect();
            format!("[{}]", items.join(" "))
        })
    }

    fn message(&self, at: u64, given: usize) -> String {
        self.structure(at, 56, |f| {
            let (name, name_len) = (f.number(0, 8), f.number(8, 4) as usize);
            let name = match self.tracee.bytes(name, name_len.min(128)) {
                Some(bytes) if name != 0 && name_len > 0 => socket::address(&bytes),
                _ => structs::address(name),
            };
            let control = match f.number(40, 8) {
                0 => String::new(),
                len => format!("msg_control={}, msg_controllen={len}, ", structs::address(f.number(32, 8))),
            };
            format!(
                "{{msg_name={name}, msg_namelen={name_len}, msg_iov={}, msg_iovlen={}, {control}msg_flags={}}}",
                self.vectors(f.number(16, 8), f.number(24, 8), given),
                f.number(24, 8),
                flags::MSG.flags(f.number(48, 4))
            )
        })
    }

    fn fcntl(&self, value: u64) -> String {
        match self.arguments[1] {
            2 => flags::FD_CLOEXEC.flags(value),
            4 => open_flags(value),
            5..=7 | 36..=38 => self.structure(value, 32, structs::flock),
            _ => (value as i64).to_string(),
        }
    }

    fn ioctl(&self, value: u64) -> String {
        match self.arguments[1] {
            0x5413 => self.filled(value, 8, structs::winsize),
            0x5414 => self.structure(value, 8, structs::winsize),
            0x540f | 0x541b | 0x5429 => self.filled(value, 4, |f| format!("[{}]", f.int(0))),
            0x5410 | 0x5421 => self.structure(value, 4, |f| format!("[{}]", f.int(0))),
            _ => structs::address(value),
        }
    }

    /// Number of `struct linux_dirent64` in what the kernel gave.
    fn entries(&self, at: u64) -> String {
        let Some(bytes) = self
            .tracee
            .bytes(at, self.given())
            .filter(|_| !self.failed())
        else {
            return structs::address(at);
        };
        let f = Fields(&bytes);
        let (mut offset, mut count) = (0, 0);
        while offset < bytes.len() {
            offset += (f.number(offset + 16, 2) as usize).max(1);
            count += 1;
        }
        format!("{at:#x} /* {count} entries */")
    }

    fn socket_address(&self, at: u64, len: u64) -> String {
        match self.tracee.bytes(at, len.min(128) as usize) {
            Some(bytes) if at != 0 && len >= 2 => socket::address(&bytes),
            _ => structs::address(at),
        }
    }

    /// The text of the argument at `index`.
    pub fn show(&self, arg: Arg, index: usize) -> String {
        let value = self.arguments[index];
        let int = value as i32;
        let argument = |index: usize| self.arguments[index];
        match arg {
            Arg::Int | Arg::Fd | Arg::Pid => int.to_string(),
            Arg::Long => (value as i64).to_string(),
            Arg::Size => value.to_string(),
            Arg::Hex if value == 0 => "0".into(),
            Arg::Hex => format!("{value:#x}"),
            Arg::Mode => structs::octal(value & 0o177_777),
            Arg::Device => structs::device(value),
            Arg::DirFd if int == -100 => "AT_FDCWD".into(),
            Arg::DirFd => int.to_string(),
            Arg::Id => int.to_string(),
            Arg::Signal => signal_or_zero(value as u32),
            Arg::Address => structs::address(value),
            Arg::Path => self.text(value, 4096),
            Arg::Text => self.text(value, self.limit),
            Arg::In(len) => self.buffer(value, argument(len) as usize),
            Arg::Out if self.failed() => structs::address(value),
            Arg::Out => self.buffer(value, self.given()),
            Arg::OutText if self.failed() => structs::address(value),
            Arg::OutText => self.text(value, 4096),
            Arg::Flags(names) => names.flags(flag_bits(names, value)),
            Arg::Futex => {
                const CLOCK_REALTIME: u64 = 0x100;
                let operation = flags::FUTEX.choice(value & 0xffff_ffff & !CLOCK_REALTIME);
                match value & CLOCK_REALTIME {
                    0 => operation,
                    _ => operation + "|FUTEX_CLOCK_REALTIME",
                }
            }
            Arg::Prctl if argument(0) == PR_SET_NAME => self.text(value, self.limit),
            Arg::Prctl if value == 0 => "0".into(),
            Arg::Prctl => format!("{value:#x}"),
            Arg::Choice(names) => choice(names, value),
            Arg::Open => open_flags(value),
            Arg::Clone => clone_flags(value),
            Arg::SocketKind => {
                let kind = flags::SOCK_TYPE.choice(value & 0xf);
                match value & !0xf {
                    0 => kind,
                    more => format!("{kind}|{}", flags::SOCK.flags(more)),
                }
            }
            Arg::Argv => self.strings(value),
            Arg::Env => self.environment(value),
            Arg::InVec(count) => self.vectors(value, argument(count), usize::MAX),
            Arg::OutVec(count) => self.vectors(value, argument(count), self.given()),
            Arg::Time => self.structure(value, 16, |f| structs::timespec(f, 0)),
            Arg::OutTime if self.name.ends_with("nanosleep") && !self.slept_short() => {
                structs::address(value)
            }
            Arg::OutTime if self.name.ends_with("nanosleep") => {
                self.structure(value, 16, |f| structs::timespec(f, 0))
            }
            Arg::OutTime => self.filled(value, 16, |f| structs::timespec(f, 0)),
            Arg::Times => self.structure(value, 32, |f| {
                format!(
                    "[{}, {}]",
                    structs::timespec(f, 0),
                    structs::timespec(f, 16)
                )
            }),
            Arg::TimeVal => self.structure(value, 16, |f| structs::timeval(f, 0)),
            Arg::OutTimeVal => self.filled(value, 16, |f| structs::timeval(f, 0)),
            Arg::Interval => self.structure(value, 32, |f| structs::interval(f, structs::timeval)),
            Arg::OutInterval => self.filled(value, 32, |f| structs::interval(f, structs::timeval)),
            Arg::IntervalSpec => {
                self.structure(value, 32, |f| structs::interval(f, structs::timespec))
            }
            Arg::OutIntervalSpec => {
                self.filled(value, 32, |f| structs::interval(f, structs::timespec))
            }
            Arg::Set => self.structure(value, 8, |f| signal::set(f.number(0, 8))),
            Arg::OutSet => self.filled(value, 8, |f| signal::set(f.number(0, 8))),
            Arg::Action => self.structure(value, 32, structs::action),
            Arg::OutAction => self.filled(value, 32, structs::action),
            Arg::Stack => self.structure(value, 24, structs::stack),
            Arg::OutStack => self.filled(value, 24, structs::stack),
            Arg::Info => self.info(value),
            Arg::OutInfo if self.failed() => structs::address(value),
            Arg::OutInfo => self.info(value),
            Arg::OutStat => self.filled(value, 144, structs::stat),
            Arg::OutStatx => self.filled(value, 256, structs::statx),
            Arg::OutStatfs => self.filled(value, 120, structs::statfs),
            Arg::OutEntries => self.entries(value),
            Arg::OutPair => self.filled(value, 8, |f| format!("[{}, {}]", f.int(0), f.int(4))),
            Arg::OutStatus if self.given() == 0 => structs::address(value),
            Arg::OutStatus => self.filled(value, 4, |f| structs::wait_status(f.int(0) as u32)),
            Arg::OutUsage => self.filled(value, 144, structs::usage),
            Arg::Limit => self.structure(value, 16, structs::limit),
            Arg::OutLimit => self.filled(value, 16, structs::limit),
            Arg::OutNames => self.filled(value, 390, structs::names),
            Arg::OutSysinfo => self.filled(value, 112, structs::sysinfo),
            Arg::Poll(count) => self.polled(value, argument(count)),
            Arg::FdSet => self.descriptors(value),
            Arg::Epoll => self.structure(value, 12, |f| structs::epoll_event(f, 0)),
            Arg::OutEpoll if self.failed() => structs::address(value),
            Arg::OutEpoll => self.array(value, self.given(), 12, structs::epoll_event),
            Arg::Socket(len) => self.socket_address(value, argument(len)),
            Arg::OutSocket(len) => match self.tracee.word(argument(len)) {
                Some(len) if !self.failed() => self.socket_address(value, len & 0xffff_ffff),
                _ => structs::address(value),
            },
            Arg::OutLen | Arg::OutWord => self.filled(value, 4, |f| format!("[{}]", f.int(0))),
            Arg::InWord => self.structure(value, 4, |f| format!("[{}]", f.int(0))),
            Arg::Message => self.message(value, usize::MAX),
            Arg::OutMessage if self.failed() => structs::address(value),
            Arg::OutMessage => self.message(value, self.given()),
            Arg::Offset => self.structure(value, 8, |f| format!("[{}]", f.long(0))),
            Arg::Fcntl => self.fcntl(value),
            Arg::FutexTimeout => match argument(1) & 0x7f {
                0 | 6 | 9 => self.structure(value, 16, |f| structs::timespec(f, 0)),
                _ => value.to_string(),
            },
            Arg::Clone3 => self.structure(value, 88, structs::clone_args),
            Arg::Ioctl => self.ioctl(value),
            Arg::How => self.structure(value, 24, |f| {
                format!(
                    "{{flags={}, mode={}, resolve={:#x}}}",
                    open_flags(f.number(0, 8)),
                    structs::octal(f.number(8, 8)),
                    f.number(16, 8)
                )
            }),
        }
    }

    /// Whether a sleep was interrupted, so that the rest of the time is told.
    fn slept_short(&self) -> bool {
        matches!(self.result, Some(-516 | -4))
    }

    fn info(&self, at: u64) -> String {
        let bytes = self
            .tracee
            .bytes(at, 128)
            .and_then(|b| <[u8; 128]>::try_from(b).ok());
        match bytes {
            Some(bytes) if at != 0 => signal::info(&bytes),
            _ => structs::address(at),
        }
    }
}

fn signal_or_zero(signo: u32) -> String {
    if signo == 0 {
        "0".into()
    } else {
        signal::name(signo)
    }
}

/// Flags are 32 bits wide but for those that say otherwise by having higher ones.
fn flag_bits(names: &Names, value: u64) -> u64 {
    if names
        .entries
        .iter()
        .any(|(bits, _)| *bits > u64::from(u32::MAX))
    {
        value
    } else {
        value & 0xffff_ffff
    }
}

fn choice(names: &Names, value: u64) -> String {
    let narrow = value & 0xffff_ffff;
    if names.entries.iter().any(|(known, _)| *known == value) {
        names.choice(value)
    } else {
        names.choice(narrow)
    }
}

fn open_flags(value: u64) -> String {
    let mode = flags::OPEN_MODE.choice(value & 3);
    match value & !3 & 0xffff_ffff {
        0 => mode,
        more => format!("{mode}|{}", flags::OPEN.flags(more)),
    }
}

fn clone_flags(value: u64) -> String {
    let signo = value as u32 & 0xff;
    let bits = value & 0xffff_ff00;
    match (bits, signo) {
        (0, 0) => "0".into(),
        (0, signo) => signal::name(signo),
        (bits, 0) => flags::CLONE.flags(bits),
        (bits, signo) => format!("{}|{}", flags::CLONE.flags(bits), signal::name(signo)),
    }
}

/// How many of a call's arguments are there: `open` has a mode only if it may make the file, an
/// `fcntl` command may take none, and `futex`'s last ones depend on its operation.
pub fn count(name: &str, arguments: &[u64; 6], all: usize) -> usize {
    const O_CREAT: u64 = 0o100;
    const O_TMPFILE: u64 = 0o20_000_000;
    let makes = |flags: u64| flags & (O_CREAT | O_TMPFILE) != 0;
    match name {
        "open" if !makes(arguments[1]) => 2,
        "openat" if !makes(arguments[2]) => 3,
        "fcntl" if matches!(arguments[1], 1 | 3 | 9 | 1025 | 1032 | 1034) => 2,
        "mremap" if arguments[3] & 2 == 0 => 4,
        "prctl" => match arguments[0] {
            3 | 7 | 21 | 27 | 30 | 39 => 1,
            1 | 2 | 4 | 8 | 15 | 16 | 23 | 29 | 36 | 37 | 40 => 2,
            _ => all,
        },
        "futex" => match arguments[1] & 0x7f {
            1 | 7 => 3,
            0 | 6 => 4,
            _ => all,
        },
        _ => all,
    }
}
