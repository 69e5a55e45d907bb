//! `/dev`: a tmpfs with a special file for every device there is.

use alloc::format;
use alloc::sync::Arc;

use super::device::{HVC_MAJOR, disk, make_dev};
use super::tmpfs::TmpFs;
use super::{FileSystem, FileType, Inode, StatFs};
use crate::drivers::{block, console};
use crate::errno::KResult;

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
        let name = disk.name().as_bytes();
        let _ = root.create(name, FileType::Block, 0o660, (0, 0), disk::number(n));
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

    fn statfs(&self) -> StatFs {
        self.0.statfs()
    }

    fn unmount(&self) -> KResult<()> {
        self.0.unmount()
    }
}
