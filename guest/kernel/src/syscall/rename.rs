//! `rename(2)` and its relatives.

use alloc::sync::Arc;

use super::open::read_path;
use crate::errno::{Errno, KResult};
use crate::fs::path::{self, AT_FDCWD, Last, Lookup, Resolved};
use crate::fs::perm::{EXEC, WRITE, Who};
use crate::fs::{Dentry, FileType};
use crate::sync::Mutex;

/// Renames take turns, so that no two of them can tie directories into a ring.
static RENAMES: Mutex<()> = Mutex::new(());

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
