//! The virtio block device (virtio 1.2, section 5.2), one request at a time.
//!
//! A request's chain is header, data buffers, status byte. Requests gather many buffers, since
//! each costs an exit from the virtual machine, however long it is.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;
use virtio_drivers::transport::mmio::MmioTransport;

use super::block::{self, BlockDevice, SECTOR};
use super::hal::KernelHal;
use super::{InterruptHandler, negotiate};
use crate::errno::{Errno, KResult};
use crate::mm::stat;
use crate::sync::{Mutex, SpinLock, WaitQueue};

/// Descriptors in the queue: header and status take two, data the rest.
const QUEUE: usize = 64;

/// `VIRTIO_BLK_F_RO`.
const FEATURE_RO: u64 = 1 << 5;
/// `VIRTIO_BLK_F_FLUSH`.
const FEATURE_FLUSH: u64 = 1 << 9;

const REQUEST_IN: u32 = 0;
const REQUEST_OUT: u32 = 1;
const REQUEST_FLUSH: u32 = 4;

const STATUS_OK: u8 = 0;

/// How often the used ring is looked at before the driver sleeps.
const POLLS: u32 = 200;

#[repr(C)]
struct Header {
    kind: u32,
    reserved: u32,
    sector: u64,
}

/// Header and status, in memory that the device can reach.
#[repr(C)]
struct Frame {
    header: Header,
    status: u8,
}

struct Port {
    transport: MmioTransport<'static>,
    queue: VirtQueue<KernelHal, QUEUE>,
}

/// A virtio disk.
pub(super) struct VirtioBlock {
    name: String,
    sectors: u64,
    read_only: bool,
    flushes: bool,
    /// Held for the whole of a request.
    request: Mutex<Box<Frame>>,
    port: SpinLock<Port>,
    done: WaitQueue,
}

/// Start the driver of the disk behind `transport` and make it known as the next `vdX`.
pub(super) fn start(mut transport: MmioTransport<'static>) -> KResult<Arc<VirtioBlock>> {
    let features = negotiate(&mut transport, FEATURE_RO | FEATURE_FLUSH);
    let low: u32 = transport.read_config_space(0).map_err(|_| Errno::EIO)?;
    let high: u32 = transport.read_config_space(4).map_err(|_| Errno::EIO)?;
    let queue = VirtQueue::new(&mut transport, 0, false, false).map_err(|_| Errno::EIO)?;
    transport.finish_init();
    let letter = (b'a' + (block::count() % 26) as u8) as char;
    let disk = Arc::new(VirtioBlock {
        name: format!("vd{letter}"),
        sectors: u64::from(high) << 32 | u64::from(low),
        read_only: features & FEATURE_RO != 0,
        flushes: features & FEATURE_FLUSH != 0,
        request: Mutex::new(Box::new(Frame {
            header: Header {
                kind: 0,
                reserved: 0,
                sector: 0,
            },
            status: 0,
        })),
        port: SpinLock::new(Port { transport, queue }),
        done: WaitQueue::new(),
    });
    block::register(disk.clone());
    Ok(disk)
}

impl VirtioBlock {
    /// Carry out one request, with the data going `out` to the device or coming `into` memory.
    fn request(
        &self,
        kind: u32,
        sector: u64,
        out: &[&[u8]],
        into: &mut [&mut [u8]],
    ) -> KResult<()> {
        let mut frame = self.request.lock();
        let Frame { header, status } = &mut **frame;
        *header = Header {
            kind,
            reserved: 0,
            sector,
        };
        *status = 0xff;
        // SAFETY: a Header is 16 bytes without padding.
        let header = unsafe {
            core::slice::from_raw_parts(
                (header as *const Header).cast::<u8>(),
                core::mem::size_of::<Header>(),
            )
        };
        let mut inputs: Vec<&[u8]> = Vec::with_capacity(out.len() + 1);
        inputs.push(header);
        inputs.extend_from_slice(out);
        let mut outputs: Vec<&mut [u8]> = Vec::with_capacity(into.len() + 1);
        for buffer in into {
            outputs.push(buffer);
        }
        outputs.push(core::slice::from_mut(status));
        let (inputs, outputs) = (&inputs[..], &mut outputs[..]);
        let token = {
            let mut port = self.port.lock();
            // SAFETY: header, status and data are borrowed until the request has been popped
            // below, and nothing touches them before.
            let token = unsafe { port.queue.add(inputs, outputs) }.map_err(|_| Errno::EIO)?;
            if port.queue.should_notify() {
                port.transport.notify(0);
            }
            token
        };
        self.wait_done();
        let popped = {
            let mut port = self.port.lock();
            // SAFETY: the same buffers as were added.
            unsafe { port.queue.pop_used(token, inputs, outputs) }
        };
        popped.map_err(|_| Errno::EIO)?;
        if frame.status == STATUS_OK {
            Ok(())
        } else {
            Err(Errno::EIO)
        }
    }

    /// Wait until the one request under way is in the used ring.
    fn wait_done(&self) {
        for _ in 0..POLLS {
            if self.port.lock().queue.can_pop() {
                return;
            }
            core::hint::spin_loop();
        }
        if !super::can_sleep() {
            while !self.port.lock().queue.can_pop() {
                core::hint::spin_loop();
            }
            return;
        }
        self.done
            .wait_uninterruptible(|| self.port.lock().queue.can_pop().then_some(()));
    }

    fn check(&self, sector: u64, bytes: usize) -> KResult<()> {
        let end = sector.checked_add((bytes / SECTOR) as u64);
        if !bytes.is_multiple_of(SECTOR) || end.is_none_or(|end| end > self.sectors) {
            return Err(Errno::EIO);
        }
        Ok(())
    }
}

impl BlockDevice for VirtioBlock {
    fn name(&self) -> &str {
        &self.name
    }

    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn max_segments(&self) -> usize {
        QUEUE - 2
    }

    fn read(&self, sector: u64, buffers: &mut [&mut [u8]]) -> KResult<()> {
        let bytes = buffers.iter().map(|b| b.len()).sum();
        self.check(sector, bytes)?;
        if buffers.is_empty() || buffers.len() > self.max_segments() {
            return Err(Errno::EINVAL);
        }
        stat::KIB_IN.add(bytes as u64 / 1024);
        self.request(REQUEST_IN, sector, &[], buffers)
    }

    fn write(&self, sector: u64, buffers: &[&[u8]]) -> KResult<()> {
        let bytes = buffers.iter().map(|b| b.len()).sum();
        self.check(sector, bytes)?;
        if self.read_only {
            return Err(Errno::EROFS);
        }
        stat::KIB_OUT.add(bytes as u64 / 1024);
        if buffers.is_empty() || buffers.len() > self.max_segments() {
            return Err(Errno::EINVAL);
        }
        self.request(REQUEST_OUT, sector, buffers, &mut [])
    }

    fn flush(&self) -> KResult<()> {
        if self.flushes && !self.read_only {
            self.request(REQUEST_FLUSH, 0, &[], &mut [])?;
        }
        Ok(())
    }
}

impl InterruptHandler for VirtioBlock {
    fn interrupt(&self) {
        self.port.lock().transport.ack_interrupt();
        self.done.wake_all();
    }
}
