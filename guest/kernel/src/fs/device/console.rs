//! `/dev/console` and `/dev/hvc*`, and `/dev/ttyS0`, by which the kernel's log leaves.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;

use crate::drivers::console::{self, Console};
use crate::errno::{Errno, KResult};
use crate::fs::{FIONREAD, File, FileOps, OpenFlags, PollEvents, PollTable, ReadBuf, WriteBuf};
use crate::mm::user::write_user;
use crate::tty;

/// A console: the terminal, or a stream of bytes. A machine with fewer consoles has those that it
/// lacks on its first.
pub fn open(index: usize, flags: OpenFlags) -> KResult<Box<dyn FileOps>> {
    if index == 0
        && let Some(tty) = tty::console_tty()
    {
        return Ok(tty::open(&tty, flags));
    }
    let console = console::get(index)
        .or_else(|| console::get(0))
        .ok_or(Errno::ENXIO)?;
    Ok(Box::new(Stream { console }))
}

/// A console as a stream of bytes.
struct Stream {
    console: Arc<Console>,
}

impl FileOps for Stream {
    fn read(&self, file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        self.console.read(buf, file.nonblocking())
    }

    fn write(&self, file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        self.console.write(buf, file.flags().has(OpenFlags::DSYNC))
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        // Output never waits long; input may.
        let mut events = PollEvents::WRITABLE;
        if self.console.readable(table) {
            events |= PollEvents::READABLE;
        }
        events
    }

    fn ioctl(&self, _file: &File, cmd: u32, arg: usize) -> KResult<usize> {
        match cmd {
            FIONREAD => {
                write_user(arg, &(self.console.available() as u32))?;
                Ok(0)
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `/dev/ttyS0`: what is written goes where the kernel's own log goes.
pub struct Log;

impl FileOps for Log {
    fn read(&self, _file: &File, _buf: &mut ReadBuf<'_>) -> KResult<usize> {
        Ok(0)
    }

    fn write(&self, _file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        let mut chunk = [0u8; 256];
        let mut written = 0;
        while buf.remaining() > 0 {
            let n = buf.take(&mut chunk)?;
            if n == 0 {
                break;
            }
            crate::log::raw(&chunk[..n]);
            written += n;
        }
        Ok(written)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
