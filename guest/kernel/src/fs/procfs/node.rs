//! What the inodes of `/proc` stand for, and which names lead from one to another.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{process, process_of, system};
use crate::errno::{Errno, KResult};
use crate::fs::FileType;
use crate::task;

/// What an inode of `/proc` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
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

impl Node {
    /// The inode number: stable for what does not move, unique enough for the rest.
    pub fn ino(self) -> u64 {
        match self {
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
    pub fn owner(self) -> Option<u32> {
        match self {
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

    /// The kind of inode.
    pub fn kind(self) -> FileType {
        match self {
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

    /// Its permission bits.
    pub fn perm(self) -> u32 {
        match self {
            Node::File(entry) if entry.writable() => 0o644,
            Node::ProcessFile(_, entry) => entry.perm,
            Node::Memory(_) => 0o600,
            Node::Fds(_) | Node::FdInfos(_) => 0o500,
            Node::FdInfo(..) => 0o400,
            _ => match self.kind() {
                FileType::Directory => 0o555,
                FileType::Symlink => 0o777,
                _ => 0o444,
            },
        }
    }

    /// The names in a directory. ENOTDIR, ENOENT if its process has ended.
    pub fn names(self) -> KResult<Vec<(String, FileType)>> {
        let mut names: Vec<(String, FileType)> = Vec::new();
        match self {
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
                if matches!(self, Node::Process(_)) {
                    names.push(("task".into(), FileType::Directory));
                }
            }
            Node::Fds(pid) | Node::FdInfos(pid) => {
                let kind = match self {
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

    /// What a name in a directory leads to. ENOTDIR, ENOENT.
    pub fn child(self, name: &[u8]) -> KResult<Node> {
        match self {
            Node::Dir(dir) => {
                if core::ptr::eq(dir, &system::ROOT) {
                    match name {
                        b"self" => return Ok(Node::SelfLink),
                        b"thread-self" => return Ok(Node::ThreadSelf),
                        b"mounts" => return Ok(Node::MountsLink),
                        _ => {}
                    }
                    if let Some(id) = number(name) {
                        process_of(id)?;
                        return Ok(Node::Process(id));
                    }
                }
                let entry = dir
                    .entries
                    .iter()
                    .find(|entry| entry.name.as_bytes() == name)
                    .ok_or(Errno::ENOENT)?;
                Ok(match entry.content {
                    system::Content::Directory(inner) => Node::Dir(inner),
                    _ => Node::File(entry),
                })
            }
            Node::Process(id) | Node::Thread(id) => {
                process_of(id)?;
                match name {
                    b"mem" => return Ok(Node::Memory(id)),
                    b"fd" => return Ok(Node::Fds(id)),
                    b"fdinfo" => return Ok(Node::FdInfos(id)),
                    b"task" if matches!(self, Node::Process(_)) => {
                        return Ok(Node::Tasks(id));
                    }
                    _ => {}
                }
                if let Some((_, link)) = process::LINKS
                    .iter()
                    .find(|(known, _)| known.as_bytes() == name)
                {
                    return Ok(Node::ProcessLink(id, *link));
                }
                let entry = process::ENTRIES
                    .iter()
                    .find(|entry| entry.name.as_bytes() == name)
                    .ok_or(Errno::ENOENT)?;
                Ok(Node::ProcessFile(id, entry))
            }
            Node::Fds(pid) | Node::FdInfos(pid) => {
                let fd = number(name).ok_or(Errno::ENOENT)? as usize;
                let file = process_of(pid)?.files.lock().get(fd);
                file.map_err(|_| Errno::ENOENT)?;
                Ok(match self {
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
                Ok(Node::Thread(tid))
            }
            _ => Err(Errno::ENOTDIR),
        }
    }
}

/// A number as names write it: without a sign and leading zeros.
fn number(name: &[u8]) -> Option<u32> {
    let text = core::str::from_utf8(name).ok()?;
    if text.starts_with('+') || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok()
}
