//! Where a process stands in the file system: root, working directory, umask.

use alloc::sync::Arc;

use super::Dentry;

/// Root, working directory and file-creation mask of a process; shared with `CLONE_FS`.
#[derive(Clone)]
pub struct FsContext {
    /// Where absolute paths start (`chroot(2)`).
    pub root: Arc<Dentry>,
    /// Where relative paths start.
    pub cwd: Arc<Dentry>,
    /// Permission bits that new files do not get.
    pub umask: u32,
}

impl FsContext {
    /// The context of the first process: the root file system, umask 022.
    ///
    /// Call it after `fs::init`.
    pub fn initial() -> Self {
        let root = super::mount::root();
        Self {
            cwd: root.clone(),
            root,
            umask: 0o022,
        }
    }
}
