//! Further names of files, and fewer: link, unlink, rmdir.

use alloc::sync::Arc;

use super::open::{free_name, read_path};
use super::stat::{AT_EMPTY_PATH, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, inode_at};
use crate::errno::{Errno, KResult};
use crate::fs::path::{self, AT_FDCWD, Last, Lookup, Resolved};
use crate::fs::perm::{EXEC, WRITE, Who};
use crate::fs::{FileType, Inode};

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
