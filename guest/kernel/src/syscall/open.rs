//! Opening and making files.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::errno::{Errno, KResult};
use crate::fs::path::{self, AT_FDCWD, Last, Lookup, PATH_MAX, Resolved};
use crate::fs::perm::{self, EXEC, READ, WRITE, Who};
use crate::fs::{Dentry, File, FileType, Inode, Metadata, OpenFlags, open_dentry, truncate};
use crate::mm::user::read_user_string;
use crate::task::{self, Process};

/// `O_LARGEFILE`, which every file of a 64-bit program has (`F_GETFL`).
const LARGEFILE: u32 = 0o100000;

/// A path from user memory. EFAULT, ENAMETOOLONG.
pub fn read_path(at: usize) -> KResult<Vec<u8>> {
    read_user_string(at, PATH_MAX)
}

/// `open(2)`
pub fn sys_open(path: usize, flags: usize, mode: usize) -> KResult<usize> {
    sys_openat(AT_FDCWD as usize, path, flags, mode)
}

/// `creat(2)`
pub fn sys_creat(path: usize, mode: usize) -> KResult<usize> {
    let flags = OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC;
    sys_openat(AT_FDCWD as usize, path, flags.0 as usize, mode)
}

/// `openat(2)`
pub fn sys_openat(dirfd: usize, path: usize, flags: usize, mode: usize) -> KResult<usize> {
    let path = read_path(path)?;
    let flags = OpenFlags(flags as u32);
    let file = open_file(dirfd as i32, &path, flags, mode as u32)?;
    task::current_process().install_file(file, flags.has(OpenFlags::CLOEXEC))
}

/// `openat2(2)` without `RESOLVE_` restrictions.
pub fn sys_openat2(dirfd: usize, path: usize, how: usize, size: usize) -> KResult<usize> {
    const HOW_SIZE: usize = 24;
    if size < HOW_SIZE {
        return Err(Errno::EINVAL);
    }
    let [flags, mode, resolve]: [u64; 3] = crate::mm::user::read_user(how)?;
    // O_ACCMODE, O_CREAT … O_TMPFILE and O_PATH without the bits that mean nothing.
    const FLAGS: u64 = 0o37777703;
    if flags & !FLAGS != 0 || resolve != 0 || mode & !0o7777 != 0 {
        return Err(Errno::EINVAL);
    }
    sys_openat(dirfd, path, flags as usize, mode as usize)
}

/// Open `path` as the running process. The errors are those of `open(2)`.
pub fn open_file(dirfd: i32, path: &[u8], flags: OpenFlags, mode: u32) -> KResult<Arc<File>> {
    if flags.has(OpenFlags::TMPFILE) {
        return Err(Errno::EOPNOTSUPP);
    }
    if flags.has(OpenFlags::PATH) {
        return open_path(dirfd, path, flags);
    }
    if flags.0 & 3 == 3 {
        return Err(Errno::EINVAL);
    }
    let nofollow = flags.has(OpenFlags::NOFOLLOW)
        || (flags.has(OpenFlags::CREAT) && flags.has(OpenFlags::EXCL));
    let lookup = if nofollow {
        Lookup::NoFollow
    } else {
        Lookup::Follow
    };
    let found = path::resolve(dirfd, path, lookup)?;
    let mut created = false;
    let mut dentry = found.dentry.clone();
    if flags.has(OpenFlags::CREAT) {
        if dentry.inode().is_none() {
            if found.trailing_slash {
                return Err(Errno::EISDIR);
            }
            (dentry, created) = create(&found, FileType::Regular, mode, 0)?;
        }
        if !created && flags.has(OpenFlags::EXCL) {
            return Err(Errno::EEXIST);
        }
    }
    let inode = dentry.expect_inode()?;
    let kind = inode.kind();
    if found.trailing_slash && kind != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    match kind {
        FileType::Symlink => return Err(Errno::ELOOP),
        FileType::Directory if flags.writable() || flags.has(OpenFlags::CREAT) => {
            return Err(Errno::EISDIR);
        }
        FileType::Directory => {}
        _ if flags.has(OpenFlags::DIRECTORY) => return Err(Errno::ENOTDIR),
        _ => {}
    }
    let truncates = flags.has(OpenFlags::TRUNC) && kind == FileType::Regular;
    if !created {
        check_open(inode, flags, truncates)?;
        if truncates {
            truncate(inode, 0)?;
        }
    }
    let file = open_dentry(dentry, kept(flags))?;
    if flags.writable() && kind == FileType::Regular {
        file.note_writer();
    }
    Ok(file)
}

/// The flags that a description remembers.
fn kept(flags: OpenFlags) -> OpenFlags {
    let dropped =
        OpenFlags::CREAT.0 | OpenFlags::EXCL.0 | OpenFlags::TRUNC.0 | OpenFlags::CLOEXEC.0;
    OpenFlags(flags.0 & !dropped | LARGEFILE)
}

fn check_open(inode: &Arc<dyn Inode>, flags: OpenFlags, truncates: bool) -> KResult<()> {
    let mut mask = 0;
    if flags.readable() {
        mask |= READ;
    }
    if flags.writable() || truncates {
        mask |= WRITE;
    }
    let who = Who::current();
    if !who.is_root() {
        who.check(&inode.metadata(), mask)?;
    }
    if mask & WRITE != 0 && inode.kind() == FileType::Regular {
        if inode.fs().is_some_and(|fs| fs.read_only()) {
            return Err(Errno::EROFS);
        }
        check_not_running(&inode.metadata())?;
    }
    Ok(())
}

/// ETXTBSY: a process runs the file, which so must not change.
pub fn check_not_running(file: &Metadata) -> KResult<()> {
    if file.perm & 0o111 == 0 {
        return Ok(());
    }
    let runs = |process: &Arc<Process>| {
        let exe = process.exe.lock().clone();
        exe.as_ref()
            .and_then(|dentry| dentry.inode())
            .is_some_and(|inode| {
                let running = inode.metadata();
                (running.ino, running.dev) == (file.ino, file.dev)
            })
    };
    if task::all_processes().iter().any(runs) {
        return Err(Errno::ETXTBSY);
    }
    Ok(())
}

fn open_path(dirfd: i32, path: &[u8], flags: OpenFlags) -> KResult<Arc<File>> {
    let lookup = if flags.has(OpenFlags::NOFOLLOW) {
        Lookup::NoFollow
    } else {
        Lookup::Follow
    };
    let dentry = path::lookup_at(dirfd, path, lookup)?;
    if flags.has(OpenFlags::DIRECTORY) && dentry.expect_inode()?.kind() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    let kept = OpenFlags::PATH.0 | flags.0 & (OpenFlags::DIRECTORY.0 | OpenFlags::NOFOLLOW.0);
    open_dentry(dentry, OpenFlags(kept))
}

/// Make the name that `found` says is absent: an inode of `kind` with `mode` less the umask. If
/// somebody else has been faster, theirs (and false).
pub fn create(
    found: &Resolved,
    kind: FileType,
    mode: u32,
    rdev: u64,
) -> KResult<(Arc<Dentry>, bool)> {
    let name = found.dentry.name();
    let dir = found.parent.expect_inode()?;
    let meta = dir.metadata();
    perm::check(&meta, WRITE | EXEC)?;
    let umask = task::current_process().fs.lock().umask;
    let (owner, perm) = perm::new_owner(&meta, kind, mode & 0o7777 & !umask);
    let _changes = found.parent.lock_changes();
    let now = found.parent.child_locked(&name)?;
    if now.inode().is_some() {
        return Ok((now, false));
    }
    let inode = dir.create(&name, kind, perm, owner, rdev)?;
    Ok((found.parent.enter(&name, Some(inode)), true))
}

/// `mkdir(2)`
pub fn sys_mkdir(path: usize, mode: usize) -> KResult<usize> {
    sys_mkdirat(AT_FDCWD as usize, path, mode)
}

/// The name at `path`, which is to be made. EEXIST: it is there, or is no name.
pub fn free_name(dirfd: usize, path: usize) -> KResult<Resolved> {
    let path = read_path(path)?;
    let found = path::resolve(dirfd as i32, &path, Lookup::Name)?;
    if found.dentry.inode().is_some() || found.last != Last::Name {
        return Err(Errno::EEXIST);
    }
    Ok(found)
}

/// `mkdirat(2)`
pub fn sys_mkdirat(dirfd: usize, path: usize, mode: usize) -> KResult<usize> {
    let found = free_name(dirfd, path)?;
    // Of the mode only permissions and the sticky bit count (mkdir(2)).
    match create(&found, FileType::Directory, mode as u32 & 0o1777, 0)? {
        (_, true) => Ok(0),
        (_, false) => Err(Errno::EEXIST),
    }
}

/// `mknod(2)`
pub fn sys_mknod(path: usize, mode: usize, dev: usize) -> KResult<usize> {
    sys_mknodat(AT_FDCWD as usize, path, mode, dev)
}

/// `mknodat(2)`
pub fn sys_mknodat(dirfd: usize, path: usize, mode: usize, dev: usize) -> KResult<usize> {
    let mode = mode as u32;
    let kind = match mode & 0o170000 {
        0 => FileType::Regular,
        _ => FileType::from_mode(mode).ok_or(Errno::EINVAL)?,
    };
    match kind {
        FileType::Directory => return Err(Errno::EPERM),
        FileType::Symlink => return Err(Errno::EINVAL),
        FileType::Char | FileType::Block if !Who::current().is_root() => {
            return Err(Errno::EPERM);
        }
        _ => {}
    }
    let found = free_name(dirfd, path)?;
    if found.trailing_slash {
        return Err(Errno::ENOENT);
    }
    let rdev = match kind {
        FileType::Char | FileType::Block => dev as u32 as u64,
        _ => 0,
    };
    match create(&found, kind, mode, rdev)? {
        (_, true) => Ok(0),
        (_, false) => Err(Errno::EEXIST),
    }
}

/// `symlink(2)`
pub fn sys_symlink(target: usize, path: usize) -> KResult<usize> {
    sys_symlinkat(target, AT_FDCWD as usize, path)
}

/// `symlinkat(2)`
pub fn sys_symlinkat(target: usize, dirfd: usize, path: usize) -> KResult<usize> {
    let target = read_path(target)?;
    if target.is_empty() {
        return Err(Errno::ENOENT);
    }
    let found = free_name(dirfd, path)?;
    if found.trailing_slash {
        return Err(Errno::ENOENT);
    }
    let dir = found.parent.expect_inode()?;
    let meta = dir.metadata();
    perm::check(&meta, WRITE | EXEC)?;
    let (owner, _) = perm::new_owner(&meta, FileType::Symlink, 0o777);
    let name = found.dentry.name();
    let _changes = found.parent.lock_changes();
    if found.parent.child_locked(&name)?.inode().is_some() {
        return Err(Errno::EEXIST);
    }
    let inode = dir.symlink(&name, &target, owner)?;
    found.parent.enter(&name, Some(inode));
    Ok(0)
}
