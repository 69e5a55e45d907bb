//! Writing changes back in an order that a crash cannot hurt.
//!
//! Between two commits nothing of the metadata is written. A commit goes through these phases; a
//! crash leaves a prefix of its writes on the device:
//!
//! 1. **Bitmaps** with what has been allocated. (What has been freed is still marked.)
//! 2. **Contents that nothing on the device points to yet**: new directory and indirect blocks,
//!    targets of symbolic links.
//! 3. **Contents that exist**: directories with their new entries, and still with the removed ones;
//!    indirect blocks.
//! 4. **Inodes**, in passes (below).
//! 5. **Directories without the removed entries.**
//! 6. **Bitmaps without what has been freed**, group descriptors, superblock.
//!
//! `e2fsck -p` mends without a question: entries that name an unused inode (a prefix that ends
//! in phase 3, or before 5), wrong link counts, bitmaps and totals. It would stop at an inode in use
//! that no entry names, at two directories that claim one child, and at a block in two files. So
//! - an inode is written as *in use* only when an entry that leads to it is on the device: entries
//!   come before inodes, and new inodes after the new (or newly grown) directories that hold their
//!   entries;
//! - an inode is written as *unused* while its entries are still there; a removed directory after
//!   everything that was removed from it, or moved out of it to a new place;
//! - nothing freed is allocated again before the next commit is through.
//!
//! One block of the inode table may hold inodes of several passes. An inode whose turn has not come
//! is then written as the device has it.
//!
//! A directory that gets a new name is a case of its own: see `move_dir`.

use crate::{BlockDevice, Error, Ext2, cache::Kind, dir::broken, dirent, fs::Result};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    vec,
    vec::Vec,
};

/// Neighbouring blocks that are written at once, at most.
const MOST_PARTS: usize = 16;

/// What has happened since the last commit, as far as its order depends on it.
#[derive(Default)]
pub(crate) struct Pending {
    /// New inodes, and the pass in which they may appear: after the directory with their entry.
    pub births: BTreeMap<u32, u32>,
    /// Directories, not new, that have new blocks.
    pub grown: BTreeSet<u32>,
    /// Removed directories, not new, and their order: a child's is lower than its parent's.
    deaths: BTreeMap<u32, u32>,
    /// Directories, and the least order that they could be removed in.
    death_order: BTreeMap<u32, u32>,
    /// Removed entries by block: their offsets.
    pub removals: BTreeMap<u64, Vec<u16>>,
    /// Blocks given back: a bitmap for each group.
    pub freed_blocks: BTreeMap<u32, Box<[u8]>>,
    /// How many.
    pub freed_count: u64,
    /// Inodes given back, and whether they were directories.
    pub freed_inodes: Vec<(u32, bool)>,
    /// Number of temporary names made so far.
    pub names: u32,
}

impl Pending {
    /// An inode has lost its last name, which was in `parent`.
    pub fn bury(&mut self, ino: u32, parent: u32, directory: bool) {
        if self.births.remove(&ino).is_some() || !directory {
            return;
        }
        let order = self.death_order.remove(&ino).unwrap_or(1);
        self.deaths.insert(ino, order);
        let least = self.death_order.entry(parent).or_insert(1);
        *least = (*least).max(order + 1);
    }

    fn is_empty(&self) -> bool {
        self.removals.is_empty() && self.freed_blocks.is_empty() && self.freed_inodes.is_empty()
    }
}

impl<D: BlockDevice> Ext2<D> {
    /// The pass in which an inode may appear whose entry is being made in `dir`.
    pub(crate) fn entry_level(&self, dir: u32) -> u32 {
        match self.pending.births.get(&dir) {
            Some(level) => level + 1,
            None => u32::from(self.pending.grown.contains(&dir)),
        }
    }

    /// An inode has got another entry, in `dir`.
    pub(crate) fn raise_level(&mut self, ino: u32, dir: u32) {
        let least = self.entry_level(dir);
        if let Some(level) = self.pending.births.get_mut(&ino) {
            *level = (*level).max(least);
        }
    }

    /// Number of metadata blocks that [`Ext2::commit`] would write, at least.
    pub fn dirty_blocks(&self) -> usize {
        self.cache.dirty() + self.pending.removals.len()
    }

    /// Write all changed metadata and flush the device. `fsync` is: the caller writes the file's
    /// data blocks, then `commit`.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] once damage has been found: what had been changed before is lost.
    pub fn commit(&mut self) -> Result<(), D> {
        if self.read_only {
            return Ok(());
        }
        if self.broken {
            return Err(Error::ReadOnly);
        }
        let result = self.commit_inner();
        self.finish(result)
    }

    fn commit_inner(&mut self) -> Result<(), D> {
        if self.cache.dirty() > 0 || !self.pending.is_empty() {
            self.write_kind(Kind::Bitmap)?;
            let fresh = self
                .cache
                .dirty_blocks(|b| b.kind == Kind::Content && b.fresh);
            self.write_blocks(&fresh)?;
            self.write_kind(Kind::Content)?;
            self.write_inodes()?;
            self.pending.births.clear();
            self.pending.grown.clear();
            self.pending.deaths.clear();
            self.pending.death_order.clear();
            self.apply_removals()?;
            self.write_kind(Kind::Content)?;
            self.apply_frees()?;
            self.write_kind(Kind::Bitmap)?;
        }
        self.write_totals()?;
        Ok(self.device.flush()?)
    }

    fn write_kind(&mut self, kind: Kind) -> Result<(), D> {
        let blocks = self.cache.dirty_blocks(|buffer| buffer.kind == kind);
        self.write_blocks(&blocks)
    }

    /// Write buffers whose order among themselves does not matter: neighbours at once.
    fn write_blocks(&mut self, blocks: &[u64]) -> Result<(), D> {
        let block_size = self.geometry.block_size as u64;
        let mut rest = blocks;
        while let Some(&first) = rest.first() {
            let run = (first..)
                .zip(rest)
                .take(MOST_PARTS)
                .take_while(|&(expected, &block)| block == expected)
                .count();
            let (now, later) = rest.split_at(run);
            let mut parts = [&[][..]; MOST_PARTS];
            for (part, &block) in parts.iter_mut().zip(now) {
                *part = match self.cache.peek(block) {
                    Some(buffer) => &buffer.data,
                    None => return Err(Error::Corrupt("a changed block has been forgotten")),
                };
            }
            self.device
                .write_vectored(first * block_size, &parts[..run])?;
            for &block in now {
                self.cache.written(block);
            }
            rest = later;
        }
        Ok(())
    }

    /// Phase 4.
    fn write_inodes(&mut self) -> Result<(), D> {
        let last_birth = self.pending.births.values().copied().max().unwrap_or(0);
        // The pass of each inode that must not appear in the first one.
        let mut late: BTreeMap<u32, u32> = self
            .pending
            .births
            .iter()
            .filter(|&(_, &level)| level > 0)
            .map(|(&ino, &level)| (ino, level))
            .collect();
        for (&ino, &order) in &self.pending.deaths {
            late.insert(ino, last_birth + order);
        }
        if late.is_empty() {
            return self.write_kind(Kind::Table);
        }
        let blocks = self.cache.dirty_blocks(|buffer| buffer.kind == Kind::Table);
        let block_size = self.geometry.block_size;
        let inode_size = self.geometry.inode_size;
        let mut late_in: BTreeMap<u64, Vec<(usize, u32)>> = BTreeMap::new();
        for (&ino, &pass) in &late {
            let (block, offset) = self.locate(ino)?;
            late_in.entry(block).or_default().push((offset, pass));
        }
        let passes: BTreeSet<u32> = late.values().copied().chain([0]).collect();
        let mut scratch = vec![0; block_size];
        for &pass in &passes {
            for &block in &blocks {
                let inodes = late_in.get(&block).map_or(&[][..], |list| &list[..]);
                if pass > 0 && !inodes.iter().any(|&(_, its)| its == pass) {
                    continue;
                }
                let Some(buffer) = self.cache.peek(block) else {
                    continue;
                };
                let at = block * block_size as u64;
                if inodes.iter().all(|&(_, its)| its <= pass) {
                    self.device.write(at, &buffer.data)?;
                    continue;
                }
                self.device.read(at, &mut scratch)?;
                for (index, slot) in buffer.data.chunks_exact(inode_size).enumerate() {
                    let offset = index * inode_size;
                    let waits = inodes.iter().any(|&(o, its)| o == offset && its > pass);
                    if !waits {
                        scratch[offset..offset + inode_size].copy_from_slice(slot);
                    }
                }
                self.device.write(at, &scratch)?;
            }
        }
        for block in blocks {
            self.cache.written(block);
        }
        Ok(())
    }

    /// Phase 5.
    fn apply_removals(&mut self) -> Result<(), D> {
        let inodes = self.geometry.inodes;
        for hint in self.room_hints.values_mut() {
            // The entry there may be about to be joined to another.
            hint.1 = 0;
        }
        while let Some((block, offsets)) = self.pending.removals.pop_first() {
            let data = match self.buffer_mut(block, Kind::Content) {
                Ok(buffer) => &mut buffer.data,
                Err(error) => {
                    self.pending.removals.insert(block, offsets);
                    return Err(error);
                }
            };
            dirent::remove(data, inodes, &offsets).map_err(broken)?;
        }
        Ok(())
    }
}
