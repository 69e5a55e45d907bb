//! ext2 in the kernel: inodes with page caches on top of the pure logic of `gnomon-ext2`.
//!
//! # Locks
//! An inode's `write` lock serialises writers and truncation; its `fill` lock serialises reading
//! pages from the device; the file system's own lock guards all metadata. They are taken in this
//! order. Copies from and to user memory happen under the write lock at most.
//!
//! # Lifetime
//! One object stands for an inode as long as it is used or dirty: `dirty` holds strong references
//! to inodes with changes that the device does not have. An inode whose last link and last user are
//! gone is queued on `released` and freed at the next operation.
//!
//! # Durability
//! `fsync` writes the file's dirty pages, then has the metadata committed, which flushes.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gnomon_ext2::{Access, Error, Ext2, FileKind, InodeNumber, NewInode, Timestamp};

use super::cache::{self, PAGE, PageCache};
use super::{
    DirEntry, FileOps, FileSystem, FileType, Inode, Metadata, OpenFlags, ReadBuf, SetAttr, StatFs,
    Timespec, WriteBuf,
};
use crate::drivers::block::{BlockDevice, SECTOR};
use crate::errno::{Errno, KResult};
use crate::mm::frame::Frame;
use crate::sync::{Mutex, MutexGuard, SpinLock};

/// Magic number in `statfs(2)`.
const EXT2_MAGIC: u64 = 0xef53;

/// Pages read at once when a file is read in order.
const SEQUENTIAL: u64 = 32;

/// Writes are carried out in pieces of so many bytes, for each of which blocks are found at once.
const STEP: u64 = 64 * 1024;

/// Pages read at once otherwise.
const RANDOM: u64 = 8;

/// Metadata blocks kept in memory when memory is short.
const KEPT_BLOCKS: usize = 64;

/// After so many new inode objects the map is rid of dead entries.
const SWEEP: u64 = 256;

/// The device as the ext2 crate wants it: bytes at offsets.
struct Device(Arc<dyn BlockDevice>);

impl gnomon_ext2::BlockDevice for Device {
    type Error = Errno;

    fn size(&self) -> u64 {
        self.0.sectors() * SECTOR as u64
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        self.0.read(offset / SECTOR as u64, &mut [buffer])
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.0.write(offset / SECTOR as u64, &[data])
    }

    fn write_vectored(&mut self, offset: u64, parts: &[&[u8]]) -> Result<(), Errno> {
        self.0.write(offset / SECTOR as u64, parts)
    }

    fn flush(&mut self) -> Result<(), Errno> {
        self.0.flush()
    }
}

fn errno(error: Error<Errno>) -> Errno {
    match error {
        Error::Device(errno) => errno,
        Error::Corrupt(what) => {
            crate::klog!("ext2: {what}: run e2fsck on the image");
            Errno::EIO
        }
        Error::Unsupported(_) | Error::Invalid => Errno::EINVAL,
        Error::NotFound => Errno::ENOENT,
        Error::Exists => Errno::EEXIST,
        Error::NotDirectory => Errno::ENOTDIR,
        Error::IsDirectory => Errno::EISDIR,
        Error::NotEmpty => Errno::ENOTEMPTY,
        Error::NoSpace => Errno::ENOSPC,
        Error::NameTooLong => Errno::ENAMETOOLONG,
        Error::TooManyLinks => Errno::EMLINK,
        Error::FileTooBig => Errno::EFBIG,
        Error::ReadOnly => Errno::EROFS,
        Error::Stale => Errno::ESTALE,
    }
}

fn stamp(time: Timespec) -> Timestamp {
    Timestamp {
        sec: time.sec,
        nsec: time.nsec,
    }
}

fn unstamp(time: Timestamp) -> Timespec {
    Timespec {
        sec: time.sec,
        nsec: time.nsec,
    }
}

fn now() -> Timestamp {
    stamp(Timespec::now())
}

fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Regular => FileType::Regular,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::CharDevice => FileType::Char,
        FileKind::BlockDevice => FileType::Block,
        FileKind::Fifo => FileType::Fifo,
        FileKind::Socket => FileType::Socket,
    }
}

fn file_kind(kind: FileType) -> FileKind {
    match kind {
        FileType::Regular => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::Char => FileKind::CharDevice,
        FileType::Block => FileKind::BlockDevice,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
    }
}

/// A mounted ext2 file system.
pub struct Ext2Fs {
    me: Weak<Ext2Fs>,
    dev: u64,
    device: Arc<dyn BlockDevice>,
    block_size: u64,
    read_only: AtomicBool,
    state: Mutex<Ext2<Device>>,
    inodes: SpinLock<BTreeMap<u32, Weak<Ext2Inode>>>,
    dirty: SpinLock<BTreeMap<u32, Arc<Ext2Inode>>>,
    released: SpinLock<Vec<u32>>,
    /// Inode objects made so far: now and then the map of them is swept.
    made: AtomicU64,
}

static MOUNTED: SpinLock<Vec<Weak<Ext2Fs>>> = SpinLock::new(Vec::new());

/// Drop clean pages of ext2 files; see [`cache::reclaim`].
pub fn reclaim(target: usize) -> usize {
    let Some(mounted) = MOUNTED.try_lock() else {
        return 0;
    };
    let mut dropped = 0;
    for fs in mounted.iter().filter_map(Weak::upgrade) {
        let Some(inodes) = fs.inodes.try_lock() else {
            continue;
        };
        for weak in inodes.values() {
            if dropped >= target {
                break;
            }
            if let Some(inode) = weak.upgrade() {
                dropped += inode.cache.reclaim(target - dropped);
            }
        }
        drop(inodes);
        if dropped < target
            && let Some(mut state) = fs.state.try_lock()
        {
            state.shrink(KEPT_BLOCKS);
        }
    }
    dropped
}

impl Ext2Fs {
    /// Mount what is on `device`; read-only if asked, or if the device or its features demand it.
    /// EINVAL: no ext2; EIO: damaged.
    pub fn mount(device: Arc<dyn BlockDevice>, read_only: bool) -> KResult<Arc<Self>> {
        let read_only = read_only || device.read_only();
        let access = if read_only {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        };
        let name = alloc::string::String::from(device.name());
        let state = Ext2::mount(Device(device.clone()), access, now()).map_err(|error| {
            match error {
                Error::Unsupported(what) | Error::Corrupt(what) => {
                    crate::klog!("ext2: {name} cannot be mounted: {what}");
                }
                _ => {}
            }
            errno(error)
        })?;
        if !state.was_clean() {
            crate::klog!("ext2: {name} was not unmounted cleanly: run e2fsck on the image");
        }
        let fs = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            dev: super::mount::next_dev(),
            device,
            block_size: u64::from(state.block_size()),
            read_only: AtomicBool::new(state.read_only()),
            state: Mutex::new(state),
            inodes: SpinLock::new(BTreeMap::new()),
            dirty: SpinLock::new(BTreeMap::new()),
            released: SpinLock::new(Vec::new()),
            made: AtomicU64::new(0),
        });
        // The root must be a directory, or nothing can be found: fail now and not at each use.
        let root = fs.inode(InodeNumber::ROOT)?;
        if root.kind != FileType::Directory {
            crate::klog!("ext2: the root inode is no directory: run e2fsck on the image");
            return Err(Errno::EIO);
        }
        drop(root);
        MOUNTED.lock().push(Arc::downgrade(&fs));
        Ok(fs)
    }

    /// The metadata, with the inodes that are not used any more freed first.
    fn lock(&self) -> MutexGuard<'_, Ext2<Device>> {
        let mut state = self.state.lock();
        loop {
            let Some(ino) = self.released.lock().pop() else {
                return state;
            };
            if let Err(error) = state.release(InodeNumber(ino), now()) {
                errno(error);
            }
        }
    }

    fn writable(&self) -> KResult<()> {
        if self.read_only.load(Ordering::Relaxed) {
            Err(Errno::EROFS)
        } else {
            Ok(())
        }
    }

    fn inode(&self, ino: InodeNumber) -> KResult<Arc<Ext2Inode>> {
        if let Some(known) = self.inodes.lock().get(&ino.0).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let facts = self.lock().inode(ino).map_err(errno)?;
        let fs = self.me.upgrade().ok_or(Errno::EIO)?;
        let fresh = Arc::new(Ext2Inode {
            fs,
            ino,
            kind: file_type(facts.kind),
            meta: SpinLock::new(self.metadata(&facts)),
            stale_times: AtomicBool::new(false),
            write: Mutex::new(()),
            fill: Mutex::new(()),
            cache: PageCache::new(),
            next_page: AtomicU64::new(0),
        });
        let mut inodes = self.inodes.lock();
        // Another task may have been faster while this one waited for the device.
        if let Some(known) = inodes.get(&ino.0).and_then(Weak::upgrade) {
            drop(inodes);
            return Ok(known);
        }
        inodes.insert(ino.0, Arc::downgrade(&fresh));
        if self.made.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            inodes.retain(|_, weak| weak.strong_count() > 0);
        }
        Ok(fresh)
    }

    fn metadata(&self, facts: &gnomon_ext2::Inode) -> Metadata {
        Metadata {
            dev: self.dev,
            ino: u64::from(facts.number.0),
            kind: file_type(facts.kind),
            perm: u32::from(facts.mode) & 0o7777,
            nlink: u32::from(facts.links),
            uid: facts.uid,
            gid: facts.gid,
            rdev: super::devfs::make_dev(facts.rdev.0, facts.rdev.1),
            size: facts.size,
            blocks: facts.sectors,
            blksize: self.block_size as u32,
            atime: unstamp(facts.atime),
            mtime: unstamp(facts.mtime),
            ctime: unstamp(facts.ctime),
        }
    }

    /// Write back all dirty inodes' pages and their times, without a commit.
    fn write_back_all(&self) -> KResult<()> {
        let dirty: Vec<_> = self.dirty.lock().values().cloned().collect();
        let mut result = Ok(());
        for inode in dirty {
            if let Err(e) = inode.write_back() {
                result = Err(e);
            }
        }
        result
    }
}

impl FileSystem for Ext2Fs {
    fn name(&self) -> &'static str {
        "ext2"
    }

    fn root(&self) -> KResult<Arc<dyn Inode>> {
        Ok(self.inode(InodeNumber::ROOT)?)
    }

    fn statfs(&self) -> StatFs {
        let facts = self.lock().statfs();
        StatFs {
            magic: EXT2_MAGIC,
            block_size: u64::from(facts.block_size),
            blocks: facts.blocks,
            free: facts.free_blocks,
            available: facts.available_blocks,
            files: facts.inodes,
            files_free: facts.free_inodes,
        }
    }

    fn read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }

    fn sync(&self) -> KResult<()> {
        if self.read_only() {
            return Ok(());
        }
        self.write_back_all()?;
        self.lock().commit().map_err(errno)
    }

    fn unmount(&self) -> KResult<()> {
        if self.read_only() {
            return Ok(());
        }
        let written = self.write_back_all();
        let unmounted = self.lock().unmount(now()).map_err(errno);
        written.and(unmounted)
    }

    fn remount(&self, read_only: bool) -> KResult<()> {
        if read_only == self.read_only() {
            return Ok(());
        }
        if read_only {
            self.unmount()?;
        } else if self.device.read_only() || self.lock().read_only() {
            return Err(Errno::EROFS);
        }
        self.read_only.store(read_only, Ordering::Relaxed);
        Ok(())
    }
}

/// An inode of an ext2 file system.
pub struct Ext2Inode {
    fs: Arc<Ext2Fs>,
    ino: InodeNumber,
    kind: FileType,
    /// What `stat` shows. Size and times may be ahead of the file system's own copy.
    meta: SpinLock<Metadata>,
    /// Size or times in `meta` have not been handed to the file system yet.
    stale_times: AtomicBool,
    write: Mutex<()>,
    fill: Mutex<()>,
    cache: PageCache,
    /// The page after the last one that was read: reading in order is recognised by it.
    next_page: AtomicU64,
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
    fn note_dirty(&self) {
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
    fn push_times(&self, state: &mut Ext2<Device>) -> KResult<()> {
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

    /// The page `index`, read from the device with some of its successors if it is not cached.
    /// `wanted` pages are going to be asked for.
    fn load(&self, index: u64, wanted: u64) -> KResult<Frame> {
        if let Some(frame) = self.cache.get(index) {
            self.next_page.store(index + 1, Ordering::Relaxed);
            return Ok(frame);
        }
        let _fill = self.fill.lock();
        if let Some(frame) = self.cache.get(index) {
            return Ok(frame);
        }
        let size = self.meta.lock().size;
        let end = size.div_ceil(PAGE as u64);
        let least = if self.next_page.load(Ordering::Relaxed) == index {
            SEQUENTIAL
        } else {
            RANDOM
        };
        let limit = self.fs.device.max_segments() as u64;
        let most = wanted
            .max(least)
            .min(limit)
            .min(end.saturating_sub(index))
            .max(1);
        let count = self.cache.absent_run(index, most).max(1);
        let mut frames = Vec::with_capacity(count as usize);
        frames.push(Frame::alloc()?);
        while (frames.len() as u64) < count {
            match Frame::alloc() {
                Ok(frame) => frames.push(frame),
                // Read-ahead is a luxury.
                Err(_) => break,
            }
        }
        self.read_frames(index, &frames, size)?;
        let mut first = None;
        for (n, frame) in frames.into_iter().enumerate() {
            let kept = self.cache.insert(index + n as u64, frame, false);
            if n == 0 {
                first = Some(kept);
            }
        }
        self.next_page.store(index + 1, Ordering::Relaxed);
        first.ok_or(Errno::EIO)
    }

    /// Fill `frames` with the file's pages from `index` on; what lies beyond `size` or in holes is
    /// zero.
    fn read_frames(&self, index: u64, frames: &[Frame], size: u64) -> KResult<()> {
        let block_size = self.fs.block_size as usize;
        let per_page = (PAGE / block_size) as u64;
        let total = frames.len() as u64 * per_page;
        let first_block = index * per_page;
        let last_block = size.div_ceil(block_size as u64);
        let mut at = 0;
        while at < total {
            if first_block + at >= last_block {
                self.for_each_part(frames, at, total, |part| part.fill(0));
                break;
            }
            let max = (total - at).min(last_block - first_block - at) as u32;
            let (start, run) = self
                .fs
                .lock()
                .extent(self.ino, first_block + at, max)
                .map_err(errno)?;
            let run = u64::from(run.clamp(1, max));
            match start {
                None => self.for_each_part(frames, at, at + run, |part| part.fill(0)),
                Some(block) => {
                    let mut parts: Vec<&mut [u8]> = Vec::with_capacity(frames.len());
                    self.for_each_part(frames, at, at + run, |part| parts.push(part));
                    self.fs
                        .device
                        .read(block * (block_size / SECTOR) as u64, &mut parts)?;
                }
            }
            at += run;
        }
        // What the last block holds beyond the end of the file is nobody's business.
        let tail = (size % PAGE as u64) as usize;
        let last_page = size / PAGE as u64;
        if tail != 0 && (index..index + frames.len() as u64).contains(&last_page) {
            cache::bytes_mut(&frames[(last_page - index) as usize])[tail..].fill(0);
        }
        Ok(())
    }

    /// Call `f` with the memory of the blocks `from..to`, counted from the start of `frames`, one
    /// slice a page.
    fn for_each_part<'a>(
        &self,
        frames: &'a [Frame],
        from: u64,
        to: u64,
        mut f: impl FnMut(&'a mut [u8]),
    ) {
        let block_size = self.fs.block_size;
        let (mut at, end) = ((from * block_size) as usize, (to * block_size) as usize);
        while at < end {
            let page = at / PAGE;
            let stop = end.min((page + 1) * PAGE);
            f(&mut cache::bytes_mut(&frames[page])[at % PAGE..(stop - 1) % PAGE + 1]);
            at = stop;
        }
    }

    /// Write the dirty pages to the device, and hand size and times to the file system.
    fn write_back(&self) -> KResult<()> {
        let held = self.fs.dirty.lock().remove(&self.ino.0);
        let result = self.write_pages();
        {
            let mut state = self.fs.lock();
            self.push_times(&mut state)?;
        }
        if result.is_err() || self.cache.has_dirty() {
            self.note_dirty();
        }
        drop(held);
        result
    }

    fn write_pages(&self) -> KResult<()> {
        let pages = self.cache.take_dirty();
        if pages.is_empty() {
            return Ok(());
        }
        let result = self.write_taken(&pages);
        if result.is_err() {
            // They stay dirty: a later attempt may do better, and reads must not see old data.
            for (index, _) in &pages {
                self.cache.mark_dirty(*index, false);
            }
        }
        result
    }

    fn write_taken(&self, pages: &[(u64, Frame)]) -> KResult<()> {
        let block_size = self.fs.block_size as usize;
        let per_page = (PAGE / block_size) as u64;
        let sectors = (block_size / SECTOR) as u64;
        let size = self.meta.lock().size;
        let end_block = size.div_ceil(block_size as u64);
        let limit = self.fs.device.max_segments();
        let mut parts: Vec<&[u8]> = Vec::with_capacity(limit.min(pages.len() * per_page as usize));
        // The run of blocks that was found last: first file block, first device block, length.
        let (mut run_start, mut run_block, mut run_len) = (0, 0, 0);
        let mut start = 0;
        let mut next = 0;
        for (index, frame) in pages {
            for n in 0..per_page {
                let file_block = index * per_page + n;
                if file_block >= end_block {
                    break;
                }
                if !(run_start..run_start + run_len).contains(&file_block) {
                    (run_block, run_len) = self.find_blocks(file_block, limit as u32)?;
                    run_start = file_block;
                }
                let block = run_block + (file_block - run_start);
                if parts.is_empty() || block != next || parts.len() == limit {
                    if !parts.is_empty() {
                        self.fs.device.write(start * sectors, &parts)?;
                        parts.clear();
                    }
                    start = block;
                }
                let at = n as usize * block_size;
                parts.push(&cache::bytes(frame)[at..at + block_size]);
                next = block + 1;
            }
        }
        if !parts.is_empty() {
            self.fs.device.write(start * sectors, &parts)?;
        }
        Ok(())
    }

    /// Where `file_block` and up to `max` of its successors lie: the first device block and the
    /// number of blocks in a row. A hole (a page written through a mapping) gets a block.
    fn find_blocks(&self, file_block: u64, max: u32) -> KResult<(u64, u64)> {
        let mut state = self.fs.lock();
        match state.extent(self.ino, file_block, max).map_err(errno)? {
            (Some(block), run) => Ok((block, u64::from(run.max(1)))),
            (None, _) => {
                let (block, _) = state.map_alloc(self.ino, file_block).map_err(errno)?;
                Ok((block, 1))
            }
        }
    }

    /// Write at `offset`; the write lock is held.
    fn write_locked(&self, offset: u64, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        let mut at = offset;
        let mut result = Ok(());
        while buf.remaining() > 0 && result.is_ok() {
            let step = buf.remaining().min((STEP - at % STEP) as usize);
            let before = at;
            result = self.write_step(&mut at, step, buf);
            if at == before {
                break;
            }
            if cache::too_many_dirty() {
                self.note_dirty();
                result = result.and_then(|()| self.write_pages());
            }
        }
        if at == offset {
            return result.map(|()| 0);
        }
        self.note_dirty();
        Ok((at - offset) as usize)
    }

    /// Write up to `len` bytes within one step, and move `at` behind them. Size and times are
    /// brought up to date, also after an error half-way.
    fn write_step(&self, at: &mut u64, len: usize, buf: &mut WriteBuf<'_>) -> KResult<()> {
        let size = self.meta.lock().size;
        let first = *at / PAGE as u64;
        let within = (*at % PAGE as u64) as usize;
        // Inside the file page by page, and what is not overwritten as a whole is read first: a
        // hole reads as zeros only until it has a block, which is full of garbage.
        let len = if *at < size {
            len.min(PAGE - within)
        } else {
            len
        };
        if *at < size
            && self.cache.get(first).is_none()
            && !(len == PAGE && self.is_mapped(first)?)
        {
            self.load(first, 1)?;
        }
        let overwrites = *at + len as u64 <= size
            && (*at + len as u64 - 1) / PAGE as u64 == first
            && self.cache.is_dirty(first);
        let (reserved, grown) = if overwrites {
            (len, false)
        } else {
            self.reserve(*at, len, size)?
        };
        let end = *at + reserved as u64;
        let mut result = Ok(());
        while *at < end {
            match self.write_page(*at, end, size, buf) {
                Ok(0) => break,
                Ok(n) => *at += n as u64,
                Err(e) => {
                    result = Err(e);
                    break;
                }
            }
        }
        let now = Timespec::now();
        let new_size = {
            let mut meta = self.meta.lock();
            meta.size = meta.size.max(*at);
            meta.mtime = now;
            meta.ctime = now;
            meta.size
        };
        self.stale_times.store(true, Ordering::Relaxed);
        if grown && *at < end {
            // A fault half-way: blocks beyond the end of the file would puzzle e2fsck.
            let mut state = self.fs.lock();
            state
                .truncate(self.ino, new_size, stamp(now))
                .map_err(errno)?;
        }
        result
    }

    /// Whether all blocks under page `index` exist.
    fn is_mapped(&self, index: u64) -> KResult<bool> {
        let per_page = PAGE as u64 / self.fs.block_size;
        let mut state = self.fs.lock();
        for block in index * per_page..(index + 1) * per_page {
            if state.map(self.ino, block).map_err(errno)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Write the part of `at..end` that falls into the page of `at`. `size` is the file's from
    /// before this step.
    fn write_page(&self, at: u64, end: u64, size: u64, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        let index = at / PAGE as u64;
        let within = (at % PAGE as u64) as usize;
        let len = (PAGE - within).min((end - at) as usize);
        let beyond = index * PAGE as u64 >= size;
        let (frame, fresh) = match self.cache.get(index) {
            Some(frame) => (frame, false),
            None if len == PAGE => (Frame::alloc()?, true),
            None if beyond => (Frame::alloc_zeroed()?, true),
            None => (self.load(index, 1)?, false),
        };
        let taken = buf.take(&mut cache::bytes_mut(&frame)[within..within + len])?;
        if taken == 0 {
            return Ok(0);
        }
        if !fresh {
            self.cache.mark_dirty(index, false);
            return Ok(taken);
        }
        if taken < len && len == PAGE {
            // A fault in the middle of a page that was to be overwritten as a whole.
            cache::bytes_mut(&frame)[taken..].fill(0);
        }
        let kept = if taken < len && !beyond {
            // What lies behind must come from the file.
            let kept = self.load(index, 1)?;
            self.cache.mark_dirty(index, false);
            kept
        } else {
            self.cache.insert(index, frame.clone(), true)
        };
        if kept.gpa() != frame.gpa() {
            // That, or a reader has brought the page in meanwhile.
            cache::bytes_mut(&kept)[within..within + taken]
                .copy_from_slice(&cache::bytes(&frame)[within..within + taken]);
        }
        Ok(taken)
    }

    /// Allocate the blocks under `at..at+len`, and record the size they lead to, so that a crash
    /// finds no blocks beyond the end of the file. Gives how many bytes have blocks now, at least
    /// one, and whether blocks have been allocated.
    fn reserve(&self, at: u64, len: usize, size: u64) -> KResult<(usize, bool)> {
        let block_size = self.fs.block_size;
        let mut end = at + len as u64;
        let last = end.div_ceil(block_size);
        let mut state = self.fs.lock();
        let mut grown = false;
        let mut block = at / block_size;
        while block < last {
            let max = (last - block) as u32;
            let (start, run) = state.extent(self.ino, block, max).map_err(errno)?;
            let stop = block + u64::from(run.clamp(1, max));
            if start.is_some() {
                block = stop;
                continue;
            }
            while block < stop {
                match state.map_alloc(self.ino, block) {
                    Ok(_) => grown = true,
                    Err(error) => {
                        end = block * block_size;
                        if end <= at {
                            return Err(errno(error));
                        }
                        break;
                    }
                }
                block += 1;
            }
            if block < stop {
                break;
            }
        }
        if grown {
            if end > size {
                let attr = gnomon_ext2::SetAttr {
                    size: Some(end),
                    ..Default::default()
                };
                state.set_attr(self.ino, &attr).map_err(errno)?;
            }
            let facts = state.inode(self.ino).map_err(errno)?;
            self.meta.lock().blocks = facts.sectors;
        }
        Ok(((end - at) as usize, grown))
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
        let (major, minor) = super::devfs::split_dev(rdev);
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

    fn open(&self, flags: OpenFlags) -> KResult<Option<Box<dyn FileOps>>> {
        match self.kind {
            FileType::Char | FileType::Block => {
                super::devfs::open_device(self.kind, self.meta.lock().rdev, flags).map(Some)
            }
            FileType::Fifo => {
                let (dev, ino) = (self.fs.dev, u64::from(self.ino.0));
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

/// Added to the file system's directory cookies, so that 0, 1 and 2 stay free for the start, `.`
/// and `..`.
const COOKIE_BASE: u64 = 2;

/// Directory entries collected under the lock at a time.
const READDIR_BATCH: usize = 128;
