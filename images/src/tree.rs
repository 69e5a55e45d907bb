//! A file system that is being filled.

use gnomon_ext2::{BlockDevice, Error, Ext2, FileKind, InodeNumber, NewInode, Timestamp};
use std::fmt::Display;

/// The time that images bear: fixed, so that the same contents give the same image.
pub(crate) const NOW: Timestamp = Timestamp {
    sec: 1_767_225_600,
    nsec: 0,
};

/// What the file system said about a path in it.
#[derive(Debug)]
pub(crate) struct StoreError {
    /// The path.
    pub path: String,
    /// The file system is full.
    pub full: bool,
    /// The reason in words.
    pub reason: String,
}

impl StoreError {
    pub fn new<E: Display>(path: &str, error: Error<E>) -> Self {
        Self {
            path: path.into(),
            full: matches!(error, Error::NoSpace),
            reason: error.to_string(),
        }
    }
}

impl Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.full {
            true => write!(f, "the image has no space for {}", self.path),
            false => write!(f, "{}: {}", self.path, self.reason),
        }
    }
}

/// A file system that is being filled.
pub(crate) struct Tree<D: BlockDevice> {
    pub fs: Ext2<D>,
    /// The time that new inodes bear.
    pub now: Timestamp,
}

impl<D> Tree<D>
where
    D: BlockDevice,
    D::Error: Display,
{
    /// Unmount, and give the device back.
    pub fn finish(mut self) -> Result<D, StoreError> {
        self.fs
            .unmount(self.now)
            .map_err(|error| StoreError::new("/", error))?;
        Ok(self.fs.into_device())
    }

    /// The directory at `path`, made if need be with all that lead to it.
    pub fn directory(&mut self, path: &str) -> Result<InodeNumber, StoreError> {
        let mut at = InodeNumber::ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            at = self
                .step(at, name.as_bytes())
                .map_err(|error| StoreError::new(path, error))?;
        }
        Ok(at)
    }

    /// The entry `name` of `dir`; a directory is made if there is none.
    fn step(&mut self, dir: InodeNumber, name: &[u8]) -> Result<InodeNumber, Error<D::Error>> {
        match self.fs.lookup(dir, name) {
            Err(Error::NotFound) => {
                let new = NewInode::directory(0o755);
                self.fs.mkdir(dir, name, &new, self.now)
            }
            found => found,
        }
    }

    /// The directory and the name that a path of the guest's stands for.
    pub fn place(
        &mut self,
        guest: &str,
        own_name: &[u8],
    ) -> Result<(InodeNumber, Vec<u8>), StoreError> {
        let (path, name) = match guest.rsplit_once('/') {
            Some((path, name)) => (path, name),
            None => ("", guest),
        };
        let dir = self.directory(path)?;
        if name.is_empty() {
            return Ok((dir, own_name.to_vec()));
        }
        if let Ok(ino) = self.fs.lookup(dir, name.as_bytes())
            && let Ok(inode) = self.fs.inode(ino)
            && inode.kind == FileKind::Directory
        {
            return Ok((ino, own_name.to_vec()));
        }
        Ok((dir, name.as_bytes().to_vec()))
    }

    /// An empty regular file; replaces what has its name.
    pub fn new_file(
        &mut self,
        dir: InodeNumber,
        name: &[u8],
        new: &NewInode,
    ) -> Result<InodeNumber, StoreError> {
        let shown = String::from_utf8_lossy(name).into_owned();
        match self.fs.unlink(dir, name, self.now) {
            Ok(gone) => self
                .fs
                .release(gone.inode, self.now)
                .map_err(|error| StoreError::new(&shown, error))?,
            Err(Error::NotFound) => {}
            Err(error) => return Err(StoreError::new(&shown, error)),
        }
        self.fs
            .create(dir, name, new, self.now)
            .map_err(|error| StoreError::new(&shown, error))
    }
}
