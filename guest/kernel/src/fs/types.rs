//! The facts about a file that file systems and system calls exchange.

use alloc::vec::Vec;

/// A point in time as files record it: seconds and nanoseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timespec {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nsec: u32,
}

impl Timespec {
    /// The wall clock now.
    pub fn now() -> Self {
        let ns = crate::time::wall_ns();
        Self {
            sec: (ns / 1_000_000_000) as i64,
            nsec: (ns % 1_000_000_000) as u32,
        }
    }
}

/// The kind of an inode, with the values of `d_type` in directory entries (`getdents64(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FileType {
    /// A named pipe.
    Fifo = 1,
    /// A character device.
    Char = 2,
    /// A directory.
    Directory = 4,
    /// A block device.
    Block = 6,
    /// A regular file.
    Regular = 8,
    /// A symbolic link.
    Symlink = 10,
    /// A UNIX-domain socket.
    Socket = 12,
}

impl FileType {
    /// The `S_IFMT` bits of `st_mode` (`inode(7)`).
    pub fn mode_bits(self) -> u32 {
        (self as u32) << 12
    }

    /// The type that the `S_IFMT` bits of `mode` name.
    pub fn from_mode(mode: u32) -> Option<Self> {
        Some(match mode >> 12 & 0xf {
            1 => Self::Fifo,
            2 => Self::Char,
            4 => Self::Directory,
            6 => Self::Block,
            8 => Self::Regular,
            10 => Self::Symlink,
            12 => Self::Socket,
            _ => return None,
        })
    }
}

/// What `stat(2)` tells about an inode.
#[derive(Clone, Copy, Debug)]
pub struct Metadata {
    /// Number of the file system instance (`st_dev`).
    pub dev: u64,
    /// Inode number, unique within the file system.
    pub ino: u64,
    /// Kind of inode.
    pub kind: FileType,
    /// Permission bits, set-id bits and the sticky bit: the low 12 bits of `st_mode`.
    pub perm: u32,
    /// Number of hard links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device special file, as `makedev(3)` packs it; else 0.
    pub rdev: u64,
    /// Length in bytes.
    pub size: u64,
    /// Space taken, in units of 512 bytes.
    pub blocks: u64,
    /// Preferred size of I/O in bytes.
    pub blksize: u32,
    /// Last access.
    pub atime: Timespec,
    /// Last change of the contents.
    pub mtime: Timespec,
    /// Last change of the inode.
    pub ctime: Timespec,
}

impl Metadata {
    /// `st_mode`: kind and permissions.
    pub fn mode(&self) -> u32 {
        self.kind.mode_bits() | self.perm
    }

    /// Facts about an object that no file system stores: root's, one link, no size.
    pub fn synthetic(dev: u64, ino: u64, kind: FileType, perm: u32) -> Self {
        Self {
            dev,
            ino,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            size: 0,
            blocks: 0,
            blksize: 4096,
            atime: Timespec::default(),
            mtime: Timespec::default(),
            ctime: Timespec::default(),
        }
    }
}

impl Metadata {
    /// Changes what `attr` names, now.
    pub fn change(&mut self, attr: &SetAttr) {
        self.perm = attr.perm.unwrap_or(self.perm);
        self.uid = attr.uid.unwrap_or(self.uid);
        self.gid = attr.gid.unwrap_or(self.gid);
        self.atime = attr.atime.unwrap_or(self.atime);
        self.mtime = attr.mtime.unwrap_or(self.mtime);
        self.ctime = Timespec::now();
    }
}

/// Attributes to change; `None` leaves one alone. The caller has checked permission.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetAttr {
    /// New permission bits (low 12 bits of the mode).
    pub perm: Option<u32>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New time of last access.
    pub atime: Option<Timespec>,
    /// New time of last modification.
    pub mtime: Option<Timespec>,
}

/// One name in a directory, as `readdir` hands it out.
#[derive(Clone, Debug)]
pub struct DirEntry {
    /// Inode number.
    pub ino: u64,
    /// Cookie at which a later `readdir` continues *after* this entry.
    pub next: u64,
    /// Kind of inode.
    pub kind: FileType,
    /// The name, 1 to 255 bytes without NUL or `/`.
    pub name: Vec<u8>,
}

/// What `statfs(2)` tells about a file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct StatFs {
    /// Magic number of the type (`f_type`).
    pub magic: u64,
    /// Size of a block in bytes.
    pub block_size: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub free: u64,
    /// Free blocks for unprivileged users.
    pub available: u64,
    /// Inodes in all.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
}
