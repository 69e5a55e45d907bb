//! Mounting and unmounting.

use alloc::string::String;

use super::open::read_path;
use crate::errno::{Errno, KResult};
use crate::fs::mount;
use crate::fs::path;
use crate::fs::perm::Who;
use crate::mm::user::read_user_string;

/// `mount(2)`: ext2, tmpfs, proc, devtmpfs, and changes between read-only and read-write.
pub fn sys_mount(
    source: usize,
    target: usize,
    kind: usize,
    flags: usize,
    data: usize,
) -> KResult<usize> {
    if !Who::current().is_root() {
        return Err(Errno::EPERM);
    }
    let target = path::lookup(&read_path(target)?)?;
    let text = |at: usize| -> KResult<String> {
        match at {
            0 => Ok("none".into()),
            at => String::from_utf8(read_user_string(at, 4096)?).map_err(|_| Errno::EINVAL),
        }
    };
    let kind = text(kind)?;
    // Other types take their options from nowhere.
    let options = match (data, &kind[..]) {
        (1.., "tmpfs") => text(data)?,
        _ => String::new(),
    };
    mount::mount(&text(source)?, &target, &kind, flags, &options)?;
    Ok(0)
}

/// `umount2(2)`; `MNT_DETACH` is taken as a plain unmount.
pub fn sys_umount2(target: usize, flags: usize) -> KResult<usize> {
    const KNOWN: usize = 0xf;
    if flags & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    if !Who::current().is_root() {
        return Err(Errno::EPERM);
    }
    let target = path::lookup(&read_path(target)?)?;
    mount::unmount(&target)?;
    Ok(0)
}
