//! `/proc/PID/mem`: the memory of a process, at its addresses (`proc_pid_mem(5)`).

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::any::Any;

use crate::errno::{Errno, KResult};
use crate::fs::{File, FileOps, ReadBuf, WriteBuf};
use crate::mm::AddressSpace;
use crate::mm::layout::PAGE;
use crate::task::Process;

/// An open one. It is about the program that ran when it was opened, and does not keep its memory.
pub struct Memory {
    space: Weak<AddressSpace>,
}

impl Memory {
    /// For a process that the caller may inspect. ENOENT: it has ended.
    pub fn open(process: &Process) -> KResult<Self> {
        let space = process.space().ok_or(Errno::ENOENT)?;
        Ok(Memory {
            space: Arc::downgrade(&space),
        })
    }

    /// Has `each` move a piece of memory, at an address in a buffer of so many bytes, until it moves
    /// less than it was asked for. EIO: nothing could be moved. 0: the program is gone.
    fn pieces(
        &self,
        offset: u64,
        len: usize,
        mut each: impl FnMut(&AddressSpace, usize, &mut [u8]) -> KResult<usize>,
    ) -> KResult<usize> {
        let Some(space) = self.space.upgrade() else {
            return Ok(0);
        };
        let mut page = Box::new([0; PAGE]);
        let mut done = 0;
        while done < len {
            let piece = (len - done).min(PAGE);
            let at = offset
                .checked_add(done as u64)
                .and_then(|at| at.try_into().ok());
            let moved = match at {
                Some(at) => each(&space, at, &mut page[..piece]),
                None => Ok(0),
            };
            match moved {
                Ok(0) if done == 0 => return Err(Errno::EIO),
                Err(error) if done == 0 => return Err(error),
                Ok(moved) if moved == piece => done += moved,
                Ok(moved) => return Ok(done + moved),
                Err(_) => break,
            }
        }
        Ok(done)
    }
}

impl FileOps for Memory {
    fn read(&self, file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        file.at_offset(|offset| self.read_at(file, offset, buf))
    }

    fn write(&self, file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        file.at_offset(|offset| self.write_at(file, offset, buf))
    }

    fn read_at(&self, _file: &File, offset: u64, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        self.pieces(offset, buf.remaining(), |space, at, piece| {
            let n = space.read_remote(at, piece, true);
            buf.put(&piece[..n])
        })
    }

    fn write_at(&self, _file: &File, offset: u64, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        self.pieces(offset, buf.remaining(), |space, at, piece| {
            let n = buf.take(piece)?;
            Ok(space.write_remote(at, &piece[..n], true))
        })
    }

    /// Only `SEEK_SET` and `SEEK_CUR` mean anything: the memory has no end.
    fn seek_end(&self, _file: &File) -> KResult<u64> {
        Ok(0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
