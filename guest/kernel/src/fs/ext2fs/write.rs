//! Writing: into the page cache, and from there to the device.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::inode::Ext2Inode;
use super::{errno, stamp};
use crate::drivers::block::SECTOR;
use crate::errno::KResult;
use crate::fs::cache::{self, PAGE};
use crate::fs::{Timespec, WriteBuf};
use crate::mm::frame::Frame;

/// Writes are carried out in pieces of so many bytes, for each of which blocks are found at once.
const STEP: u64 = 64 * 1024;

impl Ext2Inode {
    /// Write the dirty pages to the device, and hand size and times to the file system.
    pub(super) fn write_back(&self) -> KResult<()> {
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

    pub(super) fn write_pages(&self) -> KResult<()> {
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
    pub(super) fn write_locked(&self, offset: u64, buf: &mut WriteBuf<'_>) -> KResult<usize> {
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
    pub(super) fn reserve(&self, at: u64, len: usize, size: u64) -> KResult<(usize, bool)> {
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
}
