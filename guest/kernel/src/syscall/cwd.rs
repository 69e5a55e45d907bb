//! Where a process stands in the tree: its working directory and root, and its umask.

use alloc::sync::Arc;

use super::file::get;
use super::open::read_path;
use crate::errno::{Errno, KResult};
use crate::fs::path;
use crate::fs::perm::{EXEC, Who};
use crate::fs::{Dentry, FileType};
use crate::mm::user::copy_to_user;
use crate::task;

/// Whether `dentry` is a directory that the running process may enter. ENOTDIR, EACCES.
fn check_enter(dentry: &Arc<Dentry>) -> KResult<()> {
    let meta = dentry.expect_inode()?.metadata();
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
    let file = get(fd)?;
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
