//! Disks as files (`/dev/vda`).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use super::{make_dev, split_dev};
use crate::drivers::block::{self, BlockDevice, SECTOR};
use crate::errno::{Errno, KResult};
use crate::fs::{File, FileOps, ReadBuf, WriteBuf};
use crate::mm::user::write_user;
use crate::sync::Mutex;

/// Major number of the virtio disks' special files.
const MAJOR: u32 = 254;
/// Minor numbers that each has: its own, and those of partitions, which are not looked for.
const MINORS: u32 = 16;

/// The device number of disk `n`.
pub fn number(n: usize) -> u64 {
    make_dev(MAJOR, MINORS * n as u32)
}

/// The disk with a device number. ENXIO: there is none.
pub fn get(dev: u64) -> KResult<Arc<dyn BlockDevice>> {
    let (major, minor) = split_dev(dev);
    if major != MAJOR || !minor.is_multiple_of(MINORS) {
        return Err(Errno::ENXIO);
    }
    let disks = block::all();
    disks
        .get((minor / MINORS) as usize)
        .cloned()
        .ok_or(Errno::ENXIO)
}

/// Name, device number and size in sectors of every disk.
pub fn all() -> BTreeMap<String, (u64, u64)> {
    block::all()
        .iter()
        .enumerate()
        .map(|(n, disk)| (String::from(disk.name()), (number(n), disk.sectors())))
        .collect()
}

/// Open the disk with a device number. ENXIO: there is none.
pub fn open(dev: u64) -> KResult<Box<dyn FileOps>> {
    Ok(Box::new(Disk {
        device: get(dev)?,
        bounce: Mutex::new(Vec::new()),
    }))
}

/// A disk as a file, not cached: the caller's I/O goes to the device by way of a bounce buffer.
struct Disk {
    device: Arc<dyn BlockDevice>,
    bounce: Mutex<Vec<u8>>,
}

/// Bytes moved by one request.
const BOUNCE: usize = 16 * 1024;

/// Size in 512-byte sectors, `ioctl(2)`.
const BLKGETSIZE: u32 = 0x1260;
/// Flush.
const BLKFLSBUF: u32 = 0x1261;
/// Size of a sector.
const BLKSSZGET: u32 = 0x1268;
/// Size in bytes.
const BLKGETSIZE64: u32 = 0x8008_1272;

impl Disk {
    fn size(&self) -> u64 {
        self.device.sectors() * SECTOR as u64
    }

    /// Sector range around `len` bytes at `offset`: first sector, offset of the first byte within
    /// it, bytes of all sectors.
    fn span(offset: u64, len: usize) -> (u64, usize, usize) {
        let first = offset / SECTOR as u64;
        let skip = (offset % SECTOR as u64) as usize;
        (first, skip, (skip + len).next_multiple_of(SECTOR))
    }

    fn reserve(bounce: &mut Vec<u8>) -> KResult<()> {
        if bounce.is_empty() {
            bounce
                .try_reserve_exact(BOUNCE + SECTOR)
                .map_err(|_| Errno::ENOMEM)?;
            bounce.resize(BOUNCE + SECTOR, 0);
        }
        Ok(())
    }
}

impl FileOps for Disk {
    fn read(&self, file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        file.at_offset(|offset| self.read_at(file, offset, buf))
    }

    fn write(&self, file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        file.at_offset(|offset| self.write_at(file, offset, buf))
    }

    fn read_at(&self, _file: &File, offset: u64, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        let mut bounce = self.bounce.lock();
        Self::reserve(&mut bounce)?;
        let mut at = offset;
        while buf.remaining() > 0 && at < self.size() {
            let len = (buf.remaining().min(BOUNCE) as u64).min(self.size() - at) as usize;
            let (first, skip, bytes) = Self::span(at, len);
            self.device.read(first, &mut [&mut bounce[..bytes]])?;
            let n = buf.put(&bounce[skip..skip + len])?;
            at += n as u64;
            if n < len {
                break;
            }
        }
        Ok((at - offset.min(at)) as usize)
    }

    fn write_at(&self, _file: &File, offset: u64, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        if buf.remaining() > 0 && offset >= self.size() {
            return Err(Errno::ENOSPC);
        }
        let mut bounce = self.bounce.lock();
        Self::reserve(&mut bounce)?;
        let mut at = offset;
        while buf.remaining() > 0 && at < self.size() {
            let len = (buf.remaining().min(BOUNCE) as u64).min(self.size() - at) as usize;
            let (first, skip, bytes) = Self::span(at, len);
            if skip != 0 || bytes != len {
                self.device.read(first, &mut [&mut bounce[..bytes]])?;
            }
            let n = buf.take(&mut bounce[skip..skip + len])?;
            if n < len {
                // A fault half-way: what was not taken keeps what the disk holds only if it was
                // read before, so nothing of this step is written.
                return if at > offset {
                    Ok((at - offset) as usize)
                } else {
                    Err(Errno::EFAULT)
                };
            }
            self.device.write(first, &[&bounce[..bytes]])?;
            at += n as u64;
        }
        Ok((at - offset) as usize)
    }

    fn seek_end(&self, _file: &File) -> KResult<u64> {
        Ok(self.size())
    }

    fn ioctl(&self, _file: &File, cmd: u32, arg: usize) -> KResult<usize> {
        match cmd {
            BLKGETSIZE => write_user(arg, &self.device.sectors())?,
            BLKGETSIZE64 => write_user(arg, &self.size())?,
            BLKSSZGET => write_user(arg, &(SECTOR as u32))?,
            BLKFLSBUF => self.device.flush()?,
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
