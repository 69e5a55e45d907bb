//! Processes as descriptors (`pidfd_open(2)`): a descriptor goes on meaning the same process, however
//! numbers are used again.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;

use super::process::Process;
use crate::errno::{Errno, KResult};
use crate::fs::eventfd::anonymous_inode;
use crate::fs::{File, FileOps, OpenFlags, PollEvents, PollTable};

/// An open pidfd.
struct PidFd {
    process: Arc<Process>,
}

impl FileOps for PidFd {
    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.add(&self.process.watchers());
        }
        match self.process.is_dead() {
            true => PollEvents::READABLE,
            false => PollEvents::empty(),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A descriptor's file for `process`.
pub fn create(process: &Arc<Process>, nonblocking: bool) -> Arc<File> {
    let mut flags = OpenFlags::RDWR;
    if nonblocking {
        flags = flags | OpenFlags::NONBLOCK;
    }
    let ops = PidFd {
        process: process.clone(),
    };
    File::new(anonymous_inode(), None, Some(Box::new(ops)), flags)
}

/// The process that a file stands for. EBADF: it is no pidfd.
pub fn process_of(file: &File) -> KResult<&Arc<Process>> {
    let pidfd: &PidFd = file.ops_as().ok_or(Errno::EBADF)?;
    Ok(&pidfd.process)
}
