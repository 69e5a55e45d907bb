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

mod inode;
mod read;
mod write;

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gnomon_ext2::{Access, Error, Ext2, FileKind, InodeNumber, Timestamp};

use super::{FileSystem, FileType, Inode, Metadata, StatFs, Timespec};
use crate::drivers::block::{BlockDevice, SECTOR};
use crate::errno::{Errno, KResult};
use crate::sync::{Mutex, MutexGuard, SpinLock};
use inode::Ext2Inode;

/// Magic number in `statfs(2)`.
const EXT2_MAGIC: u64 = 0xef53;

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

/// Drop clean pages of ext2 files; see [`crate::fs::cache::reclaim`].
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

/// Let go of everything that can be read from the devices again: metadata blocks, and the places
/// of inodes that nobody uses.
pub fn drop_metadata() {
    let mounted: Vec<_> = MOUNTED.lock().iter().filter_map(Weak::upgrade).collect();
    for fs in mounted {
        fs.lock().shrink(0);
        fs.inodes.lock().retain(|_, weak| weak.strong_count() > 0);
    }
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
        if root.kind() != FileType::Directory {
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
        let meta = self.metadata(&facts);
        let fresh = Arc::new(Ext2Inode::new(fs, ino, meta));
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
            rdev: super::device::make_dev(facts.rdev.0, facts.rdev.1),
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
