//! A console (virtio 1.2, section 5.3) with one port: queue 0 receives, queue 1 transmits.
//!
//! Output is written within the driver's notification. Input comes from another thread through a
//! [`ConsoleInput`], is kept in a small queue, and flows as the driver gives buffers.
//!
//! **The end of input**, which virtio knows no word for: one receive buffer comes back with a used
//! length of 0, once, after all input. No other buffer comes back empty.

mod input;

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Condvar};

use virtio_bindings::virtio_ids::VIRTIO_ID_CONSOLE;
use vm_memory::Bytes;

use super::queue::{ActiveQueue, DriverError};
use super::{VirtioDevice, copy_config};

pub use input::{Closed, ConsoleInput};

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const QUEUE_SIZE: u16 = 64;

const F_SIZE: u64 = 1 << 0;
const F_EMERG_WRITE: u64 = 1 << 2;
/// Offset in the configuration of `emerg_wr`.
const EMERG_WRITE: u64 = 8;

/// Bytes of input that are kept for the driver.
const INPUT_ROOM: usize = 64 << 10;
/// Bytes of output that are written at a time.
const BOUNCE: usize = 64 << 10;

/// A console.
pub struct Console {
    out: Box<dyn Write + Send>,
    /// Output on its way from guest memory, which cannot be lent to a writer: the guest may
    /// change it meanwhile.
    bounce: Box<[u8]>,
    /// `out` has failed before.
    broken: bool,
    columns: u16,
    rows: u16,
    input: VecDeque<u8>,
    end: End,
    /// Input is not taken any more.
    stopped: bool,
    /// Signalled when there is room in `input`, or `stopped`.
    room: Arc<Condvar>,
}

/// What is known of the input's end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// More may come.
    Open,
    /// Nothing more comes; the driver has not been told.
    Reached,
    /// The driver knows.
    Told,
}

impl Console {
    /// A console of `columns` by `rows` characters (0: unknown) that transmits into `out`. Errors
    /// of `out` lose output; whoever wants to end the virtual machine then does it in `out`.
    pub fn new(out: Box<dyn Write + Send>, columns: u16, rows: u16) -> Self {
        Self {
            out,
            bounce: vec![0; BOUNCE].into_boxed_slice(),
            broken: false,
            columns,
            rows,
            input: VecDeque::new(),
            end: End::Open,
            stopped: false,
            room: Arc::default(),
        }
    }

    fn write_out(&mut self, len: usize) {
        let result = self
            .out
            .write_all(&self.bounce[..len])
            .and_then(|()| self.out.flush());
        if let Err(error) = result
            && !std::mem::replace(&mut self.broken, true)
        {
            log::warn!("console output is lost: {error}");
        }
    }

    fn transmit(&mut self, queue: &mut ActiveQueue<'_>) -> Result<(), DriverError> {
        while let Some(head) = queue.pop()? {
            let mut filled = 0;
            for segment in queue.readable() {
                let mut done = 0;
                while done < segment.len as usize {
                    if filled == BOUNCE {
                        self.write_out(filled);
                        filled = 0;
                    }
                    let len = (segment.len as usize - done).min(BOUNCE - filled);
                    let addr = vm_memory::GuestAddress(segment.addr.0 + done as u64);
                    queue
                        .mem()
                        .read_slice(&mut self.bounce[filled..filled + len], addr)
                        .map_err(virtio_queue::Error::GuestMemory)?;
                    filled += len;
                    done += len;
                }
            }
            if filled > 0 {
                self.write_out(filled);
            }
            queue.complete(head, 0)?;
        }
        Ok(())
    }

    fn receive(&mut self, queue: &mut ActiveQueue<'_>) -> Result<(), DriverError> {
        let before = self.input.len();
        let result = self.fill_buffers(queue);
        if self.input.len() < before {
            self.room.notify_all();
        }
        result
    }

    fn fill_buffers(&mut self, queue: &mut ActiveQueue<'_>) -> Result<(), DriverError> {
        while !self.input.is_empty() {
            let Some(head) = queue.pop()? else {
                return Ok(());
            };
            let mut filled = 0;
            for segment in queue.writable() {
                let mut done = 0;
                while done < segment.len && !self.input.is_empty() {
                    let (front, _) = self.input.as_slices();
                    let len = front.len().min((segment.len - done) as usize);
                    let addr = vm_memory::GuestAddress(segment.addr.0 + u64::from(done));
                    queue
                        .mem()
                        .write_slice(&front[..len], addr)
                        .map_err(virtio_queue::Error::GuestMemory)?;
                    self.input.drain(..len);
                    done += len as u32;
                }
                filled += done;
            }
            // Returned empty it would be taken for the end of the input.
            if filled == 0 {
                return Err(DriverError::Request);
            }
            queue.complete(head, filled)?;
        }
        if self.end == End::Reached
            && let Some(head) = queue.pop()?
        {
            queue.complete(head, 0)?;
            self.end = End::Told;
        }
        Ok(())
    }
}

impl VirtioDevice for Console {
    fn device_type(&self) -> u32 {
        VIRTIO_ID_CONSOLE
    }

    fn features(&self) -> u64 {
        F_SIZE | F_EMERG_WRITE
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE; 2]
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let mut config = [0; 12];
        config[..2].copy_from_slice(&self.columns.to_le_bytes());
        config[2..4].copy_from_slice(&self.rows.to_le_bytes());
        config[4] = 1; // max_nr_ports; meaningful only with MULTIPORT
        copy_config(&config, offset, data);
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        if let (EMERG_WRITE, Some(byte)) = (offset, data.first()) {
            self.bounce[0] = *byte;
            self.write_out(1);
        }
    }

    fn reset(&mut self) {
        // The next driver is told again.
        if self.end == End::Told {
            self.end = End::Reached;
        }
    }

    fn process(&mut self, index: usize, queue: &mut ActiveQueue<'_>) -> Result<(), DriverError> {
        match index {
            TRANSMIT => self.transmit(queue),
            _ => self.receive(queue),
        }
    }
}

#[cfg(test)]
mod tests;
