//! What is mounted where, and the beginning and the end of it all.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use gnomon_abi::ports::FatalReason;

use super::ext2fs::Ext2Fs;
use super::path::{Last, Lookup, Resolved};
use super::tmpfs::TmpFs;
use super::{Dentry, FileSystem, FileType, FsContext, devfs, device, devpts, procfs};
use crate::drivers::block;
use crate::errno::{Errno, KResult};
use crate::sync::{Once, SpinLock};

/// `MS_RDONLY` of `mount(2)`.
pub const MS_RDONLY: usize = 1;
/// `MS_REMOUNT` of `mount(2)`.
pub const MS_REMOUNT: usize = 32;

/// One mounted file system.
#[derive(Clone)]
struct Mount {
    source: String,
    root: Arc<Dentry>,
    fs: Arc<dyn FileSystem>,
}

static ROOT: Once<Arc<Dentry>> = Once::new();
static MOUNTS: SpinLock<Vec<Mount>> = SpinLock::new(Vec::new());
static NEXT_DEV: AtomicU64 = AtomicU64::new(1);

/// A number for a new file system instance (`st_dev`): major 0, as for file systems without a
/// device of their own.
pub fn next_dev() -> u64 {
    device::make_dev(0, NEXT_DEV.fetch_add(1, Ordering::Relaxed) as u32)
}

/// The root of all.
pub fn root() -> Arc<Dentry> {
    match ROOT.get() {
        Some(root) => root.clone(),
        None => crate::power::die(
            FatalReason::NoRoot,
            format_args!("a path is used before the root file system is mounted"),
        ),
    }
}

/// Mount the root file system from the first disk, and /dev, /proc, /tmp on it. Parameters of the
/// command line: `ro` mounts the root read-only.
///
/// Without a usable root the machine ends.
pub fn init(cmdline: &str) {
    let read_only = cmdline.split_ascii_whitespace().any(|word| word == "ro");
    let Some(disk) = block::all().into_iter().next() else {
        crate::power::die(
            FatalReason::NoRoot,
            format_args!("no disk: give the machine a virtio-blk device with an ext2 root"),
        );
    };
    let source = format!("/dev/{}", disk.name());
    let (fs, inode) = match Ext2Fs::mount(disk, read_only).and_then(|fs| Ok((fs.root()?, fs))) {
        Ok((inode, fs)) => (fs, inode),
        Err(e) => crate::power::die(
            FatalReason::NoRoot,
            format_args!("{source} holds no ext2 file system that can be mounted ({e:?})"),
        ),
    };
    let dentry = Dentry::new_root(inode, None);
    let _ = ROOT.set(dentry.clone());
    MOUNTS.lock().push(Mount {
        source,
        root: dentry,
        fs,
    });
    mount_at("/dev", "devtmpfs", devfs::new());
    mount_at("/proc", "proc", procfs::new());
    mount_at("/tmp", "tmpfs", TmpFs::new(0o1777));
    let shared = TmpFs::sized(0o1777, TmpFs::usual_size());
    mount_at("/dev/shm", "tmpfs", shared);
    mount_at("/dev/pts", "devpts", devpts::instance());
    mount_at("/dev/mqueue", "mqueue", crate::ipc::mqueue_fs::instance());
}

/// Mount one of the kernel's own file systems, if there is a directory for it.
fn mount_at(target: &str, source: &str, fs: Arc<dyn FileSystem>) {
    let context = FsContext::initial();
    let mounted = super::path::resolve_in(&context, target.as_bytes(), Lookup::Follow)
        .and_then(make_directory)
        .and_then(|at| attach(source, &at, fs));
    if let Err(e) = mounted {
        crate::klog!("mount: nothing mounted on {target} ({e:?}): the root needs that directory");
    }
}

/// The directory that `at` names, made if it is missing.
fn make_directory(at: Resolved) -> KResult<Arc<Dentry>> {
    if at.dentry.inode().is_some() || at.last != Last::Name {
        return Ok(at.dentry);
    }
    let _changes = at.parent.lock_changes();
    let name = at.dentry.name();
    let inode = at
        .parent
        .expect_inode()?
        .create(&name, FileType::Directory, 0o755, (0, 0), 0)?;
    Ok(at.parent.enter(&name, Some(inode)))
}

/// Mount `fs` on the directory `at`. ENOTDIR.
pub fn attach(source: &str, at: &Arc<Dentry>, fs: Arc<dyn FileSystem>) -> KResult<()> {
    if at.expect_inode()?.kind() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    let root = Dentry::new_root(fs.root()?, Some(at.clone()));
    at.set_mounted(Some(root.clone()));
    MOUNTS.lock().push(Mount {
        source: source.into(),
        root,
        fs,
    });
    Ok(())
}

/// Size in bytes and permissions of the root from the options of a tmpfs (`tmpfs(5)`): `size=`, with a
/// suffix k, m, g or %, `nr_blocks=`, `mode=`; owners and numbers of inodes are taken and ignored.
/// EINVAL.
fn tmpfs_options(options: &str) -> KResult<(u64, u32)> {
    let (mut size, mut perm) = (TmpFs::usual_size(), 0o1777);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "size" if value.ends_with('%') => {
                let percent = number(value.trim_end_matches('%'))?;
                size = (2 * TmpFs::usual_size()).saturating_mul(percent) / 100;
            }
            "size" => size = number(value)?,
            "nr_blocks" => size = number(value)?.saturating_mul(4096),
            "mode" => perm = u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)? & 0o7777,
            "uid" | "gid" | "nr_inodes" | "huge" | "noatime" | "noswap" => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    // Linux takes 0 as no limit.
    Ok((if size == 0 { u64::MAX } else { size }, perm))
}

/// A number with an optional suffix k, m or g. EINVAL.
fn number(text: &str) -> KResult<u64> {
    let shift = match text.as_bytes().last().map(u8::to_ascii_lowercase) {
        Some(b'k') => 10,
        Some(b'm') => 20,
        Some(b'g') => 30,
        _ => 0,
    };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let value: u64 = digits.parse().map_err(|_| Errno::EINVAL)?;
    Ok(value.saturating_mul(1 << shift))
}

/// `mount(2)` for the types ext2, tmpfs, proc, devtmpfs, devpts and mqueue, and remounts. ENODEV for an unknown
/// type, ENOTBLK without a disk, EBUSY if the disk is mounted already.
pub fn mount(
    source: &str,
    at: &Arc<Dentry>,
    kind: &str,
    flags: usize,
    options: &str,
) -> KResult<()> {
    if flags & MS_REMOUNT != 0 {
        let mounts = MOUNTS.lock().clone();
        let mount = mounts
            .iter()
            .find(|mount| Arc::ptr_eq(&mount.root, at))
            .ok_or(Errno::EINVAL)?;
        return mount.fs.remount(flags & MS_RDONLY != 0);
    }
    let fs: Arc<dyn FileSystem> = match kind {
        "ext2" | "ext3" | "ext4" => {
            if MOUNTS.lock().iter().any(|mount| mount.source == source) {
                return Err(Errno::EBUSY);
            }
            let name = source.strip_prefix("/dev/").ok_or(Errno::ENOTBLK)?;
            let disk = block::by_name(name).ok_or(Errno::ENOTBLK)?;
            Ext2Fs::mount(disk, flags & MS_RDONLY != 0)?
        }
        "ramfs" => TmpFs::new(0o1777),
        "tmpfs" => {
            let (size, perm) = tmpfs_options(options)?;
            TmpFs::sized(perm, size)
        }
        "proc" => procfs::new(),
        "devtmpfs" => devfs::new(),
        "devpts" => devpts::instance(),
        "mqueue" => crate::ipc::mqueue_fs::instance(),
        _ => return Err(Errno::ENODEV),
    };
    attach(source, at, fs)
}

/// `umount2(2)` of the file system whose root is `at`. EINVAL if it is none, EBUSY for the root of
/// all, or while another is mounted on it or files of it are open.
pub fn unmount(at: &Arc<Dentry>) -> KResult<()> {
    let Some(covered) = at.covers() else {
        return Err(if Arc::ptr_eq(at, &root()) {
            Errno::EBUSY
        } else {
            Errno::EINVAL
        });
    };
    let mount = {
        let mounts = MOUNTS.lock();
        let below = |mount: &Mount| !Arc::ptr_eq(&mount.root, at) && mount.root.is_below(at);
        if mounts.iter().any(below) {
            return Err(Errno::EBUSY);
        }
        mounts
            .iter()
            .find(|mount| Arc::ptr_eq(&mount.root, at))
            .cloned()
            .ok_or(Errno::EINVAL)?
    };
    super::dentry::drop_unused();
    // The mount point, the table, the copy above and the caller each hold the root; names below
    // it hold it as their parent.
    if Arc::strong_count(at) > 4 {
        return Err(Errno::EBUSY);
    }
    covered.set_mounted(None);
    MOUNTS.lock().retain(|known| !Arc::ptr_eq(&known.root, at));
    mount.fs.unmount()
}

/// Write all file systems back. The first error is told, after all have been tried.
pub fn sync_all() -> KResult<()> {
    let mounts = MOUNTS.lock().clone();
    let mut result = Ok(());
    for mount in &mounts {
        result = result.and(mount.fs.sync());
    }
    result
}

/// Before the machine ends: write all file systems back and mark them clean.
pub fn unmount_all() {
    super::dentry::drop_unused();
    let mounts = MOUNTS.lock().clone();
    for mount in mounts.iter().rev() {
        if let Err(e) = mount.fs.unmount() {
            crate::klog!("mount: {} was not written back: {e:?}", mount.source);
        }
    }
    crate::drivers::console::flush_all();
}

/// A path as the tables of mounts have it: what would end a field is written in octal.
fn escaped(path: &[u8]) -> String {
    let mut text = String::new();
    for &byte in path {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => text.push_str(&format!("\\{byte:03o}")),
            _ => text.push(char::from(byte)),
        }
    }
    text
}

fn mode(mount: &Mount) -> &'static str {
    if mount.fs.read_only() { "ro" } else { "rw" }
}

/// The text of `/proc/PID/mounts`.
pub fn describe() -> String {
    let mounts = MOUNTS.lock().clone();
    let mut text = String::new();
    for mount in &mounts {
        text.push_str(&format!(
            "{} {} {} {},noatime 0 0\n",
            mount.source,
            escaped(&mount.root.display_path()),
            mount.fs.name(),
            mode(mount),
        ));
    }
    text
}

/// Number of the root's mount; the others follow in order.
const FIRST_ID: usize = 20;

/// The number of the mount of the file system that is the device `dev`; 0: it is not mounted.
pub fn id_of(dev: u64) -> usize {
    let mounts = MOUNTS.lock().clone();
    let at = mounts.iter().position(|mount| dev_of(mount) == dev);
    at.map_or(0, |at| FIRST_ID + at)
}

/// The number of the file system that is mounted.
fn dev_of(mount: &Mount) -> u64 {
    mount.root.inode().map_or(0, |inode| inode.metadata().dev)
}

/// The text of `/proc/PID/mountinfo`.
pub fn describe_tree() -> String {
    let mounts = MOUNTS.lock().clone();
    let mut text = String::new();
    for (at, mount) in mounts.iter().enumerate() {
        // What a mount point lies in has been mounted before; the innermost comes last.
        let below = mount.root.covers().and_then(|point| {
            mounts[..at]
                .iter()
                .rposition(|other| point.is_below(&other.root))
        });
        let (major, minor) = device::split_dev(dev_of(mount));
        text.push_str(&format!(
            "{} {} {major}:{minor} / {} {},noatime - {} {} {}\n",
            FIRST_ID + at,
            below.map_or(1, |below| FIRST_ID + below),
            escaped(&mount.root.display_path()),
            mode(mount),
            mount.fs.name(),
            escaped(mount.source.as_bytes()),
            mode(mount),
        ));
    }
    text
}
