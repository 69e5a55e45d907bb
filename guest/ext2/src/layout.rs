//! The structures on the disk: where each field lies, all little endian.
//!
//! ```text
//! byte 1024          superblock (1024 bytes)
//! next block         group descriptors, 32 bytes each
//! each group         [superblock and descriptors again, in groups 0, 1 and powers of 3, 5, 7]
//!                    block bitmap, inode bitmap, inode table, blocks
//! ```

use crate::Timestamp;

/// Byte at which the superblock begins.
pub(crate) const SUPERBLOCK_OFFSET: u64 = 1024;
/// Its length.
pub(crate) const SUPERBLOCK_SIZE: usize = 1024;
/// Bytes a group descriptor.
pub(crate) const GROUP_SIZE: usize = 32;
/// `s_magic`.
pub(crate) const MAGIC: u16 = 0xef53;
/// Links that an inode may have.
pub(crate) const LINK_MAX: u16 = 32000;
/// The first inode that is not reserved, in revision 0 and by default.
pub(crate) const FIRST_INODE: u32 = 11;

/// Superblock fields: offsets within it.
pub(crate) mod sb {
    pub const INODES: usize = 0;
    pub const BLOCKS: usize = 4;
    pub const RESERVED_BLOCKS: usize = 8;
    pub const FREE_BLOCKS: usize = 12;
    pub const FREE_INODES: usize = 16;
    pub const FIRST_DATA_BLOCK: usize = 20;
    pub const LOG_BLOCK_SIZE: usize = 24;
    pub const LOG_FRAG_SIZE: usize = 28;
    pub const BLOCKS_PER_GROUP: usize = 32;
    pub const FRAGS_PER_GROUP: usize = 36;
    pub const INODES_PER_GROUP: usize = 40;
    pub const MOUNT_TIME: usize = 44;
    pub const WRITE_TIME: usize = 48;
    pub const MOUNT_COUNT: usize = 52;
    pub const MAX_MOUNT_COUNT: usize = 54;
    pub const MAGIC: usize = 56;
    pub const STATE: usize = 58;
    pub const ERRORS: usize = 60;
    pub const LAST_CHECK: usize = 64;
    pub const REVISION: usize = 76;
    pub const FIRST_INODE: usize = 84;
    pub const INODE_SIZE: usize = 88;
    pub const BLOCK_GROUP: usize = 90;
    pub const COMPAT: usize = 92;
    pub const INCOMPAT: usize = 96;
    pub const RO_COMPAT: usize = 100;
    pub const UUID: usize = 104;
    pub const LABEL: usize = 120;
    pub const MKFS_TIME: usize = 264;
    pub const MIN_EXTRA_ISIZE: usize = 348;
    pub const WANT_EXTRA_ISIZE: usize = 350;

    /// `s_state`: unmounted properly.
    pub const STATE_CLEAN: u16 = 1;
    /// `s_state`: errors were found.
    pub const STATE_ERROR: u16 = 2;
    /// Directory entries carry a type byte.
    pub const INCOMPAT_FILETYPE: u32 = 2;
    /// Backups only in some groups.
    pub const RO_COMPAT_SPARSE_SUPER: u32 = 1;
    /// Files beyond 2 GiB.
    pub const RO_COMPAT_LARGE_FILE: u32 = 2;
}

/// Group descriptor fields.
pub(crate) mod gd {
    pub const BLOCK_BITMAP: usize = 0;
    pub const INODE_BITMAP: usize = 4;
    pub const INODE_TABLE: usize = 8;
    pub const FREE_BLOCKS: usize = 12;
    pub const FREE_INODES: usize = 14;
    pub const USED_DIRS: usize = 16;
}

/// Inode fields.
pub(crate) mod inode {
    pub const MODE: usize = 0;
    pub const UID: usize = 2;
    pub const SIZE: usize = 4;
    pub const ATIME: usize = 8;
    pub const CTIME: usize = 12;
    pub const MTIME: usize = 16;
    pub const DTIME: usize = 20;
    pub const GID: usize = 24;
    pub const LINKS: usize = 26;
    pub const SECTORS: usize = 28;
    pub const FLAGS: usize = 32;
    /// 15 block numbers: 12 direct, then single, double and triple indirect.
    pub const BLOCK: usize = 40;
    pub const GENERATION: usize = 100;
    pub const FILE_ACL: usize = 104;
    pub const SIZE_HIGH: usize = 108;
    pub const UID_HIGH: usize = 120;
    pub const GID_HIGH: usize = 122;
    /// How much of the space after byte 128 is in use.
    pub const EXTRA_SIZE: usize = 128;
    pub const CTIME_EXTRA: usize = 132;
    pub const MTIME_EXTRA: usize = 136;
    pub const ATIME_EXTRA: usize = 140;
    pub const CRTIME: usize = 144;
    pub const CRTIME_EXTRA: usize = 148;

    /// Value of EXTRA_SIZE that covers all of the above.
    pub const EXTRA_SIZE_USED: u16 = 32;
    /// The directory has a hash index, which this crate does not maintain.
    pub const FLAG_INDEX: u32 = 0x1000;
    /// The file is mapped by extents, or stored in the inode: ext4 only.
    pub const FLAGS_UNSUPPORTED: u32 = 0x80000 | 0x1000_0000;
    /// Block pointers in the inode itself.
    pub const DIRECT: usize = 12;
}

pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes([bytes[offset], bytes[offset + 1]])
}

pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes([
        bytes[offset],
        bytes[offset + 1],
        bytes[offset + 2],
        bytes[offset + 3],
    ])
}

pub(crate) fn put_u16(bytes: &mut [u8], offset: usize, value: u16) {
    bytes[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u32(bytes: &mut [u8], offset: usize, value: u32) {
    bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

/// Whether an inode has the fields of extra precision for its times.
#[inline]
pub(crate) fn has_extra(slot: &[u8]) -> bool {
    const END: usize = inode::CRTIME_EXTRA + 4;
    slot.len() >= END && 128 + usize::from(u16_at(slot, inode::EXTRA_SIZE)) >= END
}

/// Read a time from an inode: 32 signed bits of seconds, and perhaps 2 more and the nanoseconds.
#[inline]
pub(crate) fn time_at(slot: &[u8], has_extra: bool, field: usize, extra: usize) -> Timestamp {
    let mut sec = i64::from(u32_at(slot, field) as i32);
    let mut nsec = 0;
    if has_extra {
        let more = u32_at(slot, extra);
        sec += i64::from(more & 3) << 32;
        nsec = (more >> 2).min(999_999_999);
    }
    Timestamp { sec, nsec }
}

/// Store a time in an inode; what does not fit is cut off.
#[inline]
pub(crate) fn put_time(slot: &mut [u8], field: usize, extra: usize, time: Timestamp) {
    let low = time.sec as u32;
    put_u32(slot, field, low);
    if has_extra(slot) {
        let epoch = ((time.sec - i64::from(low as i32)) >> 32) as u32 & 3;
        put_u32(slot, extra, time.nsec << 2 | epoch);
    }
}

/// Whether `group` holds a copy of the superblock.
pub(crate) fn has_super(group: u32, sparse: bool) -> bool {
    if !sparse || group <= 1 {
        return true;
    }
    [3, 5, 7].into_iter().any(|base| {
        let mut power = base;
        while power < group {
            match u32::checked_mul(power, base) {
                Some(next) => power = next,
                None => return false,
            }
        }
        power == group
    })
}
