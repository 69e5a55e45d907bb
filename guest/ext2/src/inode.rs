//! Inodes: finding them, reading and changing their attributes.

use crate::{
    BlockDevice, Error, Ext2, FileKind, Inode, InodeNumber, NewInode, SetAttr, Timestamp,
    cache::Kind,
    fs::Result,
    layout::{has_extra, inode, put_time, put_u16, put_u32, time_at, u16_at, u32_at},
};
use alloc::vec::Vec;

impl<D: BlockDevice> Ext2<D> {
    /// Block and offset of an inode in its table.
    pub(crate) fn locate(&self, ino: u32) -> Result<(u64, usize), D> {
        let geometry = &self.geometry;
        if ino == 0 || ino > geometry.inodes {
            return Err(Error::Corrupt("an inode number is out of range"));
        }
        let group = (ino - 1) / geometry.inodes_per_group;
        let byte = ((ino - 1) % geometry.inodes_per_group) as usize * geometry.inode_size;
        let table = self.groups[group as usize].inode_table();
        Ok((
            u64::from(table) + (byte / geometry.block_size) as u64,
            byte % geometry.block_size,
        ))
    }

    /// The bytes of an inode.
    pub(crate) fn slot(&mut self, ino: u32) -> Result<&[u8], D> {
        let (block, offset) = self.locate(ino)?;
        let size = self.geometry.inode_size;
        Ok(&self.buffer(block, Kind::Table)?.data[offset..offset + size])
    }

    /// The bytes of an inode, to be changed.
    pub(crate) fn slot_mut(&mut self, ino: u32) -> Result<&mut [u8], D> {
        let (block, offset) = self.locate(ino)?;
        let size = self.geometry.inode_size;
        Ok(&mut self.buffer_mut(block, Kind::Table)?.data[offset..offset + size])
    }

    /// Kind and bytes of an inode that must be in use.
    pub(crate) fn live(&mut self, ino: InodeNumber) -> Result<(FileKind, &[u8]), D> {
        let (block, offset) = self.locate(ino.0)?;
        let size = self.geometry.inode_size;
        let buffer = self.cache.get(&self.device, block, Kind::Table)?;
        let slot = &buffer.data[offset..offset + size];
        if u16_at(slot, inode::LINKS) == 0 && !self.orphans.contains(&ino.0) {
            return Err(Error::Stale);
        }
        match FileKind::from_mode(u16_at(slot, inode::MODE)) {
            Some(kind) => Ok((kind, slot)),
            None => Err(Error::Corrupt("an inode's mode has no known kind")),
        }
    }

    /// The kind of an inode that must be in use.
    pub(crate) fn kind(&mut self, ino: InodeNumber) -> Result<FileKind, D> {
        Ok(self.live(ino)?.0)
    }

    /// What the inode `ino` says.
    ///
    /// # Errors
    /// [`Error::Stale`] if the inode is not in use.
    pub fn inode(&mut self, ino: InodeNumber) -> Result<Inode, D> {
        let (kind, slot) = self.live(ino)?;
        let mut size = u64::from(u32_at(slot, inode::SIZE));
        if kind == FileKind::Regular {
            size |= u64::from(u32_at(slot, inode::SIZE_HIGH)) << 32;
        }
        let rdev = match kind {
            FileKind::CharDevice | FileKind::BlockDevice => {
                decode_rdev(u32_at(slot, inode::BLOCK), u32_at(slot, inode::BLOCK + 4))
            }
            _ => (0, 0),
        };
        let wide = |low, high| u32::from(u16_at(slot, low)) | u32::from(u16_at(slot, high)) << 16;
        let extra = has_extra(slot);
        Ok(Inode {
            number: ino,
            mode: u16_at(slot, inode::MODE),
            kind,
            uid: wide(inode::UID, inode::UID_HIGH),
            gid: wide(inode::GID, inode::GID_HIGH),
            size,
            sectors: u64::from(u32_at(slot, inode::SECTORS)),
            links: u16_at(slot, inode::LINKS),
            atime: time_at(slot, extra, inode::ATIME, inode::ATIME_EXTRA),
            mtime: time_at(slot, extra, inode::MTIME, inode::MTIME_EXTRA),
            ctime: time_at(slot, extra, inode::CTIME, inode::CTIME_EXTRA),
            rdev,
            flags: u32_at(slot, inode::FLAGS),
        })
    }

    /// Change attributes of an inode.
    ///
    /// # Errors
    /// [`Error::IsDirectory`] for the size of a directory, [`Error::Invalid`] for that of anything
    /// else without contents, [`Error::FileTooBig`].
    pub fn set_attr(&mut self, ino: InodeNumber, attr: &SetAttr) -> Result<(), D> {
        self.begin(self.now)?;
        let kind = self.kind(ino)?;
        if let Some(size) = attr.size {
            match kind {
                FileKind::Regular => {}
                FileKind::Directory => return Err(Error::IsDirectory),
                _ => return Err(Error::Invalid),
            }
            if size > self.max_size() {
                return Err(Error::FileTooBig);
            }
        }
        let slot = self.slot_mut(ino.0)?;
        if let Some(permissions) = attr.permissions {
            put_u16(slot, inode::MODE, kind.mode_bits() | permissions & 0o7777);
        }
        if let Some(uid) = attr.uid {
            put_u16(slot, inode::UID, uid as u16);
            put_u16(slot, inode::UID_HIGH, (uid >> 16) as u16);
        }
        if let Some(gid) = attr.gid {
            put_u16(slot, inode::GID, gid as u16);
            put_u16(slot, inode::GID_HIGH, (gid >> 16) as u16);
        }
        if let Some(size) = attr.size {
            put_u32(slot, inode::SIZE, size as u32);
            put_u32(slot, inode::SIZE_HIGH, (size >> 32) as u32);
        }
        if let Some(time) = attr.atime {
            put_time(slot, inode::ATIME, inode::ATIME_EXTRA, time);
        }
        if let Some(time) = attr.mtime {
            put_time(slot, inode::MTIME, inode::MTIME_EXTRA, time);
        }
        if let Some(time) = attr.ctime {
            put_time(slot, inode::CTIME, inode::CTIME_EXTRA, time);
        }
        Ok(())
    }

    /// Make an allocated inode what `new` says, with `links` links and no contents. `parent` is
    /// the directory in which its entry is about to be made.
    pub(crate) fn init_inode(
        &mut self,
        ino: u32,
        parent: u32,
        kind: FileKind,
        new: &NewInode,
        links: u16,
    ) -> Result<(), D> {
        let level = self.entry_level(parent);
        let now = self.now;
        let slot = self.slot_mut(ino)?;
        let generation = u32_at(slot, inode::GENERATION).wrapping_add(1);
        slot.fill(0);
        if slot.len() > 128 {
            put_u16(slot, inode::EXTRA_SIZE, inode::EXTRA_SIZE_USED);
            put_time(slot, inode::CRTIME, inode::CRTIME_EXTRA, now);
        }
        put_u16(
            slot,
            inode::MODE,
            kind.mode_bits() | new.permissions & 0o7777,
        );
        put_u16(slot, inode::UID, new.uid as u16);
        put_u16(slot, inode::UID_HIGH, (new.uid >> 16) as u16);
        put_u16(slot, inode::GID, new.gid as u16);
        put_u16(slot, inode::GID_HIGH, (new.gid >> 16) as u16);
        put_u16(slot, inode::LINKS, links);
        put_u32(slot, inode::GENERATION, generation);
        put_time(slot, inode::ATIME, inode::ATIME_EXTRA, now);
        put_time(slot, inode::MTIME, inode::MTIME_EXTRA, now);
        put_time(slot, inode::CTIME, inode::CTIME_EXTRA, now);
        if matches!(kind, FileKind::CharDevice | FileKind::BlockDevice) {
            let (old, wide) = encode_rdev(new.rdev);
            put_u32(slot, inode::BLOCK, old);
            put_u32(slot, inode::BLOCK + 4, wide);
        }
        self.pending.births.insert(ino, level);
        Ok(())
    }

    /// The contents (mtime too) or the inode alone have changed just now.
    pub(crate) fn touch(&mut self, ino: u32, contents: bool) -> Result<(), D> {
        let now = self.now;
        let slot = self.slot_mut(ino)?;
        if contents {
            put_time(slot, inode::MTIME, inode::MTIME_EXTRA, now);
        }
        put_time(slot, inode::CTIME, inode::CTIME_EXTRA, now);
        Ok(())
    }

    /// Change the number of links; the caller has checked the limit.
    pub(crate) fn add_links(&mut self, ino: u32, delta: i32) -> Result<u16, D> {
        let slot = self.slot_mut(ino)?;
        let links =
            (i32::from(u16_at(slot, inode::LINKS)) + delta).clamp(0, i32::from(u16::MAX)) as u16;
        put_u16(slot, inode::LINKS, links);
        Ok(links)
    }

    /// The last link of an inode is gone: it has no name any more.
    pub(crate) fn bury(&mut self, ino: u32, parent: u32, directory: bool) -> Result<(), D> {
        // e2fsck takes a small time of deletion for the link of a list.
        let time = self.now.sec.clamp(1_000_000_000, i64::from(u32::MAX)) as u32;
        let slot = self.slot_mut(ino)?;
        put_u16(slot, inode::LINKS, 0);
        put_u32(slot, inode::DTIME, time);
        self.pending.bury(ino, parent, directory);
        self.orphans.insert(ino);
        Ok(())
    }

    /// Free an inode whose last link is gone and which nothing uses any more. Does nothing if it
    /// has links.
    pub fn release(&mut self, ino: InodeNumber, now: Timestamp) -> Result<(), D> {
        if !self.orphans.contains(&ino.0) {
            return Ok(());
        }
        self.begin(now)?;
        let result = self.release_inner(ino.0);
        self.finish(result)
    }

    fn release_inner(&mut self, ino: u32) -> Result<(), D> {
        let kind = self.kind(InodeNumber(ino))?;
        self.room_hints.remove(&ino);
        self.free_blocks_from(ino, 0)?;
        self.orphans.remove(&ino);
        let slot = self.slot_mut(ino)?;
        let attributes = u32_at(slot, inode::FILE_ACL);
        put_u32(slot, inode::FILE_ACL, 0);
        put_u32(slot, inode::SIZE, 0);
        put_u32(slot, inode::SIZE_HIGH, 0);
        put_u32(slot, inode::SECTORS, 0);
        slot[inode::BLOCK..inode::BLOCK + 60].fill(0);
        if attributes != 0 {
            self.drop_attributes(attributes)?;
        }
        self.pending
            .freed_inodes
            .push((ino, kind == FileKind::Directory));
        Ok(())
    }

    /// One inode less shares a block of extended attributes.
    fn drop_attributes(&mut self, block: u32) -> Result<(), D> {
        const MAGIC: u32 = 0xea02_0000;
        const REFERENCES: usize = 4;
        let block = self.check_block(block)?;
        let data = &self.buffer(block, Kind::Content)?.data;
        if u32_at(data, 0) != MAGIC {
            return Err(Error::Corrupt("a block of extended attributes is none"));
        }
        let references = u32_at(data, REFERENCES);
        if references <= 1 {
            return self.free_block(block);
        }
        let data = &mut self.buffer_mut(block, Kind::Content)?.data;
        put_u32(data, REFERENCES, references - 1);
        Ok(())
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is none.
    pub fn readlink(&mut self, ino: InodeNumber) -> Result<Vec<u8>, D> {
        if self.kind(ino)? != FileKind::Symlink {
            return Err(Error::Invalid);
        }
        let sectors_per_block = (self.geometry.block_size / 512) as u32;
        let block_size = self.geometry.block_size;
        let slot = self.slot(ino.0)?;
        let len = u32_at(slot, inode::SIZE) as usize;
        let attributes = u32_at(slot, inode::FILE_ACL) != 0;
        let own = if attributes { sectors_per_block } else { 0 };
        if u32_at(slot, inode::SECTORS) <= own {
            let text = &slot[inode::BLOCK..inode::BLOCK + 60];
            let text = text
                .get(..len)
                .ok_or(Error::Corrupt("a short symbolic link is too long"))?;
            return Ok(text.to_vec());
        }
        if len >= block_size {
            return Err(Error::Corrupt("a symbolic link is too long"));
        }
        let block = self
            .map(ino, 0)?
            .ok_or(Error::Corrupt("a symbolic link has no block"))?;
        Ok(self.buffer(block, Kind::Content)?.data[..len].to_vec())
    }
}

/// Device numbers as Linux stores them: the old 16-bit form in the first block pointer, or the new
/// form in the second.
fn encode_rdev((major, minor): (u32, u32)) -> (u32, u32) {
    if major < 256 && minor < 256 {
        (major << 8 | minor, 0)
    } else {
        (
            0,
            minor & 0xff | (major & 0xfff) << 8 | (minor & !0xff) << 12,
        )
    }
}

fn decode_rdev(old: u32, wide: u32) -> (u32, u32) {
    if old != 0 {
        (old >> 8 & 0xff, old & 0xff)
    } else {
        (wide >> 8 & 0xfff, wide & 0xff | wide >> 12 & 0xfff00)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_survive_both_encodings() {
        for rdev in [(1, 3), (4, 64), (259, 0), (8, 300), (0xfff, 0xfffff)] {
            let (old, wide) = encode_rdev(rdev);
            assert_eq!(decode_rdev(old, wide), rdev);
        }
    }
}
