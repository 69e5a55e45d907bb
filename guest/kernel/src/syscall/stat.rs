//! What a file is: the `stat` family, `access`, `statfs`, `readlink`, `getdents`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::file::{get, get_open};
use super::open::read_path;
use crate::errno::{Errno, KResult};
use crate::fs::path::{self, AT_FDCWD, Lookup};
use crate::fs::perm::{EXEC, READ, WRITE, Who};
use crate::fs::{DirEntry, FileType, Inode, Metadata, StatFs, Timespec};
use crate::mm::user::{Pod, copy_to_user, write_user};

/// Flag of the `*at` calls: do not follow a link at the end.
pub const AT_SYMLINK_NOFOLLOW: usize = 0x100;
/// Flag of `linkat`: follow it.
pub const AT_SYMLINK_FOLLOW: usize = 0x400;
/// Flag of the `*at` calls: an empty path means the descriptor itself.
pub const AT_EMPTY_PATH: usize = 0x1000;
/// Flag of `fstatat`, without meaning here: nothing is mounted by being looked at.
const AT_NO_AUTOMOUNT: usize = 0x800;
const AT_EACCESS: usize = 0x200;

/// `struct stat` on x86-64.
#[derive(Clone, Copy)]
#[repr(C)]
struct Stat {
    dev: u64,
    ino: u64,
    nlink: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    pad: u32,
    rdev: u64,
    size: i64,
    blksize: i64,
    blocks: i64,
    atime: [i64; 2],
    mtime: [i64; 2],
    ctime: [i64; 2],
    unused: [i64; 3],
}

const _: () = assert!(core::mem::size_of::<Stat>() == 144);

// SAFETY: integers only; the one gap is a field of its own.
unsafe impl Pod for Stat {}

fn seconds(time: Timespec) -> [i64; 2] {
    [time.sec, i64::from(time.nsec)]
}

impl Stat {
    fn of(meta: &Metadata) -> Self {
        Self {
            dev: meta.dev,
            ino: meta.ino,
            nlink: u64::from(meta.nlink),
            mode: meta.mode(),
            uid: meta.uid,
            gid: meta.gid,
            pad: 0,
            rdev: meta.rdev,
            size: meta.size as i64,
            blksize: i64::from(meta.blksize),
            blocks: meta.blocks as i64,
            atime: seconds(meta.atime),
            mtime: seconds(meta.mtime),
            ctime: seconds(meta.ctime),
            unused: [0; 3],
        }
    }
}

/// The inode that `dirfd`, `path` and `flags` name.
pub fn inode_at(dirfd: usize, path: usize, flags: usize) -> KResult<Arc<dyn Inode>> {
    // Since Linux 6.11 a null path does with AT_EMPTY_PATH; before, it is EFAULT.
    let path = read_path(path)?;
    if path.is_empty() && flags & AT_EMPTY_PATH != 0 {
        if dirfd as i32 == AT_FDCWD {
            let cwd = crate::task::current_process().fs.lock().cwd.clone();
            return Ok(cwd.expect_inode()?.clone());
        }
        return Ok(get(dirfd)?.inode().clone());
    }
    let lookup = if flags & AT_SYMLINK_NOFOLLOW != 0 {
        Lookup::NoFollow
    } else {
        Lookup::Follow
    };
    let dentry = path::lookup_at(dirfd as i32, &path, lookup)?;
    Ok(dentry.expect_inode()?.clone())
}

/// `stat(2)`
pub fn sys_stat(path: usize, buf: usize) -> KResult<usize> {
    sys_newfstatat(AT_FDCWD as usize, path, buf, 0)
}

/// `lstat(2)`
pub fn sys_lstat(path: usize, buf: usize) -> KResult<usize> {
    sys_newfstatat(AT_FDCWD as usize, path, buf, AT_SYMLINK_NOFOLLOW)
}

/// `fstat(2)`
pub fn sys_fstat(fd: usize, buf: usize) -> KResult<usize> {
    let meta = get(fd)?.inode().metadata();
    write_user(buf, &Stat::of(&meta))?;
    Ok(0)
}

/// `newfstatat(2)`
pub fn sys_newfstatat(dirfd: usize, path: usize, buf: usize, flags: usize) -> KResult<usize> {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT) != 0 {
        return Err(Errno::EINVAL);
    }
    let meta = inode_at(dirfd, path, flags)?.metadata();
    write_user(buf, &Stat::of(&meta))?;
    Ok(0)
}

/// `struct statx`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Statx {
    mask: u32,
    blksize: u32,
    attributes: u64,
    nlink: u32,
    uid: u32,
    gid: u32,
    mode: u16,
    pad: u16,
    ino: u64,
    size: u64,
    blocks: u64,
    attributes_mask: u64,
    /// atime, btime, ctime, mtime: seconds, then nanoseconds in the low half.
    times: [[u64; 2]; 4],
    rdev_major: u32,
    rdev_minor: u32,
    dev_major: u32,
    dev_minor: u32,
    spare: [u64; 14],
}

const _: () = assert!(core::mem::size_of::<Statx>() == 256);

// SAFETY: integers only, without gaps.
unsafe impl Pod for Statx {}

/// `STATX_BASIC_STATS`
const STATX_BASIC: u32 = 0x7ff;

/// `statx(2)`
pub fn sys_statx(
    dirfd: usize,
    path: usize,
    flags: usize,
    mask: usize,
    buf: usize,
) -> KResult<usize> {
    const AT_STATX_SYNC_TYPE: usize = 0x6000;
    const STATX_RESERVED: usize = 0x8000_0000;
    let known = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_SYNC_TYPE;
    if flags & !known != 0 || flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE {
        return Err(Errno::EINVAL);
    }
    if mask & STATX_RESERVED != 0 {
        return Err(Errno::EINVAL);
    }
    let meta = inode_at(dirfd, path, flags)?.metadata();
    let (rdev_major, rdev_minor) = crate::fs::device::split_dev(meta.rdev);
    let (dev_major, dev_minor) = crate::fs::device::split_dev(meta.dev);
    let stamp = |time: Timespec| [time.sec as u64, u64::from(time.nsec)];
    let statx = Statx {
        mask: STATX_BASIC,
        blksize: meta.blksize,
        attributes: 0,
        nlink: meta.nlink,
        uid: meta.uid,
        gid: meta.gid,
        mode: meta.mode() as u16,
        pad: 0,
        ino: meta.ino,
        size: meta.size,
        blocks: meta.blocks,
        attributes_mask: 0,
        times: [
            stamp(meta.atime),
            [0; 2],
            stamp(meta.ctime),
            stamp(meta.mtime),
        ],
        rdev_major,
        rdev_minor,
        dev_major,
        dev_minor,
        spare: [0; 14],
    };
    write_user(buf, &statx)?;
    Ok(0)
}

/// `access(2)`
pub fn sys_access(path: usize, mode: usize) -> KResult<usize> {
    sys_faccessat2(AT_FDCWD as usize, path, mode, 0)
}

/// `faccessat(2)`: the system call has no flags.
pub fn sys_faccessat(dirfd: usize, path: usize, mode: usize) -> KResult<usize> {
    sys_faccessat2(dirfd, path, mode, 0)
}

/// `faccessat2(2)`
pub fn sys_faccessat2(dirfd: usize, path: usize, mode: usize, flags: usize) -> KResult<usize> {
    let mask = mode as u32;
    if mask & !(READ | WRITE | EXEC) != 0
        || flags & !(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0
    {
        return Err(Errno::EINVAL);
    }
    let who = if flags & AT_EACCESS != 0 {
        Who::current()
    } else {
        Who::real()
    };
    let inode = inode_at(dirfd, path, flags)?;
    let meta = inode.metadata();
    who.check(&meta, mask)?;
    let on_disk = matches!(
        meta.kind,
        FileType::Regular | FileType::Directory | FileType::Symlink
    );
    if mask & WRITE != 0 && on_disk && inode.fs().is_some_and(|fs| fs.read_only()) {
        return Err(Errno::EROFS);
    }
    Ok(0)
}

/// `readlink(2)`
pub fn sys_readlink(path: usize, buf: usize, len: usize) -> KResult<usize> {
    sys_readlinkat(AT_FDCWD as usize, path, buf, len)
}

/// `readlinkat(2)`
pub fn sys_readlinkat(dirfd: usize, path: usize, buf: usize, len: usize) -> KResult<usize> {
    if len as isize <= 0 {
        return Err(Errno::EINVAL);
    }
    let flags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;
    let inode = inode_at(dirfd, path, flags)?;
    if inode.kind() != FileType::Symlink {
        return Err(Errno::EINVAL);
    }
    let target = inode.readlink()?;
    let n = target.len().min(len);
    copy_to_user(buf, &target[..n])?;
    Ok(n)
}

/// `struct statfs` on x86-64.
#[derive(Clone, Copy)]
#[repr(C)]
struct RawStatFs {
    magic: i64,
    block_size: i64,
    blocks: u64,
    free: u64,
    available: u64,
    files: u64,
    files_free: u64,
    id: [i32; 2],
    name_len: i64,
    fragment: i64,
    flags: i64,
    spare: [i64; 4],
}

const _: () = assert!(core::mem::size_of::<RawStatFs>() == 120);

// SAFETY: integers only, without gaps.
unsafe impl Pod for RawStatFs {}

fn put_statfs(inode: &Arc<dyn Inode>, buf: usize) -> KResult<usize> {
    const ST_RDONLY: i64 = 1;
    const ST_VALID: i64 = 0x20;
    const PIPEFS_MAGIC: u64 = 0x5049_5045;
    let fs = inode.fs();
    let facts = match &fs {
        Some(fs) => fs.statfs(),
        None => StatFs {
            magic: PIPEFS_MAGIC,
            block_size: 4096,
            ..StatFs::default()
        },
    };
    let read_only = fs.is_some_and(|fs| fs.read_only());
    let dev = inode.metadata().dev;
    let raw = RawStatFs {
        magic: facts.magic as i64,
        block_size: facts.block_size as i64,
        blocks: facts.blocks,
        free: facts.free,
        available: facts.available,
        files: facts.files,
        files_free: facts.files_free,
        id: [dev as i32, (dev >> 32) as i32],
        name_len: path::NAME_MAX as i64,
        fragment: facts.block_size as i64,
        flags: ST_VALID | if read_only { ST_RDONLY } else { 0 },
        spare: [0; 4],
    };
    write_user(buf, &raw)?;
    Ok(0)
}

/// `statfs(2)`
pub fn sys_statfs(path: usize, buf: usize) -> KResult<usize> {
    put_statfs(&inode_at(AT_FDCWD as usize, path, 0)?, buf)
}

/// `fstatfs(2)`
pub fn sys_fstatfs(fd: usize, buf: usize) -> KResult<usize> {
    put_statfs(get(fd)?.inode(), buf)
}

/// No more directory entries than fit here are handed out at once.
const MAX_BATCH: usize = 32 * 1024;

/// `getdents64(2)`
pub fn sys_getdents64(fd: usize, buf: usize, len: usize) -> KResult<usize> {
    list(fd, buf, len, |out, entry| {
        // struct linux_dirent64: ino u64, off u64, reclen u16, type u8, name, NUL; 8-byte aligned.
        let start = out.len();
        let size = (19 + entry.name.len() + 1).next_multiple_of(8);
        out.extend_from_slice(&entry.ino.to_le_bytes());
        out.extend_from_slice(&entry.next.to_le_bytes());
        out.extend_from_slice(&(size as u16).to_le_bytes());
        out.push(entry.kind as u8);
        out.extend_from_slice(&entry.name);
        out.resize(start + size, 0);
    })
}

/// `getdents(2)`
pub fn sys_getdents(fd: usize, buf: usize, len: usize) -> KResult<usize> {
    list(fd, buf, len, |out, entry| {
        // struct linux_dirent: ino u64, off u64, reclen u16, name, NUL, padding, type as last byte.
        let start = out.len();
        let size = (18 + entry.name.len() + 2).next_multiple_of(8);
        out.extend_from_slice(&entry.ino.to_le_bytes());
        out.extend_from_slice(&entry.next.to_le_bytes());
        out.extend_from_slice(&(size as u16).to_le_bytes());
        out.extend_from_slice(&entry.name);
        out.resize(start + size, 0);
        out[start + size - 1] = entry.kind as u8;
    })
}

fn list(
    fd: usize,
    buf: usize,
    len: usize,
    format: impl Fn(&mut Vec<u8>, &DirEntry),
) -> KResult<usize> {
    let file = get_open(fd)?;
    if file.kind() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    let dentry = file.dentry().ok_or(Errno::ENOTDIR)?;
    if dentry.is_gone() {
        return Err(Errno::ENOENT);
    }
    let max = len.min(MAX_BATCH);
    let mut offset = file.lock_offset();
    let mut cursor = *offset;
    let mut out: Vec<u8> = Vec::new();
    let mut full = false;
    let mut emit = |entry: DirEntry| {
        let before = out.len();
        format(&mut out, &entry);
        if out.len() > max {
            out.truncate(before);
            full = true;
            return false;
        }
        cursor = entry.next;
        true
    };
    let dots = [
        (0, &b"."[..], file.inode().metadata().ino),
        (1, &b".."[..], {
            let parent = dentry.parent();
            parent.expect_inode()?.metadata().ino
        }),
    ];
    let mut more = true;
    for (at, name, ino) in dots {
        if *offset == at as u64 && more {
            more = emit(DirEntry {
                ino,
                next: at as u64 + 1,
                kind: FileType::Directory,
                name: name.to_vec(),
            });
            if more {
                *offset = at as u64 + 1;
            }
        }
    }
    if more {
        let start = *offset;
        file.inode().readdir(start, &mut emit)?;
    }
    if out.is_empty() && full {
        return Err(Errno::EINVAL);
    }
    copy_to_user(buf, &out)?;
    *offset = cursor;
    Ok(out.len())
}
