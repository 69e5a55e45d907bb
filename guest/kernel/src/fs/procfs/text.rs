//! The open files of `/proc`.

use alloc::vec::Vec;
use core::any::Any;

use super::{process, process_of, system};
use crate::errno::{Errno, KResult};
use crate::fs::{File, FileOps, ReadBuf, WriteBuf};

/// What takes the text that is written to a file.
#[derive(Clone, Copy)]
pub enum Write {
    /// A file that does not belong to a process.
    Machine(system::Write),
    /// A process's, or a thread's, by number.
    Process(process::Write, u32),
}

/// An open file of `/proc`: its text as it was at the time.
pub struct Text {
    /// The text.
    pub text: Vec<u8>,
    /// What takes writes, or the error that they meet: root may open for writing what is not to be
    /// written.
    pub write: KResult<Write>,
}

impl FileOps for Text {
    fn read(&self, file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        file.at_offset(|offset| self.read_at(file, offset, buf))
    }

    fn read_at(&self, _file: &File, offset: u64, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        match self.text.get(offset as usize..) {
            Some(rest) => buf.put(rest),
            None => Ok(0),
        }
    }

    fn write(&self, _file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        let write = self.write?;
        let mut text = [0; 256];
        let n = buf.take(&mut text)?;
        let text = core::str::from_utf8(&text[..n]).map_err(|_| Errno::EINVAL)?;
        match write {
            Write::Machine(write) => write(text.trim())?,
            Write::Process(write, id) => write(&process_of(id)?, id, text.trim())?,
        }
        Ok(n)
    }

    fn write_at(&self, file: &File, _offset: u64, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        self.write(file, buf)
    }

    fn seek_end(&self, _file: &File) -> KResult<u64> {
        Ok(self.text.len() as u64)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
