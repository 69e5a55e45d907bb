//! Core images of programs that a signal has ended (`core(5)`).
//!
//! | file | what |
//! |---|---|
//! | `pattern` | where the image goes: /proc/sys/kernel/core_pattern |
//! | `threads` | all threads hold still, with their registers where they can be read |
//! | `notes` | what the image tells of process and threads |
//! | `image` | the ELF file |
//!
//! The thread that takes the signal writes the image; the others stop on their way out
//! ([`hold_still`]). It is written where the program could have written it, as the program's user,
//! up to RLIMIT_CORE, and not at all for a program whose memory its user may not see.

mod image;
mod notes;
mod pattern;
mod threads;

pub use notes::auxiliary_vector;
pub use pattern::{pattern, set_pattern, set_uses_pid, uses_pid};
pub use threads::{Dump, hold_still};

use core::sync::atomic::Ordering;

use super::current;
use super::rlimit::Resource;
use super::signal::SigInfo;
use crate::errno::{Errno, KResult};
use crate::fs::{FileType, OpenFlags};
use crate::mm::layout::PAGE;
use crate::syscall::open_file;

/// Bit of a wait status: there is a core image.
pub const DUMPED: u32 = 0x80;

/// The running thread's process ends by a signal that leaves a core image: write it, if it is
/// wanted. The wait status of the process's end says whether there is one.
pub fn dump(info: &SigInfo) {
    let me = current();
    let limit = me.process.rlimit(Resource::Core);
    if limit < PAGE as u64 || me.process.dumpable().load(Ordering::Relaxed) != 1 {
        return;
    }
    let Some(others) = threads::stop_others(info.signo) else {
        return;
    };
    let written = write(info, &others, limit);
    if let Err(error) = written {
        klog!(
            "core image of process {} not written: {error:?}",
            me.process.pid()
        );
    }
    threads::release(written.is_ok());
}

fn write(info: &SigInfo, others: &[alloc::sync::Arc<super::Task>], limit: u64) -> KResult<()> {
    const AT_FDCWD: i32 = -100;
    let name = pattern::file_name(info.signo)?;
    let flags = OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::NOFOLLOW;
    let file = open_file(AT_FDCWD, &name, flags, 0o600)?;
    let inode = file.inode();
    let meta = inode.metadata();
    let mine = meta.uid == current().process.creds.lock().fsuid;
    // A link could lead elsewhere, and another's file is not the program's to replace.
    if meta.kind != FileType::Regular || meta.nlink != 1 || !mine {
        return Err(Errno::EPERM);
    }
    inode.truncate(0)?;
    image::write(&**inode, info, others, limit)
}
