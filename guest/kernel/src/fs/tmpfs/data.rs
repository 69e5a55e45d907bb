//! What a file in memory holds: reading, writing, and changes of its size.

use super::TmpInode;
use crate::errno::{Errno, KResult};
use crate::fs::cache::{self, PAGE};
use crate::fs::{FileType, Inode, ReadBuf, Timespec, WriteBuf};

/// No file is larger: indices of pages stay far from overflow.
const MAX_SIZE: u64 = 1 << 46;

impl TmpInode {
    /// `read_at` of the inode: holes are zeros. EIO, EFAULT.
    pub(super) fn read_data(&self, offset: u64, buf: &mut ReadBuf<'_>) -> KResult<usize> {
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

    /// `write_at` of the inode. EFBIG, ENOSPC, EPERM for a sealed file, EFAULT.
    pub(super) fn write_data(&self, offset: u64, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        let _write = self.write.lock();
        self.write_locked(offset, buf)
    }

    /// `append` of the inode: where the bytes went, and how many; errors as of [`Self::write_data`].
    pub(super) fn append_data(&self, buf: &mut WriteBuf<'_>) -> KResult<(u64, usize)> {
        let _write = self.write.lock();
        let end = self.size();
        Ok((end, self.write_locked(end, buf)?))
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

    /// `truncate` of the inode. EINVAL, EFBIG, EPERM for a sealed file, EIO.
    pub(super) fn resize(&self, size: u64) -> KResult<()> {
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

    /// `allocate` of the inode. EFBIG, ENOSPC, EPERM for a sealed file.
    pub(super) fn reserve(&self, offset: u64, len: u64, keep_size: bool) -> KResult<()> {
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
}
