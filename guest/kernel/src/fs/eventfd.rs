//! Event counters (`eventfd(2)`).

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;

use super::{
    File, FileOps, FileType, Inode, Metadata, OpenFlags, PollEvents, PollTable, ReadBuf, WriteBuf,
};
use crate::errno::{Errno, KResult};
use crate::sync::{SpinLock, WaitQueue};

const EFD_SEMAPHORE: u32 = 1;

/// The inode of objects that have no file: `eventfd`, `epoll` and their kind.
pub struct Anonymous;

impl Inode for Anonymous {
    fn metadata(&self) -> Metadata {
        Metadata::synthetic(0, 1, FileType::Regular, 0o600)
    }

    /// By way of `/proc/PID/fd`: there is nothing that a second description could be of.
    fn open(&self, _flags: OpenFlags) -> KResult<Option<Box<dyn FileOps>>> {
        Err(Errno::ENXIO)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The one inode that all such objects share.
pub fn anonymous_inode() -> Arc<dyn Inode> {
    static INODE: crate::sync::Once<Arc<Anonymous>> = crate::sync::Once::new();
    INODE.call_once(|| Arc::new(Anonymous)).clone()
}

struct EventFd {
    count: SpinLock<u64>,
    semaphore: bool,
    changed: Arc<WaitQueue>,
}

/// An event counter that begins at `initial`. EINVAL for unknown flags.
pub fn create(initial: u32, flags: u32) -> KResult<Arc<File>> {
    let known = EFD_SEMAPHORE | OpenFlags::NONBLOCK.0 | OpenFlags::CLOEXEC.0;
    if flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let counter = EventFd {
        count: SpinLock::new(u64::from(initial)),
        semaphore: flags & EFD_SEMAPHORE != 0,
        changed: Arc::new(WaitQueue::new()),
    };
    Ok(File::new(
        anonymous_inode(),
        None,
        Some(Box::new(counter)),
        OpenFlags::RDWR | OpenFlags(flags & OpenFlags::NONBLOCK.0),
    ))
}

impl EventFd {
    fn try_take(&self) -> Option<u64> {
        let mut count = self.count.lock();
        if *count == 0 {
            return None;
        }
        let taken = if self.semaphore { 1 } else { *count };
        *count -= taken;
        Some(taken)
    }

    fn try_add(&self, value: u64) -> Option<()> {
        let mut count = self.count.lock();
        // u64::MAX itself stands for an overflow and cannot be reached.
        if value > u64::MAX - 1 - *count {
            return None;
        }
        *count += value;
        Some(())
    }
}

impl FileOps for EventFd {
    fn read(&self, file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        if buf.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let value = match self.try_take() {
            Some(value) => value,
            None if file.nonblocking() => return Err(Errno::EAGAIN),
            None => self.changed.wait(|| self.try_take())?,
        };
        self.changed.wake_all();
        buf.put(&value.to_le_bytes())
    }

    fn write(&self, file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        let mut bytes = [0; 8];
        if buf.remaining() < 8 || buf.take(&mut bytes)? < 8 {
            return Err(Errno::EINVAL);
        }
        let value = u64::from_le_bytes(bytes);
        if value == u64::MAX {
            return Err(Errno::EINVAL);
        }
        if self.try_add(value).is_none() {
            if file.nonblocking() {
                return Err(Errno::EAGAIN);
            }
            self.changed.wait(|| self.try_add(value))?;
        }
        self.changed.wake_all();
        Ok(8)
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.add(&self.changed);
        }
        let count = *self.count.lock();
        let mut events = PollEvents::empty();
        if count > 0 {
            events |= PollEvents::READABLE;
        }
        if count < u64::MAX - 1 {
            events |= PollEvents::WRITABLE;
        }
        events
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
