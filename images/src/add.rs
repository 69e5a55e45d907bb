//! Files of the host's in a file system of the guest's.

use crate::{
    ImageDevice, ImageError,
    tree::{NOW, StoreError, Tree},
};
use gnomon_ext2::{
    Access, BlockDevice, Error, Ext2, FileKind, InodeNumber, MkfsOptions, NewInode, SetAttr,
    Timestamp,
};
use std::{
    collections::HashMap,
    fmt::Display,
    fs::{self, File, Metadata},
    io::Read,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::Path,
};

/// Free space that an image made of a directory has at least, in bytes.
const ROOM: u64 = 64 << 20;

/// The least size of such an image: one group of blocks.
const LEAST_SIZE: u64 = 128 << 20;

/// Put the file `host` into the file system on `device` as `guest`, an absolute path; if it ends
/// with `/` or names a directory, the file's own name is added. Directories on the way are made,
/// a file that is there is replaced. The permissions are the host's, the owner is root.
///
/// # Errors
/// In one line: the file cannot be read or is none, the device holds no ext2 file system, there is
/// no space.
pub fn add_file<D>(device: D, host: &Path, guest: &str) -> Result<(), ImageError>
where
    D: BlockDevice,
    D::Error: Display,
{
    let metadata = fs::metadata(host).map_err(|error| read_error(host, error))?;
    if !metadata.is_file() {
        return Err(ImageError::NotAFile {
            path: host.to_path_buf(),
        });
    }
    let now = modified(&metadata);
    let fs = Ext2::mount(device, Access::ReadWrite, now)
        .map_err(|error| ImageError::Mount(error.to_string()))?;
    let mut tree = Tree { fs, now };
    if tree.fs.read_only() {
        return Err(ImageError::Mount(
            "it has features that allow reading only: make it with `mke2fs -t ext2`".into(),
        ));
    }
    let own_name = host.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
    let added = tree
        .place(guest, own_name)
        .map_err(ImageError::from)
        .and_then(|(dir, name)| tree.copy_file(dir, &name, host, &metadata, (0, 0)));
    // What has been done is kept consistent even if the file did not fit.
    let closed = tree.fs.unmount(now);
    added?;
    closed.map_err(|error| store_error(guest, error))
}

/// An ext2 image with the contents of the directory `dir` and some room. Owners and permissions
/// are the host's, but what belongs to the user who runs this belongs to root there.
///
/// # Errors
/// In one line: what cannot be read or stored.
pub fn root_from_dir(dir: &Path) -> Result<ImageDevice, ImageError> {
    let mut usage = Usage::default();
    usage.add(dir)?;
    let (size, options) = usage.plan();
    let device = ImageDevice::new(Vec::new(), size);
    let now = options.now;
    let fs = Ext2::mkfs(device, &options).map_err(|error| ImageError::Mount(error.to_string()))?;
    let mut tree = Tree { fs, now };
    tree.copy_dir(dir, &mut HashMap::new())?;
    Ok(tree.finish()?)
}

/// Copying from the host.
impl<D> Tree<D>
where
    D: BlockDevice,
    D::Error: Display,
{
    /// A regular file with the contents of one of the host's; replaces what has its name.
    fn copy_file(
        &mut self,
        dir: InodeNumber,
        name: &[u8],
        host: &Path,
        metadata: &Metadata,
        (uid, gid): (u32, u32),
    ) -> Result<(), ImageError> {
        let shown = String::from_utf8_lossy(name).into_owned();
        let mut file = File::open(host).map_err(|error| read_error(host, error))?;
        let new = NewInode {
            uid,
            gid,
            ..NewInode::file(metadata.mode() as u16 & 0o7777)
        };
        let ino = self.new_file(dir, name, &new)?;
        let mut chunk = vec![0; 1 << 20];
        let mut offset = 0;
        loop {
            let len = file
                .read(&mut chunk)
                .map_err(|error| read_error(host, error))?;
            if len == 0 {
                break;
            }
            self.fs
                .write_at(ino, offset, &chunk[..len], self.now)
                .map_err(|error| store_error(&shown, error))?;
            offset += len as u64;
        }
        self.set_time(ino, modified(metadata))
            .map_err(|error| store_error(&shown, error))
    }

    fn set_time(&mut self, ino: InodeNumber, time: Timestamp) -> Result<(), Error<D::Error>> {
        self.fs.set_attr(
            ino,
            &SetAttr {
                atime: Some(time),
                mtime: Some(time),
                ctime: Some(time),
                ..SetAttr::default()
            },
        )
    }

    /// All that is below the directory `top` of the host's, into the root directory. `links` holds
    /// the files with several names.
    fn copy_dir(
        &mut self,
        top: &Path,
        links: &mut HashMap<(u64, u64), InodeNumber>,
    ) -> Result<(), ImageError> {
        let mut todo = vec![(top.to_path_buf(), InodeNumber::ROOT)];
        while let Some((path, ino)) = todo.pop() {
            for entry in entries(&path)? {
                let metadata =
                    fs::symlink_metadata(&entry).map_err(|error| read_error(&entry, error))?;
                let name = entry
                    .file_name()
                    .map(OsStrExt::as_bytes)
                    .unwrap_or_default();
                if metadata.is_dir() {
                    let new = NewInode {
                        permissions: metadata.mode() as u16 & 0o7777,
                        ..owned(&metadata, FileKind::Directory)
                    };
                    let made = match self.fs.mkdir(ino, name, &new, self.now) {
                        // lost+found.
                        Err(Error::Exists) => self.fs.lookup(ino, name),
                        made => made,
                    };
                    let made = made.map_err(|error| store_error(&shown(&entry), error))?;
                    todo.push((entry, made));
                } else {
                    self.copy_entry(ino, name, &entry, &metadata, links)?;
                }
            }
        }
        Ok(())
    }

    fn copy_entry(
        &mut self,
        dir: InodeNumber,
        name: &[u8],
        host: &Path,
        metadata: &Metadata,
        links: &mut HashMap<(u64, u64), InodeNumber>,
    ) -> Result<(), ImageError> {
        let identity = (metadata.dev(), metadata.ino());
        if metadata.nlink() > 1
            && let Some(&ino) = links.get(&identity)
        {
            return self
                .fs
                .link(dir, name, ino, self.now)
                .map_err(|error| store_error(&shown(host), error));
        }
        let kind = metadata.file_type();
        let new = if kind.is_file() {
            let owner = owned(metadata, FileKind::Regular);
            self.copy_file(dir, name, host, metadata, (owner.uid, owner.gid))?;
            None
        } else if kind.is_symlink() {
            let target = fs::read_link(host).map_err(|error| read_error(host, error))?;
            let new = owned(metadata, FileKind::Symlink);
            self.fs
                .symlink(dir, name, target.as_os_str().as_bytes(), &new, self.now)
                .map_err(|error| store_error(&shown(host), error))?;
            None
        } else if kind.is_char_device() {
            Some(FileKind::CharDevice)
        } else if kind.is_block_device() {
            Some(FileKind::BlockDevice)
        } else if kind.is_fifo() {
            Some(FileKind::Fifo)
        } else {
            // A socket means nothing without the process that made it.
            return Ok(());
        };
        if let Some(kind) = new {
            self.fs
                .create(dir, name, &owned(metadata, kind), self.now)
                .map_err(|error| store_error(&shown(host), error))?;
        }
        if metadata.nlink() > 1 {
            let ino = self
                .fs
                .lookup(dir, name)
                .map_err(|error| store_error(&shown(host), error))?;
            links.insert(identity, ino);
        }
        Ok(())
    }
}

/// What a directory will need.
#[derive(Default)]
struct Usage {
    bytes: u64,
    inodes: u64,
}

impl Usage {
    fn add(&mut self, top: &Path) -> Result<(), ImageError> {
        let mut todo = vec![top.to_path_buf()];
        while let Some(path) = todo.pop() {
            for entry in entries(&path)? {
                let metadata =
                    fs::symlink_metadata(&entry).map_err(|error| read_error(&entry, error))?;
                self.inodes += 1;
                // Whole blocks, and the entry.
                self.bytes += 4096;
                if metadata.is_file() {
                    self.bytes += metadata.len().next_multiple_of(4096);
                } else if metadata.is_dir() {
                    todo.push(entry);
                }
            }
        }
        Ok(())
    }

    fn plan(&self) -> (u64, MkfsOptions) {
        // Indirect blocks, directories and inode tables stay below a tenth.
        let size = (self.bytes / 10 * 11 + ROOM).max(LEAST_SIZE);
        let size = size.next_multiple_of(4096);
        let inodes = (2 * self.inodes).max(size / 16384);
        let options = MkfsOptions {
            bytes_per_inode: (size / inodes).max(4096) as u32,
            now: NOW,
            ..MkfsOptions::default()
        };
        (size, options)
    }
}

/// The entries of a directory of the host's, in order of names.
fn entries(path: &Path) -> Result<Vec<std::path::PathBuf>, ImageError> {
    let mut list = fs::read_dir(path)
        .and_then(|dir| {
            dir.map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<Vec<_>, _>>()
        })
        .map_err(|error| read_error(path, error))?;
    list.sort();
    Ok(list)
}

/// Owner, permissions and device number as on the host.
fn owned(metadata: &Metadata, kind: FileKind) -> NewInode {
    // The files of whoever runs this, found by the owner of one's own process.
    let own = fs::metadata("/proc/self").map(|own| (own.uid(), own.gid()));
    let (own_uid, own_gid) = own.unwrap_or((0, 0));
    let rdev = metadata.rdev();
    NewInode {
        kind,
        permissions: metadata.mode() as u16 & 0o7777,
        uid: if metadata.uid() == own_uid {
            0
        } else {
            metadata.uid()
        },
        gid: if metadata.gid() == own_gid {
            0
        } else {
            metadata.gid()
        },
        rdev: (
            (rdev >> 8 & 0xfff) as u32 | (rdev >> 32) as u32 & !0xfff,
            (rdev & 0xff) as u32 | (rdev >> 12) as u32 & !0xff,
        ),
    }
}

fn modified(metadata: &Metadata) -> Timestamp {
    Timestamp {
        sec: metadata.mtime(),
        nsec: metadata.mtime_nsec() as u32,
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn read_error(path: &Path, error: std::io::Error) -> ImageError {
    ImageError::Read {
        path: path.to_path_buf(),
        error,
    }
}

fn store_error<E: Display>(path: &str, error: Error<E>) -> ImageError {
    StoreError::new(path, error).into()
}
