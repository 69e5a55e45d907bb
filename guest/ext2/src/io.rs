//! File contents without a page cache: for building images, and for tests.

use crate::{BlockDevice, Error, Ext2, FileKind, InodeNumber, SetAttr, Timestamp, fs::Result};
use alloc::vec;

impl<D: BlockDevice> Ext2<D> {
    /// Read file contents straight from the device; returns the number of bytes, short at the end.
    ///
    /// # Errors
    /// [`Error::IsDirectory`]; [`Error::Invalid`] for anything else that is no regular file.
    pub fn read_at(
        &mut self,
        ino: InodeNumber,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, D> {
        let size = self.regular_size(ino)?;
        let len = size.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let block_size = self.geometry.block_size;
        let mut scratch = vec![0; block_size];
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let within = (at % block_size as u64) as usize;
            let file_block = at / block_size as u64;
            let wanted = (len - done + within).div_ceil(block_size);
            let (block, run) = self.extent(ino, file_block, wanted.min(1024) as u32)?;
            let whole = run as usize * block_size - within;
            let count = if within == 0 && len - done >= block_size {
                // Whole blocks, straight to where they belong.
                whole.min((len - done) / block_size * block_size)
            } else {
                (block_size - within).min(len - done)
            };
            let part = &mut buffer[done..done + count];
            match block {
                None => part.fill(0),
                Some(block) if within == 0 && count.is_multiple_of(block_size) => {
                    self.device.read(block * block_size as u64, part)?;
                }
                Some(block) => {
                    self.device.read(block * block_size as u64, &mut scratch)?;
                    part.copy_from_slice(&scratch[within..within + count]);
                }
            }
            done += count;
        }
        Ok(len)
    }

    /// Write file contents straight to the device, extending the file if need be.
    ///
    /// # Errors
    /// As [`Ext2::read_at`]; [`Error::NoSpace`], [`Error::FileTooBig`]: a part may have been
    /// written then.
    pub fn write_at(
        &mut self,
        ino: InodeNumber,
        offset: u64,
        data: &[u8],
        now: Timestamp,
    ) -> Result<(), D> {
        let size = self.regular_size(ino)?;
        let end = offset
            .checked_add(data.len() as u64)
            .filter(|&end| end <= self.max_size())
            .ok_or(Error::FileTooBig)?;
        self.begin(now)?;
        let mut done = 0;
        let result = self.write_blocks_of(ino, offset, data, &mut done);
        // No block may lie beyond the size, even if there was no space for all.
        let end = end.min(offset + done as u64);
        self.set_attr(
            ino,
            &SetAttr {
                size: (end > size && done > 0).then_some(end),
                mtime: Some(now),
                ctime: Some(now),
                ..SetAttr::default()
            },
        )?;
        result
    }

    /// Write contents without regard to the size; `done` counts the bytes.
    fn write_blocks_of(
        &mut self,
        ino: InodeNumber,
        offset: u64,
        data: &[u8],
        done: &mut usize,
    ) -> Result<(), D> {
        let block_size = self.geometry.block_size;
        let mut scratch = vec![0; block_size];
        while *done < data.len() {
            let at = offset + *done as u64;
            let within = (at % block_size as u64) as usize;
            let count = (block_size - within).min(data.len() - *done);
            let (block, new) = self.map_alloc(ino, at / block_size as u64)?;
            let part = &data[*done..*done + count];
            let place = block * block_size as u64;
            if count == block_size {
                self.device.write(place, part)?;
            } else {
                if new {
                    scratch.fill(0);
                } else {
                    self.device.read(place, &mut scratch)?;
                }
                scratch[within..within + count].copy_from_slice(part);
                self.device.write(place, &scratch)?;
            }
            *done += count;
        }
        Ok(())
    }

    /// [`Ext2::truncate`] for callers without a page cache: zeroes the rest of the last block too.
    pub fn resize(&mut self, ino: InodeNumber, len: u64, now: Timestamp) -> Result<(), D> {
        let size = self.regular_size(ino)?;
        self.truncate(ino, len, now)?;
        let block_size = self.geometry.block_size as u64;
        let within = (len % block_size) as usize;
        if len < size
            && within != 0
            && let Some(block) = self.map(ino, len / block_size)?
        {
            let mut scratch = vec![0; block_size as usize];
            self.device.read(block * block_size, &mut scratch)?;
            scratch[within..].fill(0);
            self.device.write(block * block_size, &scratch)?;
        }
        Ok(())
    }

    fn regular_size(&mut self, ino: InodeNumber) -> Result<u64, D> {
        let inode = self.inode(ino)?;
        match inode.kind {
            FileKind::Regular => Ok(inode.size),
            FileKind::Directory => Err(Error::IsDirectory),
            _ => Err(Error::Invalid),
        }
    }
}
