//! System calls that change names and attributes, and where a process stands.

use alloc::sync::Arc;

use super::file::get_open;
use super::open::{free_name, read_path};
use super::stat::{AT_EMPTY_PATH, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, inode_at};
use crate::errno::{Errno, KResult};
use crate::fs::path::{self, AT_FDCWD, Last, Lookup, Resolved};
use crate::fs::perm::{EXEC, WRITE, Who};
use crate::fs::{Dentry, FileType, Inode, Metadata, SetAttr, Timespec, mount};
use crate::mm::user::{copy_to_user, read_user, read_user_string};
use crate::sync::Mutex;
use crate::task;

/// Renames take turns, so that no two of them can tie directories into a ring.
static RENAMES: Mutex<()> = Mutex::new(());

/// `unlink(2)`
pub fn sys_unlink(path: usize) -> KResult<usize> {
    remove_file(AT_FDCWD, path)
}

/// `rmdir(2)`
pub fn sys_rmdir(path: usize) -> KResult<usize> {
    remove_directory(AT_FDCWD, path)
}

/// `unlinkat(2)`
pub fn sys_unlinkat(dirfd: usize, path: usize, flags: usize) -> KResult<usize> {
    const AT_REMOVEDIR: usize = 0x200;
    match flags {
        0 => remove_file(dirfd as i32, path),
        AT_REMOVEDIR => remove_directory(dirfd as i32, path),
        _ => Err(Errno::EINVAL),
    }
}

fn remove_file(dirfd: i32, path: usize) -> KResult<usize> {
    let path = read_path(path)?;
    let found = path::resolve(dirfd, &path, Lookup::Name)?;
    let kind = found.dentry.expect_inode()?.kind();
    if found.last != Last::Name || kind == FileType::Directory {
        return Err(Errno::EISDIR);
    }
    if found.trailing_slash {
        return Err(Errno::ENOTDIR);
    }
    remove(&found, |dir, name, inode| dir.unlink(name, inode))
}

fn remove_directory(dirfd: i32, path: usize) -> KResult<usize> {
    let path = read_path(path)?;
    let found = path::resolve(dirfd, &path, Lookup::Name)?;
    match found.last {
        Last::Dot => return Err(Errno::EINVAL),
        Last::DotDot => return Err(Errno::ENOTEMPTY),
        Last::Root => return Err(Errno::EBUSY),
        Last::Name => {}
    }
    if found.dentry.expect_inode()?.kind() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    remove(&found, |dir, name, inode| dir.rmdir(name, inode))
}

fn remove(
    found: &Resolved,
    remove: impl FnOnce(&Arc<dyn Inode>, &[u8], &Arc<dyn Inode>) -> KResult<()>,
) -> KResult<usize> {
    if found.dentry.covers().is_some() || found.dentry.is_mount_point() {
        return Err(Errno::EBUSY);
    }
    let dir = found.parent.expect_inode()?;
    let inode = found.dentry.expect_inode()?;
    Who::current().check_delete(&dir.metadata(), &inode.metadata())?;
    {
        let _changes = found.parent.lock_changes();
        if found.dentry.is_gone() {
            return Err(Errno::ENOENT);
        }
        let name = found.dentry.name();
        remove(dir, &name, inode)?;
        found.parent.forget(&found.dentry);
    }
    crate::fs::drop_gone(&found.dentry);
    Ok(0)
}

/// `rename(2)`
pub fn sys_rename(old: usize, new: usize) -> KResult<usize> {
    sys_renameat2(AT_FDCWD as usize, old, AT_FDCWD as usize, new, 0)
}

/// `renameat(2)`
pub fn sys_renameat(old_dir: usize, old: usize, new_dir: usize, new: usize) -> KResult<usize> {
    sys_renameat2(old_dir, old, new_dir, new, 0)
}

const RENAME_NOREPLACE: usize = 1;
const RENAME_EXCHANGE: usize = 2;

/// `renameat2(2)`; `RENAME_EXCHANGE` is EINVAL, as on file systems that cannot do it.
pub fn sys_renameat2(
    old_dir: usize,
    old: usize,
    new_dir: usize,
    new: usize,
    flags: usize,
) -> KResult<usize> {
    if flags & !RENAME_NOREPLACE != 0 || flags & RENAME_EXCHANGE != 0 {
        return Err(Errno::EINVAL);
    }
    let old_path = read_path(old)?;
    let new_path = read_path(new)?;
    let from = path::resolve(old_dir as i32, &old_path, Lookup::Name)?;
    let to = path::resolve(new_dir as i32, &new_path, Lookup::Name)?;
    if from.last != Last::Name || to.last != Last::Name {
        return Err(Errno::EBUSY);
    }
    let from_dir = from.parent.expect_inode()?;
    let to_dir = to.parent.expect_inode()?;
    if from_dir.metadata().dev != to_dir.metadata().dev {
        return Err(Errno::EXDEV);
    }
    let _renames = RENAMES.lock();
    let replaced = {
        let _first;
        let _second;
        if Arc::ptr_eq(&from.parent, &to.parent) {
            _first = from.parent.lock_changes();
            _second = None;
        } else {
            // Ancestors first, and else by address: removals lock one directory only.
            let swap = from.parent.is_below(&to.parent)
                || (!to.parent.is_below(&from.parent)
                    && Arc::as_ptr(&from.parent) > Arc::as_ptr(&to.parent));
            let (a, b) = if swap {
                (&to.parent, &from.parent)
            } else {
                (&from.parent, &to.parent)
            };
            _first = a.lock_changes();
            _second = Some(b.lock_changes());
        }
        rename_locked(&from, &to, flags)?
    };
    if let Some(replaced) = replaced {
        crate::fs::drop_gone(&replaced);
    }
    Ok(0)
}

/// The rename proper, with both directories locked; gives the dentry that lost its name.
fn rename_locked(from: &Resolved, to: &Resolved, flags: usize) -> KResult<Option<Arc<Dentry>>> {
    let old_name = from.dentry.name();
    let new_name = to.dentry.name();
    let old = from.parent.child_locked(&old_name)?;
    let new = to.parent.child_locked(&new_name)?;
    let inode = old.expect_inode()?;
    let meta = inode.metadata();
    let is_dir = meta.kind == FileType::Directory;
    if !is_dir && (from.trailing_slash || to.trailing_slash) {
        return Err(Errno::ENOTDIR);
    }
    let from_dir = from.parent.expect_inode()?;
    let to_dir = to.parent.expect_inode()?;
    let who = Who::current();
    who.check_delete(&from_dir.metadata(), &meta)?;
    if old.is_mount_point() || new.is_mount_point() {
        return Err(Errno::EBUSY);
    }
    if let Some(target) = new.inode() {
        if flags & RENAME_NOREPLACE != 0 {
            return Err(Errno::EEXIST);
        }
        let target_meta = target.metadata();
        who.check_delete(&to_dir.metadata(), &target_meta)?;
        if Arc::ptr_eq(target, inode) {
            return Ok(None);
        }
        let onto_dir = target_meta.kind == FileType::Directory;
        if onto_dir && from.parent.is_below(&new) {
            return Err(Errno::ENOTEMPTY);
        }
        if is_dir && !onto_dir {
            return Err(Errno::ENOTDIR);
        }
        if !is_dir && onto_dir {
            return Err(Errno::EISDIR);
        }
    } else {
        who.check(&to_dir.metadata(), WRITE | EXEC)?;
    }
    if is_dir && to.parent.is_below(&old) {
        return Err(Errno::EINVAL);
    }
    from_dir.rename(&old_name, inode, to_dir, &new_name, new.inode())?;
    to.parent.forget(&new);
    from.parent.moved(&old, &to.parent, &new_name);
    Ok(new.inode().is_some().then_some(new))
}

/// `link(2)`
pub fn sys_link(old: usize, new: usize) -> KResult<usize> {
    sys_linkat(AT_FDCWD as usize, old, AT_FDCWD as usize, new, 0)
}

/// `linkat(2)`
pub fn sys_linkat(
    old_dir: usize,
    old: usize,
    new_dir: usize,
    new: usize,
    flags: usize,
) -> KResult<usize> {
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let lookup_flags = if flags & AT_SYMLINK_FOLLOW != 0 {
        flags & AT_EMPTY_PATH
    } else {
        flags & AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW
    };
    let inode = inode_at(old_dir, old, lookup_flags)?;
    let to = free_name(new_dir, new)?;
    if to.trailing_slash {
        return Err(Errno::ENOENT);
    }
    let meta = inode.metadata();
    let dir = to.parent.expect_inode()?;
    let dir_meta = dir.metadata();
    if meta.dev != dir_meta.dev {
        return Err(Errno::EXDEV);
    }
    Who::current().check(&dir_meta, WRITE | EXEC)?;
    if meta.kind == FileType::Directory {
        return Err(Errno::EPERM);
    }
    if meta.nlink == 0 {
        return Err(Errno::ENOENT);
    }
    let name = to.dentry.name();
    let _changes = to.parent.lock_changes();
    if to.parent.child_locked(&name)?.inode().is_some() {
        return Err(Errno::EEXIST);
    }
    dir.link(&name, &inode)?;
    to.parent.enter(&name, Some(inode));
    Ok(0)
}

/// Whether a change may be made to the file system of `inode`. EROFS.
fn check_writable(inode: &Arc<dyn Inode>) -> KResult<()> {
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
        super::file::get(dirfd)?.inode().clone()
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
        super::file::get(dirfd)?.inode().clone()
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

/// `truncate(2)`
pub fn sys_truncate(path: usize, len: usize) -> KResult<usize> {
    if (len as i64) < 0 {
        return Err(Errno::EINVAL);
    }
    let inode = inode_at(AT_FDCWD as usize, path, 0)?;
    let meta = inode.metadata();
    match meta.kind {
        FileType::Regular => {}
        FileType::Directory => return Err(Errno::EISDIR),
        _ => return Err(Errno::EINVAL),
    }
    Who::current().check(&meta, WRITE)?;
    check_writable(&inode)?;
    super::open::check_not_running(&meta)?;
    if len as u64 > inode.size() {
        crate::task::rlimit::file_room(len as u64 - 1)?;
    }
    crate::fs::truncate(&inode, len as u64)?;
    Ok(0)
}

/// The directory that `dentry` is, which the running process may enter. ENOTDIR, EACCES.
fn check_enter(dentry: &Arc<Dentry>) -> KResult<()> {
    let meta: Metadata = dentry.expect_inode()?.metadata();
    if meta.kind != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    Who::current().check(&meta, EXEC)
}

/// `chdir(2)`
pub fn sys_chdir(path: usize) -> KResult<usize> {
    let path = read_path(path)?;
    enter(path::lookup(&path)?)
}

/// `fchdir(2)`
pub fn sys_fchdir(fd: usize) -> KResult<usize> {
    let file = super::file::get(fd)?;
    enter(file.dentry().ok_or(Errno::ENOTDIR)?.clone())
}

fn enter(dentry: Arc<Dentry>) -> KResult<usize> {
    check_enter(&dentry)?;
    let old = core::mem::replace(&mut task::current_process().fs.lock().cwd, dentry);
    drop(old);
    Ok(0)
}

/// `chroot(2)`
pub fn sys_chroot(path: usize) -> KResult<usize> {
    let path = read_path(path)?;
    let dentry = path::lookup(&path)?;
    check_enter(&dentry)?;
    if !Who::current().is_root() {
        return Err(Errno::EPERM);
    }
    let old = core::mem::replace(&mut task::current_process().fs.lock().root, dentry);
    drop(old);
    Ok(0)
}

/// `getcwd(2)`: gives the length with the NUL.
pub fn sys_getcwd(buf: usize, len: usize) -> KResult<usize> {
    let (root, cwd) = {
        let context = task::current_process().fs.lock();
        (context.root.clone(), context.cwd.clone())
    };
    if cwd.is_gone() {
        return Err(Errno::ENOENT);
    }
    let mut path = match cwd.path_from(&root) {
        Some(path) => path,
        None => {
            let mut path = b"(unreachable)".to_vec();
            path.extend_from_slice(&cwd.display_path());
            path
        }
    };
    path.push(0);
    if path.len() > len {
        return Err(Errno::ERANGE);
    }
    copy_to_user(buf, &path)?;
    Ok(path.len())
}

/// `umask(2)`
pub fn sys_umask(mask: usize) -> KResult<usize> {
    let mut context = task::current_process().fs.lock();
    let old = core::mem::replace(&mut context.umask, mask as u32 & 0o777);
    Ok(old as usize)
}

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
    let text = |at: usize| -> KResult<alloc::string::String> {
        match at {
            0 => Ok("none".into()),
            at => alloc::string::String::from_utf8(read_user_string(at, 4096)?)
                .map_err(|_| Errno::EINVAL),
        }
    };
    let kind = text(kind)?;
    // Other types take their options from nowhere.
    let options = match (data, &kind[..]) {
        (1.., "tmpfs") => text(data)?,
        _ => alloc::string::String::new(),
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
