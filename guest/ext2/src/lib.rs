//! The second extended file system (ext2), revision 1, as pure logic over a [`BlockDevice`].
//!
//! The same code makes the root image on the host and serves the guest kernel. It knows nothing of
//! tasks, page caches or locks: every operation takes `&mut self`, and the kernel wraps the whole
//! file system in one sleeping mutex.
//!
//! # Who does what
//! - This crate owns the *metadata*: superblock, bitmaps, inode tables, indirect blocks,
//!   directories and the targets of symbolic links. It keeps them in a bounded cache of blocks.
//! - The *contents of regular files* belong to the caller's page cache. It asks where a file block
//!   lies ([`Ext2::map`], [`Ext2::extent`]) or has it allocated ([`Ext2::map_alloc`]), and reads
//!   and writes the device at that address itself. A newly allocated block holds garbage: the
//!   caller writes all of it. For use without a page cache there are [`Ext2::read_at`],
//!   [`Ext2::write_at`] and [`Ext2::resize`].
//! - An inode whose link count has fallen to zero stays allocated until the caller, who knows of
//!   the open files, calls [`Ext2::release`].
//!
//! # What survives a crash
//! Nothing but a few stray writes reaches the device between two commits; [`Ext2::commit`] orders
//! its writes so that after any prefix of them `e2fsck -p` repairs the file system without a
//! question, and no file that an earlier commit covered is lost. The order is described in the
//! module `commit`.
//!
//! # What is understood
//! Block sizes of 1, 2 and 4 KiB; inodes of 128 bytes and more (nanoseconds need 256); the features
//! `filetype` (incompatible), `sparse_super` and `large_file` (read-only compatible). An unknown
//! incompatible feature refuses the mount, an unknown read-only-compatible one makes it read-only.
//! The layout is that of "The Second Extended File System, Internal Layout" by Dave Poirier.
//!
//! A damaged image never causes a panic or an endless loop, only an [`Error::Corrupt`].
#![no_std]
#![warn(missing_docs)]

extern crate alloc;

mod alloc_map;
mod bitmap;
mod cache;
mod commit;
mod device;
mod dir;
mod dirent;
mod error;
mod fs;
mod inode;
mod io;
mod layout;
mod map;
mod mkfs;
mod move_dir;
mod namei;
mod types;

pub use device::{BlockDevice, MemoryDevice, OutOfRange};
pub use error::Error;
pub use fs::Ext2;
pub use types::{
    Access, DirEntry, FileKind, Inode, InodeNumber, MkfsOptions, NewInode, Renamed, SetAttr,
    StatFs, Timestamp, Unlinked,
};
