//! A file system in memory and swap space: `/tmp`, `/dev/shm`, and the nameless files of
//! `memfd_create(2)`.

mod data;
mod directory;
mod inode;
mod pages;

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::cache::{PAGE, PageCache};
use super::seal::Seals;
use super::{FileSystem, FileType, Inode, Metadata, StatFs, Timespec};
use crate::errno::{Errno, KResult};
use crate::mm::{frame, reclaim, swap};
use crate::sync::{Mutex, SpinLock};

use directory::Entries;
use pages::Swapped;
pub use pages::{bring_back, swap_out};

const TMPFS_MAGIC: u64 = 0x0102_1994;

/// A mounted tmpfs.
pub struct TmpFs {
    me: Weak<TmpFs>,
    dev: u64,
    next_ino: AtomicU64,
    /// Pages that its files may have, and pages that they have.
    limit: u64,
    used: AtomicU64,
    root: SpinLock<Option<Arc<TmpInode>>>,
}

impl TmpFs {
    /// An empty file system whose root has the permission bits `perm`, as large as memory and swap
    /// space.
    pub fn new(perm: u32) -> Arc<Self> {
        Self::with_limit(perm, u64::MAX)
    }

    /// One of `size` bytes.
    pub fn sized(perm: u32, size: u64) -> Arc<Self> {
        Self::with_limit(perm, size.div_ceil(PAGE as u64))
    }

    /// What one has that is mounted without a size: half of memory, in bytes.
    pub fn usual_size() -> u64 {
        (frame::total_frames() / 2 * PAGE) as u64
    }

    fn with_limit(perm: u32, limit: u64) -> Arc<Self> {
        let fs = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            dev: super::mount::next_dev(),
            next_ino: AtomicU64::new(1),
            limit,
            used: AtomicU64::new(0),
            root: SpinLock::new(None),
        });
        let root = fs.make(FileType::Directory, perm, (0, 0), 0, b"");
        *fs.root.lock() = Some(root);
        fs
    }

    fn make(
        &self,
        kind: FileType,
        perm: u32,
        owner: (u32, u32),
        rdev: u64,
        target: &[u8],
    ) -> Arc<TmpInode> {
        let ino = self.next_ino.fetch_add(1, Ordering::Relaxed);
        let now = Timespec::now();
        Arc::new_cyclic(|me| TmpInode {
            me: me.clone(),
            fs: self.me.clone(),
            kind,
            meta: SpinLock::new(Metadata {
                nlink: if kind == FileType::Directory { 2 } else { 1 },
                uid: owner.0,
                gid: owner.1,
                rdev,
                size: target.len() as u64,
                atime: now,
                mtime: now,
                ctime: now,
                ..Metadata::synthetic(self.dev, ino, kind, perm)
            }),
            write: Mutex::new(()),
            cache: PageCache::without_device(),
            entries: SpinLock::new(Entries::default()),
            target: target.to_vec(),
            writers: AtomicU32::new(0),
            seals: Seals::closed(),
            swapped: Swapped::new(),
        })
    }

    /// A regular file without a name, of the kernel's own instance (`memfd_create`), which can be
    /// sealed or not.
    pub fn nameless(perm: u32, owner: (u32, u32), sealable: bool) -> Arc<dyn Inode> {
        static INTERNAL: crate::sync::Once<Arc<TmpFs>> = crate::sync::Once::new();
        let fs = INTERNAL.call_once(|| TmpFs::new(0o700));
        let file = fs.make(FileType::Regular, perm, owner, 0, b"");
        file.meta.lock().nlink = 0;
        if sealable {
            file.seals.allow();
        }
        file
    }
}

impl FileSystem for TmpFs {
    fn name(&self) -> &'static str {
        "tmpfs"
    }

    fn root(&self) -> KResult<Arc<dyn Inode>> {
        let root = self.root.lock().clone().ok_or(Errno::EIO)?;
        Ok(root)
    }

    fn statfs(&self) -> StatFs {
        let all = (reclaim::backed_pages() as u64).min(self.limit);
        let left = self.limit - self.used.load(Ordering::Relaxed).min(self.limit);
        let free = left.min((frame::free_frames() + swap::free_pages()) as u64);
        StatFs {
            magic: TMPFS_MAGIC,
            block_size: PAGE as u64,
            blocks: all,
            free,
            available: free,
            files: frame::total_frames() as u64,
            files_free: frame::free_frames() as u64,
        }
    }

    fn unmount(&self) -> KResult<()> {
        let root = self.root.lock().take();
        drop(root);
        Ok(())
    }
}

/// An inode in memory.
pub struct TmpInode {
    me: Weak<TmpInode>,
    fs: Weak<TmpFs>,
    kind: FileType,
    meta: SpinLock<Metadata>,
    /// Held while data or size change.
    write: Mutex<()>,
    cache: PageCache,
    /// Of a directory.
    entries: SpinLock<Entries>,
    /// Of a symbolic link.
    target: Vec<u8>,
    /// Open descriptions by which it can be written.
    writers: AtomicU32,
    seals: Seals,
    swapped: Swapped,
}

impl TmpInode {
    /// The inode, if it is of a tmpfs. EXDEV.
    fn of(inode: &Arc<dyn Inode>) -> KResult<&TmpInode> {
        inode
            .as_any()
            .downcast_ref::<TmpInode>()
            .ok_or(Errno::EXDEV)
    }

    /// Its contents have changed now.
    fn touch(&self) {
        let now = Timespec::now();
        let mut meta = self.meta.lock();
        meta.mtime = now;
        meta.ctime = now;
    }

    /// It has `change` more links, and has changed now.
    fn linked(&self, change: i32) {
        let mut meta = self.meta.lock();
        meta.nlink = meta.nlink.saturating_add_signed(change);
        meta.ctime = Timespec::now();
    }

    /// So many pages are the file's no more.
    fn give_back(&self, pages: u64) {
        if let Some(fs) = self.fs.upgrade() {
            fs.used.fetch_sub(pages, Ordering::Relaxed);
        }
    }
}

impl Drop for TmpInode {
    fn drop(&mut self) {
        self.forget_pages();
        self.give_back(self.meta.lock().blocks / (PAGE / 512) as u64);
    }
}
