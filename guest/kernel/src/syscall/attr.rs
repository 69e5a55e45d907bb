//! Attributes of files: mode, owner, times.

use alloc::sync::Arc;

use super::file::{get, get_open};
use super::stat::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, inode_at};
use crate::errno::{Errno, KResult};
use crate::fs::path::AT_FDCWD;
use crate::fs::perm::{WRITE, Who};
use crate::fs::{FileType, Inode, SetAttr, Timespec};
use crate::mm::user::read_user;

/// Whether a change may be made to the file system of `inode`. EROFS.
pub fn check_writable(inode: &Arc<dyn Inode>) -> KResult<()> {
    if inode.fs().is_some_and(|fs| fs.read_only()) {
        return Err(Errno::EROFS);
    }
    Ok(())
}

fn change_mode(inode: &Arc<dyn Inode>, mode: usize) -> KResult<usize> {
    let meta = inode.metadata();
    let who = Who::current();
    check_writable(inode)?;
    if !who.owns(&meta) {
        return Err(Errno::EPERM);
    }
    let mut perm = mode as u32 & 0o7777;
    if !who.is_root() && meta.kind != FileType::Directory && !who.in_group(meta.gid) {
        perm &= !0o2000;
    }
    inode.set_attr(&SetAttr {
        perm: Some(perm),
        ..SetAttr::default()
    })?;
    Ok(0)
}

/// `chmod(2)`
pub fn sys_chmod(path: usize, mode: usize) -> KResult<usize> {
    sys_fchmodat(AT_FDCWD as usize, path, mode)
}

/// `fchmod(2)`
pub fn sys_fchmod(fd: usize, mode: usize) -> KResult<usize> {
    change_mode(get_open(fd)?.inode(), mode)
}

/// `fchmodat(2)`: the system call has no flags.
pub fn sys_fchmodat(dirfd: usize, path: usize, mode: usize) -> KResult<usize> {
    change_mode(&inode_at(dirfd, path, 0)?, mode)
}

/// `fchmodat2(2)`
pub fn sys_fchmodat2(dirfd: usize, path: usize, mode: usize, flags: usize) -> KResult<usize> {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let inode = inode_at(dirfd, path, flags)?;
    if inode.kind() == FileType::Symlink {
        return Err(Errno::EOPNOTSUPP);
    }
    change_mode(&inode, mode)
}

fn change_owner(inode: &Arc<dyn Inode>, uid: usize, gid: usize) -> KResult<usize> {
    let wanted = |id: usize| (id as u32 != u32::MAX).then_some(id as u32);
    let (uid, gid) = (wanted(uid), wanted(gid));
    check_writable(inode)?;
    let meta = inode.metadata();
    let who = Who::current();
    if !who.is_root() {
        let owns = who.uid == meta.uid;
        if uid.is_some_and(|uid| !owns || uid != meta.uid) {
            return Err(Errno::EPERM);
        }
        if gid.is_some_and(|gid| !owns || (gid != meta.gid && !who.in_group(gid))) {
            return Err(Errno::EPERM);
        }
    }
    let mut attr = SetAttr {
        uid,
        gid,
        ..SetAttr::default()
    };
    if meta.kind != FileType::Directory && (uid.is_some() || gid.is_some()) {
        // Set-id bits do not survive a change of owner; set-group-id without group execute is
        // something else (mandatory locking) and does.
        let mut perm = meta.perm & !0o4000;
        if perm & 0o010 != 0 {
            perm &= !0o2000;
        }
        if perm != meta.perm {
            attr.perm = Some(perm);
        }
    }
    inode.set_attr(&attr)?;
    Ok(0)
}

/// `chown(2)`
pub fn sys_chown(path: usize, uid: usize, gid: usize) -> KResult<usize> {
    change_owner(&inode_at(AT_FDCWD as usize, path, 0)?, uid, gid)
}

/// `lchown(2)`
pub fn sys_lchown(path: usize, uid: usize, gid: usize) -> KResult<usize> {
    let inode = inode_at(AT_FDCWD as usize, path, AT_SYMLINK_NOFOLLOW)?;
    change_owner(&inode, uid, gid)
}

/// `fchown(2)`
pub fn sys_fchown(fd: usize, uid: usize, gid: usize) -> KResult<usize> {
    change_owner(get_open(fd)?.inode(), uid, gid)
}

/// `fchownat(2)`
pub fn sys_fchownat(
    dirfd: usize,
    path: usize,
    uid: usize,
    gid: usize,
    flags: usize,
) -> KResult<usize> {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    change_owner(&inode_at(dirfd, path, flags)?, uid, gid)
}

const UTIME_NOW: i64 = 0x3fff_ffff;
const UTIME_OMIT: i64 = 0x3fff_fffe;

/// A time that `utimensat` asks for: `None` to leave it, else the time and whether it is "now".
fn wanted_time([sec, nsec]: [i64; 2]) -> KResult<Option<(Timespec, bool)>> {
    match nsec {
        UTIME_OMIT => Ok(None),
        UTIME_NOW => Ok(Some((Timespec::now(), true))),
        0..1_000_000_000 => Ok(Some((
            Timespec {
                sec,
                nsec: nsec as u32,
            },
            false,
        ))),
        _ => Err(Errno::EINVAL),
    }
}

fn change_times(inode: &Arc<dyn Inode>, times: Option<[[i64; 2]; 2]>) -> KResult<usize> {
    let now = [0, UTIME_NOW];
    let [atime, mtime] = times.unwrap_or([now, now]);
    let (atime, mtime) = (wanted_time(atime)?, wanted_time(mtime)?);
    if atime.is_none() && mtime.is_none() {
        return Ok(0);
    }
    check_writable(inode)?;
    let meta = inode.metadata();
    let who = Who::current();
    if !who.owns(&meta) {
        let both_now = matches!((atime, mtime), (Some((_, true)), Some((_, true))));
        if !both_now {
            return Err(Errno::EPERM);
        }
        who.check(&meta, WRITE)?;
    }
    inode.set_attr(&SetAttr {
        atime: atime.map(|(time, _)| time),
        mtime: mtime.map(|(time, _)| time),
        ..SetAttr::default()
    })?;
    Ok(0)
}

/// `utimensat(2)`
pub fn sys_utimensat(dirfd: usize, path: usize, times: usize, flags: usize) -> KResult<usize> {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let times = match times {
        0 => None,
        at => {
            let [a, b, c, d]: [u64; 4] = read_user(at)?;
            Some([[a as i64, b as i64], [c as i64, d as i64]])
        }
    };
    // A null path means the descriptor (futimens(3)).
    let inode = if path == 0 {
        get(dirfd)?.inode().clone()
    } else {
        inode_at(dirfd, path, flags)?
    };
    change_times(&inode, times)
}

/// `utimes(2)`
pub fn sys_utimes(path: usize, times: usize) -> KResult<usize> {
    sys_futimesat(AT_FDCWD as usize, path, times)
}

/// `futimesat(2)`
pub fn sys_futimesat(dirfd: usize, path: usize, times: usize) -> KResult<usize> {
    let times = match times {
        0 => None,
        at => {
            let [a, b, c, d]: [u64; 4] = read_user(at)?;
            if b >= 1_000_000 || d >= 1_000_000 {
                return Err(Errno::EINVAL);
            }
            Some([[a as i64, b as i64 * 1000], [c as i64, d as i64 * 1000]])
        }
    };
    let inode = if path == 0 {
        get(dirfd)?.inode().clone()
    } else {
        inode_at(dirfd, path, 0)?
    };
    change_times(&inode, times)
}

/// `utime(2)`
pub fn sys_utime(path: usize, times: usize) -> KResult<usize> {
    let times = match times {
        0 => None,
        at => {
            let [atime, mtime]: [u64; 2] = read_user(at)?;
            Some([[atime as i64, 0], [mtime as i64, 0]])
        }
    };
    change_times(&inode_at(AT_FDCWD as usize, path, 0)?, times)
}
