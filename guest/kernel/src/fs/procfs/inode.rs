//! The inodes of `/proc`.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use super::node::Node;
use super::text::{Text, Write};
use super::{ProcFs, fdinfo, memory, process, process_of, system};
use crate::errno::{Errno, KResult};
use crate::fs::{
    Dentry, DirEntry, FileOps, FileSystem, FileType, Inode, Metadata, OpenFlags, SetAttr, Timespec,
};
use crate::task;

/// An inode: what it stands for, and where.
pub struct ProcInode {
    fs: Weak<ProcFs>,
    dev: u64,
    node: Node,
}

impl ProcInode {
    /// The inode of `fs`, whose number is `dev`, that stands for `node`.
    pub fn new(fs: Weak<ProcFs>, dev: u64, node: Node) -> Self {
        Self { fs, dev, node }
    }
}

impl Inode for ProcInode {
    fn metadata(&self) -> Metadata {
        let kind = self.node.kind();
        let now = Timespec::now();
        let mut meta = Metadata {
            nlink: if kind == FileType::Directory { 2 } else { 1 },
            blksize: 1024,
            atime: now,
            mtime: now,
            ctime: now,
            ..Metadata::synthetic(self.dev, self.node.ino(), kind, self.node.perm())
        };
        if let Some(process) = self.node.owner().and_then(|pid| process_of(pid).ok()) {
            let creds = process.creds.lock();
            meta.uid = creds.euid;
            meta.gid = creds.egid;
        }
        meta
    }

    fn kind(&self) -> FileType {
        self.node.kind()
    }

    fn fs(&self) -> Option<Arc<dyn FileSystem>> {
        let fs: Arc<dyn FileSystem> = self.fs.upgrade()?;
        Some(fs)
    }

    fn cacheable(&self) -> bool {
        false
    }

    fn lookup(&self, name: &[u8]) -> KResult<Arc<dyn Inode>> {
        let node = self.node.child(name)?;
        Ok(self.fs.upgrade().ok_or(Errno::ENOENT)?.inode(node))
    }

    fn create(
        &self,
        _name: &[u8],
        _kind: FileType,
        _perm: u32,
        _owner: (u32, u32),
        _rdev: u64,
    ) -> KResult<Arc<dyn Inode>> {
        // As Linux says it: there never will be such a name.
        Err(Errno::ENOENT)
    }

    fn readdir(&self, cursor: u64, emit: &mut dyn FnMut(DirEntry) -> bool) -> KResult<()> {
        const FIRST: u64 = 2;
        let skip = cursor.saturating_sub(FIRST) as usize;
        for (n, (name, kind)) in self.node.names()?.into_iter().enumerate().skip(skip) {
            let entry = DirEntry {
                ino: self.node.ino() ^ (n as u64 + 0x100) << 24,
                next: FIRST + n as u64 + 1,
                kind,
                name: name.into_bytes(),
            };
            if !emit(entry) {
                break;
            }
        }
        Ok(())
    }

    fn readlink(&self) -> KResult<Vec<u8>> {
        match self.node {
            Node::SelfLink => Ok(format!("{}", task::current_process().pid()).into_bytes()),
            Node::ThreadSelf => Ok(format!(
                "{}/task/{}",
                task::current_process().pid(),
                task::current().tid()
            )
            .into_bytes()),
            Node::MountsLink => Ok(b"self/mounts".to_vec()),
            Node::ProcessLink(pid, link) => {
                Ok(process::link(&process_of(pid)?, link)?.display_path())
            }
            Node::Fd(pid, fd) => {
                let file = process_of(pid)?.files.lock().get(fd);
                Ok(process::describe_file(&*file.map_err(|_| Errno::ENOENT)?))
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn follow(&self) -> Option<KResult<Arc<Dentry>>> {
        match self.node {
            Node::ProcessLink(pid, link) => {
                Some(process_of(pid).and_then(|process| process::link(&process, link)))
            }
            Node::Fd(pid, fd) => Some(process_of(pid).and_then(|process| {
                let file = process.files.lock().get(fd).map_err(|_| Errno::ENOENT)?;
                Ok(match file.dentry() {
                    Some(dentry) => dentry.clone(),
                    None => {
                        Dentry::new_unnamed(file.inode().clone(), &process::describe_file(&file))
                    }
                })
            })),
            _ => None,
        }
    }

    /// Writable files take their text through the open file; nothing is to be cut.
    fn truncate(&self, _size: u64) -> KResult<()> {
        Ok(())
    }

    fn set_attr(&self, _attr: &SetAttr) -> KResult<()> {
        Err(Errno::EPERM)
    }

    fn open(&self, flags: OpenFlags) -> KResult<Option<Box<dyn FileOps>>> {
        let (text, write) = match self.node {
            Node::File(entry) => match entry.content {
                system::Content::Text(make) => (make().into_bytes(), Err(Errno::EIO)),
                system::Content::ReadOnly(_) if flags.writable() => return Err(Errno::EACCES),
                system::Content::ReadOnly(make) => (make().into_bytes(), Err(Errno::EACCES)),
                system::Content::Setting(make, write) => {
                    (make().into_bytes(), Ok(Write::Machine(write)))
                }
                system::Content::Directory(_) => return Ok(None),
            },
            Node::ProcessFile(id, entry) => {
                let process = process_of(id)?;
                if entry.private {
                    process::check_inspect(&process)?;
                }
                let write = entry.writes.ok_or(Errno::EINVAL);
                let write = write.map(|write| Write::Process(write, id));
                ((entry.make)(&process, id)?, write)
            }
            Node::FdInfo(pid, fd) => {
                let process = process_of(pid)?;
                process::check_inspect(&process)?;
                (fdinfo::text(&process, fd)?, Err(Errno::EINVAL))
            }
            Node::Memory(id) => {
                let process = process_of(id)?;
                process::check_inspect(&process)?;
                return Ok(Some(Box::new(memory::Memory::open(&process)?)));
            }
            _ => return Ok(None),
        };
        Ok(Some(Box::new(Text { text, write })))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
