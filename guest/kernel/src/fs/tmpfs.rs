//! A file system in memory and swap space: `/tmp`, `/dev/shm`, and the nameless files of
//! `memfd_create(2)`.

mod pages;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::cache::{self, PAGE, PageCache};
use super::seal::Seals;
use super::{
    DirEntry, FileOps, FileSystem, FileType, Inode, Metadata, OpenFlags, ReadBuf, SetAttr, StatFs,
    Timespec, WriteBuf,
};
use crate::errno::{Errno, KResult};
use crate::mm::frame::{self, Frame};
use crate::mm::{reclaim, swap};
use crate::sync::{Mutex, SpinLock};

use pages::Swapped;
pub use pages::{bring_back, swap_out};

const TMPFS_MAGIC: u64 = 0x0102_1994;

/// No file is larger: indices of pages stay far from overflow.
const MAX_SIZE: u64 = 1 << 46;

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
        root.meta.lock().nlink = 2;
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

#[derive(Default)]
struct Entries {
    by_name: BTreeMap<Box<[u8]>, (u64, Arc<TmpInode>)>,
    /// The directory in order of its cookies, which never change.
    by_cookie: BTreeMap<u64, Box<[u8]>>,
    last_cookie: u64,
}

impl Entries {
    fn add(&mut self, name: &[u8], inode: Arc<TmpInode>) {
        // 0, 1 and 2 are the start, `.` and `..`.
        self.last_cookie = self.last_cookie.max(2) + 1;
        self.by_name.insert(name.into(), (self.last_cookie, inode));
        self.by_cookie.insert(self.last_cookie, name.into());
    }

    fn remove(&mut self, name: &[u8]) -> Option<Arc<TmpInode>> {
        let (cookie, inode) = self.by_name.remove(name)?;
        self.by_cookie.remove(&cookie);
        Some(inode)
    }
}

/// An inode in memory.
pub struct TmpInode {
    me: Weak<TmpInode>,
    fs: Weak<TmpFs>,
    kind: FileType,
    meta: SpinLock<Metadata>,
    write: Mutex<()>,
    cache: PageCache,
    entries: SpinLock<Entries>,
    target: Vec<u8>,
    writers: AtomicU32,
    seals: Seals,
    swapped: Swapped,
}

impl TmpInode {
    fn of(inode: &Arc<dyn Inode>) -> KResult<&TmpInode> {
        inode
            .as_any()
            .downcast_ref::<TmpInode>()
            .ok_or(Errno::EXDEV)
    }

    fn touch(&self) {
        let now = Timespec::now();
        let mut meta = self.meta.lock();
        meta.mtime = now;
        meta.ctime = now;
    }

    fn enter(&self, name: &[u8], inode: Arc<TmpInode>) -> KResult<()> {
        if self.kind != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        {
            let mut entries = self.entries.lock();
            if entries.by_name.contains_key(name) {
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

    fn linked(&self, change: i32) {
        let mut meta = self.meta.lock();
        meta.nlink = meta.nlink.saturating_add_signed(change);
        meta.ctime = Timespec::now();
    }

    fn is_empty(&self) -> bool {
        self.entries.lock().by_name.is_empty()
    }

    /// So many pages are the file's no more.
    fn give_back(&self, pages: u64) {
        if let Some(fs) = self.fs.upgrade() {
            fs.used.fetch_sub(pages, Ordering::Relaxed);
        }
    }

    fn write_locked(&self, offset: u64, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        self.seals.check_write(offset, self.size(), buf)?;
        let mut at = offset;
        let mut written = 0;
        while buf.remaining() > 0 {
            if at >= MAX_SIZE {
                return if written > 0 {
                    Ok(written)
                } else {
                    Err(Errno::EFBIG)
                };
            }
            let within = (at % PAGE as u64) as usize;
            let len = buf.remaining().min(PAGE - within);
            let step = self
                .page_or_new(at / PAGE as u64)
                .and_then(|frame| buf.take(&mut cache::bytes_mut(&frame)[within..within + len]));
            match step {
                Ok(0) => break,
                Ok(n) => {
                    at += n as u64;
                    written += n;
                }
                Err(e) if written == 0 => return Err(e),
                Err(_) => break,
            }
        }
        let now = Timespec::now();
        let mut meta = self.meta.lock();
        meta.size = meta.size.max(at);
        meta.mtime = now;
        meta.ctime = now;
        Ok(written)
    }
}

impl Drop for TmpInode {
    fn drop(&mut self) {
        self.forget_pages();
        self.give_back(self.meta.lock().blocks / (PAGE / 512) as u64);
    }
}

impl Inode for TmpInode {
    fn metadata(&self) -> Metadata {
        *self.meta.lock()
    }

    fn kind(&self) -> FileType {
        self.kind
    }

    fn size(&self) -> u64 {
        self.meta.lock().size
    }

    fn fs(&self) -> Option<Arc<dyn FileSystem>> {
        let fs: Arc<dyn FileSystem> = self.fs.upgrade()?;
        Some(fs)
    }

    fn lookup(&self, name: &[u8]) -> KResult<Arc<dyn Inode>> {
        match self.entries.lock().by_name.get(name) {
            Some((_, inode)) => Ok(inode.clone()),
            None => Err(Errno::ENOENT),
        }
    }

    fn create(
        &self,
        name: &[u8],
        kind: FileType,
        perm: u32,
        owner: (u32, u32),
        rdev: u64,
    ) -> KResult<Arc<dyn Inode>> {
        let fs = self.fs.upgrade().ok_or(Errno::ENOENT)?;
        let inode = fs.make(kind, perm, owner, rdev, b"");
        self.enter(name, inode.clone())?;
        Ok(inode)
    }

    fn symlink(&self, name: &[u8], target: &[u8], owner: (u32, u32)) -> KResult<Arc<dyn Inode>> {
        let fs = self.fs.upgrade().ok_or(Errno::ENOENT)?;
        let inode = fs.make(FileType::Symlink, 0o777, owner, 0, target);
        self.enter(name, inode.clone())?;
        Ok(inode)
    }

    fn link(&self, name: &[u8], inode: &Arc<dyn Inode>) -> KResult<()> {
        let target = Self::of(inode)?.me.upgrade().ok_or(Errno::ENOENT)?;
        self.enter(name, target.clone())?;
        target.linked(1);
        Ok(())
    }

    fn unlink(&self, name: &[u8], inode: &Arc<dyn Inode>) -> KResult<()> {
        let removed = self.entries.lock().remove(name);
        drop(removed.ok_or(Errno::ENOENT)?);
        Self::of(inode)?.linked(-1);
        self.touch();
        Ok(())
    }

    fn rmdir(&self, name: &[u8], inode: &Arc<dyn Inode>) -> KResult<()> {
        let dir = Self::of(inode)?;
        if !dir.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        let removed = self.entries.lock().remove(name);
        drop(removed.ok_or(Errno::ENOENT)?);
        dir.linked(-2);
        self.linked(-1);
        self.touch();
        Ok(())
    }

    fn rename(
        &self,
        name: &[u8],
        inode: &Arc<dyn Inode>,
        new_dir: &Arc<dyn Inode>,
        new_name: &[u8],
        replaced: Option<&Arc<dyn Inode>>,
    ) -> KResult<()> {
        let target = Self::of(new_dir)?;
        if let Some(replaced) = replaced {
            if replaced.kind() == FileType::Directory {
                new_dir.rmdir(new_name, replaced)?;
            } else {
                new_dir.unlink(new_name, replaced)?;
            }
        }
        let moved = self.entries.lock().remove(name).ok_or(Errno::ENOENT)?;
        if moved.kind == FileType::Directory {
            self.linked(-1);
        }
        self.touch();
        target.enter(new_name, moved)?;
        Self::of(inode)?.linked(0);
        Ok(())
    }

    fn readlink(&self) -> KResult<Vec<u8>> {
        if self.kind == FileType::Symlink {
            Ok(self.target.clone())
        } else {
            Err(Errno::EINVAL)
        }
    }

    fn readdir(&self, cursor: u64, emit: &mut dyn FnMut(DirEntry) -> bool) -> KResult<()> {
        let mut after = cursor;
        loop {
            let entry = {
                let entries = self.entries.lock();
                let Some((&cookie, name)) = entries.by_cookie.range(after + 1..).next() else {
                    return Ok(());
                };
                let Some((_, inode)) = entries.by_name.get(name) else {
                    return Err(Errno::EIO);
                };
                DirEntry {
                    ino: inode.meta.lock().ino,
                    next: cookie,
                    kind: inode.kind,
                    name: name.to_vec(),
                }
            };
            after = entry.next;
            if !emit(entry) {
                return Ok(());
            }
        }
    }

    fn read_at(&self, offset: u64, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        let mut at = offset;
        let mut read = 0;
        while buf.remaining() > 0 {
            let size = self.size();
            if at >= size {
                break;
            }
            let within = (at % PAGE as u64) as usize;
            let len = (buf.remaining().min(PAGE - within) as u64).min(size - at) as usize;
            let page = match self.present(at / PAGE as u64) {
                Ok(page) => page,
                Err(e) if read == 0 => return Err(e),
                Err(_) => break,
            };
            let step = match page {
                Some(frame) => buf.put(&cache::bytes(&frame)[within..within + len]),
                None => buf.put_zeros(len),
            };
            match step {
                Ok(0) => break,
                Ok(n) => {
                    at += n as u64;
                    read += n;
                }
                Err(e) if read == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(read)
    }

    fn write_at(&self, offset: u64, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        let _write = self.write.lock();
        self.write_locked(offset, buf)
    }

    fn append(&self, buf: &mut WriteBuf<'_>) -> KResult<(u64, usize)> {
        let _write = self.write.lock();
        let end = self.size();
        Ok((end, self.write_locked(end, buf)?))
    }

    fn truncate(&self, size: u64) -> KResult<()> {
        if self.kind != FileType::Regular {
            return Err(Errno::EINVAL);
        }
        if size > MAX_SIZE {
            return Err(Errno::EFBIG);
        }
        let _write = self.write.lock();
        self.seals.check_size(self.size(), size)?;
        let tail = (size % PAGE as u64) as usize;
        if tail != 0
            && let Some(frame) = self.present(size / PAGE as u64)?
        {
            cache::bytes_mut(&frame)[tail..].fill(0);
        }
        let left = self.cut(size.div_ceil(PAGE as u64));
        let blocks = (left * (PAGE / 512)) as u64;
        let mut meta = self.meta.lock();
        meta.size = size;
        let before = core::mem::replace(&mut meta.blocks, blocks);
        drop(meta);
        self.give_back(before.saturating_sub(blocks) / (PAGE / 512) as u64);
        self.touch();
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64, keep_size: bool) -> KResult<()> {
        let end = offset.checked_add(len).ok_or(Errno::EFBIG)?;
        if end > MAX_SIZE {
            return Err(Errno::EFBIG);
        }
        let _write = self.write.lock();
        self.seals.check_size(self.size(), end.max(self.size()))?;
        for index in offset / PAGE as u64..end.div_ceil(PAGE as u64) {
            self.page_or_new(index)?;
        }
        if !keep_size {
            let mut meta = self.meta.lock();
            meta.size = meta.size.max(end);
        }
        self.touch();
        Ok(())
    }

    fn set_attr(&self, attr: &SetAttr) -> KResult<()> {
        self.meta.lock().change(attr);
        Ok(())
    }

    fn cached_pages(&self, first: u64, end: u64, each: &mut dyn FnMut(u64, &Frame)) {
        self.cache.each(first, end, each);
    }

    fn page(&self, index: u64) -> KResult<Option<Frame>> {
        if self.kind != FileType::Regular {
            return Err(Errno::ENODEV);
        }
        if index >= self.size().div_ceil(PAGE as u64) {
            return Ok(None);
        }
        self.page_or_new(index).map(Some)
    }

    fn writers(&self) -> Option<&AtomicU32> {
        Some(&self.writers)
    }

    fn seals(&self) -> Option<&Seals> {
        (self.kind == FileType::Regular).then_some(&self.seals)
    }

    fn open(&self, flags: OpenFlags) -> KResult<Option<Box<dyn FileOps>>> {
        match self.kind {
            FileType::Char | FileType::Block => {
                super::devfs::open_device(self.kind, self.meta.lock().rdev, flags).map(Some)
            }
            FileType::Fifo => {
                let (dev, ino) = {
                    let meta = self.meta.lock();
                    (meta.dev, meta.ino)
                };
                super::pipe::open_fifo(dev, ino, flags).map(Some)
            }
            FileType::Socket => Err(Errno::ENXIO),
            _ => Ok(None),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
