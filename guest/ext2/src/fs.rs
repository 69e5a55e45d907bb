//! The mounted file system.

use crate::{
    Access, BlockDevice, DirEntry, Error, Inode, InodeNumber, MkfsOptions, NewInode, Renamed,
    SetAttr, StatFs, Timestamp, Unlinked,
};
use alloc::vec::Vec;

type Result<T, D> = core::result::Result<T, Error<<D as BlockDevice>::Error>>;

/// A mounted ext2 file system on the device `D`.
pub struct Ext2<D: BlockDevice> {
    device: D,
}

#[allow(unused_variables)]
impl<D: BlockDevice> Ext2<D> {
    /// Make an empty file system (root directory and `lost+found`) on `device`; what it held is
    /// lost.
    pub fn mkfs(device: &mut D, options: &MkfsOptions) -> Result<(), D> {
        todo!()
    }

    /// Mount what is on `device`. Falls back to read-only if features demand it: ask
    /// [`Ext2::read_only`].
    pub fn mount(device: D, access: Access, now: Timestamp) -> Result<Self, D> {
        todo!()
    }

    /// Whether nothing may be written.
    pub fn read_only(&self) -> bool {
        todo!()
    }

    /// Whether the file system had been unmounted properly when it was mounted. If not, blocks may
    /// be lost until `e2fsck` has run, but it can be used.
    pub fn was_clean(&self) -> bool {
        todo!()
    }

    /// Free the inodes without links, commit, and mark the file system clean. The device is then
    /// consistent; the next change would mark it in use again.
    pub fn unmount(&mut self, now: Timestamp) -> Result<(), D> {
        todo!()
    }

    /// Write all changed metadata and flush the device. `fsync` is: the caller writes the file's
    /// data blocks, then `commit`.
    pub fn commit(&mut self) -> Result<(), D> {
        todo!()
    }

    /// Number of metadata blocks that [`Ext2::commit`] would write, at least.
    pub fn dirty_blocks(&self) -> usize {
        todo!()
    }

    /// Drop clean blocks from the metadata cache until at most `blocks` are left; returns how many
    /// were dropped.
    pub fn shrink(&mut self, blocks: usize) -> usize {
        todo!()
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
        todo!()
    }

    /// How full it is.
    pub fn statfs(&self) -> StatFs {
        todo!()
    }

    /// What the inode `ino` says.
    ///
    /// # Errors
    /// [`Error::Stale`] if the inode is not in use.
    pub fn inode(&mut self, ino: InodeNumber) -> Result<Inode, D> {
        todo!()
    }

    /// Change attributes of an inode.
    pub fn set_attr(&mut self, ino: InodeNumber, attr: &SetAttr) -> Result<(), D> {
        todo!()
    }

    /// The inode that `name` stands for in the directory `dir`; `.` and `..` are entries like
    /// others.
    pub fn lookup(&mut self, dir: InodeNumber, name: &[u8]) -> Result<InodeNumber, D> {
        todo!()
    }

    /// Hand the entries of `dir` from `cookie` on (0: from the start) to `each`, until it returns
    /// false (that entry then counts as not taken) or the end is reached. Returns the cookie to go
    /// on from. Cookies stay valid while entries come and go.
    pub fn readdir(
        &mut self,
        dir: InodeNumber,
        cookie: u64,
        each: impl FnMut(DirEntry<'_>) -> bool,
    ) -> Result<u64, D> {
        todo!()
    }

    /// Make a regular file, a device, a fifo or a socket.
    pub fn create(
        &mut self,
        dir: InodeNumber,
        name: &[u8],
        new: &NewInode,
        now: Timestamp,
    ) -> Result<InodeNumber, D> {
        todo!()
    }

    /// Make a directory (`new.kind` is ignored).
    pub fn mkdir(
        &mut self,
        dir: InodeNumber,
        name: &[u8],
        new: &NewInode,
        now: Timestamp,
    ) -> Result<InodeNumber, D> {
        todo!()
    }

    /// Make a symbolic link to `target` (`new.kind` and `new.permissions` are ignored).
    pub fn symlink(
        &mut self,
        dir: InodeNumber,
        name: &[u8],
        target: &[u8],
        new: &NewInode,
        now: Timestamp,
    ) -> Result<InodeNumber, D> {
        todo!()
    }

    /// The target of a symbolic link.
    pub fn readlink(&mut self, ino: InodeNumber) -> Result<Vec<u8>, D> {
        todo!()
    }

    /// Give `ino` (no directory) one more name.
    pub fn link(
        &mut self,
        dir: InodeNumber,
        name: &[u8],
        ino: InodeNumber,
        now: Timestamp,
    ) -> Result<(), D> {
        todo!()
    }

    /// Remove a name of something that is no directory.
    pub fn unlink(&mut self, dir: InodeNumber, name: &[u8], now: Timestamp) -> Result<Unlinked, D> {
        todo!()
    }

    /// Remove an empty directory. Its link count is 0 afterwards: [`Ext2::release`] frees it.
    pub fn rmdir(&mut self, dir: InodeNumber, name: &[u8], now: Timestamp) -> Result<Unlinked, D> {
        todo!()
    }

    /// Rename with the semantics of `rename(2)`: replaces what `new_name` stood for, atomically;
    /// does nothing if both names are the same inode; refuses to move a directory below itself.
    pub fn rename(
        &mut self,
        old_dir: InodeNumber,
        old_name: &[u8],
        new_dir: InodeNumber,
        new_name: &[u8],
        now: Timestamp,
    ) -> Result<Renamed, D> {
        todo!()
    }

    /// Free an inode whose last link is gone and which nothing uses any more. Does nothing if it
    /// has links.
    pub fn release(&mut self, ino: InodeNumber, now: Timestamp) -> Result<(), D> {
        todo!()
    }

    /// The device block (byte address divided by [`Ext2::block_size`]) of a file block; None for a
    /// hole.
    pub fn map(&mut self, ino: InodeNumber, file_block: u64) -> Result<Option<u64>, D> {
        todo!()
    }

    /// Like [`Ext2::map`], but a hole gets a block, next to its predecessor if that is free. The
    /// flag says whether the block is new: it then holds garbage and the caller must write all of
    /// it. The file's size does not change: see [`SetAttr::size`].
    pub fn map_alloc(&mut self, ino: InodeNumber, file_block: u64) -> Result<(u64, bool), D> {
        todo!()
    }

    /// How the file goes on at `file_block`: (device block or None for a hole, number of blocks
    /// from 1 to `max` that follow one another likewise).
    pub fn extent(
        &mut self,
        ino: InodeNumber,
        file_block: u64,
        max: u32,
    ) -> Result<(Option<u64>, u32), D> {
        todo!()
    }

    /// Set the length to `len` and give back all blocks beyond it. The bytes between `len` and the
    /// end of its block are not zeroed on the device: the page cache that holds them does that
    /// (or see [`Ext2::resize`]).
    pub fn truncate(&mut self, ino: InodeNumber, len: u64, now: Timestamp) -> Result<(), D> {
        todo!()
    }

    /// [`Ext2::truncate`] for callers without a page cache: zeroes the rest of the last block too.
    pub fn resize(&mut self, ino: InodeNumber, len: u64, now: Timestamp) -> Result<(), D> {
        todo!()
    }

    /// Read file contents straight from the device; returns the number of bytes, short at the end.
    pub fn read_at(
        &mut self,
        ino: InodeNumber,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, D> {
        todo!()
    }

    /// Write file contents straight to the device, extending the file if need be.
    pub fn write_at(
        &mut self,
        ino: InodeNumber,
        offset: u64,
        data: &[u8],
        now: Timestamp,
    ) -> Result<(), D> {
        todo!()
    }
}
