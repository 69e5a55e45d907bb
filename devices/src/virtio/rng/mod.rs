//! A source of randomness (virtio 1.2, section 5.4), fed by the host's `getrandom`.

use std::io;

use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;
use vm_memory::{GuestMemoryBackend, VolatileSlice};

use super::VirtioDevice;
use super::queue::{ActiveQueue, DriverError, Segment};
use crate::GuestMemory;

const QUEUE_SIZE: u16 = 16;

/// The most bytes that one request is given, so that it does not keep the processor for long.
const REQUEST_MAX: usize = 64 << 10;

/// A source of randomness.
#[derive(Debug, Default)]
pub struct Rng;

impl Rng {
    /// A source of randomness.
    pub const fn new() -> Self {
        Self
    }
}

impl VirtioDevice for Rng {
    fn device_type(&self) -> u32 {
        VIRTIO_ID_RNG
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE]
    }

    fn read_config(&self, _offset: u64, _data: &mut [u8]) {}

    fn process(&mut self, _index: usize, queue: &mut ActiveQueue<'_>) -> Result<(), DriverError> {
        while let Some(head) = queue.pop()? {
            if queue.writable().is_empty() {
                return Err(DriverError::Request);
            }
            let len = fill(queue.mem(), queue.writable()).unwrap_or_else(|error| {
                log::warn!("virtio-rng: the host gives no randomness: {error}");
                0
            });
            queue.complete(head, len)?;
        }
        Ok(())
    }
}

/// Fill `segments`, up to [`REQUEST_MAX`] bytes; how many it were.
fn fill(mem: &GuestMemory, segments: &[Segment]) -> io::Result<u32> {
    let mut done = 0;
    for segment in segments {
        let len = (segment.len as usize).min(REQUEST_MAX - done);
        for slice in mem.get_slices(segment.addr, len) {
            fill_slice(slice.map_err(io::Error::other)?)?;
        }
        done += len;
    }
    Ok(done as u32)
}

fn fill_slice(mut slice: VolatileSlice<'_>) -> io::Result<()> {
    while !slice.is_empty() {
        let guard = slice.ptr_guard_mut();
        // SAFETY: the pointer and the length are those of a slice of guest memory, which is
        // mapped while it is borrowed, and of which no reference exists in this process.
        let done = unsafe { libc::getrandom(guard.as_ptr().cast(), guard.len(), 0) };
        match usize::try_from(done) {
            Ok(done) => slice = slice.offset(done).map_err(io::Error::other)?,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
