//! The mounted file system: mount, unmount, and what all operations share.

use crate::{
    Access, BlockDevice, Error, StatFs, Timestamp,
    cache::{Buffer, Cache, Kind},
    commit::Pending,
    layout::{
        FIRST_INODE, GROUP_SIZE, MAGIC, SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE, gd, put_u16, put_u32,
        sb, u16_at, u32_at,
    },
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    vec,
    vec::Vec,
};

pub(crate) type Result<T, D> = core::result::Result<T, Error<<D as BlockDevice>::Error>>;

/// Metadata blocks that the cache holds unless more are dirty.
const CACHE_BLOCKS: usize = 512;

/// What never changes while the file system is mounted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub block_size: usize,
    pub blocks: u32,
    pub inodes: u32,
    pub first_data_block: u32,
    pub blocks_per_group: u32,
    pub inodes_per_group: u32,
    pub inode_size: usize,
    pub first_inode: u32,
    pub groups: u32,
    /// Blocks of one group's inode table.
    pub table_blocks: u32,
    /// Blocks of group descriptors.
    pub descriptor_blocks: u32,
    pub sparse_super: bool,
    /// Directory entries carry a type.
    pub filetype: bool,
}

impl Geometry {
    /// First block of a group.
    pub fn group_start(&self, group: u32) -> u32 {
        self.first_data_block + group * self.blocks_per_group
    }

    /// Blocks in a group: the last one may be short.
    pub fn group_len(&self, group: u32) -> u32 {
        (self.blocks - self.group_start(group)).min(self.blocks_per_group)
    }

    /// Group of a block, which must be at least the first data block.
    pub fn group_of(&self, block: u32) -> u32 {
        (block - self.first_data_block) / self.blocks_per_group
    }

    /// Block numbers in one block.
    pub fn pointers(&self) -> u32 {
        (self.block_size / 4) as u32
    }

    /// Check a superblock and derive the geometry.
    fn parse(raw: &[u8], device_size: u64) -> core::result::Result<Self, Problem> {
        use Problem::{Corrupt, Unsupported};
        if u16_at(raw, sb::MAGIC) != MAGIC {
            return Err(Unsupported("not an ext2 file system (bad magic number)"));
        }
        let revision = u32_at(raw, sb::REVISION);
        if revision > 1 {
            return Err(Unsupported("unknown revision of ext2"));
        }
        let log = u32_at(raw, sb::LOG_BLOCK_SIZE);
        if log > 2 {
            return Err(Unsupported("block size is not 1024, 2048 or 4096"));
        }
        let block_size = 1024usize << log;
        let (inode_size, first_inode, incompat, ro_compat) = if revision == 0 {
            (128, FIRST_INODE, 0, 0)
        } else {
            (
                usize::from(u16_at(raw, sb::INODE_SIZE)),
                u32_at(raw, sb::FIRST_INODE),
                u32_at(raw, sb::INCOMPAT),
                u32_at(raw, sb::RO_COMPAT),
            )
        };
        if incompat & !sb::INCOMPAT_FILETYPE != 0 {
            return Err(Unsupported(
                "file system has features that are not supported: make it with `mke2fs -t ext2`",
            ));
        }
        if !inode_size.is_power_of_two() || !(128..=block_size).contains(&inode_size) {
            return Err(Corrupt("superblock: inode size"));
        }
        let blocks = u32_at(raw, sb::BLOCKS);
        let first_data_block = u32_at(raw, sb::FIRST_DATA_BLOCK);
        let blocks_per_group = u32_at(raw, sb::BLOCKS_PER_GROUP);
        let inodes_per_group = u32_at(raw, sb::INODES_PER_GROUP);
        let bits = 8 * block_size as u32;
        if first_data_block != u32::from(log == 0) || blocks <= first_data_block + 3 {
            return Err(Corrupt("superblock: number of blocks"));
        }
        if !(8..=bits).contains(&blocks_per_group) || !blocks_per_group.is_multiple_of(8) {
            return Err(Corrupt("superblock: blocks per group"));
        }
        let per_block = (block_size / inode_size) as u32;
        if inodes_per_group == 0
            || inodes_per_group > bits
            || !inodes_per_group.is_multiple_of(per_block)
        {
            return Err(Corrupt("superblock: inodes per group"));
        }
        if u64::from(blocks) * block_size as u64 > device_size {
            return Err(Corrupt("the device is smaller than the file system"));
        }
        let groups = (blocks - first_data_block).div_ceil(blocks_per_group);
        let inodes = u32_at(raw, sb::INODES);
        if u64::from(inodes) != u64::from(groups) * u64::from(inodes_per_group) {
            return Err(Corrupt("superblock: number of inodes"));
        }
        if first_inode < FIRST_INODE || first_inode >= inodes {
            return Err(Corrupt("superblock: first inode"));
        }
        Ok(Self {
            block_size,
            blocks,
            inodes,
            first_data_block,
            blocks_per_group,
            inodes_per_group,
            inode_size,
            first_inode,
            groups,
            table_blocks: inodes_per_group / per_block,
            descriptor_blocks: (groups as usize * GROUP_SIZE).div_ceil(block_size) as u32,
            sparse_super: ro_compat & sb::RO_COMPAT_SPARSE_SUPER != 0,
            filetype: incompat & sb::INCOMPAT_FILETYPE != 0,
        })
    }
}

/// Why a superblock is refused.
pub(crate) enum Problem {
    Corrupt(&'static str),
    Unsupported(&'static str),
}

/// A group descriptor, and where to look for free things in the group.
pub(crate) struct Group {
    raw: [u8; GROUP_SIZE],
    pub dirty: bool,
    /// No block from this one on holds the file system's own structures.
    pub system_end: u32,
    /// No inode below this index is free.
    pub inode_hint: u32,
}

impl Group {
    pub fn block_bitmap(&self) -> u32 {
        u32_at(&self.raw, gd::BLOCK_BITMAP)
    }
    pub fn inode_bitmap(&self) -> u32 {
        u32_at(&self.raw, gd::INODE_BITMAP)
    }
    pub fn inode_table(&self) -> u32 {
        u32_at(&self.raw, gd::INODE_TABLE)
    }
    pub fn free_blocks(&self) -> u32 {
        u32::from(u16_at(&self.raw, gd::FREE_BLOCKS))
    }
    pub fn free_inodes(&self) -> u32 {
        u32::from(u16_at(&self.raw, gd::FREE_INODES))
    }

    fn add(&mut self, field: usize, delta: i32) {
        let value = i32::from(u16_at(&self.raw, field)) + delta;
        put_u16(
            &mut self.raw,
            field,
            value.clamp(0, i32::from(u16::MAX)) as u16,
        );
        self.dirty = true;
    }

    pub fn add_free_blocks(&mut self, delta: i32) {
        self.add(gd::FREE_BLOCKS, delta);
    }
    pub fn add_free_inodes(&mut self, delta: i32) {
        self.add(gd::FREE_INODES, delta);
    }
    pub fn add_directories(&mut self, delta: i32) {
        self.add(gd::USED_DIRS, delta);
    }
}

/// A mounted ext2 file system on the device `D`.
pub struct Ext2<D: BlockDevice> {
    pub(crate) device: D,
    pub(crate) geometry: Geometry,
    /// The superblock, and what lies between it and the group descriptors.
    pub(crate) superblock: Box<[u8]>,
    pub(crate) superblock_dirty: bool,
    pub(crate) groups: Vec<Group>,
    pub(crate) cache: Cache,
    /// What the next commit has to put in order.
    pub(crate) pending: Pending,
    /// Inodes without links that are not released yet.
    pub(crate) orphans: BTreeSet<u32>,
    /// Where to look for room first, by directory: block of the directory, offset of an entry.
    pub(crate) room_hints: BTreeMap<u32, (u32, u16)>,
    /// The last name that was not found, and in which directory: whoever looks before creating
    /// need not have it looked for again. Forgotten when any entry is made.
    pub(crate) absent: Option<(u32, Box<[u8]>)>,
    pub(crate) now: Timestamp,
    pub(crate) read_only: bool,
    /// A contradiction was met while changing something: change nothing any more.
    pub(crate) broken: bool,
    was_clean: bool,
    /// The device's superblock says "in use".
    pub(crate) marked_in_use: bool,
}

impl<D: BlockDevice> Ext2<D> {
    /// Mount what is on `device`. Writes nothing: the superblock is marked "in use" before the
    /// first change. Falls back to read-only if features demand it: ask [`Ext2::read_only`].
    pub fn mount(device: D, access: Access, now: Timestamp) -> Result<Self, D> {
        if device.size() < SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE as u64 {
            return Err(Error::Unsupported("too small for an ext2 file system"));
        }
        let mut superblock = vec![0; SUPERBLOCK_SIZE].into_boxed_slice();
        device.read(SUPERBLOCK_OFFSET, &mut superblock)?;
        let geometry =
            Geometry::parse(&superblock, device.size()).map_err(|problem| match problem {
                Problem::Corrupt(what) => Error::Corrupt(what),
                Problem::Unsupported(what) => Error::Unsupported(what),
            })?;
        if geometry.block_size > 2 * SUPERBLOCK_SIZE {
            let len = geometry.block_size - SUPERBLOCK_OFFSET as usize;
            superblock = vec![0; len].into_boxed_slice();
            device.read(SUPERBLOCK_OFFSET, &mut superblock)?;
        }
        let known = sb::RO_COMPAT_SPARSE_SUPER | sb::RO_COMPAT_LARGE_FILE;
        let unknown = u32_at(&superblock, sb::REVISION) > 0
            && u32_at(&superblock, sb::RO_COMPAT) & !known != 0;
        let state = u16_at(&superblock, sb::STATE);
        let mut fs = Self {
            device,
            superblock,
            superblock_dirty: false,
            groups: Vec::new(),
            cache: Cache::new(geometry.block_size, CACHE_BLOCKS),
            pending: Pending::default(),
            orphans: BTreeSet::new(),
            room_hints: BTreeMap::new(),
            absent: None,
            now,
            read_only: access == Access::ReadOnly || unknown,
            broken: false,
            was_clean: state & (sb::STATE_CLEAN | sb::STATE_ERROR) == sb::STATE_CLEAN,
            marked_in_use: false,
            geometry,
        };
        fs.read_groups()?;
        let root = fs
            .inode(crate::InodeNumber::ROOT)
            .map_err(|error| match error {
                Error::Stale => Error::Corrupt("the root inode is not in use"),
                error => error,
            })?;
        if root.kind != crate::FileKind::Directory {
            return Err(Error::Corrupt("the root inode is no directory"));
        }
        Ok(fs)
    }

    fn read_groups(&mut self) -> Result<(), D> {
        let geometry = self.geometry;
        let block_size = geometry.block_size;
        let mut table = vec![0; geometry.descriptor_blocks as usize * block_size];
        let start = u64::from(geometry.first_data_block + 1);
        if start + u64::from(geometry.descriptor_blocks) > u64::from(geometry.blocks) {
            return Err(Error::Corrupt("group descriptors lie beyond the end"));
        }
        self.device.read(start * block_size as u64, &mut table)?;
        self.groups.reserve_exact(geometry.groups as usize);
        for (index, raw) in table
            .chunks_exact(GROUP_SIZE)
            .take(geometry.groups as usize)
            .enumerate()
        {
            let mut group = Group {
                raw: [0; GROUP_SIZE],
                dirty: false,
                system_end: 0,
                inode_hint: 0,
            };
            group.raw.copy_from_slice(raw);
            let index = index as u32;
            let range = geometry.group_start(index)
                ..geometry.group_start(index) + geometry.group_len(index);
            let table = group.inode_table();
            let fits = range.contains(&group.block_bitmap())
                && range.contains(&group.inode_bitmap())
                && range.contains(&table)
                && geometry.table_blocks <= range.end - table
                && group.block_bitmap() != group.inode_bitmap();
            if !fits || table == geometry.first_data_block {
                return Err(Error::Corrupt(
                    "a group descriptor points outside its group",
                ));
            }
            group.system_end = (table + geometry.table_blocks)
                .max(group.block_bitmap() + 1)
                .max(group.inode_bitmap() + 1)
                .max(geometry.group_start(index) + 1 + geometry.descriptor_blocks);
            self.groups.push(group);
        }
        Ok(())
    }

    /// Whether nothing may be written: asked for, or because of a feature, or because damage was
    /// found.
    pub fn read_only(&self) -> bool {
        self.read_only || self.broken
    }

    /// Whether the file system had been unmounted properly when it was mounted. If not, blocks may
    /// be lost until `e2fsck` has run, but it can be used.
    pub fn was_clean(&self) -> bool {
        self.was_clean
    }

    /// Free the inodes without links, commit, and mark the file system clean (if it was so when
    /// mounted). The device is then consistent; the next change would mark it in use again.
    pub fn unmount(&mut self, now: Timestamp) -> Result<(), D> {
        if self.read_only {
            return Ok(());
        }
        while let Some(&ino) = self.orphans.first() {
            self.release(crate::InodeNumber(ino), now)?;
        }
        self.commit()?;
        if self.marked_in_use && self.was_clean && !self.broken {
            let state = u16_at(&self.superblock, sb::STATE) | sb::STATE_CLEAN;
            put_u16(&mut self.superblock, sb::STATE, state);
            self.write_superblock()?;
            self.device.flush()?;
            self.marked_in_use = false;
        }
        Ok(())
    }

    /// Drop clean blocks from the metadata cache until at most `blocks` are left; returns how many
    /// were dropped.
    pub fn shrink(&mut self, blocks: usize) -> usize {
        self.cache.shrink(blocks)
    }

    /// The device, for the file contents.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Give the device back. Changes since the last commit are lost.
    pub fn into_device(self) -> D {
        self.device
    }

    /// Bytes a block: 1024, 2048 or 4096.
    pub fn block_size(&self) -> u32 {
        self.geometry.block_size as u32
    }

    /// How full it is.
    pub fn statfs(&self) -> StatFs {
        let geometry = &self.geometry;
        let mut overhead = u64::from(geometry.first_data_block);
        for group in 0..geometry.groups {
            overhead += u64::from(geometry.table_blocks) + 2;
            if crate::layout::has_super(group, geometry.sparse_super) {
                overhead += 1 + u64::from(geometry.descriptor_blocks);
            }
        }
        // What was freed since the last commit is free to whoever asks.
        let free = u64::from(u32_at(&self.superblock, sb::FREE_BLOCKS)) + self.pending.freed_count;
        let reserved = u64::from(u32_at(&self.superblock, sb::RESERVED_BLOCKS));
        let uuid = &self.superblock[sb::UUID..sb::UUID + 16];
        let id = uuid
            .iter()
            .fold(0u64, |id, &byte| id.rotate_left(8) ^ u64::from(byte));
        StatFs {
            block_size: self.block_size(),
            blocks: u64::from(geometry.blocks).saturating_sub(overhead),
            free_blocks: free,
            available_blocks: free.saturating_sub(reserved),
            inodes: u64::from(geometry.inodes),
            free_inodes: u64::from(u32_at(&self.superblock, sb::FREE_INODES))
                + self.pending.freed_inodes.len() as u64,
            id,
        }
    }

    /// Begin an operation that changes something.
    pub(crate) fn begin(&mut self, now: Timestamp) -> Result<(), D> {
        if self.read_only || self.broken {
            return Err(Error::ReadOnly);
        }
        self.now = now;
        if !self.marked_in_use {
            let state = u16_at(&self.superblock, sb::STATE) & !sb::STATE_CLEAN;
            put_u16(&mut self.superblock, sb::STATE, state);
            put_u32(&mut self.superblock, sb::MOUNT_TIME, now.sec as u32);
            let count = u16_at(&self.superblock, sb::MOUNT_COUNT).wrapping_add(1);
            put_u16(&mut self.superblock, sb::MOUNT_COUNT, count);
            self.write_superblock()?;
            self.marked_in_use = true;
        }
        let short = (self.pending.freed_count > 0
            && u32_at(&self.superblock, sb::FREE_BLOCKS) < 64)
            || (!self.pending.freed_inodes.is_empty()
                && u32_at(&self.superblock, sb::FREE_INODES) < 4);
        if short || self.cache.dirty() > self.cache.limit() / 2 {
            self.commit()?;
        }
        Ok(())
    }

    /// Pass on the result of a changing operation. Damage that it met may have left it half done:
    /// nothing is written any more, and the superblock tells e2fsck.
    pub(crate) fn finish<T>(&mut self, result: Result<T, D>) -> Result<T, D> {
        if let Err(Error::Corrupt(_)) = result
            && !self.broken
        {
            self.broken = true;
            let state = u16_at(&self.superblock, sb::STATE) | sb::STATE_ERROR;
            put_u16(&mut self.superblock, sb::STATE, state);
            // The damage is reported already; that this write fails too would not help anybody.
            let _ = self.write_superblock();
        }
        result
    }

    pub(crate) fn write_superblock(&mut self) -> Result<(), D> {
        put_u32(&mut self.superblock, sb::WRITE_TIME, self.now.sec as u32);
        let raw = &self.superblock[..SUPERBLOCK_SIZE];
        self.device.write(SUPERBLOCK_OFFSET, raw)?;
        self.superblock_dirty = false;
        Ok(())
    }

    /// Write superblock and group descriptors as far as they have changed.
    pub(crate) fn write_totals(&mut self) -> Result<(), D> {
        let block_size = self.geometry.block_size;
        let per_block = block_size / GROUP_SIZE;
        let start = u64::from(self.geometry.first_data_block + 1) * block_size as u64;
        for (index, groups) in self.groups.chunks_mut(per_block).enumerate() {
            if !groups.iter().any(|group| group.dirty) {
                continue;
            }
            let mut block = vec![0; block_size];
            for (group, raw) in groups.iter().zip(block.chunks_exact_mut(GROUP_SIZE)) {
                raw.copy_from_slice(&group.raw);
            }
            if index == 0 {
                // Up to here from the superblock it is one write.
                put_u32(&mut self.superblock, sb::WRITE_TIME, self.now.sec as u32);
                self.device
                    .write_vectored(SUPERBLOCK_OFFSET, &[&self.superblock, &block])?;
                self.superblock_dirty = false;
            } else {
                let at = start + (index * block_size) as u64;
                self.device.write(at, &block)?;
            }
            for group in groups {
                group.dirty = false;
            }
        }
        if self.superblock_dirty {
            self.write_superblock()?;
        }
        Ok(())
    }

    /// Change a counter of the superblock.
    pub(crate) fn add_super(&mut self, field: usize, delta: i64) {
        let value = i64::from(u32_at(&self.superblock, field)) + delta;
        put_u32(
            &mut self.superblock,
            field,
            value.clamp(0, i64::from(u32::MAX)) as u32,
        );
        self.superblock_dirty = true;
    }

    /// A block that a pointer names: it must lie within the file system.
    pub(crate) fn check_block(&self, block: u32) -> Result<u64, D> {
        if block <= self.geometry.first_data_block || block >= self.geometry.blocks {
            return Err(Error::Corrupt("a block number is out of range"));
        }
        Ok(u64::from(block))
    }

    /// The buffer of a metadata block.
    pub(crate) fn buffer(&mut self, block: u64, kind: Kind) -> Result<&mut Buffer, D> {
        Ok(self.cache.get(&self.device, block, kind)?)
    }

    /// The buffer of a metadata block, to be changed.
    pub(crate) fn buffer_mut(&mut self, block: u64, kind: Kind) -> Result<&mut Buffer, D> {
        Ok(self.cache.get_mut(&self.device, block, kind)?)
    }
}
