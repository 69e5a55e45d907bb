//! The ends of a pipe: what the descriptors name.

use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::Ordering;

use super::Pipe;
use crate::errno::{Errno, KResult};
use crate::fs::{FIONREAD, File, FileOps, PollEvents, PollTable, ReadBuf, WriteBuf};
use crate::mm::user::write_user;

/// One end of a pipe, or both (a FIFO opened for reading and writing).
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
}

impl PipeEnd {
    /// An end of `pipe` that reads, writes, or both.
    pub(super) fn new(pipe: Arc<Pipe>, reads: bool, writes: bool) -> Self {
        if reads {
            pipe.readers.fetch_add(1, Ordering::AcqRel);
            pipe.reader_opens.fetch_add(1, Ordering::AcqRel);
        }
        if writes {
            pipe.writers.fetch_add(1, Ordering::AcqRel);
            pipe.writer_opens.fetch_add(1, Ordering::AcqRel);
        }
        Self {
            pipe,
            reads,
            writes,
        }
    }

    /// The pipe.
    pub fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        if self.reads && self.pipe.readers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.pipe.wake_writers();
        }
        if self.writes && self.pipe.writers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.pipe.readable.wake_all();
        }
    }
}

impl FileOps for PipeEnd {
    fn read(&self, file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        self.pipe.read(buf, file.nonblocking())
    }

    fn write(&self, file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        self.pipe.write(buf, file.nonblocking())
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        let pipe = &*self.pipe;
        if let Some(table) = table {
            if self.reads {
                table.add(&pipe.readable);
            }
            if self.writes {
                table.add(&pipe.writable);
            }
        }
        let mut events = PollEvents::empty();
        if self.reads {
            if pipe.len() > 0 {
                events |= PollEvents::READABLE;
            }
            if pipe.writers.load(Ordering::Acquire) == 0
                && pipe.writer_opens.load(Ordering::Acquire) > 0
            {
                events |= PollEvents::HUP;
            }
        }
        if self.writes {
            if pipe.has_room() {
                events |= PollEvents::WRITABLE;
            }
            if pipe.readers.load(Ordering::Acquire) == 0 {
                events |= PollEvents::ERR;
            }
        }
        events
    }

    fn ioctl(&self, _file: &File, cmd: u32, arg: usize) -> KResult<usize> {
        match cmd {
            FIONREAD => {
                write_user(arg, &(self.pipe.len() as u32))?;
                Ok(0)
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
