//! A disk in a file or on a block device of the host.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;
use vm_memory::GuestMemoryBackend;

use super::{BlockBackend, SECTOR};
use crate::GuestMemory;
use crate::virtio::queue::{Segment, total};

/// Why a file cannot be a disk.
#[derive(Debug, Error)]
pub enum DiskError {
    /// It cannot be opened or examined.
    #[error("cannot open disk {path}: {error}", path = .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the host says.
        error: io::Error,
    },
    /// Neither a regular file nor a block device.
    #[error("disk {path} is neither a file nor a block device", path = .0.display())]
    Kind(PathBuf),
    /// No bytes.
    #[error("disk {path} is empty; make it the size that the disk is to have", path = .0.display())]
    Empty(PathBuf),
    /// It ends within a sector.
    #[error(
        "disk {path} has {size} bytes, not a multiple of {SECTOR}; is it truncated?",
        path = .path.display()
    )]
    Sectors {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// Another process, or another disk of this virtual machine, uses it.
    #[error(
        "disk {path} is in use by another virtual machine; stop that one, or add ',ro' to both",
        path = .0.display()
    )]
    Locked(PathBuf),
}

/// A disk in a file: every write goes to the host's page cache before the guest hears that it is
/// done, so a kill of gnomon loses nothing; a flush is `fdatasync`.
///
/// The file is locked while in use: shared if read-only, else for this disk alone.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    size: u64,
    read_only: bool,
}

impl DiskFile {
    /// The disk in the file or block device `path`.
    ///
    /// # Errors
    /// See [`DiskError`].
    pub fn open(path: &Path, read_only: bool) -> Result<Self, DiskError> {
        let failed = |error| DiskError::Open {
            path: path.to_owned(),
            error,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(!read_only)
            // A FIFO would block here until someone opens its other end.
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(failed)?;
        let kind = file.metadata().map_err(failed)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(DiskError::Kind(path.to_owned()));
        }
        // Not the metadata's size: a block device has none there.
        let size = file.seek(SeekFrom::End(0)).map_err(failed)?;
        if size == 0 {
            return Err(DiskError::Empty(path.to_owned()));
        }
        if !size.is_multiple_of(SECTOR) {
            let path = path.to_owned();
            return Err(DiskError::Sectors { path, size });
        }
        let locked = if read_only {
            file.try_lock_shared()
        } else {
            file.try_lock()
        };
        // Where the file system has no locks, go on without.
        if let Err(TryLockError::WouldBlock) = locked {
            return Err(DiskError::Locked(path.to_owned()));
        }
        Ok(Self {
            file,
            size,
            read_only,
        })
    }
}

impl BlockBackend for DiskFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read(&mut self, mem: &GuestMemory, segments: &[Segment], offset: u64) -> io::Result<()> {
        transfer(&self.file, Direction::Read, mem, segments, offset)
    }

    fn write(&mut self, mem: &GuestMemory, segments: &[Segment], offset: u64) -> io::Result<()> {
        transfer(&self.file, Direction::Write, mem, segments, offset)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.read_only {
            return Ok(());
        }
        self.file.sync_data()
    }
}

#[derive(Clone, Copy)]
enum Direction {
    /// From the file into guest memory.
    Read,
    /// From guest memory into the file.
    Write,
}

/// How many pieces of guest memory go into one system call.
const BATCH: usize = 64;

/// Pieces of guest memory, for `preadv` and `pwritev`.
struct Batch {
    pieces: [libc::iovec; BATCH],
    /// Pieces before this one have been transferred.
    first: usize,
    /// How many there are.
    len: usize,
}

impl Batch {
    const fn new() -> Self {
        const NONE: libc::iovec = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        Self {
            pieces: [NONE; BATCH],
            first: 0,
            len: 0,
        }
    }

    /// Take `done` bytes off the front.
    fn advance(&mut self, mut done: usize) {
        while let Some(piece) = self.pieces[..self.len].get_mut(self.first) {
            if done < piece.iov_len {
                piece.iov_base = piece.iov_base.wrapping_byte_add(done);
                piece.iov_len -= done;
                return;
            }
            done -= piece.iov_len;
            self.first += 1;
        }
    }

    /// Transfer all of it, however often the host stops early; the offset after it.
    ///
    /// # Safety
    /// The pieces are memory of the guest, and stay mapped during the call.
    unsafe fn run(
        &mut self,
        file: &File,
        direction: Direction,
        mut offset: u64,
    ) -> io::Result<u64> {
        let fd = file.as_raw_fd();
        while self.first < self.len {
            let pieces = &self.pieces[self.first..self.len];
            // Offsets lie within a file, whose size is an `off_t`.
            let (pointer, count, at) = (pieces.as_ptr(), pieces.len() as i32, offset as i64);
            let done = match direction {
                // SAFETY: `pieces` are `count` valid pieces of memory that belong to nobody in
                // this process: the guest, whose memory it is, may change them at any time, so
                // that no reference to them exists.
                Direction::Read => unsafe { libc::preadv(fd, pointer, count, at) },
                // SAFETY: as above.
                Direction::Write => unsafe { libc::pwritev(fd, pointer, count, at) },
            };
            match usize::try_from(done) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(done) => {
                    offset += done as u64;
                    self.advance(done);
                }
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
        (self.first, self.len) = (0, 0);
        Ok(offset)
    }
}

/// Move the bytes of `segments` from or to `offset` in `file`, straight out of guest memory.
fn transfer(
    file: &File,
    direction: Direction,
    mem: &GuestMemory,
    segments: &[Segment],
    mut offset: u64,
) -> io::Result<()> {
    debug_assert!(offset.checked_add(total(segments)).is_some());
    let mut batch = Batch::new();
    for segment in segments {
        for slice in mem.get_slices(segment.addr, segment.len as usize) {
            let slice = slice.map_err(io::Error::other)?;
            if batch.len == BATCH {
                // SAFETY: the pieces are slices of `mem`, which is borrowed.
                offset = unsafe { batch.run(file, direction, offset)? };
            }
            batch.pieces[batch.len] = libc::iovec {
                iov_base: slice.ptr_guard_mut().as_ptr().cast(),
                iov_len: slice.len(),
            };
            batch.len += 1;
        }
    }
    // SAFETY: as above.
    unsafe { batch.run(file, direction, offset)? };
    Ok(())
}

#[cfg(test)]
mod tests;
