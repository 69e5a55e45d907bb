//! What the file system lives on.

use alloc::vec::Vec;

/// Bytes that can be read and written at any offset: a disk, an image file, a buffer.
///
/// All offsets and lengths that this crate uses are multiples of 512, except for those of
/// [`crate::Ext2::read_at`] and [`crate::Ext2::write_at`], which are rounded to whole file-system
/// blocks too. A write is carried out before the next one begins.
pub trait BlockDevice {
    /// What can go wrong with the device.
    type Error;

    /// Number of bytes.
    fn size(&self) -> u64;

    /// Fill `buffer` from the bytes at `offset`.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Self::Error>;

    /// Store `data` at `offset`.
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), Self::Error>;

    /// Store `parts`, one after the other, from `offset` on: as one write, if the device can do
    /// that; otherwise they are copied together first.
    fn write_vectored(&mut self, offset: u64, parts: &[&[u8]]) -> Result<(), Self::Error> {
        match parts {
            [part] => self.write(offset, part),
            parts => self.write(offset, &parts.concat()),
        }
    }

    /// Return when all that has been written will outlive a loss of power.
    fn flush(&mut self) -> Result<(), Self::Error>;
}

/// A device in memory, for building images and for tests.
#[derive(Clone, Debug, Default)]
pub struct MemoryDevice {
    /// Its contents.
    pub bytes: Vec<u8>,
}

impl MemoryDevice {
    /// A device of `size` zero bytes.
    pub fn new(size: usize) -> Self {
        Self {
            bytes: alloc::vec![0; size],
        }
    }

    fn range(&self, offset: u64, len: usize) -> Result<core::ops::Range<usize>, OutOfRange> {
        let start = usize::try_from(offset).map_err(|_| OutOfRange)?;
        let end = start.checked_add(len).ok_or(OutOfRange)?;
        if end > self.bytes.len() {
            return Err(OutOfRange);
        }
        Ok(start..end)
    }
}

/// An access to a [`MemoryDevice`] beyond its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange;

impl core::fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("access beyond the end of the device")
    }
}

impl BlockDevice for MemoryDevice {
    type Error = OutOfRange;

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), OutOfRange> {
        let range = self.range(offset, buffer.len())?;
        buffer.copy_from_slice(&self.bytes[range]);
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), OutOfRange> {
        let range = self.range(offset, data.len())?;
        self.bytes[range].copy_from_slice(data);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), OutOfRange> {
        Ok(())
    }
}

impl<D: BlockDevice + ?Sized> BlockDevice for &mut D {
    type Error = D::Error;

    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), D::Error> {
        (**self).read(offset, buffer)
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), D::Error> {
        (**self).write(offset, data)
    }

    fn write_vectored(&mut self, offset: u64, parts: &[&[u8]]) -> Result<(), D::Error> {
        (**self).write_vectored(offset, parts)
    }

    fn flush(&mut self) -> Result<(), D::Error> {
        (**self).flush()
    }
}
