//! From file blocks to device blocks: 12 direct pointers, then a tree of one, two and three levels.

use crate::{
    BlockDevice, Error, Ext2, FileKind, InodeNumber, Timestamp,
    cache::Kind,
    fs::Result,
    layout::{inode, put_u32, u32_at},
};

/// Where the pointer to a file block is found: an index into the inode's pointers, then one for
/// each level of indirect blocks.
struct Path {
    index: [usize; 4],
    len: usize,
}

impl Path {
    /// None if the format cannot express the block. `pointers`: pointers in a block, at most 1024.
    fn new(file_block: u64, pointers: u32) -> Option<Self> {
        let per = u64::from(pointers);
        let mut rest = file_block;
        if rest < inode::DIRECT as u64 {
            return Some(Path {
                index: [rest as usize, 0, 0, 0],
                len: 1,
            });
        }
        rest -= inode::DIRECT as u64;
        if rest < per {
            return Some(Path {
                index: [12, rest as usize, 0, 0],
                len: 2,
            });
        }
        rest -= per;
        if rest < per * per {
            return Some(Path {
                index: [13, (rest / per) as usize, (rest % per) as usize, 0],
                len: 3,
            });
        }
        rest -= per * per;
        if rest < per * per * per {
            return Some(Path {
                index: [
                    14,
                    (rest / (per * per)) as usize,
                    (rest / per % per) as usize,
                    (rest % per) as usize,
                ],
                len: 4,
            });
        }
        None
    }
}

impl<D: BlockDevice> Ext2<D> {
    /// The longest file: what three levels can map, but no more than 2^32 sectors less the
    /// indirect blocks.
    pub(crate) fn max_size(&self) -> u64 {
        let per = u64::from(self.geometry.pointers());
        let mapped = (12 + per + per * per + per * per * per) * self.geometry.block_size as u64;
        let indirect = per * per + per + 3;
        mapped.min((1u64 << 41) - indirect * self.geometry.block_size as u64)
    }

    /// Kind and bytes of an inode that must be in use and have blocks, mapped as in ext2.
    fn mapped(&mut self, ino: InodeNumber) -> Result<(FileKind, &[u8]), D> {
        let (kind, slot) = self.live(ino)?;
        if !matches!(
            kind,
            FileKind::Regular | FileKind::Directory | FileKind::Symlink
        ) {
            return Err(Error::Invalid);
        }
        if u32_at(slot, inode::FLAGS) & inode::FLAGS_UNSUPPORTED != 0 {
            return Err(Error::Corrupt("an inode is mapped in an unknown way"));
        }
        Ok((kind, slot))
    }

    /// The device block (byte address divided by [`Ext2::block_size`]) of a file block; None for a
    /// hole.
    pub fn map(&mut self, ino: InodeNumber, file_block: u64) -> Result<Option<u64>, D> {
        Ok(self.extent(ino, file_block, 1)?.0)
    }

    /// How the file goes on at `file_block`: (device block or None for a hole, number of blocks
    /// from 1 to `max` that follow one another likewise).
    pub fn extent(
        &mut self,
        ino: InodeNumber,
        file_block: u64,
        max: u32,
    ) -> Result<(Option<u64>, u32), D> {
        let pointers = self.geometry.pointers() as usize;
        let limit = self.geometry.blocks;
        let (_, slot) = self.mapped(ino)?;
        let Some(path) = Path::new(file_block, pointers as u32) else {
            return Ok((None, max.max(1)));
        };
        let array = &slot[inode::BLOCK..inode::BLOCK + 60];
        if path.len == 1 {
            let (first, run) = run_in(array, path.index[0], inode::DIRECT, max, limit);
            return Ok((self.check_pointer(first)?, run));
        }
        let mut pointer = u32_at(array, 4 * path.index[0]);
        for (level, &index) in path.index[1..path.len].iter().enumerate() {
            if pointer == 0 {
                // All that the missing block would map is a hole.
                let spans = (pointers as u64).pow((path.len - 2 - level) as u32 + 1);
                let within = file_block_within(&path, level + 1, pointers as u64);
                let run = (spans - within).min(u64::from(max.max(1)));
                return Ok((None, run as u32));
            }
            let block = self.check_block(pointer)?;
            let data = &self.buffer(block, Kind::Content)?.data;
            if level + 2 == path.len {
                let (first, run) = run_in(data, index, pointers, max, limit);
                return Ok((self.check_pointer(first)?, run));
            }
            pointer = u32_at(data, 4 * index);
        }
        Ok((None, 1))
    }

    fn check_pointer(&self, pointer: u32) -> Result<Option<u64>, D> {
        if pointer == 0 {
            return Ok(None);
        }
        self.check_block(pointer).map(Some)
    }

    /// Like [`Ext2::map`], but a hole gets a block, next to its predecessor if that is free. The
    /// flag says whether the block is new: it then holds garbage and the caller must write all of
    /// it. The file's size does not change: see [`crate::SetAttr::size`].
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::FileTooBig`].
    pub fn map_alloc(&mut self, ino: InodeNumber, file_block: u64) -> Result<(u64, bool), D> {
        let result = self.map_or_alloc(ino, file_block, true);
        self.finish(result)
    }

    /// The same as a part of an operation that has begun already.
    pub(crate) fn add_block(&mut self, ino: InodeNumber, file_block: u64) -> Result<u64, D> {
        Ok(self.map_or_alloc(ino, file_block, false)?.0)
    }

    fn map_or_alloc(
        &mut self,
        ino: InodeNumber,
        file_block: u64,
        begin: bool,
    ) -> Result<(u64, bool), D> {
        let path = Path::new(file_block, self.geometry.pointers()).ok_or(Error::FileTooBig)?;
        let sectors = (self.geometry.block_size / 512) as i64;
        let (kind, _) = self.mapped(ino)?;
        let mut parent: Option<u64> = None;
        let mut block = 0;
        let mut new = false;
        for (level, &index) in path.index[..path.len].iter().enumerate() {
            let array = match parent {
                None => &self.slot(ino.0)?[inode::BLOCK..inode::BLOCK + 60],
                Some(parent) => &self.buffer(parent, Kind::Content)?.data[..],
            };
            let pointer = u32_at(array, 4 * index);
            if pointer != 0 {
                block = self.check_block(pointer)?;
                parent = Some(block);
                continue;
            }
            let before = match index {
                0 => 0,
                index => u32_at(array, 4 * (index - 1)),
            };
            if !new {
                if begin {
                    self.begin(self.now)?;
                }
                self.check_growth(ino, kind, file_block)?;
            }
            new = true;
            block = match (before, parent) {
                (0, None) => {
                    let group = (ino.0 - 1) / self.geometry.inodes_per_group;
                    let goal = u64::from(self.geometry.group_start(group));
                    self.alloc_block(goal, kind == FileKind::Regular)?
                }
                (0, Some(parent)) => self.alloc_block(parent + 1, false)?,
                (before, _) => self.alloc_block(u64::from(before) + 1, false)?,
            };
            let slot = self.slot_mut(ino.0)?;
            change_sectors(slot, sectors);
            match parent {
                None => put_u32(slot, inode::BLOCK + 4 * index, block as u32),
                Some(parent) => {
                    let data = &mut self.buffer_mut(parent, Kind::Content)?.data;
                    put_u32(data, 4 * index, block as u32);
                }
            }
            if level + 1 < path.len {
                self.cache.fresh(block);
            }
            parent = Some(block);
        }
        Ok((block, new))
    }

    /// Before an inode gets a block at a hole.
    fn check_growth(&mut self, ino: InodeNumber, kind: FileKind, file_block: u64) -> Result<(), D> {
        if file_block >= self.max_size() / self.geometry.block_size as u64 {
            return Err(Error::FileTooBig);
        }
        if kind == FileKind::Directory && !self.pending.births.contains_key(&ino.0) {
            self.pending.grown.insert(ino.0);
        }
        Ok(())
    }

    /// Let the pointer to an existing file block point to another block: directories only, for
    /// [`Ext2::rename`].
    pub(crate) fn remap(&mut self, ino: u32, file_block: u64, block: u64) -> Result<(), D> {
        let path = Path::new(file_block, self.geometry.pointers()).ok_or(Error::FileTooBig)?;
        let mut parent = None;
        for &index in &path.index[..path.len - 1] {
            let array = match parent {
                None => &self.slot(ino)?[inode::BLOCK..inode::BLOCK + 60],
                Some(parent) => &self.buffer(parent, Kind::Content)?.data[..],
            };
            let pointer = u32_at(array, 4 * index);
            parent = Some(self.check_block(pointer)?);
        }
        let index = path.index[path.len - 1];
        match parent {
            None => put_u32(self.slot_mut(ino)?, inode::BLOCK + 4 * index, block as u32),
            Some(parent) => {
                let data = &mut self.buffer_mut(parent, Kind::Content)?.data;
                put_u32(data, 4 * index, block as u32);
            }
        }
        Ok(())
    }

    /// Set the length to `len` and give back all blocks beyond it. The bytes between `len` and the
    /// end of its block are not zeroed on the device: the page cache that holds them does that
    /// (or see [`Ext2::resize`]).
    ///
    /// # Errors
    /// [`Error::IsDirectory`]; [`Error::Invalid`] for anything else that is no regular file.
    pub fn truncate(&mut self, ino: InodeNumber, len: u64, now: Timestamp) -> Result<(), D> {
        match self.kind(ino)? {
            FileKind::Regular => {}
            FileKind::Directory => return Err(Error::IsDirectory),
            _ => return Err(Error::Invalid),
        }
        if len > self.max_size() {
            return Err(Error::FileTooBig);
        }
        self.begin(now)?;
        let result = self.truncate_inner(ino, len);
        self.finish(result)
    }

    fn truncate_inner(&mut self, ino: InodeNumber, len: u64) -> Result<(), D> {
        self.free_blocks_from(ino.0, len.div_ceil(self.geometry.block_size as u64))?;
        let slot = self.slot_mut(ino.0)?;
        put_u32(slot, inode::SIZE, len as u32);
        put_u32(slot, inode::SIZE_HIGH, (len >> 32) as u32);
        self.touch(ino.0, true)
    }

    /// Give back all blocks from the file block `from` on.
    pub(crate) fn free_blocks_from(&mut self, ino: u32, from: u64) -> Result<(), D> {
        let kind = self.kind(InodeNumber(ino))?;
        if !matches!(
            kind,
            FileKind::Regular | FileKind::Directory | FileKind::Symlink
        ) {
            return Ok(());
        }
        let per_block = (self.geometry.block_size / 512) as i64;
        let slot = self.slot(ino)?;
        let sectors = i64::from(u32_at(slot, inode::SECTORS));
        let own = match u32_at(slot, inode::FILE_ACL) {
            0 => 0,
            _ => per_block,
        };
        if sectors <= own && kind == FileKind::Symlink {
            return Ok(());
        }
        if u32_at(slot, inode::FLAGS) & inode::FLAGS_UNSUPPORTED != 0 {
            return Err(Error::Corrupt("an inode is mapped in an unknown way"));
        }
        let mut pointers = [0; 60];
        pointers.copy_from_slice(&slot[inode::BLOCK..inode::BLOCK + 60]);
        let per = u64::from(self.geometry.pointers());
        let mut first = 0;
        for index in 0..15 {
            let level = (index as u32 + 1).saturating_sub(inode::DIRECT as u32);
            let spans = per.pow(level);
            let pointer = u32_at(&pointers, 4 * index);
            if pointer != 0 && from < first + spans {
                let (freed, gone) = self.free_tree(pointer, level, from.saturating_sub(first))?;
                let slot = self.slot_mut(ino)?;
                change_sectors(slot, -freed * per_block);
                if gone {
                    put_u32(slot, inode::BLOCK + 4 * index, 0);
                }
            }
            first += spans;
        }
        Ok(())
    }

    /// Give back what lies below `pointer`, `level` levels above the data, from the `from`th data
    /// block on. Returns how many blocks that were, and whether the block itself is among them.
    fn free_tree(&mut self, pointer: u32, level: u32, from: u64) -> Result<(i64, bool), D> {
        let block = self.check_block(pointer)?;
        if level == 0 {
            self.free_block(block)?;
            return Ok((1, true));
        }
        let whole = from == 0;
        let data = self.buffer(block, Kind::Content)?.data.clone();
        let mut freed = 0;
        if whole {
            // First the block itself: a tree that contains itself then ends in an error.
            self.free_block(block)?;
            freed += 1;
        }
        let spans = u64::from(self.geometry.pointers()).pow(level - 1);
        for (index, child) in data
            .chunks_exact(4)
            .enumerate()
            .skip((from / spans) as usize)
        {
            let child = u32_at(child, 0);
            if child == 0 {
                continue;
            }
            let first = index as u64 * spans;
            let (count, gone) = self.free_tree(child, level - 1, from.saturating_sub(first))?;
            freed += count;
            if gone && !whole {
                put_u32(
                    &mut self.buffer_mut(block, Kind::Content)?.data,
                    4 * index,
                    0,
                );
            }
        }
        Ok((freed, whole))
    }
}

/// The pointer at `index`, and how many from there on follow one another (or are all 0), within the
/// array, at most `max`.
fn run_in(array: &[u8], index: usize, len: usize, max: u32, limit: u32) -> (u32, u32) {
    let first = u32_at(array, 4 * index);
    let mut run = 1;
    while run < max && index + (run as usize) < len {
        let next = u32_at(array, 4 * (index + run as usize));
        let expected = match first {
            0 => 0,
            first => match first.checked_add(run) {
                Some(block) if block < limit => block,
                _ => break,
            },
        };
        if next != expected {
            break;
        }
        run += 1;
    }
    (first, run)
}

/// An inode uses so many sectors more, or less.
fn change_sectors(slot: &mut [u8], delta: i64) {
    let sectors = i64::from(u32_at(slot, inode::SECTORS)) + delta;
    put_u32(
        slot,
        inode::SECTORS,
        sectors.clamp(0, i64::from(u32::MAX)) as u32,
    );
}

/// How far into the span of the indirect block at `level` of the path its last file block lies.
fn file_block_within(path: &Path, level: usize, pointers: u64) -> u64 {
    path.index[level..path.len]
        .iter()
        .fold(0, |within, &index| within * pointers + index as u64)
}
