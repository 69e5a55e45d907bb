//! The file system that holds the names of POSIX message queues, mounted on `/dev/mqueue`. There is
//! one, whether it is mounted or not.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};

use super::mqueue::{LIMITS, Queue, Shape};
use crate::errno::{Errno, KResult};
use crate::fs::perm::{self, Who};
use crate::fs::{
    DirEntry, File, FileSystem, FileType, Inode, Metadata, OpenFlags, StatFs, Timespec,
};
use crate::sync::{Once, SpinLock};
use crate::task;

const MAGIC: u64 = 0x1980_0202;
/// Longest name.
const NAME_MAX: usize = 255;
/// Inode number of the directory.
const ROOT_INO: u64 = 1;

/// The file system and its one directory.
pub struct MessageQueues {
    me: Weak<MessageQueues>,
    dev: u64,
    next_ino: AtomicU64,
    queues: SpinLock<BTreeMap<Vec<u8>, Arc<Queue>>>,
}

/// The one.
pub fn instance() -> Arc<MessageQueues> {
    static ONE: Once<Arc<MessageQueues>> = Once::new();
    ONE.call_once(|| {
        Arc::new_cyclic(|me| MessageQueues {
            me: me.clone(),
            dev: crate::fs::mount::next_dev(),
            next_ino: AtomicU64::new(ROOT_INO + 1),
            queues: SpinLock::new(BTreeMap::new()),
        })
    })
    .clone()
}

/// A name as the system calls take it, without the slash before it. EACCES, ENOENT, ENAMETOOLONG.
fn check_name(name: &[u8]) -> KResult<()> {
    if name.is_empty() {
        return Err(Errno::ENOENT);
    }
    if name == b"." || name == b".." || name.contains(&b'/') {
        return Err(Errno::EACCES);
    }
    if name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    Ok(())
}

impl MessageQueues {
    /// Open a queue, made if `flags` say so with `permissions` and `shape` (`mq_open(3)`).
    ///
    /// # Errors
    /// EACCES, EEXIST, ENOENT, EINVAL, ENOSPC, EMFILE.
    pub fn open(
        &self,
        name: &[u8],
        flags: OpenFlags,
        permissions: u32,
        shape: Option<Shape>,
    ) -> KResult<Arc<File>> {
        check_name(name)?;
        let found = self.queues.lock().get(name).cloned();
        let queue = match found {
            Some(_) if flags.has(OpenFlags::CREAT) && flags.has(OpenFlags::EXCL) => {
                return Err(Errno::EEXIST);
            }
            Some(queue) => {
                let mask = match flags.0 & 3 {
                    0 => perm::READ,
                    1 => perm::WRITE,
                    2 => perm::READ | perm::WRITE,
                    _ => return Err(Errno::EINVAL),
                };
                perm::check(&queue.metadata(), mask)?;
                queue
            }
            None if !flags.has(OpenFlags::CREAT) => return Err(Errno::ENOENT),
            None => {
                let umask = task::current_process().fs.lock().umask;
                self.make(name, permissions & !umask & 0o777, shape)?
            }
        };
        let ops = queue.open(flags)?;
        let kept = OpenFlags(flags.0 & (3 | OpenFlags::NONBLOCK.0));
        Ok(File::new(queue, None, ops, kept))
    }

    fn make(&self, name: &[u8], permissions: u32, shape: Option<Shape>) -> KResult<Arc<Queue>> {
        let who = Who::current();
        let most = LIMITS.most_queues.load(Ordering::Relaxed) as usize;
        if self.queues.lock().len() >= most && !who.is_root() {
            return Err(Errno::ENOSPC);
        }
        let shape = shape.unwrap_or_else(Shape::default);
        shape.check()?;
        let now = Timespec::now();
        let ino = self.next_ino.fetch_add(1, Ordering::Relaxed);
        let meta = Metadata {
            uid: who.uid,
            gid: who.gid,
            atime: now,
            mtime: now,
            ctime: now,
            ..Metadata::synthetic(self.dev, ino, FileType::Regular, permissions)
        };
        let queue = Queue::new(meta, shape)?;
        let mut queues = self.queues.lock();
        if queues.contains_key(name) {
            drop(queues);
            return Err(Errno::EEXIST);
        }
        queues.insert(name.to_vec(), queue.clone());
        Ok(queue)
    }

    /// Remove a name (`mq_unlink(3)`). EACCES: of another user's queue. ENOENT.
    pub fn remove(&self, name: &[u8]) -> KResult<()> {
        check_name(name)?;
        let queue = self.queues.lock().get(name).cloned();
        let queue = queue.ok_or(Errno::ENOENT)?;
        Who::current().check_delete(&self.metadata(), &queue.metadata())?;
        self.take(name)
    }

    fn take(&self, name: &[u8]) -> KResult<()> {
        let taken = self.queues.lock().remove(name).ok_or(Errno::ENOENT)?;
        taken.unlinked();
        Ok(())
    }
}

impl FileSystem for MessageQueues {
    fn name(&self) -> &'static str {
        "mqueue"
    }

    fn root(&self) -> KResult<Arc<dyn Inode>> {
        let root = self.me.upgrade().ok_or(Errno::EIO)?;
        Ok(root)
    }

    fn statfs(&self) -> StatFs {
        StatFs {
            magic: MAGIC,
            block_size: 4096,
            ..StatFs::default()
        }
    }
}

impl Inode for MessageQueues {
    fn metadata(&self) -> Metadata {
        let now = Timespec::now();
        Metadata {
            nlink: 2,
            atime: now,
            mtime: now,
            ctime: now,
            ..Metadata::synthetic(self.dev, ROOT_INO, FileType::Directory, 0o1777)
        }
    }

    fn kind(&self) -> FileType {
        FileType::Directory
    }

    fn fs(&self) -> Option<Arc<dyn FileSystem>> {
        let fs: Arc<dyn FileSystem> = self.me.upgrade()?;
        Some(fs)
    }

    fn cacheable(&self) -> bool {
        false
    }

    fn lookup(&self, name: &[u8]) -> KResult<Arc<dyn Inode>> {
        match self.queues.lock().get(name) {
            Some(queue) => Ok(queue.clone()),
            None => Err(Errno::ENOENT),
        }
    }

    fn create(
        &self,
        name: &[u8],
        kind: FileType,
        perm: u32,
        _owner: (u32, u32),
        _rdev: u64,
    ) -> KResult<Arc<dyn Inode>> {
        if kind != FileType::Regular {
            return Err(Errno::EPERM);
        }
        Ok(self.make(name, perm, None)?)
    }

    fn unlink(&self, name: &[u8], _inode: &Arc<dyn Inode>) -> KResult<()> {
        self.take(name)
    }

    fn readdir(&self, cursor: u64, emit: &mut dyn FnMut(DirEntry) -> bool) -> KResult<()> {
        // The cookie of a queue is its inode number, which grows with its age alone.
        let mut entries: Vec<DirEntry> = Vec::new();
        for (name, queue) in self.queues.lock().iter() {
            let ino = queue.metadata().ino;
            if ino + 2 > cursor {
                entries.push(DirEntry {
                    ino,
                    next: ino + 2,
                    kind: FileType::Regular,
                    name: name.clone(),
                });
            }
        }
        entries.sort_by_key(|entry| entry.ino);
        for entry in entries {
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
