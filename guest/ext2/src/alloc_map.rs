//! Allocation of blocks and inodes.
//!
//! What is given back is not free at once: its bit stays set until a commit has written the inode
//! that let go of it, so that no two inodes on the device ever claim the same block.

use crate::{
    BlockDevice, Error, Ext2,
    bitmap::{clear, find_clear, find_clear_run, get, set},
    cache::Kind,
    fs::Result,
    layout::{has_super, sb},
};
use alloc::vec;

/// A new file without a predecessor begins in a free run of so many blocks, if there is one, so
/// that it can grow in place.
const NEW_RUN: usize = 16;

impl<D: BlockDevice> Ext2<D> {
    /// Allocate a block: `goal` itself if it is free, else the next one. With `spread`, the next
    /// free run is preferred.
    pub(crate) fn alloc_block(&mut self, goal: u64, spread: bool) -> Result<u64, D> {
        if spread {
            return self.alloc_run(goal, NEW_RUN, 1);
        }
        // Most files grow at their end, and most find the next block free.
        let number = goal as u32;
        if (u64::from(self.geometry.first_data_block)..u64::from(self.geometry.blocks))
            .contains(&goal)
        {
            let group = self.geometry.group_of(number);
            let bit = (number - self.geometry.group_start(group)) as usize;
            let bitmap = u64::from(self.groups[group as usize].block_bitmap());
            if !get(&self.buffer(bitmap, Kind::Bitmap)?.data, bit) {
                return self.take_blocks(group, bit, 1);
            }
        }
        self.alloc_run(goal, 1, 1)
    }

    /// Allocate the first `take` blocks of a free run of `want` blocks near `goal`, or, if there
    /// is no such run, of a run of `take`.
    pub(crate) fn alloc_run(&mut self, goal: u64, want: usize, take: usize) -> Result<u64, D> {
        let geometry = self.geometry;
        let goal = (goal.min(u64::from(geometry.blocks) - 1) as u32).max(geometry.first_data_block);
        let home = geometry.group_of(goal);
        let mut lengths = [want, take];
        for len in if want == take {
            &mut lengths[1..]
        } else {
            &mut lengths[..]
        } {
            for step in 0..=geometry.groups {
                // The goal's group comes last once more, for what lies before the goal.
                let group = (home + step) % geometry.groups;
                let start = if step == 0 {
                    goal - geometry.group_start(group)
                } else {
                    0
                };
                if (self.groups[group as usize].free_blocks() as usize) < *len {
                    continue;
                }
                if let Some(bit) = self.search_group(group, start as usize, *len)? {
                    return self.take_blocks(group, bit, take);
                }
            }
        }
        Err(Error::NoSpace)
    }

    fn search_group(&mut self, group: u32, start: usize, len: usize) -> Result<Option<usize>, D> {
        let end = self.geometry.group_len(group) as usize;
        let bitmap = u64::from(self.groups[group as usize].block_bitmap());
        let bits = &self.buffer(bitmap, Kind::Bitmap)?.data;
        Ok(if len == 1 {
            find_clear(bits, start, end)
        } else {
            find_clear_run(bits, start, end, len)
        })
    }

    fn take_blocks(&mut self, group: u32, bit: usize, count: usize) -> Result<u64, D> {
        let first = self.geometry.group_start(group) + bit as u32;
        if (first..first + count as u32).any(|block| self.is_system_block(block)) {
            return Err(Error::Corrupt(
                "a block bitmap shows a system block as free",
            ));
        }
        let bitmap = u64::from(self.groups[group as usize].block_bitmap());
        let bits = &mut self.buffer_mut(bitmap, Kind::Bitmap)?.data;
        for bit in bit..bit + count {
            set(bits, bit);
        }
        self.groups[group as usize].add_free_blocks(-(count as i32));
        self.add_super(sb::FREE_BLOCKS, -(count as i64));
        Ok(u64::from(first))
    }

    /// Whether a block holds the file system's own structures.
    fn is_system_block(&self, block: u32) -> bool {
        let geometry = &self.geometry;
        if block < geometry.first_data_block {
            return true;
        }
        let index = geometry.group_of(block);
        let group = &self.groups[index as usize];
        if block >= group.system_end {
            return false;
        }
        let table = group.inode_table();
        block == group.block_bitmap()
            || block == group.inode_bitmap()
            || (table..table + geometry.table_blocks).contains(&block)
            || (has_super(index, geometry.sparse_super)
                && block - geometry.group_start(index) <= geometry.descriptor_blocks)
    }

    /// Give a block back. It is free after the next commit.
    pub(crate) fn free_block(&mut self, block: u64) -> Result<(), D> {
        let number = u32::try_from(block).unwrap_or(u32::MAX);
        self.check_block(number)?;
        if self.is_system_block(number) {
            return Err(Error::Corrupt("a file claims a system block"));
        }
        let group = self.geometry.group_of(number);
        let bit = (number - self.geometry.group_start(group)) as usize;
        let bitmap = u64::from(self.groups[group as usize].block_bitmap());
        let in_use = get(&self.buffer(bitmap, Kind::Bitmap)?.data, bit);
        let bytes = self.geometry.block_size;
        let freed = self
            .pending
            .freed_blocks
            .entry(group)
            .or_insert_with(|| vec![0; bytes].into_boxed_slice());
        if !in_use || get(freed, bit) {
            return Err(Error::Corrupt(
                "a block is in two files, or free and in use",
            ));
        }
        set(freed, bit);
        self.pending.freed_count += 1;
        self.cache.forget(block);
        self.pending.removals.remove(&block);
        Ok(())
    }

    /// Make the blocks and inodes free that were given back before this commit.
    pub(crate) fn apply_frees(&mut self) -> Result<(), D> {
        while let Some((group, freed)) = self.pending.freed_blocks.pop_first() {
            let bitmap = u64::from(self.groups[group as usize].block_bitmap());
            let mut count = 0;
            let bits = match self.buffer_mut(bitmap, Kind::Bitmap) {
                Ok(buffer) => &mut buffer.data,
                Err(error) => {
                    self.pending.freed_blocks.insert(group, freed);
                    return Err(error);
                }
            };
            for (bits, freed) in bits.iter_mut().zip(&freed) {
                count += freed.count_ones();
                *bits &= !freed;
            }
            self.groups[group as usize].add_free_blocks(count as i32);
            self.add_super(sb::FREE_BLOCKS, i64::from(count));
        }
        self.pending.freed_count = 0;
        while let Some(&(ino, directory)) = self.pending.freed_inodes.last() {
            let group = (ino - 1) / self.geometry.inodes_per_group;
            let index = (ino - 1) % self.geometry.inodes_per_group;
            let bitmap = u64::from(self.groups[group as usize].inode_bitmap());
            clear(
                &mut self.buffer_mut(bitmap, Kind::Bitmap)?.data,
                index as usize,
            );
            self.pending.freed_inodes.pop();
            let group = &mut self.groups[group as usize];
            group.inode_hint = group.inode_hint.min(index);
            group.add_free_inodes(1);
            if directory {
                group.add_directories(-1);
            }
            self.add_super(sb::FREE_INODES, 1);
        }
        Ok(())
    }

    /// Allocate an inode: files in the group of `parent`, directories where most is free.
    pub(crate) fn alloc_inode(&mut self, parent: u32, directory: bool) -> Result<u32, D> {
        let geometry = self.geometry;
        let mut home = (parent - 1) / geometry.inodes_per_group;
        if directory {
            let roomiest = (0..geometry.groups)
                .filter(|&group| self.groups[group as usize].free_inodes() > 0)
                .max_by_key(|&group| self.groups[group as usize].free_blocks());
            let crowded = |group: &crate::fs::Group| {
                group.free_blocks() < geometry.blocks_per_group / 8
                    || group.free_inodes() < geometry.inodes_per_group / 8
            };
            if let Some(group) = roomiest
                && crowded(&self.groups[home as usize])
            {
                home = group;
            }
        }
        for step in 0..geometry.groups {
            let group = (home + step) % geometry.groups;
            if self.groups[group as usize].free_inodes() == 0 {
                continue;
            }
            let mut start = self.groups[group as usize].inode_hint;
            if group == 0 {
                start = start.max(geometry.first_inode - 1);
            }
            let bitmap = u64::from(self.groups[group as usize].inode_bitmap());
            let bits = &self.buffer(bitmap, Kind::Bitmap)?.data;
            let Some(index) = find_clear(bits, start as usize, geometry.inodes_per_group as usize)
            else {
                continue;
            };
            set(&mut self.buffer_mut(bitmap, Kind::Bitmap)?.data, index);
            let descriptor = &mut self.groups[group as usize];
            descriptor.inode_hint = index as u32 + 1;
            descriptor.add_free_inodes(-1);
            if directory {
                descriptor.add_directories(1);
            }
            self.add_super(sb::FREE_INODES, -1);
            return Ok(group * geometry.inodes_per_group + index as u32 + 1);
        }
        Err(Error::NoSpace)
    }
}
