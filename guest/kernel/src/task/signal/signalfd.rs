//! Signals that are read like files (`signalfd(2)`).
//!
//! Whoever reads gets the signals of *his own* task and process, whoever opened the descriptor.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};

use super::info::{SI_QUEUE, SI_TIMER, SigInfo};
use super::set::{SIGBUS, SIGCHLD, SIGFPE, SIGILL, SIGSEGV, SIGTRAP, SigSet, UNBLOCKABLE};
use crate::errno::{Errno, KResult};
use crate::fs::eventfd::anonymous_inode;
use crate::fs::{File, FileOps, OpenFlags, PollEvents, PollTable, ReadBuf};
use crate::task;

/// Bytes of `struct signalfd_siginfo`.
const RECORD: usize = 128;

/// An open signalfd.
struct SignalFd {
    set: AtomicU64,
}

/// `struct signalfd_siginfo`: which fields are filled depends on where the signal comes from.
fn record(info: &SigInfo) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    let mut put32 = |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    put32(0, info.signo);
    put32(4, info.errno as u32);
    put32(8, info.code as u32);
    let [first, second, third, fourth] = info.fields;
    let (low, high) = (first as u32, (first >> 32) as u32);
    match info.signo {
        SIGCHLD if info.code > 0 => {
            put32(12, low);
            put32(16, high);
            put32(40, second as u32);
            bytes[56..64].copy_from_slice(&third.to_le_bytes());
            bytes[64..72].copy_from_slice(&fourth.to_le_bytes());
        }
        SIGSEGV | SIGBUS | SIGILL | SIGFPE | SIGTRAP if info.code > 0 => {
            bytes[72..80].copy_from_slice(&first.to_le_bytes());
        }
        _ if info.code == SI_TIMER => {
            put32(24, low);
            put32(32, high);
            put32(44, second as u32);
            bytes[48..56].copy_from_slice(&second.to_le_bytes());
        }
        _ => {
            put32(12, low);
            put32(16, high);
            if info.code == SI_QUEUE {
                put32(44, second as u32);
                bytes[48..56].copy_from_slice(&second.to_le_bytes());
            }
        }
    }
    bytes
}

impl SignalFd {
    fn set(&self) -> SigSet {
        self.set.load(Ordering::Relaxed)
    }
}

impl FileOps for SignalFd {
    fn read(&self, file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        if buf.remaining() < RECORD {
            return Err(Errno::EINVAL);
        }
        let mut next = || super::take_pending(self.set());
        let first = match next() {
            Some(info) => info,
            None if file.nonblocking() => return Err(Errno::EAGAIN),
            None => task::current().process.signal_arrival.wait(&mut next)?,
        };
        let mut done = buf.put(&record(&first))?;
        while buf.remaining() >= RECORD
            && let Some(info) = next()
        {
            done += buf.put(&record(&info))?;
        }
        Ok(done)
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.add(&task::current().process.signal_arrival);
        }
        if super::pending_set() & self.set() != 0 {
            PollEvents::READABLE
        } else {
            PollEvents::empty()
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A descriptor's file for the signals of `set`.
pub fn create(set: SigSet, nonblocking: bool) -> Arc<File> {
    let mut flags = OpenFlags::RDWR;
    if nonblocking {
        flags = flags | OpenFlags::NONBLOCK;
    }
    let ops = SignalFd {
        set: AtomicU64::new(set & !UNBLOCKABLE),
    };
    File::new(anonymous_inode(), None, Some(Box::new(ops)), flags)
}

/// Change the set of an open signalfd.
///
/// # Errors
/// EINVAL: the file is none.
pub fn change(file: &File, set: SigSet) -> KResult<()> {
    let fd = file.ops_as::<SignalFd>().ok_or(Errno::EINVAL)?;
    fd.set.store(set & !UNBLOCKABLE, Ordering::Relaxed);
    Ok(())
}
