//! The names in a directory, each with the cookie by which `getdents64(2)` goes on after it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use super::TmpInode;
use crate::errno::{Errno, KResult};
use crate::fs::FileType;

/// What a directory holds.
#[derive(Default)]
pub struct Entries {
    /// Cookie and inode of each name.
    by_name: BTreeMap<Box<[u8]>, (u64, Arc<TmpInode>)>,
    /// The names in order of their cookies, which never change.
    by_cookie: BTreeMap<u64, Box<[u8]>>,
    last_cookie: u64,
}

impl Entries {
    /// The inode that has a name here.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<TmpInode>> {
        self.by_name.get(name).map(|(_, inode)| inode)
    }

    /// The next entry after a cookie: its own cookie, name, and inode.
    pub fn after(&self, cookie: u64) -> Option<(u64, &[u8], &Arc<TmpInode>)> {
        let (&cookie, name) = self.by_cookie.range(cookie + 1..).next()?;
        Some((cookie, name, self.get(name)?))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    fn add(&mut self, name: &[u8], inode: Arc<TmpInode>) {
        // 0, 1 and 2 are the start, `.` and `..`.
        self.last_cookie = self.last_cookie.max(2) + 1;
        self.by_name.insert(name.into(), (self.last_cookie, inode));
        self.by_cookie.insert(self.last_cookie, name.into());
    }

    /// Take a name away; gives the inode that had it.
    pub fn remove(&mut self, name: &[u8]) -> Option<Arc<TmpInode>> {
        let (cookie, inode) = self.by_name.remove(name)?;
        self.by_cookie.remove(&cookie);
        Some(inode)
    }
}

impl TmpInode {
    /// Give an inode a name in this directory. ENOTDIR, EEXIST.
    pub(super) fn enter(&self, name: &[u8], inode: Arc<TmpInode>) -> KResult<()> {
        if self.kind != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        {
            let mut entries = self.entries.lock();
            if entries.get(name).is_some() {
                return Err(Errno::EEXIST);
            }
            if inode.kind == FileType::Directory {
                self.meta.lock().nlink += 1;
            }
            entries.add(name, inode);
        }
        self.touch();
        Ok(())
    }
}
