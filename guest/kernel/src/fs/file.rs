//! Open file descriptions, and what can be done with them.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::perm::Who;
use super::types::SetAttr;
use super::{Dentry, FileType, Inode, PollEvents, PollTable, ReadBuf, WriteBuf};
use crate::errno::{Errno, KResult};
use crate::sync::Mutex;
use crate::task::rlimit;

/// The flags of `open(2)`, with Linux's values on x86-64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFlags(pub u32);

impl OpenFlags {
    /// Open for reading only (the absence of other access bits).
    pub const RDONLY: Self = Self(0);
    /// Open for writing only.
    pub const WRONLY: Self = Self(0o1);
    /// Open for both.
    pub const RDWR: Self = Self(0o2);
    /// Create the file if it does not exist.
    pub const CREAT: Self = Self(0o100);
    /// With CREAT: it must not exist yet.
    pub const EXCL: Self = Self(0o200);
    /// Do not make a terminal the controlling one.
    pub const NOCTTY: Self = Self(0o400);
    /// Cut the file to length 0.
    pub const TRUNC: Self = Self(0o1000);
    /// Each write goes to the end.
    pub const APPEND: Self = Self(0o2000);
    /// Reads and writes do not wait.
    pub const NONBLOCK: Self = Self(0o4000);
    /// Data is on the device when a write returns.
    pub const DSYNC: Self = Self(0o10000);
    /// Bypass the page cache: a hint here.
    pub const DIRECT: Self = Self(0o40000);
    /// The path must name a directory.
    pub const DIRECTORY: Self = Self(0o200000);
    /// The path must not end in a symbolic link.
    pub const NOFOLLOW: Self = Self(0o400000);
    /// Close at exec.
    pub const CLOEXEC: Self = Self(0o2000000);
    /// Data and metadata are on the device when a write returns (with DSYNC).
    pub const SYNC: Self = Self(0o4010000);
    /// Name the file without opening it.
    pub const PATH: Self = Self(0o10000000);
    /// An unnamed file in the directory (`O_TMPFILE` without its `O_DIRECTORY`).
    pub const TMPFILE: Self = Self(0o20000000);

    /// The flags that `F_SETFL` may change: APPEND, NONBLOCK, DIRECT, `O_ASYNC`, `O_NOATIME`.
    pub const SETTABLE: u32 = 0o2000 | 0o4000 | 0o40000 | 0o20000 | 0o1000000;

    /// Whether any bit of `other` is set.
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether reads are allowed.
    #[inline]
    pub const fn readable(self) -> bool {
        self.0 & 3 != 1 && self.0 & Self::PATH.0 == 0
    }

    /// Whether writes are allowed.
    #[inline]
    pub const fn writable(self) -> bool {
        self.0 & 3 != 0 && self.0 & Self::PATH.0 == 0
    }
}

impl core::ops::BitOr for OpenFlags {
    type Output = Self;
    fn bitor(self, rhs: Self) -> Self {
        Self(self.0 | rhs.0)
    }
}

/// Bytes that can be read at once (`ioctl(2)`, an `int` at the argument).
pub const FIONREAD: u32 = 0x541b;

/// What an object that is no plain file does when a descriptor of it is used: pipes, terminals,
/// devices, event counters. Cleaning up happens in `Drop`.
pub trait FileOps: Send + Sync {
    /// Read from the stream (or at the file's own position, if the object has one).
    fn read(&self, _file: &File, _buf: &mut ReadBuf<'_>) -> KResult<usize> {
        Err(Errno::EINVAL)
    }

    /// Write to the stream.
    fn write(&self, _file: &File, _buf: &mut WriteBuf<'_>) -> KResult<usize> {
        Err(Errno::EINVAL)
    }

    /// `pread`: ESPIPE for streams.
    fn read_at(&self, _file: &File, _offset: u64, _buf: &mut ReadBuf<'_>) -> KResult<usize> {
        Err(Errno::ESPIPE)
    }

    /// `pwrite`: ESPIPE for streams.
    fn write_at(&self, _file: &File, _offset: u64, _buf: &mut WriteBuf<'_>) -> KResult<usize> {
        Err(Errno::ESPIPE)
    }

    /// Whether the position is always 0, whatever `lseek` asks for (`/dev/null`).
    fn seek_is_noop(&self) -> bool {
        false
    }

    /// The length that `SEEK_END` counts from; ESPIPE for streams.
    fn seek_end(&self, _file: &File) -> KResult<u64> {
        Err(Errno::ESPIPE)
    }

    /// What is possible now. With a table, first add the queues that are woken when that changes.
    fn poll(&self, _file: &File, _table: Option<&mut PollTable>) -> PollEvents {
        PollEvents::ALWAYS
    }

    /// `ioctl(2)`; `arg` is a number or a user address.
    fn ioctl(&self, _file: &File, _cmd: u32, _arg: usize) -> KResult<usize> {
        Err(Errno::ENOTTY)
    }

    /// For downcasts: pipes in `splice`, epoll, terminals.
    fn as_any(&self) -> &dyn core::any::Any;
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Descriptions that there are.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// Open file descriptions of all processes, and of the kernel itself.
pub fn open_files() -> usize {
    OPEN.load(Ordering::Relaxed)
}

/// An open file description: shared by the descriptors that `dup` and `fork` made from one `open`.
pub struct File {
    inode: Arc<dyn Inode>,
    dentry: Option<Arc<Dentry>>,
    ops: Option<Box<dyn FileOps>>,
    kind: FileType,
    flags: AtomicU32,
    offset: Mutex<u64>,
    id: u64,
    /// What is to be done when it is gone.
    farewell: AtomicU8,
}

/// A [`File`]'s end gives `flock` locks back.
const FLOCKED: u8 = 1;
/// A [`File`]'s end makes one writer less of its inode.
const WRITES: u8 = 2;

impl File {
    /// A description of `inode`, reached by `dentry`, on which `ops` acts (none: the inode
    /// itself).
    pub fn new(
        inode: Arc<dyn Inode>,
        dentry: Option<Arc<Dentry>>,
        ops: Option<Box<dyn FileOps>>,
        flags: OpenFlags,
    ) -> Arc<Self> {
        let kind = inode.kind();
        OPEN.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            inode,
            dentry,
            ops,
            kind,
            flags: AtomicU32::new(flags.0 & !OpenFlags::CLOEXEC.0),
            offset: Mutex::new(0),
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            farewell: AtomicU8::new(0),
        })
    }

    /// The inode.
    #[inline]
    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    /// The name under which it was opened; `None` for pipes and other unnamed objects.
    #[inline]
    pub fn dentry(&self) -> Option<&Arc<Dentry>> {
        self.dentry.as_ref()
    }

    /// The object's own operations, if it is no plain file or directory.
    #[inline]
    pub fn ops(&self) -> Option<&dyn FileOps> {
        self.ops.as_deref()
    }

    /// The operations as a concrete type.
    pub fn ops_as<T: 'static>(&self) -> Option<&T> {
        self.ops.as_ref()?.as_any().downcast_ref()
    }

    /// The kind of inode.
    #[inline]
    pub fn kind(&self) -> FileType {
        self.kind
    }

    /// A number that no other description has or had.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Access mode and status flags (`F_GETFL`).
    #[inline]
    pub fn flags(&self) -> OpenFlags {
        OpenFlags(self.flags.load(Ordering::Relaxed))
    }

    /// Change the flags of [`OpenFlags::SETTABLE`] to those in `flags`.
    pub fn set_flags(&self, flags: OpenFlags) {
        let kept = self.flags.load(Ordering::Relaxed) & !OpenFlags::SETTABLE;
        self.flags
            .store(kept | flags.0 & OpenFlags::SETTABLE, Ordering::Relaxed);
    }

    /// Whether operations must not wait.
    #[inline]
    pub fn nonblocking(&self) -> bool {
        self.flags().has(OpenFlags::NONBLOCK)
    }

    /// Remember that a `flock` lock belongs to this description, so that it is dropped with it.
    pub fn note_flock(&self) {
        self.farewell.fetch_or(FLOCKED, Ordering::Relaxed);
    }

    /// Count this description, by which the file can be written, among its inode's writers: such a
    /// file is not executed.
    pub fn note_writer(&self) {
        if let Some(writers) = self.inode.writers() {
            writers.fetch_add(1, Ordering::Relaxed);
            self.farewell.fetch_or(WRITES, Ordering::Relaxed);
        }
    }

    #[cold]
    fn take_leave(&self, farewell: u8) {
        if farewell & FLOCKED != 0 {
            super::lock::release_flock(self);
        }
        if farewell & WRITES != 0
            && let Some(writers) = self.inode.writers()
        {
            writers.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Read at the file's position and advance it. EBADF without read access, EISDIR.
    pub fn read(&self, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        if !self.flags().readable() {
            return Err(Errno::EBADF);
        }
        if let Some(ops) = &self.ops {
            return ops.read(self, buf);
        }
        if self.kind == FileType::Directory {
            return Err(Errno::EISDIR);
        }
        let mut offset = self.offset.lock();
        let n = self.inode.read_at(*offset, buf)?;
        *offset += n as u64;
        Ok(n)
    }

    /// Write at the file's position (or the end, with APPEND) and advance it.
    pub fn write(&self, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        let flags = self.flags();
        if !flags.writable() {
            return Err(Errno::EBADF);
        }
        if let Some(ops) = &self.ops {
            return ops.write(self, buf);
        }
        let n;
        {
            let mut offset = self.offset.lock();
            self.prepare_write(*offset, flags, buf)?;
            if flags.has(OpenFlags::APPEND) {
                let (start, count) = self.inode.append(buf)?;
                *offset = start + count as u64;
                n = count;
            } else {
                n = self.inode.write_at(*offset, buf)?;
                *offset += n as u64;
            }
        }
        self.sync_if_asked(flags, n)?;
        Ok(n)
    }

    /// `pread`: read at `offset`, leaving the position alone.
    pub fn read_at(&self, offset: u64, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        if !self.flags().readable() {
            return Err(Errno::EBADF);
        }
        if let Some(ops) = &self.ops {
            return ops.read_at(self, offset, buf);
        }
        if self.kind == FileType::Directory {
            return Err(Errno::EISDIR);
        }
        self.inode.read_at(offset, buf)
    }

    /// `pwrite`: write at `offset`, leaving the position alone. With APPEND Linux writes at the
    /// end all the same, and so does this.
    pub fn write_at(&self, offset: u64, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        let flags = self.flags();
        if !flags.writable() {
            return Err(Errno::EBADF);
        }
        if let Some(ops) = &self.ops {
            return ops.write_at(self, offset, buf);
        }
        self.prepare_write(offset, flags, buf)?;
        let n = if flags.has(OpenFlags::APPEND) {
            self.inode.append(buf)?.1
        } else {
            self.inode.write_at(offset, buf)?
        };
        self.sync_if_asked(flags, n)?;
        Ok(n)
    }

    /// RLIMIT_FSIZE: cut a write short, or refuse it (EFBIG, and SIGXFSZ). What a user who is not
    /// root writes to is no longer set-id.
    fn prepare_write(&self, offset: u64, flags: OpenFlags, buf: &mut WriteBuf<'_>) -> KResult<()> {
        if self.kind == FileType::Regular && buf.remaining() > 0 {
            let start = if flags.has(OpenFlags::APPEND) {
                self.inode.size()
            } else {
                offset
            };
            buf.limit(rlimit::file_room(start)?);
            if !Who::current().is_root() {
                drop_set_id(&self.inode)?;
            }
        }
        Ok(())
    }

    fn sync_if_asked(&self, flags: OpenFlags, written: usize) -> KResult<()> {
        if written > 0 && flags.has(OpenFlags::SYNC) {
            let data_only = flags.0 & OpenFlags::SYNC.0 == OpenFlags::DSYNC.0;
            self.inode.sync(data_only)?;
        }
        Ok(())
    }

    /// `lseek(2)`: ESPIPE for streams, EINVAL for a negative result, ENXIO from SEEK_DATA and
    /// SEEK_HOLE past the end.
    pub fn seek(&self, delta: i64, whence: u32) -> KResult<u64> {
        const SEEK_SET: u32 = 0;
        const SEEK_CUR: u32 = 1;
        const SEEK_END: u32 = 2;
        const SEEK_DATA: u32 = 3;
        const SEEK_HOLE: u32 = 4;
        let end = match &self.ops {
            Some(ops) => ops.seek_end(self)?,
            None => match whence {
                SEEK_END | SEEK_DATA | SEEK_HOLE => self.inode.size(),
                _ => 0,
            },
        };
        if self.ops.as_ref().is_some_and(|ops| ops.seek_is_noop()) {
            return Ok(0);
        }
        let mut offset = self.offset.lock();
        let base = match whence {
            SEEK_SET => 0,
            SEEK_CUR => *offset as i64,
            SEEK_END => end as i64,
            SEEK_DATA | SEEK_HOLE => {
                if delta < 0 || delta as u64 >= end {
                    return Err(Errno::ENXIO);
                }
                // Allowed by lseek(2): the whole file is data, with one hole at its end.
                *offset = if whence == SEEK_DATA {
                    delta as u64
                } else {
                    end
                };
                return Ok(*offset);
            }
            _ => return Err(Errno::EINVAL),
        };
        let target = base.checked_add(delta).ok_or(Errno::EOVERFLOW)?;
        if target < 0 {
            return Err(Errno::EINVAL);
        }
        *offset = target as u64;
        Ok(target as u64)
    }

    /// The file position, locked: for directories and for objects whose ops use it.
    pub fn lock_offset(&self) -> crate::sync::MutexGuard<'_, u64> {
        self.offset.lock()
    }

    /// Has `work` move bytes at the file position, which then moves by as many.
    pub fn at_offset(&self, work: impl FnOnce(u64) -> KResult<usize>) -> KResult<usize> {
        let mut offset = self.lock_offset();
        let n = work(*offset)?;
        *offset += n as u64;
        Ok(n)
    }

    /// Readiness; see [`FileOps::poll`].
    pub fn poll(&self, table: Option<&mut PollTable>) -> PollEvents {
        match &self.ops {
            Some(ops) => ops.poll(self, table),
            None => PollEvents::ALWAYS,
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
        let farewell = *self.farewell.get_mut();
        if farewell != 0 {
            self.take_leave(farewell);
        }
    }
}

/// Open the existing object behind `dentry` (permissions already checked): devices, FIFOs and
/// synthetic files give their own operations.
pub fn open_dentry(dentry: Arc<Dentry>, flags: OpenFlags) -> KResult<Arc<File>> {
    let inode = dentry.inode().ok_or(Errno::ENOENT)?.clone();
    let ops = if flags.has(OpenFlags::PATH) {
        None
    } else {
        inode.open(flags)?
    };
    Ok(File::new(inode, Some(dentry), ops, flags))
}

/// Take the set-id bits from a file that is about to be written.
fn drop_set_id(inode: &Arc<dyn Inode>) -> KResult<()> {
    const SET_UID: u32 = 0o4000;
    const SET_GID: u32 = 0o2000;
    const GROUP_EXEC: u32 = 0o010;
    let perm = inode.metadata().perm;
    // Set-group-id without group execute means something else, and stays.
    let taken = match perm & GROUP_EXEC {
        0 => SET_UID,
        _ => SET_UID | SET_GID,
    };
    if perm & taken == 0 {
        return Ok(());
    }
    inode.set_attr(&SetAttr {
        perm: Some(perm & !taken),
        ..SetAttr::default()
    })
}
