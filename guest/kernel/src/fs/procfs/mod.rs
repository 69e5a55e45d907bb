//! `/proc` (`proc(5)`): what the kernel knows, as text.
//!
//! Nothing here is stored: names are looked up anew each time, and a file's text is made when it is
//! opened. Inodes are small descriptions of what they stand for ([`Node`]).

mod fdinfo;
mod inode;
mod ipc;
mod maps;
mod memory;
mod node;
mod process;
mod state;
mod sysctl;
mod system;
mod text;

pub use process::check_inspect;

use alloc::sync::{Arc, Weak};

use super::{FileSystem, Inode, StatFs};
use crate::errno::{Errno, KResult};
use crate::task::{self, Process};

use inode::ProcInode;
use node::Node;

const PROC_MAGIC: u64 = 0x9fa0;

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
    /// The inode that stands for `node`.
    fn inode(&self, node: Node) -> Arc<dyn Inode> {
        Arc::new(ProcInode::new(self.me.clone(), self.dev, node))
    }
}

/// The process that a directory's number stands for: its own, or that of a thread. ENOENT.
fn process_of(id: u32) -> KResult<Arc<Process>> {
    if let Some(process) = task::find_process(id) {
        return Ok(process);
    }
    let task = task::find_task(id).ok_or(Errno::ENOENT)?;
    Ok(task.process.clone())
}
