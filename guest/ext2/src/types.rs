//! The types that callers exchange with the file system.

/// Number of an inode, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeNumber(pub u32);

impl InodeNumber {
    /// The root directory.
    pub const ROOT: InodeNumber = InodeNumber(2);
}

/// Time since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds; stored in 32 bits, or 34 with large inodes (until the year 2446).
    pub sec: i64,
    /// Nanoseconds, below 1,000,000,000; lost with 128-byte inodes.
    pub nsec: u32,
}

/// Whether a mount may change the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing is ever written.
    ReadOnly,
    /// The superblock is marked "in use" at once.
    ReadWrite,
}

/// What an inode is: the top four bits of its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl FileKind {
    /// The kind that `mode` (as in `st_mode`) stands for; None for a value without meaning.
    pub const fn from_mode(mode: u16) -> Option<Self> {
        Some(match mode & 0o170000 {
            0o100000 => FileKind::Regular,
            0o040000 => FileKind::Directory,
            0o120000 => FileKind::Symlink,
            0o020000 => FileKind::CharDevice,
            0o060000 => FileKind::BlockDevice,
            0o010000 => FileKind::Fifo,
            0o140000 => FileKind::Socket,
            _ => return None,
        })
    }

    /// The bits of `st_mode`.
    pub const fn mode_bits(self) -> u16 {
        match self {
            FileKind::Regular => 0o100000,
            FileKind::Directory => 0o040000,
            FileKind::Symlink => 0o120000,
            FileKind::CharDevice => 0o020000,
            FileKind::BlockDevice => 0o060000,
            FileKind::Fifo => 0o010000,
            FileKind::Socket => 0o140000,
        }
    }

    /// The value of a directory entry's type byte.
    pub(crate) const fn dirent_type(self) -> u8 {
        match self {
            FileKind::Regular => 1,
            FileKind::Directory => 2,
            FileKind::CharDevice => 3,
            FileKind::BlockDevice => 4,
            FileKind::Fifo => 5,
            FileKind::Socket => 6,
            FileKind::Symlink => 7,
        }
    }

    /// The kind that a directory entry's type byte stands for; None for "unknown".
    pub(crate) const fn from_dirent_type(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => FileKind::Regular,
            2 => FileKind::Directory,
            3 => FileKind::CharDevice,
            4 => FileKind::BlockDevice,
            5 => FileKind::Fifo,
            6 => FileKind::Socket,
            7 => FileKind::Symlink,
            _ => return None,
        })
    }
}

/// What an inode says about its file: the contents of `struct stat`, and the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Its number.
    pub number: InodeNumber,
    /// Kind and permissions, as in `st_mode`.
    pub mode: u16,
    /// The kind again, decoded.
    pub kind: FileKind,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Number of 512-byte sectors in use, as in `st_blocks`.
    pub sectors: u64,
    /// Number of directory entries that name it.
    pub links: u16,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of the contents.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Device number of a device: (major, minor); (0, 0) for all others.
    pub rdev: (u32, u32),
    /// Flags as `lsattr` shows them (0x10: immutable, 0x20: append only).
    pub flags: u32,
}

/// What to change in an inode; None leaves a field as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetAttr {
    /// Permission bits (the lower 12 bits of `st_mode`; the kind cannot change).
    pub permissions: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Length, up or down, **without** giving blocks back or zeroing anything: for a page cache
    /// that has extended the file. To shorten a file use [`crate::Ext2::truncate`].
    pub size: Option<u64>,
    /// Last access.
    pub atime: Option<Timestamp>,
    /// Last change of the contents.
    pub mtime: Option<Timestamp>,
    /// Last change of the inode.
    pub ctime: Option<Timestamp>,
}

/// What a new inode shall be.
#[derive(Clone, Copy, Debug)]
pub struct NewInode {
    /// Kind; a directory is made by [`crate::Ext2::mkdir`], a link by [`crate::Ext2::symlink`].
    pub kind: FileKind,
    /// The lower 12 bits of `st_mode`.
    pub permissions: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number (major, minor) for a device.
    pub rdev: (u32, u32),
}

impl NewInode {
    /// A regular file of root's.
    pub const fn file(permissions: u16) -> Self {
        Self {
            kind: FileKind::Regular,
            permissions,
            uid: 0,
            gid: 0,
            rdev: (0, 0),
        }
    }

    /// A directory of root's.
    pub const fn directory(permissions: u16) -> Self {
        Self {
            kind: FileKind::Directory,
            permissions,
            uid: 0,
            gid: 0,
            rdev: (0, 0),
        }
    }
}

/// One entry as [`crate::Ext2::readdir`] hands it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// The name, without `/` or NUL unless the image is damaged.
    pub name: &'a [u8],
    /// The inode it names.
    pub inode: InodeNumber,
    /// Its kind, if the directory says so.
    pub kind: Option<FileKind>,
    /// Where to go on after this entry: the cookie of the next one (`d_off`).
    pub next: u64,
}

/// What was unlinked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unlinked {
    /// The inode that lost a name.
    pub inode: InodeNumber,
    /// Links that it has left; at 0 the caller owes a [`crate::Ext2::release`] as soon as nothing
    /// uses the inode any more.
    pub links: u16,
}

/// What a rename did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// The inode that has a new name.
    pub inode: InodeNumber,
    /// The inode that had the new name before, if any.
    pub replaced: Option<Unlinked>,
}

/// How full the file system is: the contents of `struct statfs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatFs {
    /// Bytes a block.
    pub block_size: u32,
    /// Blocks, without those that the format itself takes.
    pub blocks: u64,
    /// Free blocks.
    pub free_blocks: u64,
    /// Free blocks that are not reserved for root.
    pub available_blocks: u64,
    /// Inodes.
    pub inodes: u64,
    /// Free inodes.
    pub free_inodes: u64,
    /// Identifies the file system (from its UUID).
    pub id: u64,
}

/// How a new file system shall be laid out.
#[derive(Clone, Copy, Debug)]
pub struct MkfsOptions {
    /// Bytes a block: 1024, 2048 or 4096.
    pub block_size: u32,
    /// Bytes of the device for each inode, at least one block.
    pub bytes_per_inode: u32,
    /// Bytes an inode: 128 or 256.
    pub inode_size: u16,
    /// The volume's name, padded with NUL.
    pub label: [u8; 16],
    /// The volume's UUID.
    pub uuid: [u8; 16],
    /// Time of creation.
    pub now: Timestamp,
}

impl Default for MkfsOptions {
    fn default() -> Self {
        Self {
            block_size: 4096,
            bytes_per_inode: 16384,
            inode_size: 256,
            label: [0; 16],
            uuid: *b"gnomon-ext2-root",
            now: Timestamp::default(),
        }
    }
}
