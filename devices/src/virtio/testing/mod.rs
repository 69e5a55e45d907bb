//! A driver for tests: it can do everything right, and everything wrong.

mod allocations;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use virtio_bindings::virtio_mmio::*;
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{Bytes, GuestAddress, GuestRegionMmap};

use super::VirtioDevice;
use super::mmio::VirtioMmio;
use crate::bus::MmioDevice;
use crate::irq::IrqLine;
use crate::{GuestMemory, lock};

pub(crate) use allocations::allocations;

pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;
pub(crate) const INDIRECT: u16 = 4;

pub(crate) const VERSION_1: u64 = 1 << 32;
pub(crate) const INDIRECT_DESC: u64 = 1 << 28;
pub(crate) const EVENT_IDX: u64 = 1 << 29;

pub(crate) const ACKNOWLEDGE: u32 = 1;
pub(crate) const DRIVER: u32 = 2;
pub(crate) const DRIVER_OK: u32 = 4;
pub(crate) const FEATURES_OK: u32 = 8;
pub(crate) const NEEDS_RESET: u32 = 64;

/// The first region of memory: all of the guest's rings and buffers.
pub(crate) const LOW: u64 = 1 << 20;
/// The second region: [`HIGH_START`] to [`HIGH_END`].
pub(crate) const HIGH_START: u64 = 4 << 20;
pub(crate) const HIGH_END: u64 = HIGH_START + (64 << 10);

/// Where the buffers are: 256 KiB and up.
pub(crate) const BUFFERS: u64 = 0x4_0000;

/// Counts interrupts.
#[derive(Default)]
pub(crate) struct CountIrq(AtomicU32);

impl IrqLine for CountIrq {
    fn raise(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Guest memory in two regions, each between pages that may not be touched: a device that leaves
/// it ends the test.
pub(crate) fn memory() -> GuestMemory {
    let region = |start: u64, len: u64| {
        let (guard, len) = (64 << 10, len as usize);
        // SAFETY: a new mapping, nowhere in particular.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len + 2 * guard,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        assert_ne!(base, libc::MAP_FAILED);
        let inner = base.wrapping_byte_add(guard);
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: these pages are the mapping's, and nobody uses them yet.
        assert_eq!(unsafe { libc::mprotect(inner, len, prot) }, 0);
        // SAFETY: the mapping is never undone: tests are short.
        let builder = unsafe {
            MmapRegionBuilder::new(len)
                .with_raw_mmap_pointer(inner.cast())
                .with_mmap_prot(prot)
                .with_mmap_flags(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS)
        };
        GuestRegionMmap::new(builder.build().unwrap(), GuestAddress(start)).unwrap()
    };
    let regions = vec![region(0, LOW), region(HIGH_START, HIGH_END - HIGH_START)];
    GuestMemory::from_regions(regions).unwrap()
}

/// What a driver knows of one queue.
#[derive(Clone, Copy, Default)]
struct Ring {
    size: u16,
    next_desc: u16,
    avail: u16,
    used: u16,
}

/// A driver of a device of type `D`.
pub(crate) struct Driver<D> {
    pub(crate) device: Arc<Mutex<VirtioMmio<D>>>,
    pub(crate) mem: GuestMemory,
    irq: Arc<CountIrq>,
    rings: [Ring; 2],
}

impl<D: VirtioDevice> Driver<D> {
    /// A driver that has done nothing yet.
    pub(crate) fn new(device: D) -> Self {
        let (mem, irq) = (memory(), Arc::new(CountIrq::default()));
        let device = VirtioMmio::new(device, mem.clone(), irq.clone());
        Self {
            device: Arc::new(Mutex::new(device)),
            mem,
            irq,
            rings: Default::default(),
        }
    }

    /// A driver whose device is at work, with queues of 16.
    pub(crate) fn start(device: D, features: u64) -> Self {
        let mut driver = Self::new(device);
        driver.bring_up(features);
        driver
    }

    pub(crate) fn bring_up(&mut self, features: u64) {
        self.negotiate(features | VERSION_1);
        let queues = self.lock().device().queue_sizes().len();
        for number in 0..queues {
            self.set_up_queue(number, 16);
        }
        self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
        assert_eq!(self.status() & (DRIVER_OK | NEEDS_RESET), DRIVER_OK);
    }

    pub(crate) fn negotiate(&mut self, features: u64) {
        self.set_status(0);
        self.set_status(ACKNOWLEDGE);
        self.set_status(ACKNOWLEDGE | DRIVER);
        for half in 0..2 {
            self.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
            self.write(
                VIRTIO_MMIO_DRIVER_FEATURES,
                (features >> (32 * half)) as u32,
            );
        }
        self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK);
    }

    /// Where the rings of a queue are: descriptors, available, used.
    pub(crate) fn rings(number: usize) -> [u64; 3] {
        let base = 0x4000 * (number as u64 + 1);
        [base, base + 0x1000, base + 0x2000]
    }

    pub(crate) fn set_up_queue(&mut self, number: usize, size: u16) {
        self.rings[number] = Ring {
            size,
            ..Ring::default()
        };
        let [desc, avail, used] = Self::rings(number);
        for (addr, len) in [(desc, 0x1000), (avail, 0x1000), (used, 0x1000)] {
            self.mem
                .write_slice(&vec![0; len], GuestAddress(addr))
                .unwrap();
        }
        self.write_queue(number as u32, size.into(), [desc, avail, used]);
        self.write(VIRTIO_MMIO_QUEUE_READY, 1);
    }

    /// Write a queue's set-up, all but QueueReady.
    pub(crate) fn write_queue(&mut self, number: u32, size: u32, [desc, avail, used]: [u64; 3]) {
        self.write(VIRTIO_MMIO_QUEUE_SEL, number);
        self.write(VIRTIO_MMIO_QUEUE_NUM, size);
        for (low, addr) in [
            (VIRTIO_MMIO_QUEUE_DESC_LOW, desc),
            (VIRTIO_MMIO_QUEUE_AVAIL_LOW, avail),
            (VIRTIO_MMIO_QUEUE_USED_LOW, used),
        ] {
            self.write(low, addr as u32);
            self.write(low + 4, (addr >> 32) as u32);
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, VirtioMmio<D>> {
        lock(&self.device)
    }

    pub(crate) fn write(&mut self, register: u32, value: u32) {
        self.lock().write(register.into(), &value.to_le_bytes());
    }

    pub(crate) fn read(&mut self, register: u32) -> u32 {
        let mut data = [0xff; 4];
        self.lock().read(register.into(), &mut data);
        u32::from_le_bytes(data)
    }

    pub(crate) fn set_status(&mut self, status: u32) {
        self.write(VIRTIO_MMIO_STATUS, status);
    }

    pub(crate) fn status(&mut self) -> u32 {
        self.read(VIRTIO_MMIO_STATUS)
    }

    pub(crate) fn interrupts(&self) -> u32 {
        self.irq.0.load(Ordering::Relaxed)
    }

    pub(crate) fn config<const N: usize>(&mut self, offset: u64) -> [u8; N] {
        let mut data = [0xff; N];
        self.lock()
            .read(u64::from(VIRTIO_MMIO_CONFIG) + offset, &mut data);
        data
    }

    /// Write a descriptor at `index` of the table at `table`.
    pub(crate) fn descriptor(
        &self,
        table: u64,
        index: u16,
        (addr, len, flags, next): (u64, u32, u16, u16),
    ) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&addr.to_le_bytes());
        bytes[8..12].copy_from_slice(&len.to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        let at = GuestAddress(table + 16 * u64::from(index));
        self.mem.write_slice(&bytes, at).unwrap();
    }

    /// Make the chain that begins at descriptor `head` available.
    pub(crate) fn offer(&mut self, number: usize, head: u16) {
        let [_, avail, _] = Self::rings(number);
        let ring = &mut self.rings[number];
        let slot = avail + 4 + 2 * u64::from(ring.avail % ring.size);
        ring.avail = ring.avail.wrapping_add(1);
        self.mem.write_obj(head, GuestAddress(slot)).unwrap();
        self.mem
            .write_obj(ring.avail, GuestAddress(avail + 2))
            .unwrap();
    }

    /// Make a chain of (address, length, [`WRITE`] or 0) available; its number.
    pub(crate) fn chain(&mut self, number: usize, parts: &[(u64, u32, u16)]) -> u16 {
        let [desc, ..] = Self::rings(number);
        let ring = &mut self.rings[number];
        let (size, head) = (ring.size, ring.next_desc);
        ring.next_desc = (head + parts.len() as u16) % size;
        for (position, &(addr, len, flags)) in parts.iter().enumerate() {
            let index = (head + position as u16) % size;
            let more = if position + 1 < parts.len() { NEXT } else { 0 };
            self.descriptor(desc, index, (addr, len, flags | more, (index + 1) % size));
        }
        self.offer(number, head);
        head
    }

    pub(crate) fn notify(&mut self, number: u32) {
        self.write(VIRTIO_MMIO_QUEUE_NOTIFY, number);
    }

    /// What has come back since the last call: (chain, length written).
    pub(crate) fn used(&mut self, number: usize) -> Vec<(u32, u32)> {
        let [_, _, used] = Self::rings(number);
        let index: u16 = self.mem.read_obj(GuestAddress(used + 2)).unwrap();
        let ring = &mut self.rings[number];
        let mut result = Vec::new();
        while ring.used != index {
            let slot = GuestAddress(used + 4 + 8 * u64::from(ring.used % ring.size));
            let [head, len]: [u32; 2] = self.mem.read_obj(slot).unwrap();
            result.push((head, len));
            ring.used = ring.used.wrapping_add(1);
        }
        result
    }

    pub(crate) fn put(&self, addr: u64, bytes: &[u8]) {
        self.mem.write_slice(bytes, GuestAddress(addr)).unwrap();
    }

    pub(crate) fn get(&self, addr: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.mem.read_slice(&mut bytes, GuestAddress(addr)).unwrap();
        bytes
    }
}
