//! `/dev/pts`: the special files of the pseudo-terminals that there are (`pts(4)`). There is one such
//! file system, whether it is mounted or not.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use super::{
    DirEntry, FileOps, FileSystem, FileType, Inode, Metadata, OpenFlags, SetAttr, StatFs, device,
};
use crate::errno::{Errno, KResult};
use crate::sync::Once;
use crate::tty::pty::{self, Slave};

const MAGIC: u64 = 0x1cd1;
/// Inode number of the directory.
const ROOT_INO: u64 = 1;
/// Inode number of `ptmx`.
const MASTER_INO: u64 = 2;
/// Inode number of terminal 0.
const FIRST_INO: u64 = 3;

struct DevPts;

/// The one.
pub fn instance() -> Arc<dyn FileSystem> {
    Arc::new(DevPts)
}

/// The number of the file system.
fn dev() -> u64 {
    static DEVICE: Once<u64> = Once::new();
    *DEVICE.call_once(super::mount::next_dev)
}

/// Facts about the special file of the terminal `number`, root's.
pub fn metadata(number: u64, kind: FileType, perm: u32) -> Metadata {
    Metadata {
        blksize: 1024,
        ..Metadata::synthetic(dev(), FIRST_INO + number, kind, perm)
    }
}

impl FileSystem for DevPts {
    fn name(&self) -> &'static str {
        "devpts"
    }

    fn root(&self) -> KResult<Arc<dyn Inode>> {
        Ok(Arc::new(Directory))
    }

    fn statfs(&self) -> StatFs {
        StatFs {
            magic: MAGIC,
            block_size: 4096,
            ..StatFs::default()
        }
    }
}

struct Directory;

fn number(name: &[u8]) -> Option<u32> {
    let number: u32 = core::str::from_utf8(name).ok()?.parse().ok()?;
    // One name for each: no sign, no leading zeros.
    (alloc::format!("{number}").as_bytes() == name).then_some(number)
}

impl Inode for Directory {
    fn metadata(&self) -> Metadata {
        Metadata {
            nlink: 2,
            ..Metadata::synthetic(dev(), ROOT_INO, FileType::Directory, 0o755)
        }
    }

    fn fs(&self) -> Option<Arc<dyn FileSystem>> {
        Some(instance())
    }

    fn cacheable(&self) -> bool {
        false
    }

    fn lookup(&self, name: &[u8]) -> KResult<Arc<dyn Inode>> {
        if name == b"ptmx" {
            return Ok(Arc::new(MasterNode));
        }
        Ok(pty::slave(number(name).ok_or(Errno::ENOENT)?)?)
    }

    fn readdir(&self, cursor: u64, emit: &mut dyn FnMut(DirEntry) -> bool) -> KResult<()> {
        let slaves = pty::numbers()
            .into_iter()
            .map(|number| (FIRST_INO + u64::from(number), alloc::format!("{number}")));
        let all = core::iter::once((MASTER_INO, "ptmx".into())).chain(slaves);
        for (ino, name) in all.filter(|(ino, _)| ino + 2 > cursor) {
            let entry = DirEntry {
                ino,
                next: ino + 2,
                kind: FileType::Char,
                name: Vec::from(name),
            };
            if !emit(entry) {
                break;
            }
        }
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `ptmx` in the directory itself, which only root may open, as on Linux.
struct MasterNode;

impl Inode for MasterNode {
    fn metadata(&self) -> Metadata {
        Metadata {
            rdev: device::make_dev(5, 2),
            ..Metadata::synthetic(dev(), MASTER_INO, FileType::Char, 0)
        }
    }

    fn fs(&self) -> Option<Arc<dyn FileSystem>> {
        Some(instance())
    }

    fn open(&self, _flags: OpenFlags) -> KResult<Option<Box<dyn FileOps>>> {
        pty::open_master().map(Some)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Inode for Slave {
    fn metadata(&self) -> Metadata {
        *self.meta().lock()
    }

    fn fs(&self) -> Option<Arc<dyn FileSystem>> {
        Some(instance())
    }

    fn set_attr(&self, attr: &SetAttr) -> KResult<()> {
        self.meta().lock().change(attr);
        Ok(())
    }

    fn open(&self, flags: OpenFlags) -> KResult<Option<Box<dyn FileOps>>> {
        Slave::open(self, flags).map(Some)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
