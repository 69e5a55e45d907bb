//! Directories: looking names up, listing, and the bookkeeping of entries.
//!
//! A name that is removed disappears at once for everybody, but its entry stays in the block until
//! a commit has written what the removal means for the inode (`commit` says why). Such entries are
//! called *removed*; their places are kept in [`crate::commit::Pending::removals`].

use crate::{
    BlockDevice, DirEntry, Error, Ext2, FileKind, InodeNumber,
    cache::Kind,
    dirent::{self, entries},
    fs::Result,
    layout::{inode, put_u32, u32_at},
};

/// The place of an entry, and what it says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub ino: u32,
    /// Device block.
    pub block: u64,
    /// Block of the directory.
    pub file_block: u32,
    /// Byte in the block.
    pub offset: usize,
    /// Type byte.
    pub kind: u8,
}

/// Where in a directory there is room for an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Device block.
    pub block: u64,
    /// Offset of the entry that has room, or is unused.
    at: usize,
}

/// What a search for a name finds.
pub(crate) enum Probe {
    Here(Found),
    /// The name is free, but its removed entry is still in the block.
    Removed,
    Absent,
}

/// A damaged directory block.
pub(crate) fn broken<E>(what: &'static str) -> Error<E> {
    Error::Corrupt(what)
}

impl<D: BlockDevice> Ext2<D> {
    /// Check that `dir` is a directory; returns its number of blocks.
    pub(crate) fn directory_blocks(&mut self, dir: InodeNumber) -> Result<u32, D> {
        let block_size = self.geometry.block_size as u32;
        let limit = self.geometry.blocks;
        let (kind, slot) = self.live(dir)?;
        if kind != FileKind::Directory {
            return Err(Error::NotDirectory);
        }
        let size = u32_at(slot, inode::SIZE);
        if !size.is_multiple_of(block_size) || size / block_size > limit {
            return Err(Error::Corrupt("a directory has an impossible size"));
        }
        Ok(size / block_size)
    }

    /// The device block of a directory's block: directories have no holes.
    pub(crate) fn directory_block(&mut self, dir: InodeNumber, file_block: u32) -> Result<u64, D> {
        self.map(dir, u64::from(file_block))?
            .ok_or(Error::Corrupt("a directory has a hole"))
    }

    /// Search `dir` for `name`.
    pub(crate) fn probe(&mut self, dir: InodeNumber, name: &[u8]) -> Result<Probe, D> {
        let blocks = self.directory_blocks(dir)?;
        if let Some(absent) = &self.absent
            && absent.0 == dir.0
            && *absent.1 == *name
        {
            return Ok(Probe::Absent);
        }
        let inodes = self.geometry.inodes;
        let mut result = Probe::Absent;
        for file_block in 0..blocks {
            let block = self.directory_block(dir, file_block)?;
            self.buffer(block, Kind::Content)?;
            let removed = self.pending.removals.get(&block);
            let Some(buffer) = self.cache.peek(block) else {
                continue;
            };
            let mut start = 0;
            while let Some(entry) =
                dirent::find(&buffer.data, start, inodes, name).map_err(broken)?
            {
                if removed.is_some_and(|offsets| offsets.contains(&(entry.offset as u16))) {
                    result = Probe::Removed;
                    start = entry.offset + entry.len;
                    continue;
                }
                return Ok(Probe::Here(Found {
                    ino: entry.ino,
                    block,
                    file_block,
                    offset: entry.offset,
                    kind: entry.kind,
                }));
            }
        }
        if matches!(result, Probe::Absent) {
            self.absent = Some((dir.0, name.into()));
        }
        Ok(result)
    }

    /// The entry `name` of `dir`, naming an inode that files may have.
    pub(crate) fn find(&mut self, dir: InodeNumber, name: &[u8]) -> Result<Found, D> {
        match self.probe(dir, name)? {
            Probe::Here(found) => {
                self.check_ino(found.ino)?;
                Ok(found)
            }
            _ => Err(Error::NotFound),
        }
    }

    /// Refuse entries that name the file system's own inodes.
    pub(crate) fn check_ino(&self, ino: u32) -> Result<(), D> {
        if ino != InodeNumber::ROOT.0 && ino < self.geometry.first_inode {
            return Err(Error::Corrupt("an entry names a reserved inode"));
        }
        Ok(())
    }

    /// The inode that `name` stands for in the directory `dir`; `.` and `..` are entries like
    /// others.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotDirectory`], [`Error::NameTooLong`].
    pub fn lookup(&mut self, dir: InodeNumber, name: &[u8]) -> Result<InodeNumber, D> {
        if name.len() > 255 {
            return Err(Error::NameTooLong);
        }
        Ok(InodeNumber(self.find(dir, name)?.ino))
    }

    /// Hand the entries of `dir` from `cookie` on (0: from the start) to `each`, until it returns
    /// false (that entry then counts as not taken) or the end is reached. Returns the cookie to go
    /// on from. Cookies stay valid while entries come and go.
    pub fn readdir(
        &mut self,
        dir: InodeNumber,
        cookie: u64,
        mut each: impl FnMut(DirEntry<'_>) -> bool,
    ) -> Result<u64, D> {
        let blocks = self.directory_blocks(dir)?;
        let block_size = self.geometry.block_size as u64;
        let inodes = self.geometry.inodes;
        let first = u32::try_from(cookie / block_size).unwrap_or(u32::MAX);
        let mut skip = (cookie % block_size) as usize;
        for file_block in first..blocks {
            let start = u64::from(file_block) * block_size;
            let block = self.directory_block(dir, file_block)?;
            self.buffer(block, Kind::Content)?;
            let removed = self.pending.removals.get(&block);
            let Some(buffer) = self.cache.peek(block) else {
                continue;
            };
            for entry in entries(&buffer.data, inodes) {
                let entry = entry.map_err(broken)?;
                if entry.ino == 0
                    || entry.offset < skip
                    || removed.is_some_and(|offsets| offsets.contains(&(entry.offset as u16)))
                {
                    continue;
                }
                let taken = each(DirEntry {
                    name: entry.name,
                    inode: InodeNumber(entry.ino),
                    kind: FileKind::from_dirent_type(entry.kind),
                    next: start + (entry.offset + entry.len) as u64,
                });
                if !taken {
                    return Ok(start + entry.offset as u64);
                }
            }
            skip = 0;
        }
        Ok(cookie.max(u64::from(blocks) * block_size))
    }

    /// Whether `dir` has no entries but `.` and `..`.
    pub(crate) fn is_empty(&mut self, dir: InodeNumber) -> Result<bool, D> {
        let mut empty = true;
        self.readdir(dir, 0, |entry| {
            empty = matches!(entry.name, b"." | b"..");
            empty
        })?;
        Ok(empty)
    }

    /// The type byte of entries for inodes of `kind`.
    pub(crate) fn type_byte(&self, kind: FileKind) -> u8 {
        if self.geometry.filetype {
            kind.dirent_type()
        } else {
            0
        }
    }

    /// Make sure that `dir` has room for an entry with a name of `len` bytes, growing it if need
    /// be. The room is good until an entry of `dir` changes.
    pub(crate) fn reserve(&mut self, dir: InodeNumber, len: usize) -> Result<Room, D> {
        let blocks = self.directory_blocks(dir)?;
        let inodes = self.geometry.inodes;
        let (first, mut start) = self.room_hints.get(&dir.0).copied().unwrap_or((0, 0));
        for file_block in first..blocks {
            let block = self.directory_block(dir, file_block)?;
            let data = &self.buffer(block, Kind::Content)?.data;
            let room = dirent::room(data, usize::from(start), inodes, len).map_err(broken)?;
            if let Some(at) = room {
                self.set_room_hint(dir, file_block, at);
                return Ok(Room { block, at });
            }
            start = 0;
        }
        let block = self.append_block(dir, blocks)?;
        self.set_room_hint(dir, blocks, 0);
        Ok(Room { block, at: 0 })
    }

    /// Room in one block of a directory, None if it is full.
    pub(crate) fn room_in(&mut self, block: u64, len: usize) -> Result<Option<Room>, D> {
        let inodes = self.geometry.inodes;
        let data = &self.buffer(block, Kind::Content)?.data;
        let room = dirent::room(data, 0, inodes, len).map_err(broken)?;
        Ok(room.map(|at| Room { block, at }))
    }

    /// Note where the next search for room shall begin.
    fn set_room_hint(&mut self, dir: InodeNumber, file_block: u32, offset: usize) {
        if self.room_hints.len() >= 64 {
            self.room_hints.clear();
        }
        self.room_hints.insert(dir.0, (file_block, offset as u16));
    }

    /// Grow `dir`, which has `blocks` blocks, by an empty one.
    fn append_block(&mut self, dir: InodeNumber, blocks: u32) -> Result<u64, D> {
        let size = (u64::from(blocks) + 1) * self.geometry.block_size as u64;
        let size = u32::try_from(size).map_err(|_| Error::FileTooBig)?;
        let block = self.add_block(dir, u64::from(blocks))?;
        dirent::empty_block(&mut self.cache.fresh(block).data);
        put_u32(self.slot_mut(dir.0)?, inode::SIZE, size);
        Ok(block)
    }

    /// Add an entry where there is room for it; returns its offset.
    pub(crate) fn insert(
        &mut self,
        room: &Room,
        name: &[u8],
        ino: u32,
        kind: u8,
    ) -> Result<usize, D> {
        self.absent = None;
        let data = &mut self.buffer_mut(room.block, Kind::Content)?.data;
        Ok(dirent::insert(data, room.at, name, ino, kind))
    }

    /// Take an entry out of sight; its place is used again after the next commit.
    pub(crate) fn hide(&mut self, dir: InodeNumber, found: &Found) {
        self.pending
            .removals
            .entry(found.block)
            .or_default()
            .push(found.offset as u16);
        if let Some(hint) = self.room_hints.get_mut(&dir.0)
            && hint.0 >= found.file_block
        {
            *hint = (found.file_block, 0);
        }
    }

    /// The parent of a directory.
    pub(crate) fn parent_of(&mut self, dir: InodeNumber) -> Result<InodeNumber, D> {
        let parent = self.find(dir, b"..").map_err(|error| match error {
            Error::NotFound => Error::Corrupt("a directory has no parent"),
            error => error,
        })?;
        Ok(InodeNumber(parent.ino))
    }

    /// Before entries of `dir` change: a hash index would no longer fit, so give it up. The flag
    /// must be gone from the device before the blocks change.
    pub(crate) fn drop_index(&mut self, dir: InodeNumber) -> Result<(), D> {
        let flags = u32_at(self.slot(dir.0)?, inode::FLAGS);
        if flags & inode::FLAG_INDEX != 0 {
            put_u32(
                self.slot_mut(dir.0)?,
                inode::FLAGS,
                flags & !inode::FLAG_INDEX,
            );
            self.commit()?;
        }
        Ok(())
    }
}
