//! The virtual machine's devices, put together: which there are, where, and how the guest is told.
//!
//! | device | address | interrupt |
//! |---|---|---|
//! | I/O APIC | 0xfec0_0000 | |
//! | COM1 | port 0x3f8 | 4 |
//! | log, exit ports | `gnomon_abi::ports` | |
//! | console 0: stdin, stdout | 0xd000_0000 | 5 |
//! | console 1: stderr | 0xd000_1000 | 6 |
//! | entropy | 0xd000_2000 | 7 |
//! | disks, the root first | 0xd000_3000 … | 8 … |
//! | further consoles | after the disks | |

use std::io::Write;
use std::sync::{Arc, Mutex};

use gnomon_abi::ports;
use gnomon_devices::GuestMemory;
use gnomon_devices::bus::{Bus, BusError, MmioDevice};
use gnomon_devices::exit::{ExitLatch, ExitPort};
use gnomon_devices::ioapic::{self, Ioapic};
use gnomon_devices::irq::{IoapicPin, MsiSink};
use gnomon_devices::logport::{LogPort, LogSink};
use gnomon_devices::serial::{self, SerialPort};
use gnomon_devices::virtio::VirtioDevice;
use gnomon_devices::virtio::block::{Block, BlockBackend};
use gnomon_devices::virtio::console::{Console, ConsoleInput};
use gnomon_devices::virtio::mmio::{self, VirtioMmio};
use gnomon_devices::virtio::rng::Rng;
use thiserror::Error;

use crate::vcpu::exit::Peripherals;

/// Address of the first virtio device.
const VIRTIO_BASE: u64 = 0xd000_0000;
/// Interrupt of the first virtio device.
const VIRTIO_IRQ: u8 = 5;
/// Interrupt of COM1.
const COM1_IRQ: u8 = 4;
/// Ports of the log: one write may carry up to four bytes.
const LOG_WIDTH: u16 = 4;
/// Virtio devices before the disks.
const BEFORE_DISKS: usize = 3;

/// Most disks and further consoles that a guest can have, the root included: one I/O APIC pin each.
pub const MAX_DISKS: usize = ioapic::PINS - VIRTIO_IRQ as usize - BEFORE_DISKS;

/// Why the devices cannot be put together.
#[derive(Debug, Error)]
pub enum DevicesError {
    /// Too many disks and consoles.
    #[error("{0} disks and consoles are too many: {MAX_DISKS} is the most, the root included")]
    TooManyDisks(usize),
    /// Two devices at one place.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// A disk for the guest.
pub struct Disk {
    /// Where its bytes are.
    pub backend: Box<dyn BlockBackend>,
    /// The name that the driver is told.
    pub id: String,
}

/// What the devices are connected to.
pub struct Ends {
    /// What the guest writes to its console.
    pub stdout: Box<dyn Write + Send>,
    /// What the guest's programs write to their standard error.
    pub stderr: Box<dyn Write + Send>,
    /// What the guest sends through COM1.
    pub serial: Box<dyn Write + Send>,
    /// What the guest writes to further consoles, hvc2 and on.
    pub further: Vec<Box<dyn Write + Send>>,
    /// The kernel's log.
    pub log: Arc<LogSink>,
    /// Columns and rows of the console; 0: unknown.
    pub size: (u16, u16),
    /// Remembers that the guest wants to end.
    pub latch: Arc<ExitLatch>,
}

/// The devices, connected.
pub struct Devices {
    /// For the virtual processor.
    pub peripherals: Peripherals,
    /// For whoever reads stdin.
    pub input: ConsoleInput,
    /// The serial port, which can receive as well.
    pub serial: Arc<Mutex<SerialPort<Box<dyn Write + Send>>>>,
    /// What the guest's command line has to say of them.
    pub cmdline: String,
}

/// Puts virtio devices side by side.
struct Slots<'a> {
    bus: Bus,
    ioapic: Arc<Ioapic>,
    memory: &'a GuestMemory,
    used: u8,
    cmdline: String,
}

impl Slots<'_> {
    fn add<D: VirtioDevice + 'static>(
        &mut self,
        device: D,
    ) -> Result<Arc<Mutex<VirtioMmio<D>>>, BusError> {
        let base = VIRTIO_BASE + u64::from(self.used) * mmio::SIZE;
        let pin = VIRTIO_IRQ + self.used;
        self.used += 1;
        let irq = Arc::new(IoapicPin::new(Arc::clone(&self.ioapic), pin));
        let device = Arc::new(Mutex::new(VirtioMmio::new(
            device,
            self.memory.clone(),
            irq,
        )));
        self.bus.add_mmio(
            base,
            mmio::SIZE,
            Arc::clone(&device) as Arc<Mutex<dyn MmioDevice>>,
        )?;
        if !self.cmdline.is_empty() {
            self.cmdline.push(' ');
        }
        let size = mmio::SIZE >> 10;
        self.cmdline += &format!("virtio_mmio.device={size}K@{base:#x}:{pin}");
        Ok(device)
    }
}

/// Connect all devices of a guest with `memory`: interrupts go to `msi`, the rest to `ends`;
/// `disks` become vda, vdb …
///
/// # Errors
/// More disks than there are interrupts.
pub fn build(
    memory: &GuestMemory,
    msi: Arc<dyn MsiSink>,
    ends: Ends,
    disks: Vec<Disk>,
) -> Result<Devices, DevicesError> {
    let many = disks.len() + ends.further.len();
    if many > MAX_DISKS {
        return Err(DevicesError::TooManyDisks(many));
    }
    let ioapic = Ioapic::new(msi);
    let mut bus = Bus::new();
    bus.add_mmio(
        ioapic::BASE,
        ioapic::SIZE,
        Arc::new(Mutex::new(Arc::clone(&ioapic))),
    )?;
    ExitPort::add_all(&mut bus, &ends.latch)?;
    bus.add_pio(
        ports::LOG,
        LOG_WIDTH,
        Arc::new(Mutex::new(LogPort::new(ends.log))),
    )?;
    let irq = Arc::new(IoapicPin::new(Arc::clone(&ioapic), COM1_IRQ));
    let serial = Arc::new(Mutex::new(SerialPort::new(ends.serial, irq)));
    let pio = Arc::clone(&serial);
    bus.add_pio(ports::COM1, serial::PORTS, pio)?;

    let mut slots = Slots {
        bus,
        ioapic,
        memory,
        used: 0,
        cmdline: String::new(),
    };
    let (columns, rows) = ends.size;
    let console = slots.add(Console::new(ends.stdout, columns, rows))?;
    slots.add(Console::new(ends.stderr, 0, 0))?;
    slots.add(Rng::new())?;
    for disk in disks {
        slots.add(Block::new(disk.backend, &disk.id))?;
    }
    for output in ends.further {
        slots.add(Console::new(output, 0, 0))?;
    }
    let Slots {
        bus,
        ioapic,
        cmdline,
        ..
    } = slots;
    Ok(Devices {
        input: ConsoleInput::new(&console),
        serial,
        cmdline,
        peripherals: Peripherals {
            bus,
            ioapic,
            latch: ends.latch,
        },
    })
}
