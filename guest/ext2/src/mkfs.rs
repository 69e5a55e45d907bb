//! Making an empty file system.

use crate::{
    Access, BlockDevice, Error, Ext2, InodeNumber, MkfsOptions, NewInode,
    bitmap::set,
    dirent,
    fs::Result,
    layout::{
        FIRST_INODE, GROUP_SIZE, MAGIC, SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE, gd, has_super, inode,
        put_time, put_u16, put_u32, sb,
    },
};
use alloc::{vec, vec::Vec};

/// Blocks that a last group must have beyond its own structures to be worth having.
const LEAST_DATA: u32 = 50;

/// Where everything lies in the file system to be made.
struct Plan {
    block_size: u32,
    inode_size: u32,
    blocks: u32,
    first: u32,
    groups: u32,
    per_group: u32,
    inodes_per_group: u32,
    table_blocks: u32,
    descriptor_blocks: u32,
}

impl Plan {
    /// None if the device is too small or the options make no sense.
    fn new(size: u64, options: &MkfsOptions) -> Option<Self> {
        let block_size = options.block_size;
        let inode_size = u32::from(options.inode_size);
        if !matches!(block_size, 1024 | 2048 | 4096)
            || !matches!(inode_size, 128 | 256)
            || options.bytes_per_inode < block_size
        {
            return None;
        }
        let first = u32::from(block_size == 1024);
        let per_group = 8 * block_size;
        let mut blocks =
            u32::try_from(size / u64::from(block_size)).unwrap_or(u32::MAX - per_group);
        loop {
            let groups = blocks.checked_sub(first)?.div_ceil(per_group);
            if groups == 0 {
                return None;
            }
            let descriptor_blocks = (groups * GROUP_SIZE as u32).div_ceil(block_size);
            let bytes = u64::from(blocks) * u64::from(block_size);
            let inodes = (bytes / u64::from(options.bytes_per_inode)) as u32;
            let per_block = block_size / inode_size;
            let inodes_per_group = inodes
                .div_ceil(groups)
                .max(2 * FIRST_INODE)
                .next_multiple_of(per_block.max(8))
                .min(per_group);
            let plan = Self {
                block_size,
                inode_size,
                blocks,
                first,
                groups,
                per_group,
                inodes_per_group,
                table_blocks: inodes_per_group / per_block,
                descriptor_blocks,
            };
            let last = groups - 1;
            if plan.len(last) >= plan.overhead(last) + if last == 0 { 3 } else { LEAST_DATA } {
                return Some(plan);
            }
            if last == 0 {
                return None;
            }
            // The last group is too small: leave it out.
            blocks = plan.start(last);
        }
    }

    fn start(&self, group: u32) -> u32 {
        self.first + group * self.per_group
    }

    fn len(&self, group: u32) -> u32 {
        (self.blocks - self.start(group)).min(self.per_group)
    }

    /// Blocks before a group's block bitmap.
    fn header(&self, group: u32) -> u32 {
        match has_super(group, true) {
            true => 1 + self.descriptor_blocks,
            false => 0,
        }
    }

    fn overhead(&self, group: u32) -> u32 {
        self.header(group) + 2 + self.table_blocks
    }

    fn superblock(&self, options: &MkfsOptions) -> Vec<u8> {
        let used: u32 = (0..self.groups).map(|group| self.overhead(group)).sum();
        let mut raw = vec![0; SUPERBLOCK_SIZE];
        let log = self.block_size.ilog2() - 10;
        let now = options.now.sec as u32;
        for (field, value) in [
            (sb::INODES, self.groups * self.inodes_per_group),
            (sb::BLOCKS, self.blocks),
            (sb::RESERVED_BLOCKS, 0),
            // The root directory takes one.
            (sb::FREE_BLOCKS, self.blocks - self.first - used - 1),
            (
                sb::FREE_INODES,
                self.groups * self.inodes_per_group - (FIRST_INODE - 1),
            ),
            (sb::FIRST_DATA_BLOCK, self.first),
            (sb::LOG_BLOCK_SIZE, log),
            (sb::LOG_FRAG_SIZE, log),
            (sb::BLOCKS_PER_GROUP, self.per_group),
            (sb::FRAGS_PER_GROUP, self.per_group),
            (sb::INODES_PER_GROUP, self.inodes_per_group),
            (sb::WRITE_TIME, now),
            (sb::LAST_CHECK, now),
            (sb::REVISION, 1),
            (sb::FIRST_INODE, FIRST_INODE),
            (sb::COMPAT, 0),
            (sb::INCOMPAT, sb::INCOMPAT_FILETYPE),
            (
                sb::RO_COMPAT,
                sb::RO_COMPAT_SPARSE_SUPER | sb::RO_COMPAT_LARGE_FILE,
            ),
            (sb::MKFS_TIME, now),
        ] {
            put_u32(&mut raw, field, value);
        }
        let extra = match self.inode_size {
            128 => 0,
            _ => inode::EXTRA_SIZE_USED,
        };
        for (field, value) in [
            (sb::MAX_MOUNT_COUNT, u16::MAX),
            (sb::MAGIC, MAGIC),
            (sb::STATE, sb::STATE_CLEAN),
            (sb::ERRORS, 1),
            (sb::INODE_SIZE, self.inode_size as u16),
            (sb::MIN_EXTRA_ISIZE, extra),
            (sb::WANT_EXTRA_ISIZE, extra),
        ] {
            put_u16(&mut raw, field, value);
        }
        raw[sb::UUID..sb::UUID + 16].copy_from_slice(&options.uuid);
        raw[sb::LABEL..sb::LABEL + 16].copy_from_slice(&options.label);
        raw
    }

    fn descriptors(&self) -> Vec<u8> {
        let mut table = vec![0; (self.descriptor_blocks * self.block_size) as usize];
        for (group, raw) in (0..self.groups).zip(table.chunks_exact_mut(GROUP_SIZE)) {
            let bitmap = self.start(group) + self.header(group);
            put_u32(raw, gd::BLOCK_BITMAP, bitmap);
            put_u32(raw, gd::INODE_BITMAP, bitmap + 1);
            put_u32(raw, gd::INODE_TABLE, bitmap + 2);
            let (root, reserved) = match group {
                0 => (1, FIRST_INODE - 1),
                _ => (0, 0),
            };
            let free = self.len(group) - self.overhead(group) - root;
            put_u16(raw, gd::FREE_BLOCKS, free as u16);
            put_u16(
                raw,
                gd::FREE_INODES,
                (self.inodes_per_group - reserved) as u16,
            );
            put_u16(raw, gd::USED_DIRS, root as u16);
        }
        table
    }

    /// A bitmap with the first `used` bits set, and those from `len` on, which mean nothing.
    fn bitmap(&self, used: u32, len: u32) -> Vec<u8> {
        let mut bits = vec![0; self.block_size as usize];
        for bit in (0..used).chain(len..8 * self.block_size) {
            set(&mut bits, bit as usize);
        }
        bits
    }

    /// The block that the root directory gets.
    fn root_block(&self) -> u32 {
        self.first + self.overhead(0)
    }

    fn root_inode(&self, options: &MkfsOptions) -> Vec<u8> {
        let mut slot = vec![0; self.inode_size as usize];
        if self.inode_size > 128 {
            put_u16(&mut slot, inode::EXTRA_SIZE, inode::EXTRA_SIZE_USED);
            put_time(&mut slot, inode::CRTIME, inode::CRTIME_EXTRA, options.now);
        }
        put_u16(&mut slot, inode::MODE, 0o040755);
        put_u16(&mut slot, inode::LINKS, 2);
        put_u32(&mut slot, inode::SIZE, self.block_size);
        put_u32(&mut slot, inode::SECTORS, self.block_size / 512);
        put_u32(&mut slot, inode::BLOCK, self.root_block());
        put_time(&mut slot, inode::ATIME, inode::ATIME_EXTRA, options.now);
        put_time(&mut slot, inode::MTIME, inode::MTIME_EXTRA, options.now);
        put_time(&mut slot, inode::CTIME, inode::CTIME_EXTRA, options.now);
        slot
    }
}

impl<D: BlockDevice> Ext2<D> {
    /// Make an empty file system (root directory and `lost+found`) on `device`, as large as the
    /// device; what it held is lost. Returns it mounted; [`Ext2::unmount`] it at the end.
    ///
    /// # Errors
    /// [`Error::Invalid`] for options without sense or a device that is too small (a few dozen
    /// blocks).
    pub fn mkfs(mut device: D, options: &MkfsOptions) -> Result<Self, D> {
        let plan = Plan::new(device.size(), options).ok_or(Error::Invalid)?;
        let block_size = u64::from(plan.block_size);
        let mut superblock = plan.superblock(options);
        let descriptors = plan.descriptors();
        let zeros = vec![0; plan.block_size as usize];
        for group in 0..plan.groups {
            let start = u64::from(plan.start(group));
            if plan.header(group) > 0 {
                put_u16(&mut superblock, sb::BLOCK_GROUP, group as u16);
                let at = match group {
                    0 => SUPERBLOCK_OFFSET,
                    _ => start * block_size,
                };
                device.write(at, &superblock)?;
                device.write((start + 1) * block_size, &descriptors)?;
            }
            let bitmap = start + u64::from(plan.header(group));
            let root = u32::from(group == 0);
            let blocks = plan.bitmap(plan.overhead(group) + root, plan.len(group));
            device.write(bitmap * block_size, &blocks)?;
            let inodes = plan.bitmap(root * (FIRST_INODE - 1), plan.inodes_per_group);
            device.write((bitmap + 1) * block_size, &inodes)?;
            let table = bitmap + 2;
            for block in table..table + u64::from(plan.table_blocks) {
                device.write(block * block_size, &zeros)?;
            }
            if group == 0 {
                let slot = plan.root_inode(options);
                let at = slot.len() * (InodeNumber::ROOT.0 as usize - 1);
                let mut block = zeros.clone();
                block[at..at + slot.len()].copy_from_slice(&slot);
                device.write(table * block_size, &block)?;
            }
        }
        let mut root = zeros;
        dirent::first_block(&mut root, 2, 2, 2);
        device.write(u64::from(plan.root_block()) * block_size, &root)?;

        let mut fs = Self::mount(device, Access::ReadWrite, options.now)?;
        let private = NewInode::directory(0o700);
        fs.mkdir(InodeNumber::ROOT, b"lost+found", &private, options.now)?;
        Ok(fs)
    }
}
