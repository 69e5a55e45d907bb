//! The disk as its driver sees it.
//!
//! A request is a chain: a header of 16 bytes, data, one byte of status. How it is cut into
//! descriptors is the driver's affair (2.7.4).
//!
//! ```text
//!  0     4          8        16         16 + data
//! ┌──────┬──────────┬────────┬── … ─────┬────────┐
//! │ type │ reserved │ sector │   data   │ status │
//! └──────┴──────────┴────────┴── … ─────┴────────┘
//!  readable                   either     writable
//! ```

use std::io;

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX,
    VIRTIO_BLK_ID_BYTES, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP,
    VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
};
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;

use super::{BlockBackend, SECTOR};
use crate::GuestMemory;
use crate::virtio::queue::{ActiveQueue, DriverError, Segment, gather, part, scatter, total};
use crate::virtio::{VirtioDevice, copy_config};

const QUEUE_SIZE: u16 = 256;
/// Segments of data in a request: the queue's size without header and status.
const SEG_MAX: u32 = QUEUE_SIZE as u32 - 2;
const HEADER: u64 = 16;
const ID_BYTES: usize = VIRTIO_BLK_ID_BYTES as usize;

/// A disk.
pub struct Block {
    backend: Box<dyn BlockBackend>,
    id: [u8; ID_BYTES],
    /// The driver has not accepted FLUSH: every write must be durable at once (5.2.6.2).
    write_through: bool,
    /// The data of the request at hand.
    data: Vec<Segment>,
}

/// How a request ended.
enum Outcome {
    /// Done, with so many bytes of data written to the guest.
    Done(u32),
    Failed,
    Unsupported,
}

impl Block {
    /// A disk on `backend` whose driver is told the name `id` (20 bytes at most are used).
    pub fn new(backend: Box<dyn BlockBackend>, id: &str) -> Self {
        let mut bytes = [0; ID_BYTES];
        let len = id.len().min(ID_BYTES);
        bytes[..len].copy_from_slice(&id.as_bytes()[..len]);
        Self {
            backend,
            id: bytes,
            write_through: true,
            data: Vec::with_capacity(QUEUE_SIZE.into()),
        }
    }

    fn config(&self) -> [u8; 24] {
        let mut config = [0; 24];
        config[..8].copy_from_slice(&(self.backend.size() / SECTOR).to_le_bytes());
        config[12..16].copy_from_slice(&SEG_MAX.to_le_bytes());
        config[20..24].copy_from_slice(&(SECTOR as u32).to_le_bytes());
        config
    }

    /// Carry out the request whose data, either way, is in `self.data`.
    fn carry_out(&mut self, mem: &GuestMemory, kind: u32, sector: u64) -> Outcome {
        let result = match kind {
            VIRTIO_BLK_T_IN => self.checked_offset(sector).and_then(|offset| {
                self.backend.read(mem, &self.data, offset)?;
                // A chain has at most 2^32 - 1 bytes.
                Ok(total(&self.data) as u32)
            }),
            VIRTIO_BLK_T_OUT => self.checked_offset(sector).and_then(|offset| {
                if self.backend.read_only() {
                    return Err(io::ErrorKind::ReadOnlyFilesystem.into());
                }
                self.backend.write(mem, &self.data, offset)?;
                if self.write_through {
                    self.backend.flush()?;
                }
                Ok(0)
            }),
            VIRTIO_BLK_T_FLUSH => self.backend.flush().map(|()| 0),
            VIRTIO_BLK_T_GET_ID => scatter(mem, &self.data, &self.id)
                .map(|len| len as u32)
                .map_err(io::Error::other),
            _ => return Outcome::Unsupported,
        };
        match result {
            Ok(len) => Outcome::Done(len),
            Err(error) => {
                log::warn!("virtio-blk: request {kind} at sector {sector} failed: {error}");
                Outcome::Failed
            }
        }
    }

    /// The byte offset of `sector`, if all of `self.data` fits between it and the end.
    fn checked_offset(&self, sector: u64) -> io::Result<u64> {
        let len = total(&self.data);
        sector
            .checked_mul(SECTOR)
            .filter(|offset| {
                len.is_multiple_of(SECTOR)
                    && offset
                        .checked_add(len)
                        .is_some_and(|end| end <= self.backend.size())
            })
            .ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    /// Split the chain just taken, carry it out; the number of bytes written to the guest.
    fn request(&mut self, queue: &ActiveQueue<'_>) -> Result<u32, DriverError> {
        let (mem, readable, writable) = (queue.mem(), queue.readable(), queue.writable());
        let mut header = [0; HEADER as usize];
        let complete = gather(mem, readable, &mut header).is_ok_and(|len| len == header.len());
        let (Some(status), true) = (writable.last(), complete) else {
            return Err(DriverError::Request);
        };
        let [k0, k1, k2, k3, _, _, _, _, sector @ ..] = header;
        let kind = u32::from_le_bytes([k0, k1, k2, k3]);
        let room = total(writable) - 1;
        self.data.clear();
        if kind == VIRTIO_BLK_T_OUT {
            part(readable, HEADER, u64::MAX, &mut self.data);
        } else {
            part(writable, 0, room, &mut self.data);
        }
        let (status_byte, len) = match self.carry_out(mem, kind, u64::from_le_bytes(sector)) {
            Outcome::Done(len) => (VIRTIO_BLK_S_OK, len),
            Outcome::Failed => (VIRTIO_BLK_S_IOERR, 0),
            Outcome::Unsupported => (VIRTIO_BLK_S_UNSUPP, 0),
        };
        let last = Segment {
            addr: vm_memory::GuestAddress(status.addr.0 + u64::from(status.len) - 1),
            len: 1,
        };
        scatter(mem, &[last], &[status_byte as u8]).map_err(|_| DriverError::Request)?;
        Ok(len + 1)
    }
}

impl VirtioDevice for Block {
    fn device_type(&self) -> u32 {
        VIRTIO_ID_BLOCK
    }

    fn features(&self) -> u64 {
        1 << VIRTIO_BLK_F_SEG_MAX
            | 1 << VIRTIO_BLK_F_BLK_SIZE
            | 1 << VIRTIO_BLK_F_FLUSH
            | u64::from(self.backend.read_only()) << VIRTIO_BLK_F_RO
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE]
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        copy_config(&self.config(), offset, data);
    }

    fn activate(&mut self, features: u64) {
        self.write_through = features & 1 << VIRTIO_BLK_F_FLUSH == 0;
    }

    fn process(&mut self, _index: usize, queue: &mut ActiveQueue<'_>) -> Result<(), DriverError> {
        while let Some(head) = queue.pop()? {
            let len = self.request(queue)?;
            queue.complete(head, len)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
