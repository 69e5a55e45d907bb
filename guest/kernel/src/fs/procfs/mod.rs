//! `/proc` (`proc(5)`): what the kernel knows, as text.
//!
//! Nothing here is stored: names are looked up anew each time, and a file's text is made when it is
//! opened. Inodes are small descriptions of what they stand for ([`Node`]).

mod fdinfo;
mod ipc;
mod maps;
mod memory;
mod process;
mod state;
mod sysctl;
mod system;

pub use process::check_inspect;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use super::{
    Dentry, DirEntry, File, FileOps, FileSystem, FileType, Inode, Metadata, OpenFlags, ReadBuf,
    SetAttr, StatFs, Timespec, WriteBuf,
};
use crate::errno::{Errno, KResult};
use crate::task::{self, Process};

const PROC_MAGIC: u64 = 0x9fa0;

/// What an inode of `/proc` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    /// `/proc` itself, and the directories below it that do not belong to a process.
    Dir(&'static system::Directory),
    /// A file that does not belong to a process.
    File(&'static system::Entry),
    /// `/proc/self`.
    SelfLink,
    /// `/proc/thread-self`.
    ThreadSelf,
    /// `/proc/mounts`: a link to `self/mounts`.
    MountsLink,
    /// `/proc/PID`, also for a thread's number.
    Process(u32),
    /// `/proc/PID/task/TID`: the same files, but no threads of its own.
    Thread(u32),
    /// `/proc/PID/NAME`.
    ProcessFile(u32, &'static process::Entry),
    /// `/proc/PID/exe`, `cwd`, `root`.
    ProcessLink(u32, process::Link),
    /// `/proc/PID/mem`.
    Memory(u32),
    /// `/proc/PID/fd`.
    Fds(u32),
    /// `/proc/PID/fd/N`.
    Fd(u32, usize),
    /// `/proc/PID/fdinfo`.
    FdInfos(u32),
    /// `/proc/PID/fdinfo/N`.
    FdInfo(u32, usize),
    /// `/proc/PID/task`.
    Tasks(u32),
}

struct ProcFs {
    me: Weak<ProcFs>,
    dev: u64,
}

/// A `/proc`.
pub fn new() -> Arc<dyn FileSystem> {
    Arc::new_cyclic(|me| ProcFs {
        me: me.clone(),
        dev: super::mount::next_dev(),
    })
}

impl FileSystem for ProcFs {
    fn name(&self) -> &'static str {
        "proc"
    }

    fn root(&self) -> KResult<Arc<dyn Inode>> {
        Ok(self.inode(Node::Dir(&system::ROOT)))
    }

    fn statfs(&self) -> StatFs {
        StatFs {
            magic: PROC_MAGIC,
            block_size: 4096,
            ..StatFs::default()
        }
    }
}

impl ProcFs {
    fn inode(&self, node: Node) -> Arc<dyn Inode> {
        Arc::new(ProcInode {
            fs: self.me.clone(),
            dev: self.dev,
            node,
        })
    }
}

struct ProcInode {
    fs: Weak<ProcFs>,
    dev: u64,
    node: Node,
}

/// The process that a directory's number stands for: its own, or that of a thread. ENOENT.
fn process_of(id: u32) -> KResult<Arc<Process>> {
    if let Some(process) = task::find_process(id) {
        return Ok(process);
    }
    let task = task::find_task(id).ok_or(Errno::ENOENT)?;
    Ok(task.process.clone())
}

fn number(name: &[u8]) -> Option<u32> {
    let text = core::str::from_utf8(name).ok()?;
    if text.starts_with('+') || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok()
}

impl ProcInode {
    fn make(&self, node: Node) -> KResult<Arc<dyn Inode>> {
        Ok(self.fs.upgrade().ok_or(Errno::ENOENT)?.inode(node))
    }

    /// The inode number: stable for what does not move, unique enough for the rest.
    fn ino(&self) -> u64 {
        match self.node {
            Node::Dir(dir) => 1 + (core::ptr::from_ref(dir) as u64 & 0xff_ffff),
            Node::File(entry) => 1 + (core::ptr::from_ref(entry) as u64 & 0xff_ffff),
            Node::SelfLink => 2,
            Node::ThreadSelf => 3,
            Node::MountsLink => 4,
            Node::Process(pid) => u64::from(pid) << 32 | 1,
            Node::Thread(tid) => u64::from(tid) << 32 | 10,
            Node::ProcessFile(pid, entry) => {
                u64::from(pid) << 32 | (core::ptr::from_ref(entry) as u64 & 0xff_ffff)
            }
            Node::ProcessLink(pid, link) => u64::from(pid) << 32 | (2 + link as u64),
            Node::Fds(pid) => u64::from(pid) << 32 | 8,
            Node::Tasks(pid) => u64::from(pid) << 32 | 9,
            Node::Memory(pid) => u64::from(pid) << 32 | 11,
            Node::Fd(pid, fd) => u64::from(pid) << 32 | (0x100_0000 + fd as u64),
            Node::FdInfos(pid) => u64::from(pid) << 32 | 12,
            Node::FdInfo(pid, fd) => u64::from(pid) << 32 | (0x200_0000 + fd as u64),
        }
    }

    /// The process that owns the inode, if one does.
    fn owner(&self) -> Option<u32> {
        match self.node {
            Node::Process(pid)
            | Node::Thread(pid)
            | Node::ProcessFile(pid, _)
            | Node::ProcessLink(pid, _)
            | Node::Memory(pid)
            | Node::Fds(pid)
            | Node::Fd(pid, _)
            | Node::FdInfos(pid)
            | Node::FdInfo(pid, _)
            | Node::Tasks(pid) => Some(pid),
            _ => None,
        }
    }

    fn names(&self) -> KResult<Vec<(String, FileType)>> {
        let mut names: Vec<(String, FileType)> = Vec::new();
        match self.node {
            Node::Dir(dir) => {
                for entry in dir.entries {
                    let kind = match entry.content {
                        system::Content::Directory(_) => FileType::Directory,
                        _ => FileType::Regular,
                    };
                    names.push((entry.name.into(), kind));
                }
                if core::ptr::eq(dir, &system::ROOT) {
                    names.push(("self".into(), FileType::Symlink));
                    names.push(("thread-self".into(), FileType::Symlink));
                    names.push(("mounts".into(), FileType::Symlink));
                    for process in task::all_processes() {
                        names.push((format!("{}", process.pid()), FileType::Directory));
                    }
                }
            }
            Node::Process(id) | Node::Thread(id) => {
                process_of(id)?;
                for entry in process::ENTRIES {
                    names.push((entry.name.into(), FileType::Regular));
                }
                for (name, _) in process::LINKS {
                    names.push((name.into(), FileType::Symlink));
                }
                names.push(("mem".into(), FileType::Regular));
                names.push(("fd".into(), FileType::Directory));
                names.push(("fdinfo".into(), FileType::Directory));
                if matches!(self.node, Node::Process(_)) {
                    names.push(("task".into(), FileType::Directory));
                }
            }
            Node::Fds(pid) | Node::FdInfos(pid) => {
                let kind = match self.node {
                    Node::Fds(_) => FileType::Symlink,
                    _ => FileType::Regular,
                };
                let process = process_of(pid)?;
                for (fd, _) in process.files.lock().iter() {
                    names.push((format!("{fd}"), kind));
                }
            }
            Node::Tasks(pid) => {
                for thread in process_of(pid)?.threads() {
                    names.push((format!("{}", thread.tid()), FileType::Directory));
                }
            }
            _ => return Err(Errno::ENOTDIR),
        }
        Ok(names)
    }
}

impl Inode for ProcInode {
    fn metadata(&self) -> Metadata {
        let kind = self.kind();
        let perm = match self.node {
            Node::File(entry) if entry.writable() => 0o644,
            Node::ProcessFile(_, entry) => entry.perm,
            Node::Memory(_) => 0o600,
            Node::Fds(_) | Node::FdInfos(_) => 0o500,
            Node::FdInfo(..) => 0o400,
            _ => match kind {
                FileType::Directory => 0o555,
                FileType::Symlink => 0o777,
                _ => 0o444,
            },
        };
        let now = Timespec::now();
        let mut meta = Metadata {
            nlink: if kind == FileType::Directory { 2 } else { 1 },
            blksize: 1024,
            atime: now,
            mtime: now,
            ctime: now,
            ..Metadata::synthetic(self.dev, self.ino(), kind, perm)
        };
        if let Some(process) = self.owner().and_then(|pid| process_of(pid).ok()) {
            let creds = process.creds.lock();
            meta.uid = creds.euid;
            meta.gid = creds.egid;
        }
        meta
    }

    fn kind(&self) -> FileType {
        match self.node {
            Node::Dir(_)
            | Node::Process(_)
            | Node::Thread(_)
            | Node::Fds(_)
            | Node::FdInfos(_)
            | Node::Tasks(_) => FileType::Directory,
            Node::File(_) | Node::ProcessFile(..) | Node::Memory(_) | Node::FdInfo(..) => {
                FileType::Regular
            }
            _ => FileType::Symlink,
        }
    }

    fn fs(&self) -> Option<Arc<dyn FileSystem>> {
        let fs: Arc<dyn FileSystem> = self.fs.upgrade()?;
        Some(fs)
    }

    fn cacheable(&self) -> bool {
        false
    }

    fn lookup(&self, name: &[u8]) -> KResult<Arc<dyn Inode>> {
        match self.node {
            Node::Dir(dir) => {
                if core::ptr::eq(dir, &system::ROOT) {
                    match name {
                        b"self" => return self.make(Node::SelfLink),
                        b"thread-self" => return self.make(Node::ThreadSelf),
                        b"mounts" => return self.make(Node::MountsLink),
                        _ => {}
                    }
                    if let Some(id) = number(name) {
                        process_of(id)?;
                        return self.make(Node::Process(id));
                    }
                }
                let entry = dir
                    .entries
                    .iter()
                    .find(|entry| entry.name.as_bytes() == name)
                    .ok_or(Errno::ENOENT)?;
                self.make(match entry.content {
                    system::Content::Directory(inner) => Node::Dir(inner),
                    _ => Node::File(entry),
                })
            }
            Node::Process(id) | Node::Thread(id) => {
                process_of(id)?;
                match name {
                    b"mem" => return self.make(Node::Memory(id)),
                    b"fd" => return self.make(Node::Fds(id)),
                    b"fdinfo" => return self.make(Node::FdInfos(id)),
                    b"task" if matches!(self.node, Node::Process(_)) => {
                        return self.make(Node::Tasks(id));
                    }
                    _ => {}
                }
                if let Some((_, link)) = process::LINKS
                    .iter()
                    .find(|(known, _)| known.as_bytes() == name)
                {
                    return self.make(Node::ProcessLink(id, *link));
                }
                let entry = process::ENTRIES
                    .iter()
                    .find(|entry| entry.name.as_bytes() == name)
                    .ok_or(Errno::ENOENT)?;
                self.make(Node::ProcessFile(id, entry))
            }
            Node::Fds(pid) | Node::FdInfos(pid) => {
                let fd = number(name).ok_or(Errno::ENOENT)? as usize;
                let file = process_of(pid)?.files.lock().get(fd);
                file.map_err(|_| Errno::ENOENT)?;
                self.make(match self.node {
                    Node::Fds(_) => Node::Fd(pid, fd),
                    _ => Node::FdInfo(pid, fd),
                })
            }
            Node::Tasks(pid) => {
                let tid = number(name).ok_or(Errno::ENOENT)?;
                let process = process_of(pid)?;
                if process.threads().iter().all(|thread| thread.tid() != tid) {
                    return Err(Errno::ENOENT);
                }
                self.make(Node::Thread(tid))
            }
            _ => Err(Errno::ENOTDIR),
        }
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
        for (n, (name, kind)) in self.names()?.into_iter().enumerate().skip(skip) {
            let entry = DirEntry {
                ino: self.ino() ^ (n as u64 + 0x100) << 24,
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
        let (text, write): (Vec<u8>, Option<Write>) = match self.node {
            Node::File(entry) => match entry.content {
                system::Content::Text(make) => (make().into_bytes(), None),
                system::Content::Setting(make, write) => {
                    (make().into_bytes(), Some(Write::Machine(write)))
                }
                system::Content::Directory(_) => return Ok(None),
            },
            Node::ProcessFile(id, entry) => {
                let process = process_of(id)?;
                if entry.private {
                    process::check_inspect(&process)?;
                }
                let write = entry.writes.filter(|_| flags.writable());
                let write = write.map(|write| Write::Process(write, id));
                ((entry.make)(&process, id)?, write)
            }
            Node::FdInfo(pid, fd) => {
                let process = process_of(pid)?;
                process::check_inspect(&process)?;
                (fdinfo::text(&process, fd)?, None)
            }
            Node::Memory(id) => {
                let process = process_of(id)?;
                process::check_inspect(&process)?;
                return Ok(Some(Box::new(memory::Memory::open(&process)?)));
            }
            _ => return Ok(None),
        };
        if flags.writable() && write.is_none() {
            return Err(Errno::EACCES);
        }
        Ok(Some(Box::new(Text { text, write })))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What takes the text that is written to a file.
#[derive(Clone, Copy)]
enum Write {
    /// A file that does not belong to a process.
    Machine(system::Write),
    /// A process's, or a thread's, by number.
    Process(process::Write, u32),
}

/// An open file of `/proc`: its text as it was at the time.
struct Text {
    text: Vec<u8>,
    write: Option<Write>,
}

impl FileOps for Text {
    fn read(&self, file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        file.at_offset(|offset| self.read_at(file, offset, buf))
    }

    fn read_at(&self, _file: &File, offset: u64, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        match self.text.get(offset as usize..) {
            Some(rest) => buf.put(rest),
            None => Ok(0),
        }
    }

    fn write(&self, _file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        let write = self.write.ok_or(Errno::EACCES)?;
        let mut text = [0; 256];
        let n = buf.take(&mut text)?;
        let text = core::str::from_utf8(&text[..n]).map_err(|_| Errno::EINVAL)?;
        match write {
            Write::Machine(write) => write(text.trim())?,
            Write::Process(write, id) => write(&process_of(id)?, id, text.trim())?,
        }
        Ok(n)
    }

    fn write_at(&self, file: &File, _offset: u64, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        self.write(file, buf)
    }

    fn seek_end(&self, _file: &File) -> KResult<u64> {
        Ok(self.text.len() as u64)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
