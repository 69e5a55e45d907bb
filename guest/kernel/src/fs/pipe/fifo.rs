//! FIFOs (`fifo(7)`): pipes with a name. The inode is the file system's; the pipe behind it is made
//! when it is opened, and goes with the last who has it open.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::Ordering;

use super::{Pipe, PipeEnd};
use crate::errno::{Errno, KResult};
use crate::fs::{FileOps, FileType, Metadata, OpenFlags};
use crate::sync::SpinLock;

/// The pipes behind FIFOs that are open, by file system and inode number.
static FIFOS: SpinLock<BTreeMap<(u64, u64), Weak<Pipe>>> = SpinLock::new(BTreeMap::new());

/// Open the FIFO with the given identity; waits for the other side as `fifo(7)` says. ENXIO for a
/// non-blocking writer without readers, ERESTARTSYS.
pub fn open(dev: u64, ino: u64, flags: OpenFlags) -> KResult<Box<dyn FileOps>> {
    let (reads, writes) = (flags.readable(), flags.writable());
    let known = FIFOS.lock().get(&(dev, ino)).and_then(Weak::upgrade);
    let pipe = match known {
        Some(pipe) => pipe,
        None => {
            let fresh = Pipe::new(Metadata::synthetic(dev, ino, FileType::Fifo, 0o600))?;
            let mut fifos = FIFOS.lock();
            fifos.retain(|_, pipe| pipe.strong_count() > 0);
            // Somebody else may have been faster.
            match fifos.get(&(dev, ino)).and_then(Weak::upgrade) {
                Some(pipe) => pipe,
                None => {
                    fifos.insert((dev, ino), Arc::downgrade(&fresh));
                    fresh
                }
            }
        }
    };
    let nonblock = flags.has(OpenFlags::NONBLOCK);
    if writes && !reads && nonblock && pipe.readers.load(Ordering::Acquire) == 0 {
        return Err(Errno::ENXIO);
    }
    let (seen_readers, seen_writers) = (
        pipe.reader_opens.load(Ordering::Acquire),
        pipe.writer_opens.load(Ordering::Acquire),
    );
    let end = PipeEnd::new(pipe.clone(), reads, writes);
    // Whoever waits for this side to be opened looks again.
    pipe.readable.wake_all();
    pipe.wake_writers();
    if nonblock || (reads && writes) {
        return Ok(Box::new(end));
    }
    if reads && !pipe.has_writers() {
        pipe.readable
            .wait(|| (pipe.writer_opens.load(Ordering::Acquire) != seen_writers).then_some(()))?;
    }
    if writes && pipe.readers.load(Ordering::Acquire) == 0 {
        pipe.writable
            .wait(|| (pipe.reader_opens.load(Ordering::Acquire) != seen_readers).then_some(()))?;
    }
    Ok(Box::new(end))
}
