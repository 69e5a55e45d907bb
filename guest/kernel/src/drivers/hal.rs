//! What the virtio-drivers crate needs to know of this kernel's memory.

use core::ptr::NonNull;

use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

use crate::mm::{frame, mmio};

/// The kernel's memory as virtio devices see it: physical addresses are the guest's, and all
/// buffers lie in the direct map.
pub struct KernelHal;

// SAFETY: `dma_alloc` hands out whole zeroed frames of the buddy allocator, which nobody else has;
// the translations are those of the direct map.
unsafe impl Hal for KernelHal {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let order = pages.next_power_of_two().trailing_zeros() as usize;
        match frame::alloc_pages(order) {
            Some(gpa) => {
                let at = crate::mm::phys_to_virt(gpa);
                // SAFETY: the frames have just been allocated and are mapped there.
                unsafe { at.write_bytes(0, PAGE_SIZE << order) };
                match NonNull::new(at) {
                    Some(at) => (gpa, at),
                    None => (0, NonNull::dangling()),
                }
            }
            // Address 0 tells the crate that there is no memory.
            None => (0, NonNull::dangling()),
        }
    }

    unsafe fn dma_dealloc(paddr: PhysAddr, _vaddr: NonNull<u8>, pages: usize) -> i32 {
        let order = pages.next_power_of_two().trailing_zeros() as usize;
        // SAFETY: the caller gives back what `dma_alloc` gave out.
        unsafe { frame::free_pages(paddr, order) };
        0
    }

    unsafe fn mmio_phys_to_virt(paddr: PhysAddr, size: usize) -> NonNull<u8> {
        NonNull::new(mmio::map(paddr, size)).unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        crate::mm::virt_to_phys(buffer.as_ptr().cast::<u8>())
    }

    unsafe fn unshare(_paddr: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}
