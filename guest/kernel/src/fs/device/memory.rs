//! The devices without hardware (`null(4)`, `full(4)`, `random(4)`).

use core::any::Any;

use crate::drivers::random;
use crate::errno::{Errno, KResult};
use crate::fs::{File, FileOps, ReadBuf, WriteBuf};

/// `/dev/null`.
pub struct Null;

impl FileOps for Null {
    fn read(&self, _file: &File, _buf: &mut ReadBuf<'_>) -> KResult<usize> {
        Ok(0)
    }

    fn write(&self, _file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        let n = buf.remaining();
        Ok(buf.skip(n))
    }

    fn read_at(&self, file: &File, _offset: u64, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        self.read(file, buf)
    }

    fn write_at(&self, file: &File, _offset: u64, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        self.write(file, buf)
    }

    fn seek_is_noop(&self) -> bool {
        true
    }

    fn seek_end(&self, _file: &File) -> KResult<u64> {
        Ok(0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `/dev/zero`.
pub struct Zero;

impl FileOps for Zero {
    fn read(&self, _file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        let n = buf.remaining();
        buf.put_zeros(n)
    }

    fn write(&self, _file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        let n = buf.remaining();
        Ok(buf.skip(n))
    }

    fn read_at(&self, file: &File, _offset: u64, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        self.read(file, buf)
    }

    fn write_at(&self, file: &File, _offset: u64, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        self.write(file, buf)
    }

    fn seek_is_noop(&self) -> bool {
        true
    }

    fn seek_end(&self, _file: &File) -> KResult<u64> {
        Ok(0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Whether an open file is `/dev/zero`, which mmap takes for anonymous memory.
pub fn is_zero(file: &File) -> bool {
    file.ops_as::<Zero>().is_some()
}

/// `/dev/full`.
pub struct Full;

impl FileOps for Full {
    fn read(&self, _file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        let n = buf.remaining();
        buf.put_zeros(n)
    }

    fn write(&self, _file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        if buf.remaining() == 0 {
            Ok(0)
        } else {
            Err(Errno::ENOSPC)
        }
    }

    fn seek_is_noop(&self) -> bool {
        true
    }

    fn seek_end(&self, _file: &File) -> KResult<u64> {
        Ok(0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `/dev/random` and `/dev/urandom`.
pub struct Random;

impl FileOps for Random {
    fn read(&self, _file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        let mut chunk = [0u8; 256];
        let mut read = 0;
        while buf.remaining() > 0 {
            let n = buf.remaining().min(chunk.len());
            random::fill(&mut chunk[..n]);
            match buf.put(&chunk[..n]) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(e) if read == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(read)
    }

    fn write(&self, _file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        let mut chunk = [0u8; 256];
        let mut written = 0;
        while buf.remaining() > 0 {
            let n = buf.take(&mut chunk)?;
            if n == 0 {
                break;
            }
            random::mix(&chunk[..n]);
            written += n;
        }
        Ok(written)
    }

    fn read_at(&self, file: &File, _offset: u64, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        self.read(file, buf)
    }

    fn seek_end(&self, _file: &File) -> KResult<u64> {
        Ok(0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
