//! Extended attributes (`xattr(7)`), which no file system here has: each call checks what it names, and
//! says so as Linux does where a file system has none.

use crate::errno::{Errno, KResult};
use crate::fs::Lookup;
use crate::fs::path::{self, AT_FDCWD};
use crate::mm::user::read_user_string;

/// Longest name of an attribute, with its NUL (`XATTR_NAME_MAX`).
const NAME: usize = 256;

/// The file exists.
fn check_path(at: usize, lookup: Lookup) -> KResult<()> {
    let path = super::open::read_path(at)?;
    path::lookup_at(AT_FDCWD, &path, lookup)?.expect_inode()?;
    Ok(())
}

/// The name of an attribute is one; there is no such attribute on any file.
fn none_of(name: usize) -> KResult<usize> {
    match read_user_string(name, NAME) {
        Ok(name) if name.is_empty() => Err(Errno::ERANGE),
        Ok(_) => Err(Errno::EOPNOTSUPP),
        Err(Errno::ENAMETOOLONG) => Err(Errno::ERANGE),
        Err(error) => Err(error),
    }
}

/// `setxattr(2)`
pub fn sys_setxattr(path: usize, name: usize) -> KResult<usize> {
    sys_getxattr(path, name)
}

/// `lsetxattr(2)`
pub fn sys_lsetxattr(path: usize, name: usize) -> KResult<usize> {
    sys_lgetxattr(path, name)
}

/// `fsetxattr(2)`
pub fn sys_fsetxattr(fd: usize, name: usize) -> KResult<usize> {
    sys_fgetxattr(fd, name)
}

/// `getxattr(2)`
pub fn sys_getxattr(path: usize, name: usize) -> KResult<usize> {
    check_path(path, Lookup::Follow)?;
    none_of(name)
}

/// `lgetxattr(2)`
pub fn sys_lgetxattr(path: usize, name: usize) -> KResult<usize> {
    check_path(path, Lookup::NoFollow)?;
    none_of(name)
}

/// `fgetxattr(2)`
pub fn sys_fgetxattr(fd: usize, name: usize) -> KResult<usize> {
    super::file::get(fd)?;
    none_of(name)
}

/// `listxattr(2)`: an empty list.
pub fn sys_listxattr(path: usize) -> KResult<usize> {
    check_path(path, Lookup::Follow)?;
    Ok(0)
}

/// `llistxattr(2)`
pub fn sys_llistxattr(path: usize) -> KResult<usize> {
    check_path(path, Lookup::NoFollow)?;
    Ok(0)
}

/// `flistxattr(2)`
pub fn sys_flistxattr(fd: usize) -> KResult<usize> {
    super::file::get(fd)?;
    Ok(0)
}

/// `removexattr(2)`
pub fn sys_removexattr(path: usize, name: usize) -> KResult<usize> {
    sys_getxattr(path, name)
}

/// `lremovexattr(2)`
pub fn sys_lremovexattr(path: usize, name: usize) -> KResult<usize> {
    sys_lgetxattr(path, name)
}

/// `fremovexattr(2)`
pub fn sys_fremovexattr(fd: usize, name: usize) -> KResult<usize> {
    sys_fgetxattr(fd, name)
}
