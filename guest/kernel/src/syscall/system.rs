//! The machine as a whole.

use crate::errno::{Errno, KResult};
use crate::fs;
use crate::log::ring;
use crate::mm;
use crate::mm::layout::PAGE;
use crate::mm::user::{self, Pod, read_user_string, write_user};
use crate::power;
use crate::sync::SpinLock;
use crate::task::table::table;
use crate::task::{self, loadavg};
use crate::time;

/// Bytes of each string of `struct utsname`.
const UTS_LEN: usize = 65;

/// A name that `uname(2)` tells.
pub struct Name {
    bytes: [u8; UTS_LEN],
    len: usize,
}

impl Name {
    /// The text.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// EINVAL: it is too long.
    pub fn from_bytes(text: &[u8]) -> KResult<Self> {
        if text.len() >= UTS_LEN {
            return Err(Errno::EINVAL);
        }
        Ok(Self::new(text))
    }

    const fn new(text: &[u8]) -> Self {
        let mut bytes = [0; UTS_LEN];
        let mut i = 0;
        while i < text.len() {
            bytes[i] = text[i];
            i += 1;
        }
        Self {
            bytes,
            len: text.len(),
        }
    }
}

/// The host's name.
pub static HOST_NAME: SpinLock<Name> = SpinLock::new(Name::new(b"gnomon"));
/// The NIS domain's name.
pub static DOMAIN_NAME: SpinLock<Name> = SpinLock::new(Name::new(b"(none)"));

/// `uname -r`.
pub const RELEASE: &str = "6.1.0-gnomon";
/// `uname -v`.
pub const VERSION: &str = "#1 Gnomon";

/// `uname(2)`
pub fn sys_uname(at: usize) -> KResult<usize> {
    let mut uts = [0u8; 6 * UTS_LEN];
    let mut put = |index: usize, text: &[u8]| {
        uts[index * UTS_LEN..index * UTS_LEN + text.len()].copy_from_slice(text);
    };
    put(0, b"Linux");
    {
        let host = HOST_NAME.lock();
        put(1, &host.bytes[..host.len]);
    }
    put(2, RELEASE.as_bytes());
    put(3, VERSION.as_bytes());
    put(4, b"x86_64");
    {
        let domain = DOMAIN_NAME.lock();
        put(5, &domain.bytes[..domain.len]);
    }
    user::copy_to_user(at, &uts)?;
    Ok(0)
}

fn require_root() -> KResult<()> {
    if task::current_process().creds.lock().is_privileged() {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

fn set_name(name: &SpinLock<Name>, at: usize, len: usize) -> KResult<usize> {
    require_root()?;
    if len >= UTS_LEN {
        return Err(Errno::EINVAL);
    }
    let mut bytes = [0; UTS_LEN];
    user::copy_from_user(&mut bytes[..len], at)?;
    *name.lock() = Name { bytes, len };
    Ok(0)
}

/// `sethostname(2)`
pub fn sys_sethostname(at: usize, len: usize) -> KResult<usize> {
    set_name(&HOST_NAME, at, len)
}

/// `setdomainname(2)`
pub fn sys_setdomainname(at: usize, len: usize) -> KResult<usize> {
    set_name(&DOMAIN_NAME, at, len)
}

/// `struct sysinfo`.
#[derive(Clone, Copy)]
#[repr(C)]
struct SysInfo {
    uptime: u64,
    loads: [u64; 3],
    total_ram: u64,
    free_ram: u64,
    shared_ram: u64,
    buffer_ram: u64,
    total_swap: u64,
    free_swap: u64,
    processes: u16,
    pad: [u8; 6],
    total_high: u64,
    free_high: u64,
    unit: u32,
    pad_end: u32,
}

// SAFETY: integers without implicit padding; any bit pattern is valid.
unsafe impl Pod for SysInfo {}

const _: () = assert!(size_of::<SysInfo>() == 112);

/// `sysinfo(2)`
pub fn sys_sysinfo(at: usize) -> KResult<usize> {
    let info = SysInfo {
        uptime: time::now_ns() / time::SECOND,
        loads: loadavg::fixed_point(),
        total_ram: (mm::total_frames() * PAGE) as u64,
        free_ram: (mm::free_frames() * PAGE) as u64,
        shared_ram: 0,
        buffer_ram: 0,
        total_swap: (mm::swap::total_pages() * PAGE) as u64,
        free_swap: (mm::swap::free_pages() * PAGE) as u64,
        processes: table().task_count().min(usize::from(u16::MAX)) as u16,
        pad: [0; 6],
        total_high: 0,
        free_high: 0,
        unit: 1,
        pad_end: 0,
    };
    write_user(at, &info)?;
    Ok(0)
}

const GRND_NONBLOCK: usize = 1;
const GRND_RANDOM: usize = 2;
const GRND_INSECURE: usize = 4;

/// `getrandom(2)`
pub fn sys_getrandom(at: usize, len: usize, flags: usize) -> KResult<usize> {
    if flags & !(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE) != 0
        || flags & (GRND_RANDOM | GRND_INSECURE) == GRND_RANDOM | GRND_INSECURE
    {
        return Err(Errno::EINVAL);
    }
    let len = len.min(i32::MAX as usize & !(PAGE - 1));
    let mut chunk = [0; 256];
    let mut done = 0;
    while done < len {
        let n = (len - done).min(chunk.len());
        crate::drivers::random::fill(&mut chunk[..n]);
        if let Err(e) = user::copy_to_user(at.wrapping_add(done), &chunk[..n]) {
            return if done > 0 { Ok(done) } else { Err(e) };
        }
        done += n;
        // Long requests can be interrupted, but give at least 256 bytes.
        if task::current().has_signal() {
            break;
        }
    }
    Ok(done)
}

const REBOOT_MAGIC1: u32 = 0xfee1_dead;
const REBOOT_MAGIC2: [u32; 4] = [0x2812_1969, 0x0512_1996, 0x1604_1998, 0x2011_2000];
const CMD_RESTART: u32 = 0x0123_4567;
const CMD_HALT: u32 = 0xcdef_0123;
const CMD_POWER_OFF: u32 = 0x4321_fedc;
const CMD_RESTART2: u32 = 0xa1b2_c3d4;
const CMD_CAD_ON: u32 = 0x89ab_cdef;
const CMD_CAD_OFF: u32 = 0;

/// `reboot(2)`
pub fn sys_reboot(magic: usize, magic2: usize, command: usize, argument: usize) -> KResult<usize> {
    require_root()?;
    if magic as u32 != REBOOT_MAGIC1 || !REBOOT_MAGIC2.contains(&(magic2 as u32)) {
        return Err(Errno::EINVAL);
    }
    match command as u32 {
        CMD_CAD_ON | CMD_CAD_OFF => Ok(0),
        CMD_RESTART | CMD_HALT | CMD_POWER_OFF => end(),
        CMD_RESTART2 => {
            read_user_string(argument, 256)?;
            end()
        }
        _ => Err(Errno::EINVAL),
    }
}

/// There is no other way out of this machine than its end.
fn end() -> ! {
    fs::unmount_all();
    power::exit(0)
}

/// `syslog(2)`: the last lines of the kernel's log. All of it goes to gnomon, whatever the console's
/// level.
pub fn sys_syslog(kind: usize, at: usize, len: usize) -> KResult<usize> {
    const READ_ALL: usize = 3;
    const READ_CLEAR: usize = 4;
    const CLEAR: usize = 5;
    const CONSOLE_LEVEL: usize = 8;
    const SIZE_UNREAD: usize = 9;
    const SIZE_BUFFER: usize = 10;
    let kind = kind as u32 as usize;
    if !matches!(kind, READ_ALL | SIZE_BUFFER) {
        require_root()?;
    }
    match kind {
        READ_ALL | READ_CLEAR => {
            if at == 0 || (len as i32) < 0 {
                return Err(Errno::EINVAL);
            }
            let text = ring::text();
            // As much as fits, from the end, and whole lines.
            let len = len as u32 as usize;
            let mut from = text.len().saturating_sub(len);
            if from > 0 {
                from += text.as_bytes()[from - 1..]
                    .iter()
                    .position(|&byte| byte == b'\n')
                    .map_or(text.len() - from, |line| line);
            }
            let tail = &text.as_bytes()[from.min(text.len())..];
            user::copy_to_user(at, tail)?;
            if kind == READ_CLEAR {
                ring::clear();
            }
            Ok(tail.len())
        }
        CLEAR => {
            ring::clear();
            Ok(0)
        }
        CONSOLE_LEVEL if !(1..=8).contains(&len) => Err(Errno::EINVAL),
        SIZE_BUFFER => Ok(ring::SIZE),
        // Opening, closing, and the console's levels; nothing is ever unread but by READ, which would
        // sleep for ever.
        0 | 1 | 6 | 7 | CONSOLE_LEVEL | SIZE_UNREAD => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}
