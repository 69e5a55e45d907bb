//! What can be done with an inode in memory.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::AtomicU32;

use super::TmpInode;
use crate::errno::{Errno, KResult};
use crate::fs::cache::PAGE;
use crate::fs::seal::Seals;
use crate::fs::{
    DirEntry, FileOps, FileSystem, FileType, Inode, Metadata, OpenFlags, ReadBuf, SetAttr,
    WriteBuf, device, pipe,
};
use crate::mm::frame::Frame;

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
        match self.entries.lock().get(name) {
            Some(inode) => Ok(inode.clone()),
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
        if !dir.entries.lock().is_empty() {
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
                let Some((cookie, name, inode)) = entries.after(after) else {
                    return Ok(());
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
        self.read_data(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        self.write_data(offset, buf)
    }

    fn append(&self, buf: &mut WriteBuf<'_>) -> KResult<(u64, usize)> {
        self.append_data(buf)
    }

    fn truncate(&self, size: u64) -> KResult<()> {
        self.resize(size)
    }

    fn allocate(&self, offset: u64, len: u64, keep_size: bool) -> KResult<()> {
        self.reserve(offset, len, keep_size)
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
                device::open(self.kind, self.meta.lock().rdev, flags).map(Some)
            }
            FileType::Fifo => {
                let (dev, ino) = {
                    let meta = self.meta.lock();
                    (meta.dev, meta.ino)
                };
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
