//! The devices under real drivers, those of the crate virtio-drivers: an oracle that was not
//! written beside them. Its drivers use indirect descriptors and event indices where offered.

use std::io::{self, Write};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};

use gnomon_devices::GuestMemory;
use gnomon_devices::bus::{Bus, MmioDevice};
use gnomon_devices::irq::NoIrq;
use gnomon_devices::virtio::VirtioDevice;
use gnomon_devices::virtio::block::{Block, Overlay};
use gnomon_devices::virtio::console::{Console, ConsoleInput};
use gnomon_devices::virtio::mmio::{SIZE, VirtioMmio};
use gnomon_devices::virtio::rng::Rng;
use virtio_bindings::virtio_mmio::*;
use virtio_drivers::device::blk::VirtIOBlk;
use virtio_drivers::device::console::VirtIOConsole;
use virtio_drivers::device::rng::VirtIORng;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Memory that all tests of this file share; nothing is ever given back.
fn memory() -> &'static GuestMemory {
    static MEMORY: OnceLock<GuestMemory> = OnceLock::new();
    MEMORY.get_or_init(|| GuestMemory::from_ranges(&[(GuestAddress(0), 64 << 20)]).unwrap())
}

fn allocate(pages: usize) -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0x1000);
    NEXT.fetch_add((pages * PAGE_SIZE) as u64, Ordering::Relaxed)
}

/// The driver's view of [`memory`]: buffers are copied in and out.
struct Arena;

// SAFETY: `dma_alloc` gives zeroed pages that nobody else has, at the address that it says.
unsafe impl Hal for Arena {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let addr = allocate(pages);
        let host = memory().get_host_address(GuestAddress(addr)).unwrap();
        (addr, NonNull::new(host).unwrap())
    }

    unsafe fn dma_dealloc(_addr: PhysAddr, _host: NonNull<u8>, _pages: usize) -> i32 {
        0
    }

    unsafe fn mmio_phys_to_virt(_addr: PhysAddr, _size: usize) -> NonNull<u8> {
        unreachable!("only for PCI")
    }

    unsafe fn share(buffer: NonNull<[u8]>, direction: BufferDirection) -> PhysAddr {
        let addr = allocate(buffer.len().div_ceil(PAGE_SIZE));
        if direction != BufferDirection::DeviceToDriver {
            // SAFETY: the caller promises that the buffer is valid.
            let bytes = unsafe { buffer.as_ref() };
            memory().write_slice(bytes, GuestAddress(addr)).unwrap();
        }
        addr
    }

    unsafe fn unshare(addr: PhysAddr, mut buffer: NonNull<[u8]>, direction: BufferDirection) {
        if direction != BufferDirection::DriverToDevice {
            // SAFETY: the caller promises that the buffer is valid.
            let bytes = unsafe { buffer.as_mut() };
            memory().read_slice(bytes, GuestAddress(addr)).unwrap();
        }
    }
}

/// Where the device is on the bus.
const BASE: u64 = 0xd000_0000;

/// Registers, reached over a bus.
struct Registers(Bus);

impl Registers {
    fn new<D: VirtioDevice + 'static>(device: &Arc<Mutex<VirtioMmio<D>>>) -> Self {
        let mut bus = Bus::new();
        let device: Arc<Mutex<dyn MmioDevice>> = device.clone();
        bus.add_mmio(BASE, SIZE, device).unwrap();
        Self(bus)
    }

    fn read(&self, register: u32) -> u32 {
        let mut data = [0; 4];
        assert!(self.0.mmio_read(BASE + u64::from(register), &mut data));
        u32::from_le_bytes(data)
    }

    fn write(&self, register: u32, value: u32) {
        let data = value.to_le_bytes();
        assert!(self.0.mmio_write(BASE + u64::from(register), &data));
    }

    fn write_wide(&self, register: u32, value: u64) {
        self.write(register, value as u32);
        self.write(register + 4, (value >> 32) as u32);
    }
}

impl Transport for Registers {
    fn device_type(&self) -> DeviceType {
        DeviceType::try_from(self.read(VIRTIO_MMIO_DEVICE_ID)).unwrap()
    }

    fn read_device_features(&mut self) -> u64 {
        let half = |sel| {
            self.write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, sel);
            u64::from(self.read(VIRTIO_MMIO_DEVICE_FEATURES))
        };
        half(0) | half(1) << 32
    }

    fn write_driver_features(&mut self, features: u64) {
        for sel in 0..2 {
            self.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, sel);
            self.write(VIRTIO_MMIO_DRIVER_FEATURES, (features >> (32 * sel)) as u32);
        }
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.write(VIRTIO_MMIO_QUEUE_SEL, queue.into());
        self.read(VIRTIO_MMIO_QUEUE_NUM_MAX)
    }

    fn notify(&mut self, queue: u16) {
        self.write(VIRTIO_MMIO_QUEUE_NOTIFY, queue.into());
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.read(VIRTIO_MMIO_STATUS))
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.write(VIRTIO_MMIO_STATUS, status.bits());
    }

    fn set_guest_page_size(&mut self, _size: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.write(VIRTIO_MMIO_QUEUE_SEL, queue.into());
        self.write(VIRTIO_MMIO_QUEUE_NUM, size);
        self.write_wide(VIRTIO_MMIO_QUEUE_DESC_LOW, descriptors);
        self.write_wide(VIRTIO_MMIO_QUEUE_AVAIL_LOW, driver_area);
        self.write_wide(VIRTIO_MMIO_QUEUE_USED_LOW, device_area);
        self.write(VIRTIO_MMIO_QUEUE_READY, 1);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.write(VIRTIO_MMIO_QUEUE_SEL, queue.into());
        self.write(VIRTIO_MMIO_QUEUE_READY, 0);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.write(VIRTIO_MMIO_QUEUE_SEL, queue.into());
        self.read(VIRTIO_MMIO_QUEUE_READY) != 0
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        let status = self.read(VIRTIO_MMIO_INTERRUPT_STATUS);
        self.write(VIRTIO_MMIO_INTERRUPT_ACK, status);
        InterruptStatus::from_bits_retain(status)
    }

    fn read_config_generation(&self) -> u32 {
        self.read(VIRTIO_MMIO_CONFIG_GENERATION)
    }

    fn read_config_space<T: FromBytes + IntoBytes>(
        &self,
        offset: usize,
    ) -> virtio_drivers::Result<T> {
        let mut value = T::new_zeroed();
        let addr = BASE + u64::from(VIRTIO_MMIO_CONFIG) + offset as u64;
        assert!(self.0.mmio_read(addr, value.as_mut_bytes()));
        Ok(value)
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: T,
    ) -> virtio_drivers::Result<()> {
        let addr = BASE + u64::from(VIRTIO_MMIO_CONFIG) + offset as u64;
        assert!(self.0.mmio_write(addr, value.as_bytes()));
        Ok(())
    }
}

fn device<D: VirtioDevice>(device: D) -> Arc<Mutex<VirtioMmio<D>>> {
    let device = VirtioMmio::new(device, memory().clone(), Arc::new(NoIrq));
    Arc::new(Mutex::new(device))
}

fn disk() -> VirtIOBlk<Arena, Registers> {
    static IMAGE: [u8; 1000] = [7; 1000];
    let overlay = Box::new(Overlay::new(&IMAGE, 1 << 20));
    VirtIOBlk::new(Registers::new(&device(Block::new(overlay, "root")))).unwrap()
}

#[test]
fn disk_has_size_and_name() {
    let mut disk = disk();
    let mut id = [0; 20];
    let len = disk.device_id(&mut id).unwrap();
    assert_eq!((disk.capacity(), disk.readonly()), (2048, false));
    assert_eq!(&id[..len], b"root");
}

#[test]
fn disk_reads_its_image() {
    let mut sector = [0; 1024];
    disk().read_blocks(0, &mut sector).unwrap();
    assert!(sector[..1000] == [7; 1000] && sector[1000..] == [0; 24]);
}

#[test]
fn disk_keeps_what_is_written() {
    let mut disk = disk();
    for round in 0..100_usize {
        let written = [round as u8; 4096];
        disk.write_blocks(round * 3, &written).unwrap();
        disk.flush().unwrap();
        let mut read = [0xff; 4096];
        disk.read_blocks(round * 3, &mut read).unwrap();
        assert!(read == written);
    }
}

#[test]
fn disk_refuses_sectors_past_its_end() {
    let mut disk = disk();
    assert!(disk.read_blocks(2047, &mut [0; 1024]).is_err());
    assert!(disk.write_blocks(2048, &[0; 512]).is_err());
    assert!(disk.read_blocks(2047, &mut [0; 512]).is_ok());
}

#[test]
fn entropy_differs() {
    let mut rng = VirtIORng::<Arena, _>::new(Registers::new(&device(Rng::new()))).unwrap();
    let mut bytes = [[0; 32]; 2];
    for half in &mut bytes {
        assert_eq!(rng.request_entropy(half).unwrap(), 32);
    }
    assert_ne!(bytes[0], bytes[1]);
}

struct Out(Sender<Vec<u8>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn console_sends_and_receives() {
    let (sender, receiver) = channel();
    let device = device(Console::new(Box::new(Out(sender)), 80, 25));
    let input = ConsoleInput::new(&device);
    let mut console = VirtIOConsole::<Arena, _>::new(Registers::new(&device)).unwrap();
    let size = console.size().unwrap().unwrap();
    assert_eq!((size.columns, size.rows), (80, 25));
    console.send_bytes(b"hello").unwrap();
    assert_eq!(receiver.try_recv().unwrap(), b"hello");
    // More than a page, which is the driver's receive buffer.
    let sent: Vec<u8> = (0..10_000_u32).map(|i| (i / 3) as u8).collect();
    input.push(&sent).unwrap();
    let received: Vec<u8> = std::iter::from_fn(|| {
        console.ack_interrupt().unwrap();
        console.recv(true).unwrap()
    })
    .collect();
    assert!(received == sent);
}

#[test]
fn emergency_write_comes_out() {
    let (sender, receiver) = channel();
    let device = device(Console::new(Box::new(Out(sender)), 0, 0));
    let mut console = VirtIOConsole::<Arena, _>::new(Registers::new(&device)).unwrap();
    console.emergency_write(b'!').unwrap();
    assert_eq!(receiver.try_recv().unwrap(), b"!");
}
