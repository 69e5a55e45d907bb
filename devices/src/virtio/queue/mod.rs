//! Queues whose chains have been checked.
//!
//! The rings themselves are `virtio-queue`'s. What is added here: a chain is read out of guest
//! memory once, whole, into a list of segments; a chain that loops, is longer than its queue, ends
//! in the middle or names memory that is not there is an error instead of a shorter chain; and
//! the driver's `VIRTQ_AVAIL_F_NO_INTERRUPT` is honoured. Nothing allocates once a queue exists.

use std::sync::atomic::{Ordering, fence};

use thiserror::Error;
use virtio_bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use crate::GuestMemory;

/// What a driver did that it must not do. Its device needs a reset afterwards.
#[derive(Debug, Error)]
pub enum DriverError {
    /// A status that takes bits back, or skips a step of virtio 1.2, section 3.1.1.
    #[error("status {new:#x} cannot follow {old:#x}")]
    Status {
        /// The status before.
        old: u32,
        /// The status that the driver wrote.
        new: u32,
    },
    /// A register written while the status does not allow it.
    #[error("register {offset:#x} written in status {status:#x}")]
    Early {
        /// The register.
        offset: u64,
        /// The status.
        status: u32,
    },
    /// A queue that the device does not have.
    #[error("there is no queue {0}")]
    NoSuchQueue(u32),
    /// A queue that is not ready was notified.
    #[error("queue {0} is not ready")]
    NotReady(u32),
    /// A queue size of zero, not a power of two, or too large.
    #[error("queue size {0} is zero, too large or not a power of two")]
    QueueSize(u32),
    /// A queue whose rings are misaligned or not in memory.
    #[error("the rings of queue {0} are misaligned or outside memory")]
    Rings(u32),
    /// The rings contradict themselves.
    #[error("broken ring: {0}")]
    Ring(#[from] virtio_queue::Error),
    /// A chain without descriptors, with a loop, or that ends in an unreadable descriptor.
    #[error("descriptor chain {0} is empty, loops, or has an invalid descriptor")]
    Chain(u16),
    /// A descriptor that names memory outside the guest's.
    #[error("a descriptor names {len:#x} bytes at {addr:#x}, which is not memory")]
    Memory {
        /// Guest physical address.
        addr: u64,
        /// Length in bytes.
        len: u32,
    },
    /// A chain that the device cannot even refuse: no room for its answer.
    #[error("a request lacks its header or room for its answer")]
    Request,
}

/// A part of a buffer in guest memory, known to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Guest physical address.
    pub addr: GuestAddress,
    /// Length in bytes, not 0.
    pub len: u32,
}

/// Number of bytes in `segments`.
pub fn total(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| u64::from(segment.len)).sum()
}

/// Append to `out` the part of `segments` that is left after `skip` bytes, at most `take` bytes.
pub fn part(segments: &[Segment], mut skip: u64, mut take: u64, out: &mut Vec<Segment>) {
    for segment in segments {
        let len = u64::from(segment.len);
        let cut = skip.min(len);
        let rest = (len - cut).min(take);
        skip -= cut;
        take -= rest;
        if rest > 0 {
            // No overflow: the segment lies in memory; no truncation: `rest <= segment.len`.
            out.push(Segment {
                addr: GuestAddress(segment.addr.0 + cut),
                len: rest as u32,
            });
        }
    }
}

/// Fill `bytes` from `segments`; how many bytes there were.
///
/// # Errors
/// The memory is not there: never for segments of an [`ActiveQueue`].
pub fn gather(
    mem: &GuestMemory,
    segments: &[Segment],
    bytes: &mut [u8],
) -> Result<usize, vm_memory::GuestMemoryError> {
    let mut done = 0;
    for segment in segments {
        let len = (segment.len as usize).min(bytes.len() - done);
        mem.read_slice(&mut bytes[done..done + len], segment.addr)?;
        done += len;
    }
    Ok(done)
}

/// Copy `bytes` into `segments`; how many bytes had room.
///
/// # Errors
/// The memory is not there: never for segments of an [`ActiveQueue`].
pub fn scatter(
    mem: &GuestMemory,
    segments: &[Segment],
    bytes: &[u8],
) -> Result<usize, vm_memory::GuestMemoryError> {
    let mut done = 0;
    for segment in segments {
        let len = (segment.len as usize).min(bytes.len() - done);
        mem.write_slice(&bytes[done..done + len], segment.addr)?;
        done += len;
    }
    Ok(done)
}

/// The place of one chain: its segments, those that the device may read first.
#[derive(Debug)]
pub(super) struct ChainBuffer {
    segments: Vec<Segment>,
    /// How many of them are the device's to read.
    readable: usize,
}

impl ChainBuffer {
    /// Room for a chain of `size` descriptors, the most that a queue of that size can have.
    pub(super) fn new(size: u16) -> Self {
        Self {
            segments: Vec::with_capacity(size.into()),
            readable: 0,
        }
    }

    /// Read `chain` out of guest memory.
    fn fill(
        &mut self,
        mem: &GuestMemory,
        chain: DescriptorChain<&GuestMemory>,
        size: u16,
    ) -> Result<u16, DriverError> {
        let head = chain.head_index();
        self.segments.clear();
        self.readable = 0;
        let mut writable = false;
        let mut more = true;
        for (count, descriptor) in chain.enumerate() {
            // A chain is no longer than its queue, even where it is indirect (2.7.5.3.1); and
            // what the device writes comes after what it reads (2.7.4.2).
            if count >= size.into() || writable && !descriptor.is_write_only() {
                return Err(DriverError::Chain(head));
            }
            writable = descriptor.is_write_only();
            more = descriptor.has_next();
            let (addr, len) = (descriptor.addr(), descriptor.len());
            if len == 0 {
                continue;
            }
            if !mem.check_range(addr, len as usize) {
                let addr = addr.0;
                return Err(DriverError::Memory { addr, len });
            }
            self.segments.push(Segment { addr, len });
            self.readable += usize::from(!writable);
        }
        // The iterator ends without a word where it cannot go on.
        if more {
            return Err(DriverError::Chain(head));
        }
        Ok(head)
    }
}

/// A queue at work: the device takes chains out of it, and gives them back.
pub struct ActiveQueue<'a> {
    mem: &'a GuestMemory,
    ring: &'a mut Queue,
    chain: &'a mut ChainBuffer,
    used: bool,
}

impl<'a> ActiveQueue<'a> {
    pub(super) fn new(
        mem: &'a GuestMemory,
        ring: &'a mut Queue,
        chain: &'a mut ChainBuffer,
    ) -> Self {
        Self {
            mem,
            ring,
            chain,
            used: false,
        }
    }

    /// Take the next chain that the driver has made available: its number. [`readable`] and
    /// [`writable`] then tell its segments. Once there is none, the driver is asked to notify.
    ///
    /// [`readable`]: Self::readable
    /// [`writable`]: Self::writable
    ///
    /// # Errors
    /// The ring or the chain is broken.
    pub fn pop(&mut self) -> Result<Option<u16>, DriverError> {
        loop {
            if let Some(chain) = self.ring.iter(self.mem)?.next() {
                let size = self.ring.size();
                return self.chain.fill(self.mem, chain, size).map(Some);
            }
            // Without EVENT_IDX notifications are never off. With it, the driver may have added
            // a chain just before it could see that we want to hear of it.
            if !self.ring.event_idx_enabled() || !self.ring.enable_notification(self.mem)? {
                return Ok(None);
            }
        }
    }

    /// What the device may read of the last chain taken.
    pub fn readable(&self) -> &[Segment] {
        &self.chain.segments[..self.chain.readable]
    }

    /// What the device may write of the last chain taken.
    pub fn writable(&self) -> &[Segment] {
        &self.chain.segments[self.chain.readable..]
    }

    /// The guest's memory.
    pub fn mem(&self) -> &'a GuestMemory {
        self.mem
    }

    /// Give chain `head` back, `len` bytes of it written.
    ///
    /// # Errors
    /// The used ring is broken.
    pub fn complete(&mut self, head: u16, len: u32) -> Result<(), DriverError> {
        self.used = true;
        Ok(self.ring.add_used(self.mem, head, len)?)
    }

    /// Whether the driver wants an interrupt for what has been completed.
    pub(super) fn wants_interrupt(self) -> Result<bool, DriverError> {
        if !self.used {
            return Ok(false);
        }
        if self.ring.event_idx_enabled() {
            return Ok(self.ring.needs_notification(self.mem)?);
        }
        // The used index before the flags: the driver looks the other way round.
        fence(Ordering::SeqCst);
        let flags: u16 = self
            .mem
            .load(GuestAddress(self.ring.avail_ring()), Ordering::Relaxed)
            .map_err(virtio_queue::Error::GuestMemory)?;
        Ok(u32::from(u16::from_le(flags)) & VRING_AVAIL_F_NO_INTERRUPT == 0)
    }
}

#[cfg(test)]
mod tests;
