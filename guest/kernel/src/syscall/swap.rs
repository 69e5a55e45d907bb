//! Swap space (`swapon(2)`, `swapoff(2)`).

use alloc::sync::Arc;

use super::open::read_path;
use crate::drivers::block::BlockDevice;
use crate::errno::{Errno, KResult};
use crate::fs::perm::Who;
use crate::fs::{FileType, device, path};
use crate::mm::swap;

const SWAP_FLAG_PREFER: usize = 0x8000;
const SWAP_FLAG_PRIO_MASK: usize = 0x7fff;
const SWAP_FLAG_DISCARD: usize = 0x1_0000;
const SWAP_FLAG_DISCARD_ONCE: usize = 0x2_0000;
const SWAP_FLAG_DISCARD_PAGES: usize = 0x4_0000;

/// The disk behind a path. `EINVAL`: something else is there; files cannot be swap space.
fn disk(path: usize) -> KResult<Arc<dyn BlockDevice>> {
    if !Who::current().is_root() {
        return Err(Errno::EPERM);
    }
    let dentry = path::lookup(&read_path(path)?)?;
    let inode = dentry.inode().ok_or(Errno::ENOENT)?;
    let meta = inode.metadata();
    if meta.kind != FileType::Block {
        return Err(Errno::EINVAL);
    }
    device::disk::get(meta.rdev)
}

/// `swapon(2)`: disks only. Discards are not needed: the flags for them are accepted.
pub fn sys_swapon(path: usize, flags: usize) -> KResult<usize> {
    let discards = SWAP_FLAG_DISCARD | SWAP_FLAG_DISCARD_ONCE | SWAP_FLAG_DISCARD_PAGES;
    if flags & !(SWAP_FLAG_PREFER | SWAP_FLAG_PRIO_MASK | discards) != 0 {
        return Err(Errno::EINVAL);
    }
    let prefer = flags & SWAP_FLAG_PREFER != 0;
    let priority = prefer.then_some((flags & SWAP_FLAG_PRIO_MASK) as i32);
    swap::on(disk(path)?, priority)?;
    Ok(0)
}

/// `swapoff(2)`
pub fn sys_swapoff(path: usize) -> KResult<usize> {
    swap::off(&*disk(path)?)?;
    Ok(0)
}
