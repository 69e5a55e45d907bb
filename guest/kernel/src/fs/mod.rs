//! Files: the virtual file system, the file systems below it, and the objects that descriptors name.
//!
//! | concept | where |
//! |---|---|
//! | [`Inode`]: a file, directory, link or device as a file system offers it | `inode.rs` |
//! | [`Dentry`]: a name in the tree, cached; mounts hang on dentries | `dentry.rs` |
//! | path resolution, permissions | `path.rs`, `perm.rs` |
//! | [`File`]: an open file description; [`FileOps`]: what can be done with it | `file.rs` |
//! | [`FdTable`]: a process's descriptors | `fdtable.rs` |
//! | [`cache::PageCache`]: file pages shared by read, write and mmap, with write-back | `cache.rs` |
//! | ext2, tmpfs, devfs, devpts, procfs | `ext2fs/`, `tmpfs.rs`, `devfs.rs`, `devpts.rs`, `procfs/` |
//! | special files: what device numbers stand for | `device.rs` |
//! | pipes, eventfd, epoll, UNIX sockets | `pipe.rs`, `eventfd.rs`, `epoll.rs`, `unix.rs` |
//!
//! Lock order: dentry children before inode locks before the page cache before the ext2 lock;
//! spin locks are never held over a copy to or from user memory, nor over block requests.

mod buf;
pub mod cache;
pub mod context;
mod dentry;
mod devfs;
pub mod device;
pub mod devpts;
pub mod epoll;
pub mod eventfd;
pub mod ext2fs;
mod fdtable;
mod file;
mod inode;
pub mod lock;
pub mod mount;
pub mod path;
pub mod perm;
pub mod pipe;
mod poll;
pub mod procfs;
pub mod seal;
pub mod tmpfs;
mod truncate;
mod types;
pub mod unix;

pub use buf::{IoVec, ReadBuf, WriteBuf};
pub use cache::reclaim;
pub use context::FsContext;
pub use dentry::{Dentry, drop_gone, drop_unused, recent_name};
pub use fdtable::{FdTable, MAX_FDS};
pub use file::{FIONREAD, File, FileOps, OpenFlags, open_dentry, open_files};
pub use inode::{FileSystem, Inode};
pub use mount::{init, sync_all, unmount_all};
pub use path::{Lookup, lookup};
pub use poll::{PollEvents, PollTable};
pub use truncate::truncate;
pub use types::{DirEntry, FileType, Metadata, SetAttr, StatFs, Timespec};
