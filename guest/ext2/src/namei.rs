//! Operations that change names: create, mkdir, symlink, link, unlink, rmdir, rename.

use crate::{
    BlockDevice, Error, Ext2, FileKind, InodeNumber, NewInode, Renamed, Timestamp, Unlinked,
    cache::Kind,
    dir::{Found, Probe, Room},
    dirent,
    fs::Result,
    layout::{LINK_MAX, inode, put_u32, u16_at},
};
use alloc::format;

impl<D: BlockDevice> Ext2<D> {
    /// Make a regular file, a device, a fifo or a socket.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NoSpace`], [`Error::NameTooLong`], [`Error::Invalid`] for a
    /// directory or symbolic link.
    pub fn create(
        &mut self,
        dir: InodeNumber,
        name: &[u8],
        new: &NewInode,
        now: Timestamp,
    ) -> Result<InodeNumber, D> {
        if matches!(new.kind, FileKind::Directory | FileKind::Symlink) {
            return Err(Error::Invalid);
        }
        self.begin(now)?;
        let result = self.create_inner(dir, name, new);
        self.finish(result)
    }

    fn create_inner(
        &mut self,
        dir: InodeNumber,
        name: &[u8],
        new: &NewInode,
    ) -> Result<InodeNumber, D> {
        self.prepare_name(dir, name)?;
        let room = self.reserve(dir, name.len())?;
        let ino = self.alloc_inode(dir.0, false)?;
        self.init_inode(ino, dir.0, new.kind, new, 1)?;
        self.enter(dir, &room, name, ino, new.kind)?;
        Ok(InodeNumber(ino))
    }

    /// Make a directory (`new.kind` is ignored).
    ///
    /// # Errors
    /// As [`Ext2::create`], and [`Error::TooManyLinks`].
    pub fn mkdir(
        &mut self,
        dir: InodeNumber,
        name: &[u8],
        new: &NewInode,
        now: Timestamp,
    ) -> Result<InodeNumber, D> {
        self.begin(now)?;
        let result = self.mkdir_inner(dir, name, new);
        self.finish(result)
    }

    fn mkdir_inner(
        &mut self,
        dir: InodeNumber,
        name: &[u8],
        new: &NewInode,
    ) -> Result<InodeNumber, D> {
        self.prepare_name(dir, name)?;
        self.check_links(dir.0)?;
        let room = self.reserve(dir, name.len())?;
        let ino = self.alloc_inode(dir.0, true)?;
        self.init_inode(ino, dir.0, FileKind::Directory, new, 2)?;
        let own = match self.add_block(InodeNumber(ino), 0) {
            Ok(own) => own,
            Err(error) => return self.undo(ino, dir.0, true, error),
        };
        let kind = self.type_byte(FileKind::Directory);
        dirent::first_block(&mut self.cache.fresh(own).data, ino, dir.0, kind);
        let size = self.geometry.block_size as u32;
        put_u32(self.slot_mut(ino)?, inode::SIZE, size);
        self.enter(dir, &room, name, ino, FileKind::Directory)?;
        self.add_links(dir.0, 1)?;
        Ok(InodeNumber(ino))
    }

    /// Make a symbolic link to `target` (`new.kind` and `new.permissions` are ignored).
    ///
    /// # Errors
    /// As [`Ext2::create`]; [`Error::NameTooLong`] also for a target that fills a block.
    pub fn symlink(
        &mut self,
        dir: InodeNumber,
        name: &[u8],
        target: &[u8],
        new: &NewInode,
        now: Timestamp,
    ) -> Result<InodeNumber, D> {
        if target.len() >= self.geometry.block_size {
            return Err(Error::NameTooLong);
        }
        if target.is_empty() {
            return Err(Error::NotFound);
        }
        self.begin(now)?;
        let new = NewInode {
            permissions: 0o777,
            ..*new
        };
        let result = self.symlink_inner(dir, name, target, &new);
        self.finish(result)
    }

    fn symlink_inner(
        &mut self,
        dir: InodeNumber,
        name: &[u8],
        target: &[u8],
        new: &NewInode,
    ) -> Result<InodeNumber, D> {
        /// A target shorter than the inode's pointers is stored in their place.
        const FAST: usize = 60;
        self.prepare_name(dir, name)?;
        let room = self.reserve(dir, name.len())?;
        let ino = self.alloc_inode(dir.0, false)?;
        self.init_inode(ino, dir.0, FileKind::Symlink, new, 1)?;
        if target.len() < FAST {
            let slot = self.slot_mut(ino)?;
            slot[inode::BLOCK..inode::BLOCK + target.len()].copy_from_slice(target);
        } else {
            let own = match self.add_block(InodeNumber(ino), 0) {
                Ok(own) => own,
                Err(error) => return self.undo(ino, dir.0, false, error),
            };
            self.cache.fresh(own).data[..target.len()].copy_from_slice(target);
        }
        put_u32(self.slot_mut(ino)?, inode::SIZE, target.len() as u32);
        self.enter(dir, &room, name, ino, FileKind::Symlink)?;
        Ok(InodeNumber(ino))
    }

    /// Give `ino` (no directory) one more name.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::IsDirectory`], [`Error::TooManyLinks`], [`Error::NotFound`] if
    /// it has lost its last name.
    pub fn link(
        &mut self,
        dir: InodeNumber,
        name: &[u8],
        ino: InodeNumber,
        now: Timestamp,
    ) -> Result<(), D> {
        self.begin(now)?;
        let result = self.link_inner(dir, name, ino);
        self.finish(result)
    }

    fn link_inner(&mut self, dir: InodeNumber, name: &[u8], ino: InodeNumber) -> Result<(), D> {
        let kind = self.kind(ino)?;
        if kind == FileKind::Directory {
            return Err(Error::IsDirectory);
        }
        if self.orphans.contains(&ino.0) {
            return Err(Error::NotFound);
        }
        self.prepare_name(dir, name)?;
        self.check_links(ino.0)?;
        let room = self.reserve(dir, name.len())?;
        self.enter(dir, &room, name, ino.0, kind)?;
        self.raise_level(ino.0, dir.0);
        self.add_links(ino.0, 1)?;
        self.touch(ino.0, false)
    }

    /// Remove a name of something that is no directory.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::IsDirectory`].
    pub fn unlink(&mut self, dir: InodeNumber, name: &[u8], now: Timestamp) -> Result<Unlinked, D> {
        self.begin(now)?;
        let result = self.unlink_inner(dir, name);
        self.finish(result)
    }

    fn unlink_inner(&mut self, dir: InodeNumber, name: &[u8]) -> Result<Unlinked, D> {
        self.drop_index(dir)?;
        let found = self.find(dir, name)?;
        if self.kind(InodeNumber(found.ino))? == FileKind::Directory {
            return Err(Error::IsDirectory);
        }
        self.hide(dir, &found);
        self.touch(dir.0, true)?;
        self.drop_link(found.ino, dir)
    }

    /// Remove an empty directory. Its link count is 0 afterwards: [`Ext2::release`] frees it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotDirectory`], [`Error::NotEmpty`], [`Error::Invalid`] for
    /// `.` and `..`.
    pub fn rmdir(&mut self, dir: InodeNumber, name: &[u8], now: Timestamp) -> Result<Unlinked, D> {
        self.begin(now)?;
        let result = self.rmdir_inner(dir, name);
        self.finish(result)
    }

    pub(crate) fn rmdir_inner(&mut self, dir: InodeNumber, name: &[u8]) -> Result<Unlinked, D> {
        if matches!(name, b"." | b"..") {
            return Err(Error::Invalid);
        }
        self.drop_index(dir)?;
        let found = self.find(dir, name)?;
        let ino = InodeNumber(found.ino);
        if self.kind(ino)? != FileKind::Directory {
            return Err(Error::NotDirectory);
        }
        if ino == InodeNumber::ROOT {
            return Err(Error::Corrupt("a directory contains the root"));
        }
        if !self.is_empty(ino)? {
            return Err(Error::NotEmpty);
        }
        self.hide(dir, &found);
        self.add_links(dir.0, -1)?;
        self.touch(dir.0, true)?;
        self.touch(ino.0, false)?;
        self.bury(ino.0, dir.0, true)?;
        Ok(Unlinked {
            inode: ino,
            links: 0,
        })
    }

    /// Rename with the semantics of `rename(2)`: replaces what `new_name` stood for, atomically;
    /// does nothing if both names are the same inode; refuses to move a directory below itself.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotDirectory`], [`Error::IsDirectory`], [`Error::NotEmpty`],
    /// [`Error::Invalid`], [`Error::NoSpace`], [`Error::TooManyLinks`].
    pub fn rename(
        &mut self,
        old_dir: InodeNumber,
        old_name: &[u8],
        new_dir: InodeNumber,
        new_name: &[u8],
        now: Timestamp,
    ) -> Result<Renamed, D> {
        self.begin(now)?;
        let result = self.rename_inner(old_dir, old_name, new_dir, new_name);
        self.finish(result)
    }

    fn rename_inner(
        &mut self,
        old_dir: InodeNumber,
        old_name: &[u8],
        new_dir: InodeNumber,
        new_name: &[u8],
    ) -> Result<Renamed, D> {
        check_name(new_name)?;
        for name in [old_name, new_name] {
            if matches!(name, b"." | b"..") {
                return Err(Error::Invalid);
            }
        }
        self.drop_index(old_dir)?;
        self.drop_index(new_dir)?;
        let source = self.find(old_dir, old_name)?;
        let moved = InodeNumber(source.ino);
        let kind = self.kind(moved)?;
        let target = match self.probe(new_dir, new_name)? {
            Probe::Here(target) => Some(target),
            Probe::Removed => {
                self.commit()?;
                None
            }
            Probe::Absent => None,
        };
        if let Some(target) = target {
            self.check_ino(target.ino)?;
            if target.ino == source.ino {
                return Ok(Renamed {
                    inode: moved,
                    replaced: None,
                });
            }
            let replaced = self.kind(InodeNumber(target.ino))?;
            match (kind == FileKind::Directory, replaced == FileKind::Directory) {
                (true, false) => return Err(Error::NotDirectory),
                (false, true) => return Err(Error::IsDirectory),
                _ => {}
            }
        }
        if kind == FileKind::Directory {
            return self.rename_directory(old_dir, old_name, new_dir, new_name, target);
        }
        let replaced = match target {
            Some(target) => Some(self.replace(old_dir, &source, new_dir, &target)?),
            None => {
                let room = self.reserve(new_dir, new_name.len())?;
                // The search above may have been before a commit.
                let source = self.find(old_dir, old_name)?;
                self.enter(new_dir, &room, new_name, moved.0, kind)?;
                self.hide(old_dir, &source);
                None
            }
        };
        self.raise_level(moved.0, new_dir.0);
        self.touch(moved.0, false)?;
        self.touch(old_dir.0, true)?;
        self.touch(new_dir.0, true)?;
        Ok(Renamed {
            inode: moved,
            replaced,
        })
    }

    /// Let the entry `target` name what `source` names, and take `source` out of sight.
    ///
    /// At no moment may the replaced inode be on the device without a name, nor the target name
    /// nothing: so the replaced inode gets another name in the same write, which goes away with the
    /// source's after the inode has been written.
    fn replace(
        &mut self,
        old_dir: InodeNumber,
        source: &Found,
        new_dir: InodeNumber,
        target: &Found,
    ) -> Result<Unlinked, D> {
        if source.block == target.block {
            let data = &mut self.buffer_mut(target.block, Kind::Content)?.data;
            dirent::retarget(data, target.offset, source.ino, source.kind);
            dirent::retarget(data, source.offset, target.ino, target.kind);
            self.hide(old_dir, source);
            return self.drop_link(target.ino, new_dir);
        }
        if !self.pending.births.contains_key(&target.ino) {
            let extra = self.second_name(new_dir, target)?;
            self.hide(new_dir, &extra);
        }
        let data = &mut self.buffer_mut(target.block, Kind::Content)?.data;
        dirent::retarget(data, target.offset, source.ino, source.kind);
        self.hide(old_dir, source);
        self.drop_link(target.ino, new_dir)
    }

    /// Give what `target` names another name, in the same block if there is room, else with a
    /// commit of its own.
    fn second_name(&mut self, dir: InodeNumber, target: &Found) -> Result<Found, D> {
        self.pending.names += 1;
        let name = format!(".replaced-{}-{}", self.pending.names, target.ino);
        let name = name.as_bytes();
        if let Some(room) = self.room_in(target.block, name.len())? {
            let offset = self.insert(&room, name, target.ino, target.kind)?;
            return Ok(Found { offset, ..*target });
        }
        let room = self.reserve(dir, name.len())?;
        self.insert(&room, name, target.ino, target.kind)?;
        self.commit()?;
        self.find(dir, name)
    }

    /// An inode that is no directory has lost a name in `dir`.
    fn drop_link(&mut self, ino: u32, dir: InodeNumber) -> Result<Unlinked, D> {
        self.touch(ino, false)?;
        let links = self.add_links(ino, -1)?;
        if links == 0 {
            self.bury(ino, dir.0, false)?;
        }
        Ok(Unlinked {
            inode: InodeNumber(ino),
            links,
        })
    }

    /// Check that `name` may be made in `dir`, and clear the way for it.
    fn prepare_name(&mut self, dir: InodeNumber, name: &[u8]) -> Result<(), D> {
        check_name(name)?;
        if self.kind(dir)? != FileKind::Directory {
            return Err(Error::NotDirectory);
        }
        if self.orphans.contains(&dir.0) {
            return Err(Error::NotFound);
        }
        match self.probe(dir, name)? {
            Probe::Here(_) => Err(Error::Exists),
            Probe::Removed => self.commit(),
            Probe::Absent => self.drop_index(dir),
        }
    }

    /// One more link must be allowed.
    pub(crate) fn check_links(&mut self, ino: u32) -> Result<(), D> {
        if u16_at(self.slot(ino)?, inode::LINKS) >= LINK_MAX {
            return Err(Error::TooManyLinks);
        }
        Ok(())
    }

    /// Make the entry where there is room for it.
    fn enter(
        &mut self,
        dir: InodeNumber,
        room: &Room,
        name: &[u8],
        ino: u32,
        kind: FileKind,
    ) -> Result<(), D> {
        let kind = self.type_byte(kind);
        self.insert(room, name, ino, kind)?;
        self.touch(dir.0, true)
    }

    /// A new inode could not be completed and has no name yet.
    fn undo<T>(
        &mut self,
        ino: u32,
        parent: u32,
        directory: bool,
        error: Error<D::Error>,
    ) -> Result<T, D> {
        self.bury(ino, parent, directory)?;
        self.release(InodeNumber(ino), self.now)?;
        Err(error)
    }
}

/// Refuse names that no entry can have.
fn check_name<E>(name: &[u8]) -> core::result::Result<(), Error<E>> {
    if name.len() > 255 {
        return Err(Error::NameTooLong);
    }
    if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
        return Err(Error::Invalid);
    }
    Ok(())
}
