//! An inode of an ext2 file system.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use gnomon_ext2::{Error, Ext2, FileKind, InodeNumber, NewInode};

use super::read::RANDOM;
use super::{Device, Ext2Fs, errno, file_kind, file_type, now, stamp};
use crate::errno::{Errno, KResult};
use crate::fs::cache::{self, PAGE, PageCache};
use crate::fs::{
    DirEntry, FileOps, FileSystem, FileType, Inode, Metadata, OpenFlags, ReadBuf, SetAttr,
    Timespec, WriteBuf, device, pipe,
};
use crate::mm::frame::Frame;
use crate::sync::{Mutex, SpinLock};

/// Added to the file system's directory cookies, so that 0, 1 and 2 stay free for the start, `.`
/// and `..`.
const COOKIE_BASE: u64 = 2;

/// Directory entries collected under the lock at a time.
const READDIR_BATCH: usize = 128;

/// An inode of an ext2 file system.
pub struct Ext2Inode {
    pub(super) fs: Arc<Ext2Fs>,
    pub(super) ino: InodeNumber,
    kind: FileType,
    /// What `stat` shows. Size and times may be ahead of the file system's own copy.
    pub(super) meta: SpinLock<Metadata>,
    /// Size or times in `meta` have not been handed to the file system yet.
    pub(super) stale_times: AtomicBool,
    write: Mutex<()>,
    pub(super) fill: Mutex<()>,
    pub(super) cache: PageCache,
    /// The page after the last one that was read: reading in order is recognised by it.
    pub(super) next_page: AtomicU64,
    writers: AtomicU32,
}

impl Drop for Ext2Inode {
    fn drop(&mut self) {
        // The dead entry in the map of inodes is swept later: this may run in `reclaim`, which
        // holds that map's lock.
        if self.meta.get_mut().nlink == 0 {
            self.fs.released.lock().push(self.ino.0);
        }
    }
}

impl Ext2Inode {
    /// An object for inode `ino`, whose facts are `meta`.
    pub(super) fn new(fs: Arc<Ext2Fs>, ino: InodeNumber, meta: Metadata) -> Self {
        Self {
            fs,
            ino,
            kind: meta.kind,
            meta: SpinLock::new(meta),
            stale_times: AtomicBool::new(false),
            write: Mutex::new(()),
            fill: Mutex::new(()),
            cache: PageCache::new(),
            next_page: AtomicU64::new(0),
            writers: AtomicU32::new(0),
        }
    }

    fn of(inode: &Arc<dyn Inode>) -> KResult<&Ext2Inode> {
        inode
            .as_any()
            .downcast_ref::<Ext2Inode>()
            .ok_or(Errno::EXDEV)
    }

    /// Take the facts over from the file system after it has changed them.
    fn refresh(&self, state: &mut Ext2<Device>) -> KResult<()> {
        let facts = state.inode(self.ino).map_err(errno)?;
        *self.meta.lock() = self.fs.metadata(&facts);
        Ok(())
    }

    /// Hold this inode until it has been written back.
    pub(super) fn note_dirty(&self) {
        // An inode without links is only written back by its users: nobody will look for it.
        if self.meta.lock().nlink == 0 {
            return;
        }
        let mut dirty = self.fs.dirty.lock();
        if !dirty.contains_key(&self.ino.0)
            && let Some(me) = self
                .fs
                .inodes
                .lock()
                .get(&self.ino.0)
                .and_then(Weak::upgrade)
        {
            dirty.insert(self.ino.0, me);
        }
    }

    /// Hand size and times to the file system.
    pub(super) fn push_times(&self, state: &mut Ext2<Device>) -> KResult<()> {
        if !self.stale_times.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let meta = *self.meta.lock();
        let attr = gnomon_ext2::SetAttr {
            size: (self.kind == FileType::Regular).then_some(meta.size),
            atime: Some(stamp(meta.atime)),
            mtime: Some(stamp(meta.mtime)),
            ctime: Some(stamp(meta.ctime)),
            ..Default::default()
        };
        state.set_attr(self.ino, &attr).map_err(errno)
    }

    /// Change the names in this directory by `change`, and take its new times over.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Ext2<Device>) -> Result<T, Error<Errno>>,
    ) -> KResult<T> {
        self.fs.writable()?;
        let mut state = self.fs.lock();
        let result = change(&mut state).map_err(errno)?;
        self.refresh(&mut state)?;
        Ok(result)
    }

    /// After a name of this inode has come or gone.
    fn relinked(&self) -> KResult<()> {
        let mut state = self.fs.lock();
        self.push_times(&mut state)?;
        let gone = {
            self.refresh(&mut state)?;
            self.meta.lock().nlink == 0
        };
        drop(state);
        if gone {
            let held = self.fs.dirty.lock().remove(&self.ino.0);
            drop(held);
        }
        Ok(())
    }
}

impl Inode for Ext2Inode {
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
        Some(self.fs.clone())
    }

    fn lookup(&self, name: &[u8]) -> KResult<Arc<dyn Inode>> {
        let ino = self.fs.lock().lookup(self.ino, name).map_err(errno)?;
        Ok(self.fs.inode(ino)?)
    }

    fn create(
        &self,
        name: &[u8],
        kind: FileType,
        perm: u32,
        owner: (u32, u32),
        rdev: u64,
    ) -> KResult<Arc<dyn Inode>> {
        let (major, minor) = device::split_dev(rdev);
        let new = NewInode {
            kind: file_kind(kind),
            permissions: perm as u16,
            uid: owner.0,
            gid: owner.1,
            rdev: (major, minor),
        };
        let ino = self.change(|state| {
            if kind == FileType::Directory {
                state.mkdir(self.ino, name, &new, now())
            } else {
                state.create(self.ino, name, &new, now())
            }
        })?;
        Ok(self.fs.inode(ino)?)
    }

    fn symlink(&self, name: &[u8], target: &[u8], owner: (u32, u32)) -> KResult<Arc<dyn Inode>> {
        let new = NewInode {
            kind: FileKind::Symlink,
            permissions: 0o777,
            uid: owner.0,
            gid: owner.1,
            rdev: (0, 0),
        };
        let ino = self.change(|state| state.symlink(self.ino, name, target, &new, now()))?;
        Ok(self.fs.inode(ino)?)
    }

    fn link(&self, name: &[u8], inode: &Arc<dyn Inode>) -> KResult<()> {
        let target = Self::of(inode)?;
        self.change(|state| state.link(self.ino, name, target.ino, now()))?;
        target.relinked()
    }

    fn unlink(&self, name: &[u8], inode: &Arc<dyn Inode>) -> KResult<()> {
        self.change(|state| state.unlink(self.ino, name, now()))?;
        Self::of(inode)?.relinked()
    }

    fn rmdir(&self, name: &[u8], inode: &Arc<dyn Inode>) -> KResult<()> {
        self.change(|state| state.rmdir(self.ino, name, now()))?;
        Self::of(inode)?.relinked()
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
        self.change(|state| state.rename(self.ino, name, target.ino, new_name, now()))?;
        Self::of(inode)?.relinked()?;
        target.relinked()?;
        if let Some(replaced) = replaced {
            Self::of(replaced)?.relinked()?;
        }
        Ok(())
    }

    fn readlink(&self) -> KResult<Vec<u8>> {
        if self.kind != FileType::Symlink {
            return Err(Errno::EINVAL);
        }
        self.fs.lock().readlink(self.ino).map_err(errno)
    }

    fn readdir(&self, cursor: u64, emit: &mut dyn FnMut(DirEntry) -> bool) -> KResult<()> {
        // The file system's cookies are its own; those of `.` and `..` come first.
        let start = cursor.saturating_sub(COOKIE_BASE);
        let mut state = self.fs.lock();
        let mut found = Vec::new();
        // Collected first: `emit` copies to user memory, which must not happen under this lock.
        state
            .readdir(self.ino, start, |entry| {
                if entry.name != b"." && entry.name != b".." {
                    found.push(DirEntry {
                        ino: u64::from(entry.inode.0),
                        next: entry.next + COOKIE_BASE,
                        kind: entry.kind.map_or(FileType::Regular, file_type),
                        name: entry.name.to_vec(),
                    });
                }
                found.len() < READDIR_BATCH
            })
            .map_err(errno)?;
        drop(state);
        for entry in found {
            if !emit(entry) {
                break;
            }
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        let mut at = offset;
        let mut read = 0;
        while buf.remaining() > 0 {
            let size = self.meta.lock().size;
            if at >= size {
                break;
            }
            let within = (at % PAGE as u64) as usize;
            let len = buf
                .remaining()
                .min(PAGE - within)
                .min((size - at).min(PAGE as u64) as usize);
            let wanted = (within + buf.remaining()).div_ceil(PAGE) as u64;
            let step = self
                .load(at / PAGE as u64, wanted)
                .and_then(|frame| buf.put(&cache::bytes(&frame)[within..within + len]));
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
        self.fs.writable()?;
        let _write = self.write.lock();
        self.write_locked(offset, buf)
    }

    fn append(&self, buf: &mut WriteBuf<'_>) -> KResult<(u64, usize)> {
        self.fs.writable()?;
        let _write = self.write.lock();
        let end = self.meta.lock().size;
        Ok((end, self.write_locked(end, buf)?))
    }

    fn truncate(&self, size: u64) -> KResult<()> {
        self.fs.writable()?;
        if self.kind != FileType::Regular {
            return Err(Errno::EINVAL);
        }
        let _write = self.write.lock();
        let old = self.meta.lock().size;
        let tail = (size % PAGE as u64) as usize;
        let last = size / PAGE as u64;
        if size < old && tail != 0 {
            // The rest of the last page must read as zero when the file grows again.
            let frame = self.load(last, 1)?;
            cache::bytes_mut(&frame)[tail..].fill(0);
            self.cache.mark_dirty(last, false);
        }
        {
            let mut state = self.fs.lock();
            self.stale_times.store(false, Ordering::Relaxed);
            state.truncate(self.ino, size, now()).map_err(errno)?;
            self.refresh(&mut state)?;
        }
        self.cache.truncate(size.div_ceil(PAGE as u64));
        if self.cache.has_dirty() {
            self.note_dirty();
        }
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64, keep_size: bool) -> KResult<()> {
        self.fs.writable()?;
        let _write = self.write.lock();
        let end = offset.checked_add(len).ok_or(Errno::EFBIG)?;
        let size = self.meta.lock().size;
        // ext2 has no blocks that count as unwritten: those inside the file are written as zeros,
        // those beyond its end are left to the write that gets there.
        let stop = if keep_size { end.min(size) } else { end };
        let mut at = offset;
        while at < stop {
            let step = (PAGE as u64 - at % PAGE as u64).min(stop - at);
            let index = at / PAGE as u64;
            // Holes are read as zeros before they get blocks full of garbage.
            let frame = if index * PAGE as u64 >= size && self.cache.get(index).is_none() {
                Frame::alloc_zeroed()?
            } else {
                self.load(index, 1)?
            };
            let present = self.meta.lock().size;
            self.reserve(at, step as usize, present)?;
            self.cache.insert(index, frame, true);
            {
                let mut meta = self.meta.lock();
                meta.size = meta.size.max(at + step);
            }
            self.stale_times.store(true, Ordering::Relaxed);
            self.note_dirty();
            if cache::too_many_dirty() {
                self.write_pages()?;
            }
            at += step;
        }
        Ok(())
    }

    fn set_attr(&self, attr: &SetAttr) -> KResult<()> {
        self.fs.writable()?;
        let changes = gnomon_ext2::SetAttr {
            permissions: attr.perm.map(|perm| perm as u16),
            uid: attr.uid,
            gid: attr.gid,
            size: None,
            atime: attr.atime.map(stamp),
            mtime: attr.mtime.map(stamp),
            ctime: Some(now()),
        };
        let mut state = self.fs.lock();
        self.push_times(&mut state)?;
        state.set_attr(self.ino, &changes).map_err(errno)?;
        self.refresh(&mut state)
    }

    fn cached_pages(&self, first: u64, end: u64, each: &mut dyn FnMut(u64, &Frame)) {
        self.cache.each(first, end, each);
    }

    fn page(&self, index: u64) -> KResult<Option<Frame>> {
        if self.kind != FileType::Regular {
            return Err(Errno::ENODEV);
        }
        let size = self.meta.lock().size;
        if index >= size.div_ceil(PAGE as u64) {
            return Ok(None);
        }
        self.load(index, RANDOM * 2).map(Some)
    }

    /// A hole gets its blocks now: a store cannot be refused later, when it is written back.
    fn prepare_write(&self, index: u64) -> KResult<()> {
        self.fs.writable()?;
        let size = self.meta.lock().size;
        let at = index * PAGE as u64;
        let len = size.saturating_sub(at).min(PAGE as u64) as usize;
        if len > 0 {
            let (room, _) = self.reserve(at, len, size)?;
            if room < len {
                return Err(Errno::ENOSPC);
            }
        }
        Ok(())
    }

    fn mark_dirty(&self, index: u64) {
        if self.fs.writable().is_err() {
            return;
        }
        self.cache.mark_dirty(index, true);
        let now = Timespec::now();
        {
            let mut meta = self.meta.lock();
            meta.mtime = now;
            meta.ctime = now;
        }
        self.stale_times.store(true, Ordering::Relaxed);
        self.note_dirty();
    }

    fn sync(&self, _data_only: bool) -> KResult<()> {
        if self.fs.read_only() {
            return Ok(());
        }
        if self.kind == FileType::Regular {
            self.write_back()?;
        }
        self.fs.lock().commit().map_err(errno)
    }

    fn writers(&self) -> Option<&AtomicU32> {
        Some(&self.writers)
    }

    fn open(&self, flags: OpenFlags) -> KResult<Option<Box<dyn FileOps>>> {
        match self.kind {
            FileType::Char | FileType::Block => {
                device::open(self.kind, self.meta.lock().rdev, flags).map(Some)
            }
            FileType::Fifo => {
                let (dev, ino) = (self.fs.dev, u64::from(self.ino.0));
                pipe::fifo::open(dev, ino, flags).map(Some)
            }
            FileType::Socket => Err(Errno::ENXIO),
            _ => Ok(None),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
