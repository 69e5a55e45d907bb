//! Images in memory.

use gnomon_ext2::BlockDevice;
use std::io;

/// An image in memory that is kept up to its last byte that is not zero.
#[derive(Clone, Debug)]
pub struct ImageDevice {
    bytes: Vec<u8>,
    size: u64,
}

impl ImageDevice {
    /// An image of `size` bytes that begins with `bytes`.
    pub fn new(bytes: Vec<u8>, size: u64) -> Self {
        let size = size.max(bytes.len() as u64);
        Self { bytes, size }
    }

    /// The beginning of the image; what follows, up to [`BlockDevice::size`], is zero.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn check(&self, offset: u64, len: usize) -> io::Result<usize> {
        match offset.checked_add(len as u64) {
            Some(end) if end <= self.size => Ok(offset as usize),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl BlockDevice for ImageDevice {
    type Error = io::Error;

    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = self.check(offset, buffer.len())?;
        let kept = self.bytes.get(start..).unwrap_or_default();
        let len = kept.len().min(buffer.len());
        buffer[..len].copy_from_slice(&kept[..len]);
        buffer[len..].fill(0);
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = self.check(offset, data.len())?;
        let end = start + data.len();
        if end > self.bytes.len() {
            if data.iter().all(|&byte| byte == 0) {
                // Zero beyond the end is what is there already.
                if let Some(kept) = self.bytes.get_mut(start..) {
                    kept.fill(0);
                }
                return Ok(());
            }
            self.bytes.resize(end, 0);
        }
        self.bytes[start..end].copy_from_slice(data);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
