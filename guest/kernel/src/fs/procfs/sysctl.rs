//! `/proc/sys`: settings of the kernel (`proc_sys(5)`).

use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

use super::system::{Directory, directory, read_only, setting, with_newline};
use crate::drivers;
use crate::errno::{Errno, KResult};
use crate::fs::{cache, unix};
use crate::ipc::{msg, sem, shm};
use crate::mm::{random, reclaim};
use crate::sync::SpinLock;
use crate::syscall::{self, Name};
use crate::task::{self, CAP_LAST, core_dump};

/// The directory.
pub static SYS: Directory = Directory {
    entries: &[
        directory("fs", &SYS_FS),
        directory("kernel", &SYS_KERNEL),
        directory("net", &SYS_NET),
        directory("vm", &SYS_VM),
    ],
};

/// What `/proc/sys/fs` tells as the most files that can be open.
const FILE_MAX: usize = 65536;

static SYS_FS: Directory = Directory {
    entries: &[
        read_only("file-max", || format!("{FILE_MAX}\n")),
        read_only("file-nr", || {
            format!("{}\t0\t{FILE_MAX}\n", crate::fs::open_files())
        }),
        directory("mqueue", &super::ipc::MQUEUE),
        read_only("nr_open", || format!("{}\n", crate::fs::MAX_FDS)),
        read_only("pipe-max-size", || {
            format!("{}\n", crate::fs::pipe::MAX_CAPACITY)
        }),
    ],
};

static SYS_KERNEL: Directory = Directory {
    entries: &[
        setting("core_pattern", core_pattern, core_dump::set_pattern),
        setting("core_uses_pid", core_uses_pid, core_dump::set_uses_pid),
        read_only("cap_last_cap", || format!("{CAP_LAST}\n")),
        setting(
            "domainname",
            || name(&syscall::DOMAIN_NAME),
            |text| set_name(&syscall::DOMAIN_NAME, text),
        ),
        setting(
            "hostname",
            || name(&syscall::HOST_NAME),
            |text| set_name(&syscall::HOST_NAME, text),
        ),
        read_only("msgmax", || format!("{}\n", msg::LONGEST)),
        read_only("msgmnb", || format!("{}\n", msg::CAPACITY)),
        read_only("msgmni", || format!("{}\n", msg::MOST)),
        read_only("ngroups_max", || "65536\n".into()),
        read_only("osrelease", || format!("{}\n", crate::syscall::RELEASE)),
        read_only("ostype", || "Linux\n".into()),
        read_only("pid_max", || "32768\n".into()),
        read_only("overflowgid", || "65534\n".into()),
        read_only("overflowuid", || "65534\n".into()),
        setting("randomize_va_space", randomisation, set_randomisation),
        directory("random", &SYS_RANDOM),
        read_only("sem", || {
            let (in_set, all) = (sem::MOST_IN_SET, sem::MOST_IN_SET * sem::MOST);
            format!("{in_set}\t{all}\t{}\t{}\n", sem::MOST_OPERATIONS, sem::MOST)
        }),
        read_only("shmall", || format!("{}\n", shm::LARGEST)),
        read_only("shmmax", || format!("{}\n", shm::LARGEST)),
        read_only("shmmni", || format!("{}\n", shm::MOST)),
        read_only("version", || format!("{}\n", crate::syscall::VERSION)),
    ],
};

static SYS_NET: Directory = Directory {
    entries: &[directory("core", &SYS_NET_CORE)],
};

static SYS_NET_CORE: Directory = Directory {
    entries: &[read_only("somaxconn", || {
        format!("{}\n", unix::MAX_BACKLOG)
    })],
};

static SYS_RANDOM: Directory = Directory {
    entries: &[read_only("uuid", uuid), read_only("boot_id", boot_id)],
};

static SYS_VM: Directory = Directory {
    entries: &[
        setting("drop_caches", || "0\n".into(), drop_caches),
        read_only("overcommit_memory", || "0\n".into()),
        setting("replacement", replacement, reclaim::choose),
    ],
};

/// What is dropped (`proc_sys_vm(5)`): with 1 clean file pages, with 2 names and inodes that nobody
/// uses and other things that the kernel's heap keeps for the next time, with 3 both. Everything is written back first, so that it is clean.
fn drop_caches(text: &str) -> KResult<()> {
    let (pages, names) = match text {
        "1" => (true, false),
        "2" => (false, true),
        "3" => (true, true),
        _ => return Err(Errno::EINVAL),
    };
    if names {
        crate::fs::drop_unused();
    }
    // After the names: the last one of a removed file gives its inode up, which is to be written.
    crate::fs::sync_all()?;
    if pages {
        cache::reclaim(usize::MAX);
    }
    if names {
        crate::fs::ext2fs::drop_metadata();
        task::futex::shrink();
    }
    Ok(())
}

/// Whether layouts are random, as Linux says it: 2, or 0.
fn randomisation() -> String {
    format!("{}\n", if random::randomises() { 2 } else { 0 })
}

fn set_randomisation(text: &str) -> KResult<()> {
    match text {
        "0" => random::set_randomise(false),
        "1" | "2" => random::set_randomise(true),
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}

fn name(name: &SpinLock<Name>) -> String {
    with_newline(String::from_utf8_lossy(name.lock().bytes()).into_owned())
}

/// EINVAL: it is too long.
fn set_name(name: &SpinLock<Name>, text: &str) -> KResult<()> {
    *name.lock() = Name::from_bytes(text.as_bytes())?;
    Ok(())
}

fn format_uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::new();
    for (n, byte) in bytes.iter().enumerate() {
        if matches!(n, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    text
}

fn uuid() -> String {
    let mut bytes = [0; 16];
    drivers::random::fill(&mut bytes);
    format_uuid(bytes)
}

fn boot_id() -> String {
    static ID: crate::sync::Once<[u8; 16]> = crate::sync::Once::new();
    format_uuid(*ID.call_once(|| {
        let mut bytes = [0; 16];
        drivers::random::fill(&mut bytes);
        bytes
    }))
}

fn core_pattern() -> String {
    with_newline(core_dump::pattern())
}

fn core_uses_pid() -> String {
    format!("{}\n", u32::from(core_dump::uses_pid()))
}

/// The replacement policies, the one in use in brackets.
fn replacement() -> String {
    let current = reclaim::policy();
    let mut text = String::new();
    for name in reclaim::policies() {
        let separator = if text.is_empty() { "" } else { " " };
        let _ = if name == current {
            write!(text, "{separator}[{name}]")
        } else {
            write!(text, "{separator}{name}")
        };
    }
    with_newline(text)
}
