//! A disk (virtio 1.2, section 5.2), on a [`BlockBackend`].

mod device;
mod file;
mod overlay;

pub use device::Block;
pub use file::{DiskError, DiskFile};
pub use overlay::Overlay;

use std::io;

use super::queue::Segment;
use crate::GuestMemory;

/// Bytes in a sector, the unit of a disk's addresses.
pub const SECTOR: u64 = 512;

/// Where a disk's bytes are.
///
/// Offsets and lengths are in bytes and multiples of [`SECTOR`]; they lie within
/// [`size`](Self::size). The device has checked that.
pub trait BlockBackend: Send {
    /// Size in bytes, a multiple of [`SECTOR`].
    fn size(&self) -> u64;

    /// Whether writes are refused.
    fn read_only(&self) -> bool;

    /// Fill `segments` from `offset`.
    ///
    /// # Errors
    /// As the host tells.
    fn read(&mut self, mem: &GuestMemory, segments: &[Segment], offset: u64) -> io::Result<()>;

    /// Write `segments` to `offset`. When it returns, a kill of gnomon loses none of it.
    ///
    /// # Errors
    /// As the host tells.
    fn write(&mut self, mem: &GuestMemory, segments: &[Segment], offset: u64) -> io::Result<()>;

    /// Make all writes durable. When it returns, a loss of power loses none of them.
    ///
    /// # Errors
    /// As the host tells.
    fn flush(&mut self) -> io::Result<()>;
}
