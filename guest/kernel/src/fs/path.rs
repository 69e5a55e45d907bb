//! From a path to a dentry: `path_resolution(7)`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::perm::{EXEC, Who};
use super::{Dentry, FileType, FsContext};
use crate::errno::{Errno, KResult};
use crate::task;

/// `dirfd` value that stands for the working directory.
pub const AT_FDCWD: i32 = -100;

/// Longest path, including its NUL.
pub const PATH_MAX: usize = 4096;

/// Longest name in a directory.
pub const NAME_MAX: usize = 255;

/// More symbolic links than this in one path are taken for a loop.
const MAX_LINKS: u32 = 40;

/// How the last component is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Follow a symbolic link.
    Follow,
    /// Give the link itself (unless a `/` follows it).
    NoFollow,
    /// Give the link itself, whatever follows it: the name is to be made, moved or removed.
    Name,
}

/// What kind of name the last component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// An ordinary name.
    Name,
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// The path names the root directory.
    Root,
}

/// Where a path leads, with what is needed to make or remove the name.
pub struct Resolved {
    /// The dentry; without inode if the last name does not exist.
    pub dentry: Arc<Dentry>,
    /// The directory that the last name is in; for [`Last::Name`] alone of interest.
    pub parent: Arc<Dentry>,
    /// What the last component is.
    pub last: Last,
    /// Whether `/` followed it: it must be a directory.
    pub trailing_slash: bool,
}

/// Root and starting point for the running process. EBADF, ENOTDIR for a bad `dirfd`.
fn start(dirfd: i32, path: &[u8]) -> KResult<(Arc<Dentry>, Arc<Dentry>)> {
    let process = task::current_process();
    let (root, cwd) = {
        let context = process.fs.lock();
        let cwd = if dirfd == AT_FDCWD && path.first() != Some(&b'/') {
            Some(context.cwd.clone())
        } else {
            None
        };
        (context.root.clone(), cwd)
    };
    if let Some(cwd) = cwd {
        return Ok((root, cwd));
    }
    if path.first() == Some(&b'/') {
        return Ok((root.clone(), root));
    }
    let file = process.files.lock().get(dirfd as usize)?;
    let dentry = file.dentry().ok_or(Errno::ENOTDIR)?.clone();
    if file.kind() != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    Ok((root, dentry))
}

/// Resolve `path` for the running process, from `dirfd` if it is relative. All but the last
/// component must exist. ENOENT (also for an empty path), ENOTDIR, EACCES, ELOOP, ENAMETOOLONG.
pub fn resolve(dirfd: i32, path: &[u8], lookup: Lookup) -> KResult<Resolved> {
    if path.is_empty() {
        return Err(Errno::ENOENT);
    }
    let (root, from) = start(dirfd, path)?;
    walk(root, from, path, lookup)
}

/// Resolve `path` from the roots of `context`, for the kernel's own use.
pub fn resolve_in(context: &FsContext, path: &[u8], lookup: Lookup) -> KResult<Resolved> {
    let from = if path.first() == Some(&b'/') {
        &context.root
    } else {
        &context.cwd
    };
    walk(context.root.clone(), from.clone(), path, lookup)
}

fn walk(root: Arc<Dentry>, from: Arc<Dentry>, path: &[u8], lookup: Lookup) -> KResult<Resolved> {
    if path.len() >= PATH_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    let who = Who::current();
    let mut owned: Option<Vec<u8>> = None;
    let mut at = 0;
    let mut links = 0;
    let mut current = from;
    loop {
        let text: &[u8] = owned.as_deref().unwrap_or(path);
        while text.get(at) == Some(&b'/') {
            at += 1;
        }
        if at == text.len() {
            // Only slashes, or a link to a path that ends here.
            return Ok(Resolved {
                parent: current.clone(),
                dentry: current,
                last: Last::Root,
                trailing_slash: true,
            });
        }
        let mut end = at;
        while end < text.len() && text[end] != b'/' {
            end += 1;
        }
        let name = &text[at..end];
        let mut rest = end;
        while text.get(rest) == Some(&b'/') {
            rest += 1;
        }
        let is_last = rest == text.len();
        let trailing_slash = rest > end;
        let dir = current.expect_inode()?;
        if dir.kind() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        if !who.is_root() {
            who.check(&dir.metadata(), EXEC)?;
        }
        let (next, last) = match name {
            b"." => (current.clone(), Last::Dot),
            b".." => {
                let up = if Arc::ptr_eq(&current, &root) {
                    current.clone()
                } else {
                    current.parent().top()
                };
                (up, Last::DotDot)
            }
            _ if name.len() > NAME_MAX => return Err(Errno::ENAMETOOLONG),
            _ => (current.child(name)?.top(), Last::Name),
        };
        let Some(inode) = next.inode() else {
            return if is_last {
                Ok(Resolved {
                    parent: current,
                    dentry: next,
                    last,
                    trailing_slash,
                })
            } else {
                Err(Errno::ENOENT)
            };
        };
        let follow = match lookup {
            Lookup::Follow => true,
            Lookup::NoFollow => !is_last || trailing_slash,
            Lookup::Name => !is_last,
        };
        if follow && last == Last::Name && inode.kind() == FileType::Symlink {
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::ELOOP);
            }
            if let Some(target) = inode.follow() {
                // A magic link leads to an object, not to a text.
                let target = target?;
                if is_last {
                    return Ok(Resolved {
                        parent: target.parent(),
                        dentry: target,
                        last: Last::Name,
                        trailing_slash,
                    });
                }
                current = target;
                at = rest;
                continue;
            }
            let mut target = inode.readlink()?;
            if target.is_empty() {
                return Err(Errno::ENOENT);
            }
            if target[0] == b'/' {
                current = root.clone();
            }
            target.extend_from_slice(&text[end..]);
            if target.len() >= 2 * PATH_MAX {
                return Err(Errno::ENAMETOOLONG);
            }
            owned = Some(target);
            at = 0;
            continue;
        }
        if is_last {
            return Ok(Resolved {
                parent: current,
                dentry: next,
                last,
                trailing_slash,
            });
        }
        current = next;
        at = rest;
    }
}

/// The existing object that `path` names, from `dirfd`. As [`resolve`], and ENOENT if the last
/// name does not exist, ENOTDIR if `/` follows a name that is no directory.
pub fn lookup_at(dirfd: i32, path: &[u8], lookup: Lookup) -> KResult<Arc<Dentry>> {
    let found = resolve(dirfd, path, lookup)?;
    let kind = found.dentry.expect_inode()?.kind();
    if found.trailing_slash && kind != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    Ok(found.dentry)
}

/// The existing object that `path` names, from the working directory, links followed.
pub fn lookup(path: &[u8]) -> KResult<Arc<Dentry>> {
    lookup_at(AT_FDCWD, path, Lookup::Follow)
}

/// The regular file that `execve` is to load, with its execute permission checked. EACCES if it is
/// no regular file or may not be executed.
pub fn lookup_exec(dirfd: i32, path: &[u8], lookup: Lookup) -> KResult<Arc<Dentry>> {
    let dentry = lookup_at(dirfd, path, lookup)?;
    check_exec(&dentry)?;
    Ok(dentry)
}

/// Whether the running process may execute what `dentry` names. EACCES, ELOOP.
pub fn check_exec(dentry: &Arc<Dentry>) -> KResult<()> {
    let meta = dentry.expect_inode()?.metadata();
    match meta.kind {
        FileType::Regular => super::perm::check(&meta, EXEC),
        FileType::Symlink => Err(Errno::ELOOP),
        _ => Err(Errno::EACCES),
    }
}
