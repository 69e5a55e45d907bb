//! Who may do what: permission bits against the credentials of the running process.
//!
//! User 0 may do everything, except execute a file that nobody may execute (`path_resolution(7)`).

use super::{FileType, Metadata};
use crate::errno::{Errno, KResult};
use crate::task;

/// Read, or list a directory.
pub const READ: u32 = 4;
/// Write, or change the names in a directory.
pub const WRITE: u32 = 2;
/// Execute, or pass through a directory.
pub const EXEC: u32 = 1;

/// The identity that permissions are checked for.
pub struct Who {
    /// File-system (or for `access(2)` real) user.
    pub uid: u32,
    /// File-system (or real) group.
    pub gid: u32,
}

impl Who {
    /// The running process as file operations see it.
    #[inline]
    pub fn current() -> Self {
        let creds = task::current_process().creds.lock();
        Self {
            uid: creds.fsuid,
            gid: creds.fsgid,
        }
    }

    /// The running process by its real ids (`access(2)`).
    pub fn real() -> Self {
        let creds = task::current_process().creds.lock();
        Self {
            uid: creds.uid,
            gid: creds.gid,
        }
    }

    /// Whether all is allowed.
    #[inline]
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Whether this is the owner of the inode, or user 0.
    pub fn owns(&self, meta: &Metadata) -> bool {
        self.uid == 0 || self.uid == meta.uid
    }

    /// Whether the group of the inode is one of the process's.
    pub fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || task::current_process().creds.lock().groups.contains(&gid)
    }

    /// Whether the accesses of `mask` are allowed. EACCES.
    pub fn check(&self, meta: &Metadata, mask: u32) -> KResult<()> {
        if self.uid == 0 {
            let executable = meta.kind == FileType::Directory || meta.perm & 0o111 != 0;
            return if mask & EXEC == 0 || executable {
                Ok(())
            } else {
                Err(Errno::EACCES)
            };
        }
        let granted = if self.uid == meta.uid {
            meta.perm >> 6
        } else if self.in_group(meta.gid) {
            meta.perm >> 3
        } else {
            meta.perm
        };
        if granted & mask == mask {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }

    /// Whether the name of an inode with `entry` may be removed from the directory `dir`: write
    /// permission there, and under a sticky directory the ownership of either. EACCES, EPERM.
    pub fn check_delete(&self, dir: &Metadata, entry: &Metadata) -> KResult<()> {
        self.check(dir, WRITE | EXEC)?;
        if dir.perm & 0o1000 != 0 && !self.owns(dir) && !self.owns(entry) {
            return Err(Errno::EPERM);
        }
        Ok(())
    }
}

/// Whether the running process may access an inode. EACCES.
pub fn check(meta: &Metadata, mask: u32) -> KResult<()> {
    Who::current().check(meta, mask)
}

/// Owner and group for an inode that the running process makes in the directory `dir`: its own,
/// but the directory's group if that has the set-group-id bit. With it comes the permission: new
/// directories inherit the bit.
pub fn new_owner(dir: &Metadata, kind: FileType, perm: u32) -> ((u32, u32), u32) {
    let who = Who::current();
    if dir.perm & 0o2000 != 0 {
        let perm = if kind == FileType::Directory {
            perm | 0o2000
        } else {
            perm
        };
        ((who.uid, dir.gid), perm)
    } else {
        ((who.uid, who.gid), perm)
    }
}
