//! Buffers of a console: contiguous frames, which the device reads and writes where they are.

use core::slice;

use crate::errno::{Errno, KResult};
use crate::mm::layout::PAGE;
use crate::mm::{frame, phys_to_virt};

/// Order of the large buffers: 64 KiB.
pub(super) const LARGE_ORDER: usize = 4;

/// Contiguous frames for a device to read or write.
pub(super) struct DmaBuffer {
    gpa: u64,
    order: usize,
}

impl DmaBuffer {
    /// `2^order` frames, or fewer if memory is short. ENOMEM.
    pub fn new(order: usize) -> KResult<Self> {
        for order in (0..=order).rev() {
            if let Some(gpa) = frame::alloc_pages(order) {
                return Ok(Self { gpa, order });
            }
        }
        Err(Errno::ENOMEM)
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        PAGE << self.order
    }

    /// Its contents.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the frames are this buffer's own and mapped in the direct map.
        unsafe { slice::from_raw_parts(phys_to_virt(self.gpa), self.len()) }
    }

    /// Its contents, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(phys_to_virt(self.gpa), self.len()) }
    }
}

impl Drop for DmaBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated by `new`, and no device knows of it any more.
        unsafe { frame::free_pages(self.gpa, self.order) };
    }
}
