//! Reading: pages come from the device with their neighbours.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::errno;
use super::inode::Ext2Inode;
use crate::drivers::block::SECTOR;
use crate::errno::{Errno, KResult};
use crate::fs::cache::{self, PAGE};
use crate::mm::frame::Frame;

/// Pages read at once when a file is read in order.
const SEQUENTIAL: u64 = 32;

/// Pages read at once otherwise.
pub(super) const RANDOM: u64 = 8;

impl Ext2Inode {
    /// The page `index`, read from the device with some of its successors if it is not cached.
    /// `wanted` pages are going to be asked for.
    pub(super) fn load(&self, index: u64, wanted: u64) -> KResult<Frame> {
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
}
