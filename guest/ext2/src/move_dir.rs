//! Giving a directory a new name.
//!
//! A directory may have one name at a time, and its `..` must agree: old entry, new entry and `..`
//! have to change in one write, or `e2fsck -p` would stop at what a crash left. Within one block
//! that is easy. Otherwise the two or three blocks concerned are first moved to neighbouring
//! places (each a harmless change of its own), and then written together.

use crate::{
    BlockDevice, Error, Ext2, FileKind, InodeNumber, Renamed,
    cache::Kind,
    dir::{Found, broken},
    dirent,
    fs::Result,
};
use alloc::{vec, vec::Vec};

/// One of the blocks that change together.
#[derive(Clone, Copy)]
struct Part {
    dir: u32,
    file_block: u32,
    block: u64,
}

impl<D: BlockDevice> Ext2<D> {
    /// Rename a directory; `target` is what the new name stands for, a directory too.
    pub(crate) fn rename_directory(
        &mut self,
        old_dir: InodeNumber,
        old_name: &[u8],
        new_dir: InodeNumber,
        new_name: &[u8],
        target: Option<Found>,
    ) -> Result<Renamed, D> {
        let moved = InodeNumber(self.find(old_dir, old_name)?.ino);
        if old_dir != new_dir {
            self.check_not_below(new_dir, moved)?;
            if target.is_none() {
                self.check_links(new_dir.0)?;
            }
        }
        // Entries are going to be joined, so remembered offsets mean nothing any more.
        self.absent = None;
        self.room_hints.remove(&old_dir.0);
        self.room_hints.remove(&new_dir.0);
        let mut replaced = None;
        if let Some(target) = target {
            if InodeNumber(target.ino) == InodeNumber::ROOT {
                return Err(Error::Corrupt("a directory contains the root"));
            }
            replaced = Some(self.rmdir_inner(new_dir, new_name)?);
            self.commit()?;
        }
        if old_dir != new_dir || !self.rename_in_block(old_dir, old_name, new_name)? {
            self.move_between(old_dir, old_name, new_dir, new_name)?;
        }
        self.room_hints.remove(&new_dir.0);
        self.absent = None;
        self.touch(moved.0, false)?;
        self.touch(old_dir.0, true)?;
        if old_dir != new_dir {
            self.touch(new_dir.0, true)?;
            self.add_links(old_dir.0, -1)?;
            self.add_links(new_dir.0, 1)?;
        }
        Ok(Renamed {
            inode: moved,
            replaced,
        })
    }

    /// Refuse if `dir` is `above` or lies below it.
    fn check_not_below(&mut self, dir: InodeNumber, above: InodeNumber) -> Result<(), D> {
        let mut at = dir;
        for _ in 0..self.geometry.inodes {
            if at == above {
                return Err(Error::Invalid);
            }
            if at == InodeNumber::ROOT {
                return Ok(());
            }
            at = self.parent_of(at)?;
        }
        Err(Error::Corrupt("directories contain each other"))
    }

    /// Change the name within its block, if the new one fits there.
    fn rename_in_block(&mut self, dir: InodeNumber, old: &[u8], new: &[u8]) -> Result<bool, D> {
        let inodes = self.geometry.inodes;
        let found = self.find(dir, old)?;
        let mut data = self.buffer(found.block, Kind::Content)?.data.clone();
        dirent::remove(&mut data, inodes, &[found.offset as u16]).map_err(broken)?;
        let Some(at) = dirent::room(&data, 0, inodes, new.len()).map_err(broken)? else {
            return Ok(false);
        };
        dirent::insert(&mut data, at, new, found.ino, found.kind);
        self.buffer_mut(found.block, Kind::Content)?.data = data;
        Ok(true)
    }

    /// Move the entry to another block, and let `..` follow.
    fn move_between(
        &mut self,
        old_dir: InodeNumber,
        old_name: &[u8],
        new_dir: InodeNumber,
        new_name: &[u8],
    ) -> Result<(), D> {
        let to = self.reserve(new_dir, new_name.len())?.block;
        self.commit()?;
        let from = self.find(old_dir, old_name)?;
        let mut parts = vec![
            Part {
                dir: old_dir.0,
                file_block: from.file_block,
                block: from.block,
            },
            Part {
                dir: new_dir.0,
                file_block: self.position(new_dir, to)?,
                block: to,
            },
        ];
        if old_dir != new_dir {
            let dotdot = self.find(InodeNumber(from.ino), b"..")?;
            parts.push(Part {
                dir: from.ino,
                file_block: dotdot.file_block,
                block: dotdot.block,
            });
        }
        let together = self.bring_together(&mut parts)?;
        self.commit()?;

        let inodes = self.geometry.inodes;
        let data = &mut self.buffer_mut(parts[0].block, Kind::Content)?.data;
        dirent::remove(data, inodes, &[from.offset as u16]).map_err(broken)?;
        let room = self
            .room_in(parts[1].block, new_name.len())?
            .ok_or(Error::Corrupt(dirent::BROKEN))?;
        self.insert(&room, new_name, from.ino, from.kind)?;
        if let Some(child) = parts.get(2) {
            let dotdot = self.find(InodeNumber(from.ino), b"..")?;
            let kind = self.type_byte(FileKind::Directory);
            let data = &mut self.buffer_mut(child.block, Kind::Content)?.data;
            dirent::retarget(data, dotdot.offset, new_dir.0, kind);
        }
        if together {
            self.write_together(&parts)?;
        }
        Ok(())
    }

    /// Which block of `dir` lies at `block`.
    fn position(&mut self, dir: InodeNumber, block: u64) -> Result<u32, D> {
        for file_block in 0..self.directory_blocks(dir)? {
            if self.directory_block(dir, file_block)? == block {
                return Ok(file_block);
            }
        }
        Err(Error::Corrupt("a directory has lost a block"))
    }

    /// Move the blocks to neighbouring places. False if there is no room for that: they then stay
    /// where they are, and the move is not safe from a crash in the middle of the next commit.
    fn bring_together(&mut self, parts: &mut [Part]) -> Result<bool, D> {
        let count = parts.len();
        let first = match self.alloc_run(parts[0].block, count, count) {
            Ok(first) => first,
            Err(Error::NoSpace) => return Ok(false),
            Err(error) => return Err(error),
        };
        for (part, block) in parts.iter_mut().zip(first..) {
            let data: Vec<u8> = self.buffer(part.block, Kind::Content)?.data.to_vec();
            self.cache.fresh(block).data.copy_from_slice(&data);
            self.remap(part.dir, u64::from(part.file_block), block)?;
            self.free_block(part.block)?;
            part.block = block;
        }
        Ok(true)
    }

    /// Write neighbouring blocks at once.
    fn write_together(&mut self, parts: &[Part]) -> Result<(), D> {
        let at = parts[0].block * self.geometry.block_size as u64;
        let bytes: Vec<&[u8]> = parts
            .iter()
            .filter_map(|part| self.cache.peek(part.block))
            .map(|buffer| &buffer.data[..])
            .collect();
        if bytes.len() < parts.len() {
            return Err(Error::Corrupt("a changed block has been forgotten"));
        }
        self.device.write_vectored(at, &bytes)?;
        for part in parts {
            self.cache.written(part.block);
        }
        Ok(())
    }
}
