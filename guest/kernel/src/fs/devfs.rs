//! `/dev`, and what device numbers stand for wherever their special files lie.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use super::{
    File, FileOps, FileSystem, FileType, Inode, OpenFlags, PollEvents, PollTable, ReadBuf, WriteBuf,
};
use crate::drivers::block::{self, BlockDevice, SECTOR};
use crate::drivers::console::{self, Console};
use crate::drivers::random;
use crate::errno::{Errno, KResult};
use crate::fs::tmpfs::TmpFs;
use crate::mm::user::write_user;
use crate::sync::Mutex;
use crate::tty;

/// A device number, packed as `makedev(3)` does it.
pub const fn make_dev(major: u32, minor: u32) -> u64 {
    let (major, minor) = (major as u64, minor as u64);
    (major & 0xffff_f000) << 32 | (major & 0xfff) << 8 | (minor & 0xffff_ff00) << 12 | minor & 0xff
}

/// Major and minor of a device number.
pub const fn split_dev(dev: u64) -> (u32, u32) {
    let major = (dev >> 32 & 0xffff_f000) | (dev >> 8 & 0xfff);
    let minor = (dev >> 12 & 0xffff_ff00) | (dev & 0xff);
    (major as u32, minor as u32)
}

/// Major number of the virtio disks' special files.
const DISK_MAJOR: u32 = 254;
/// Major number of the virtio consoles' special files.
const HVC_MAJOR: u32 = 229;

/// A `/dev` with a special file for every device there is; for the rest a tmpfs.
pub fn new() -> Arc<dyn FileSystem> {
    let fs = TmpFs::new(0o755);
    if let Ok(root) = fs.root() {
        populate(&*root);
    }
    Arc::new(DevFs(fs))
}

fn populate(root: &dyn Inode) {
    let char_devices: [(&str, u32, u32, u32); 9] = [
        ("null", 1, 3, 0o666),
        ("zero", 1, 5, 0o666),
        ("full", 1, 7, 0o666),
        ("random", 1, 8, 0o666),
        ("urandom", 1, 9, 0o666),
        ("kmsg", 1, 11, 0o644),
        ("tty", 5, 0, 0o666),
        ("console", 5, 1, 0o600),
        ("ptmx", 5, 2, 0o666),
    ];
    // A failure means that memory is exhausted at boot; the names are then missing, no more.
    for (name, major, minor, perm) in char_devices {
        let dev = make_dev(major, minor);
        let _ = root.create(name.as_bytes(), FileType::Char, perm, (0, 0), dev);
    }
    let _ = root.create(b"ttyS0", FileType::Char, 0o600, (0, 0), make_dev(4, 64));
    let consoles = console::count();
    if consoles > 0 {
        // Where there is one console only, it is both.
        for n in 0..consoles.max(2) as u32 {
            let name = format!("hvc{n}");
            let dev = make_dev(HVC_MAJOR, n);
            let _ = root.create(name.as_bytes(), FileType::Char, 0o600, (0, 0), dev);
        }
    }
    for (n, disk) in block::all().iter().enumerate() {
        let dev = make_dev(DISK_MAJOR, 16 * n as u32);
        let name = disk.name().as_bytes();
        let _ = root.create(name, FileType::Block, 0o660, (0, 0), dev);
    }
    let _ = root.create(b"shm", FileType::Directory, 0o1777, (0, 0), 0);
    let _ = root.create(b"pts", FileType::Directory, 0o755, (0, 0), 0);
    let links: [(&str, &str); 4] = [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ];
    for (name, target) in links {
        let _ = root.symlink(name.as_bytes(), target.as_bytes(), (0, 0));
    }
}

/// A tmpfs under another name.
struct DevFs(Arc<TmpFs>);

impl FileSystem for DevFs {
    fn name(&self) -> &'static str {
        "devtmpfs"
    }

    fn root(&self) -> KResult<Arc<dyn Inode>> {
        self.0.root()
    }

    fn statfs(&self) -> super::StatFs {
        self.0.statfs()
    }

    fn unmount(&self) -> KResult<()> {
        self.0.unmount()
    }
}

/// The disk with a device number. ENXIO: there is none.
pub fn disk(dev: u64) -> KResult<Arc<dyn BlockDevice>> {
    let (major, minor) = split_dev(dev);
    if major != DISK_MAJOR || !minor.is_multiple_of(16) {
        return Err(Errno::ENXIO);
    }
    let disks = block::all();
    disks
        .get((minor / 16) as usize)
        .cloned()
        .ok_or(Errno::ENXIO)
}

/// What a special file with the number `dev` does. ENXIO: there is no such device.
pub fn open_device(kind: FileType, dev: u64, flags: OpenFlags) -> KResult<Box<dyn FileOps>> {
    let (major, minor) = split_dev(dev);
    if kind == FileType::Block {
        return Ok(Box::new(Disk {
            device: disk(dev)?,
            bounce: Mutex::new(Vec::new()),
        }));
    }
    match (major, minor) {
        (1, 3) => Ok(Box::new(Null)),
        (1, 5) => Ok(Box::new(Zero)),
        (1, 7) => Ok(Box::new(Full)),
        (1, 8 | 9) => Ok(Box::new(Random)),
        (1, 11) => Ok(super::kmsg::open()),
        (4, 64) => Ok(Box::new(Log)),
        (5, 0) => tty::open_controlling(),
        (5, 1) => open_console(0, flags),
        (5, 2) => tty::pty::open_master(),
        (HVC_MAJOR, n) => open_console(n as usize, flags),
        _ => Err(Errno::ENXIO),
    }
}

/// A console: the terminal, or a stream of bytes. A machine with fewer consoles has those that it
/// lacks on its first.
fn open_console(index: usize, flags: OpenFlags) -> KResult<Box<dyn FileOps>> {
    if index == 0
        && let Some(tty) = tty::console_tty()
    {
        return Ok(tty::open(&tty, flags));
    }
    let console = console::get(index)
        .or_else(|| console::get(0))
        .ok_or(Errno::ENXIO)?;
    Ok(Box::new(Stream { console }))
}

/// `/dev/null`.
struct Null;

impl FileOps for Null {
    fn read(&self, _file: &File, _buf: &mut ReadBuf<'_>) -> KResult<usize> {
        Ok(0)
    }

    fn write(&self, _file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        let n = buf.remaining();
        Ok(buf.skip(n))
    }

    fn read_at(&self, file: &File, _offset: u64, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        self.read(file, buf)
    }

    fn write_at(&self, file: &File, _offset: u64, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        self.write(file, buf)
    }

    fn seek_is_noop(&self) -> bool {
        true
    }

    fn seek_end(&self, _file: &File) -> KResult<u64> {
        Ok(0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `/dev/zero`.
struct Zero;

impl FileOps for Zero {
    fn read(&self, _file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        let n = buf.remaining();
        buf.put_zeros(n)
    }

    fn write(&self, _file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        let n = buf.remaining();
        Ok(buf.skip(n))
    }

    fn read_at(&self, file: &File, _offset: u64, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        self.read(file, buf)
    }

    fn write_at(&self, file: &File, _offset: u64, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        self.write(file, buf)
    }

    fn seek_is_noop(&self) -> bool {
        true
    }

    fn seek_end(&self, _file: &File) -> KResult<u64> {
        Ok(0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Whether an open file is `/dev/zero`, which mmap takes for anonymous memory.
pub fn is_zero(file: &File) -> bool {
    file.ops_as::<Zero>().is_some()
}

/// `/dev/full`.
struct Full;

impl FileOps for Full {
    fn read(&self, _file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        let n = buf.remaining();
        buf.put_zeros(n)
    }

    fn write(&self, _file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        if buf.remaining() == 0 {
            Ok(0)
        } else {
            Err(Errno::ENOSPC)
        }
    }

    fn seek_is_noop(&self) -> bool {
        true
    }

    fn seek_end(&self, _file: &File) -> KResult<u64> {
        Ok(0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `/dev/random` and `/dev/urandom`.
struct Random;

impl FileOps for Random {
    fn read(&self, _file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        let mut chunk = [0u8; 256];
        let mut read = 0;
        while buf.remaining() > 0 {
            let n = buf.remaining().min(chunk.len());
            random::fill(&mut chunk[..n]);
            match buf.put(&chunk[..n]) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(e) if read == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(read)
    }

    fn write(&self, _file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        let mut chunk = [0u8; 256];
        let mut written = 0;
        while buf.remaining() > 0 {
            let n = buf.take(&mut chunk)?;
            if n == 0 {
                break;
            }
            random::mix(&chunk[..n]);
            written += n;
        }
        Ok(written)
    }

    fn read_at(&self, file: &File, _offset: u64, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        self.read(file, buf)
    }

    fn seek_end(&self, _file: &File) -> KResult<u64> {
        Ok(0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `/dev/ttyS0`: what is written goes where the kernel's own log goes.
struct Log;

impl FileOps for Log {
    fn read(&self, _file: &File, _buf: &mut ReadBuf<'_>) -> KResult<usize> {
        Ok(0)
    }

    fn write(&self, _file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        let mut chunk = [0u8; 256];
        let mut written = 0;
        while buf.remaining() > 0 {
            let n = buf.take(&mut chunk)?;
            if n == 0 {
                break;
            }
            crate::log::raw(&chunk[..n]);
            written += n;
        }
        Ok(written)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A console as a stream of bytes.
struct Stream {
    console: Arc<Console>,
}

/// Bytes that can be read at once, `ioctl(2)`.
const FIONREAD: u32 = 0x541b;

impl FileOps for Stream {
    fn read(&self, file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        self.console.read(buf, file.nonblocking())
    }

    fn write(&self, file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        self.console.write(buf, file.flags().has(OpenFlags::DSYNC))
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        // Output never waits long; input may.
        let mut events = PollEvents::WRITABLE;
        if self.console.readable(table) {
            events |= PollEvents::READABLE;
        }
        events
    }

    fn ioctl(&self, _file: &File, cmd: u32, arg: usize) -> KResult<usize> {
        match cmd {
            FIONREAD => {
                write_user(arg, &(self.console.available() as u32))?;
                Ok(0)
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
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

/// Device numbers by name, for `/proc/devices` and `/proc/partitions`.
pub fn disks() -> BTreeMap<String, (u64, u64)> {
    block::all()
        .iter()
        .enumerate()
        .map(|(n, disk)| {
            let dev = make_dev(DISK_MAJOR, 16 * n as u32);
            (String::from(disk.name()), (dev, disk.sectors()))
        })
        .collect()
}
