//! What a file system offers to the rest of the kernel.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::AtomicU32;

use super::seal::Seals;
use super::{DirEntry, FileOps, FileType, Metadata, OpenFlags, ReadBuf, SetAttr, StatFs, WriteBuf};
use crate::errno::{Errno, KResult};
use crate::mm::frame::Frame;

/// A file, directory, link or special file of some file system.
///
/// One object stands for one inode for as long as anybody uses it: two lookups of the same file
/// give the same `Arc`, so its page cache is shared. Permissions are checked by the callers
/// (`path`, system calls), never here. Names are single components without `/`.
pub trait Inode: Send + Sync {
    /// What `stat` shows. Cheap: no device access.
    fn metadata(&self) -> Metadata;

    /// The kind of this inode; never changes.
    fn kind(&self) -> FileType {
        self.metadata().kind
    }

    /// Length in bytes, now.
    fn size(&self) -> u64 {
        self.metadata().size
    }

    /// The file system it belongs to; `None` for pipes and other anonymous objects.
    fn fs(&self) -> Option<Arc<dyn FileSystem>> {
        None
    }

    /// Find `name` in this directory. ENOENT, ENOTDIR, EIO.
    fn lookup(&self, _name: &[u8]) -> KResult<Arc<dyn Inode>> {
        Err(Errno::ENOTDIR)
    }

    /// Whether names in this directory may be cached, found ones and absent ones alike.
    fn cacheable(&self) -> bool {
        true
    }

    /// Make an inode of `kind` (not a directory's `.`/`..`, not a link) with permission bits
    /// `perm`, owner and group, and for devices their number. EEXIST if the name is taken.
    fn create(
        &self,
        _name: &[u8],
        _kind: FileType,
        _perm: u32,
        _owner: (u32, u32),
        _rdev: u64,
    ) -> KResult<Arc<dyn Inode>> {
        Err(Errno::EPERM)
    }

    /// Make a symbolic link to `target`.
    fn symlink(&self, _name: &[u8], _target: &[u8], _owner: (u32, u32)) -> KResult<Arc<dyn Inode>> {
        Err(Errno::EPERM)
    }

    /// Give `inode`, of the same file system and no directory, one more name here.
    fn link(&self, _name: &[u8], _inode: &Arc<dyn Inode>) -> KResult<()> {
        Err(Errno::EPERM)
    }

    /// Remove `name`, which is `inode` and no directory.
    fn unlink(&self, _name: &[u8], _inode: &Arc<dyn Inode>) -> KResult<()> {
        Err(Errno::EPERM)
    }

    /// Remove the empty directory `name`, which is `inode`. ENOTEMPTY.
    fn rmdir(&self, _name: &[u8], _inode: &Arc<dyn Inode>) -> KResult<()> {
        Err(Errno::EPERM)
    }

    /// Move `name` (which is `inode`) to `new_name` in `new_dir` of the same file system,
    /// replacing `replaced` if given (kinds checked by the caller; ENOTEMPTY if it is a directory
    /// with entries).
    fn rename(
        &self,
        _name: &[u8],
        _inode: &Arc<dyn Inode>,
        _new_dir: &Arc<dyn Inode>,
        _new_name: &[u8],
        _replaced: Option<&Arc<dyn Inode>>,
    ) -> KResult<()> {
        Err(Errno::EPERM)
    }

    /// The target of a symbolic link.
    fn readlink(&self) -> KResult<Vec<u8>> {
        Err(Errno::EINVAL)
    }

    /// For "magic" links of procfs: where they lead, whatever their text says.
    fn follow(&self) -> Option<KResult<Arc<super::Dentry>>> {
        None
    }

    /// Entries from `cursor` (0: the start) on, given to `emit` until that returns false or the
    /// directory ends. `.` and `..` are the caller's business; cookies start at 3.
    fn readdir(&self, _cursor: u64, _emit: &mut dyn FnMut(DirEntry) -> bool) -> KResult<()> {
        Err(Errno::ENOTDIR)
    }

    /// Read from `offset`; short only at the end of the file. EISDIR, EIO, EFAULT.
    fn read_at(&self, _offset: u64, _buf: &mut ReadBuf<'_>) -> KResult<usize> {
        Err(Errno::EINVAL)
    }

    /// Write at `offset`, growing the file. ENOSPC, EFBIG, EROFS, EIO, EFAULT.
    fn write_at(&self, _offset: u64, _buf: &mut WriteBuf<'_>) -> KResult<usize> {
        Err(Errno::EINVAL)
    }

    /// Append: like [`Inode::write_at`] at the end of the file, atomically. Gives the offset at
    /// which it began, and the count.
    fn append(&self, buf: &mut WriteBuf<'_>) -> KResult<(u64, usize)> {
        let end = self.size();
        Ok((end, self.write_at(end, buf)?))
    }

    /// Set the length; new bytes read as zero.
    fn truncate(&self, _size: u64) -> KResult<()> {
        Err(Errno::EINVAL)
    }

    /// Make sure that blocks for `offset..offset+len` exist. EOPNOTSUPP where meaningless.
    fn allocate(&self, _offset: u64, _len: u64, _keep_size: bool) -> KResult<()> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Change attributes and set ctime to now.
    fn set_attr(&self, _attr: &SetAttr) -> KResult<()> {
        Err(Errno::EPERM)
    }

    /// The page-cache page that holds bytes `index * 4096 …`, for mmap, filled from the device if
    /// need be. `Ok(None)`: beyond the end of the file (SIGBUS). ENODEV: cannot be mapped.
    fn page(&self, _index: u64) -> KResult<Option<Frame>> {
        Err(Errno::ENODEV)
    }

    /// Hands over those of the pages `first..end` that are cached, in order: the neighbours of a
    /// page that mmap has just asked for. Reads nothing; `each` does not allocate.
    fn cached_pages(&self, _first: u64, _end: u64, _each: &mut dyn FnMut(u64, &Frame)) {}

    /// Page `index` is about to be written through a shared mapping: see to it that there is room
    /// for it. ENOSPC, EIO.
    fn prepare_write(&self, _index: u64) -> KResult<()> {
        Ok(())
    }

    /// Page `index` has been, or may from now on be, written through a shared mapping. It is
    /// taken as dirty for as long as it is mapped somewhere.
    fn mark_dirty(&self, _index: u64) {}

    /// Bring data (`data_only`: and only the metadata needed to find it) to the device and flush.
    fn sync(&self, _data_only: bool) -> KResult<()> {
        Ok(())
    }

    /// How many open descriptions may write to the file; `None`: it cannot be executed anyway.
    fn writers(&self) -> Option<&AtomicU32> {
        None
    }

    /// What nobody may do to the file any more; `None`: it cannot be sealed.
    fn seals(&self) -> Option<&Seals> {
        None
    }

    /// Called by `open`: special files and synthetic files give what reads and writes go to;
    /// `None` means this inode itself.
    fn open(&self, _flags: OpenFlags) -> KResult<Option<Box<dyn FileOps>>> {
        Ok(None)
    }

    /// For downcasts within a file system (`link`, `rename`) and devices.
    fn as_any(&self) -> &dyn core::any::Any;
}

/// A mounted file system.
pub trait FileSystem: Send + Sync {
    /// The type's name as `/proc/mounts` shows it.
    fn name(&self) -> &'static str;

    /// Its root directory. EIO if it has been taken down.
    fn root(&self) -> KResult<Arc<dyn Inode>>;

    /// Sizes.
    fn statfs(&self) -> StatFs;

    /// Whether nothing may be changed.
    fn read_only(&self) -> bool {
        false
    }

    /// Switch between read-only and read-write (`mount -o remount`).
    fn remount(&self, _read_only: bool) -> KResult<()> {
        Ok(())
    }

    /// Write everything back and flush the device.
    fn sync(&self) -> KResult<()> {
        Ok(())
    }

    /// Write everything back and mark the file system clean; nothing uses it any more.
    fn unmount(&self) -> KResult<()> {
        self.sync()
    }
}
