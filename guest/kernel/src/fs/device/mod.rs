//! Device numbers, and what the special files that carry them do, wherever they lie.

mod console;
pub mod disk;
mod kmsg;
mod memory;

pub use memory::is_zero;

use alloc::boxed::Box;

use super::{FileOps, FileType, OpenFlags};
use crate::errno::{Errno, KResult};
use crate::tty;

/// Major number of the virtio consoles' special files.
pub const HVC_MAJOR: u32 = 229;

/// A device number, packed as `makedev(3)` does it.
pub const fn make_dev(major: u32, minor: u32) -> u64 {
    let (major, minor) = (major as u64, minor as u64);
    (major & 0xffff_f000) << 32 | (major & 0xfff) << 8 | (minor & 0xffff_ff00) << 12 | minor & 0xff
}

/// Major and minor of a device number.
pub const fn split_dev(dev: u64) -> (u32, u32) {
    let major = (dev >> 32 & 0xffff_f000) | (dev >> 8 & 0xfff);
    let minor = (dev >> 12 & 0xffff_ff00) | (dev & 0xff);
    (major as u32, minor as u32)
}

/// What a special file with the number `dev` does. ENXIO: there is no such device.
pub fn open(kind: FileType, dev: u64, flags: OpenFlags) -> KResult<Box<dyn FileOps>> {
    if kind == FileType::Block {
        return disk::open(dev);
    }
    match split_dev(dev) {
        (1, 3) => Ok(Box::new(memory::Null)),
        (1, 5) => Ok(Box::new(memory::Zero)),
        (1, 7) => Ok(Box::new(memory::Full)),
        (1, 8 | 9) => Ok(Box::new(memory::Random)),
        (1, 11) => Ok(kmsg::open()),
        (4, 64) => Ok(Box::new(console::Log)),
        (5, 0) => tty::open_controlling(),
        (5, 1) => console::open(0, flags),
        (5, 2) => tty::pty::open_master(),
        (HVC_MAJOR, n) => console::open(n as usize, flags),
        _ => Err(Errno::ENXIO),
    }
}
