//! The cache of metadata blocks.
//!
//! A buffer is found by block number through a small hash table. Clean buffers are replaced by the
//! clock algorithm when the cache is full; dirty ones stay until a commit has written them.

use crate::BlockDevice;
use alloc::{boxed::Box, vec, vec::Vec};

/// What a buffer holds, as far as the order of a commit depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Block or inode bitmap.
    Bitmap,
    /// Part of an inode table.
    Table,
    /// Directory, indirect block or target of a symbolic link.
    Content,
}

/// One block of metadata.
pub(crate) struct Buffer {
    pub block: u64,
    pub data: Box<[u8]>,
    pub kind: Kind,
    /// Differs from the device.
    dirty: bool,
    /// Allocated since the last commit: nothing on the device points to it.
    pub fresh: bool,
    /// Used since the clock's hand last passed.
    used: bool,
    next: u32,
}

const NONE: u32 = u32::MAX;
const BUCKETS: usize = 256;
const VACANT: u64 = u64::MAX;

pub(crate) struct Cache {
    slots: Vec<Buffer>,
    buckets: Box<[u32]>,
    vacant: Vec<u32>,
    block_size: usize,
    limit: usize,
    hand: usize,
    dirty: usize,
}

impl Cache {
    pub fn new(block_size: usize, limit: usize) -> Self {
        Self {
            slots: Vec::new(),
            buckets: vec![NONE; BUCKETS].into_boxed_slice(),
            vacant: Vec::new(),
            block_size,
            limit,
            hand: 0,
            dirty: 0,
        }
    }

    /// Number of dirty buffers.
    pub fn dirty(&self) -> usize {
        self.dirty
    }

    /// Number of buffers that may be kept.
    pub fn limit(&self) -> usize {
        self.limit
    }

    fn bucket(block: u64) -> usize {
        block as usize % BUCKETS
    }

    #[inline]
    fn find(&self, block: u64) -> Option<usize> {
        let mut slot = self.buckets[Self::bucket(block)];
        while slot != NONE {
            let buffer = &self.slots[slot as usize];
            if buffer.block == block {
                return Some(slot as usize);
            }
            slot = buffer.next;
        }
        None
    }

    /// The buffer of `block`, read from the device if it is not here.
    #[inline]
    pub fn get<D: BlockDevice>(
        &mut self,
        device: &D,
        block: u64,
        kind: Kind,
    ) -> Result<&mut Buffer, D::Error> {
        let slot = match self.find(block) {
            Some(slot) => slot,
            None => self.load(device, block, kind)?,
        };
        let buffer = &mut self.slots[slot];
        buffer.used = true;
        Ok(buffer)
    }

    /// Like [`Cache::get`], for a change: the buffer becomes dirty.
    #[inline]
    pub fn get_mut<D: BlockDevice>(
        &mut self,
        device: &D,
        block: u64,
        kind: Kind,
    ) -> Result<&mut Buffer, D::Error> {
        let slot = match self.find(block) {
            Some(slot) => slot,
            None => self.load(device, block, kind)?,
        };
        let buffer = &mut self.slots[slot];
        buffer.used = true;
        if !buffer.dirty {
            buffer.dirty = true;
            self.dirty += 1;
        }
        Ok(buffer)
    }

    /// Read a block that is not here.
    #[cold]
    fn load<D: BlockDevice>(
        &mut self,
        device: &D,
        block: u64,
        kind: Kind,
    ) -> Result<usize, D::Error> {
        let slot = self.take_slot();
        let at = block * self.block_size as u64;
        if let Err(error) = device.read(at, &mut self.slots[slot].data) {
            self.vacant.push(slot as u32);
            return Err(error);
        }
        self.insert(slot, block, kind);
        Ok(slot)
    }

    /// A zeroed, dirty buffer for a block that has just been allocated.
    pub fn fresh(&mut self, block: u64) -> &mut Buffer {
        let slot = match self.find(block) {
            Some(slot) => slot,
            None => {
                let slot = self.take_slot();
                self.insert(slot, block, Kind::Content);
                slot
            }
        };
        let buffer = &mut self.slots[slot];
        buffer.data.fill(0);
        buffer.kind = Kind::Content;
        buffer.used = true;
        buffer.fresh = true;
        if !buffer.dirty {
            buffer.dirty = true;
            self.dirty += 1;
        }
        buffer
    }

    /// Forget a block that has been given back, changed or not.
    pub fn forget(&mut self, block: u64) {
        if let Some(slot) = self.find(block) {
            self.remove(slot);
            self.vacant.push(slot as u32);
        }
    }

    /// A slot that is in no chain, with a buffer of the right size.
    fn take_slot(&mut self) -> usize {
        if let Some(slot) = self.vacant.pop() {
            let slot = slot as usize;
            if self.slots[slot].data.is_empty() {
                self.slots[slot].data = vec![0; self.block_size].into_boxed_slice();
            }
            return slot;
        }
        if self.slots.len() >= self.limit {
            for _ in 0..2 * self.slots.len() {
                self.hand = (self.hand + 1) % self.slots.len();
                let buffer = &mut self.slots[self.hand];
                if buffer.dirty || buffer.block == VACANT {
                    continue;
                }
                if buffer.used {
                    buffer.used = false;
                    continue;
                }
                let slot = self.hand;
                self.remove(slot);
                return slot;
            }
        }
        self.slots.push(Buffer {
            block: VACANT,
            data: vec![0; self.block_size].into_boxed_slice(),
            kind: Kind::Content,
            dirty: false,
            fresh: false,
            used: false,
            next: NONE,
        });
        self.slots.len() - 1
    }

    fn insert(&mut self, slot: usize, block: u64, kind: Kind) {
        let bucket = Self::bucket(block);
        let buffer = &mut self.slots[slot];
        buffer.block = block;
        buffer.kind = kind;
        buffer.dirty = false;
        buffer.fresh = false;
        buffer.next = self.buckets[bucket];
        self.buckets[bucket] = slot as u32;
    }

    /// Take a slot out of its chain; it keeps its memory.
    fn remove(&mut self, slot: usize) {
        let (block, next) = (self.slots[slot].block, self.slots[slot].next);
        let bucket = Self::bucket(block);
        if self.buckets[bucket] == slot as u32 {
            self.buckets[bucket] = next;
        } else {
            let mut at = self.buckets[bucket];
            while at != NONE {
                if self.slots[at as usize].next == slot as u32 {
                    self.slots[at as usize].next = next;
                    break;
                }
                at = self.slots[at as usize].next;
            }
        }
        let buffer = &mut self.slots[slot];
        if buffer.dirty {
            self.dirty -= 1;
        }
        buffer.block = VACANT;
        buffer.dirty = false;
        buffer.fresh = false;
        buffer.used = false;
        buffer.next = NONE;
    }

    /// The dirty blocks that `wanted` picks, in ascending order.
    pub fn dirty_blocks(&self, wanted: impl Fn(&Buffer) -> bool) -> Vec<u64> {
        if self.dirty == 0 {
            return Vec::new();
        }
        let mut blocks: Vec<u64> = self
            .slots
            .iter()
            .filter(|buffer| buffer.dirty && wanted(buffer))
            .map(|buffer| buffer.block)
            .collect();
        blocks.sort_unstable();
        blocks
    }

    /// The buffer of a block that is certainly here (because it is dirty).
    pub fn peek(&self, block: u64) -> Option<&Buffer> {
        self.find(block).map(|slot| &self.slots[slot])
    }

    /// The device holds the block now.
    pub fn written(&mut self, block: u64) {
        if let Some(slot) = self.find(block) {
            let buffer = &mut self.slots[slot];
            if buffer.dirty {
                self.dirty -= 1;
            }
            buffer.dirty = false;
            buffer.fresh = false;
        }
    }

    /// Give the memory of clean buffers back until at most `keep` buffers are left.
    pub fn shrink(&mut self, keep: usize) -> usize {
        let mut held = self.slots.iter().filter(|b| !b.data.is_empty()).count();
        let mut dropped = 0;
        for slot in 0..self.slots.len() {
            if held <= keep {
                break;
            }
            if self.slots[slot].dirty || self.slots[slot].data.is_empty() {
                continue;
            }
            if self.slots[slot].block != VACANT {
                self.remove(slot);
                self.vacant.push(slot as u32);
            }
            self.slots[slot].data = Box::default();
            held -= 1;
            dropped += 1;
        }
        dropped
    }
}
