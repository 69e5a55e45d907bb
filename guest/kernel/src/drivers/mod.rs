//! Devices: virtio over MMIO, as announced on the kernel's command line.
//!
//! gnomon carries out block, random-number and console-output requests while it handles the write
//! to `QueueNotify`; QEMU does it later. All drivers therefore look at the used ring first, and
//! wait for an interrupt only if it is empty.

pub mod block;
pub mod console;
mod hal;
pub mod random;
mod rng;
mod virtio_blk;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ptr::NonNull;

use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{DeviceStatus, DeviceType, Transport};

use crate::arch::{idt, ioapic, irq};
use crate::sync::Once;

/// How many virtio devices can have an interrupt of their own.
const MAX_DEVICES: usize = 16;

/// `VIRTIO_F_VERSION_1`: not the legacy interface.
const FEATURE_VERSION_1: u64 = 1 << 32;

/// What an interrupt of a device is handed to. It runs with interrupts off and must not sleep.
trait InterruptHandler: Send + Sync {
    fn interrupt(&self);
}

static HANDLERS: [Once<Arc<dyn InterruptHandler>>; MAX_DEVICES] =
    [const { Once::new() }; MAX_DEVICES];

fn interrupt<const N: usize>() {
    if let Some(handler) = HANDLERS[N].get() {
        handler.interrupt();
    }
}

/// One entry a device: interrupt handlers take no argument.
static ENTRIES: [fn(); MAX_DEVICES] = [
    interrupt::<0>,
    interrupt::<1>,
    interrupt::<2>,
    interrupt::<3>,
    interrupt::<4>,
    interrupt::<5>,
    interrupt::<6>,
    interrupt::<7>,
    interrupt::<8>,
    interrupt::<9>,
    interrupt::<10>,
    interrupt::<11>,
    interrupt::<12>,
    interrupt::<13>,
    interrupt::<14>,
    interrupt::<15>,
];

/// A `virtio_mmio.device=SIZE@BASE:IRQ` parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Announced {
    size: u64,
    base: u64,
    irq: u32,
}

impl Announced {
    /// Parse `SIZE@BASE:IRQ[:ID]`; SIZE may end in K, M or G, BASE is hexadecimal with `0x` or
    /// decimal (Linux, `drivers/virtio/virtio_mmio.c`).
    fn parse(text: &str) -> Option<Self> {
        let (size, rest) = text.split_once('@')?;
        let mut parts = rest.split(':');
        let base = number(parts.next()?)?;
        let irq = number(parts.next()?)?.try_into().ok()?;
        let (digits, shift) = match size.as_bytes().last()? {
            b'k' | b'K' => (&size[..size.len() - 1], 10),
            b'm' | b'M' => (&size[..size.len() - 1], 20),
            b'g' | b'G' => (&size[..size.len() - 1], 30),
            _ => (size, 0),
        };
        let size = number(digits)?.checked_shl(shift)?;
        Some(Self { size, base, irq })
    }
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Find the devices that `cmdline` announces and start their drivers. A device that cannot be used
/// is logged and left alone.
pub fn init(cmdline: &str) {
    let announced = cmdline
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix("virtio_mmio.device="));
    for (index, text) in announced.enumerate() {
        match Announced::parse(text) {
            Some(_) if index >= MAX_DEVICES => {
                crate::klog!("virtio: {text} ignored: only {MAX_DEVICES} devices are supported");
            }
            Some(device) => start(index, device),
            None => crate::klog!("virtio: cannot understand virtio_mmio.device={text}"),
        }
    }
    crate::tty::init(cmdline);
}

/// Whether a task runs that can wait for an interrupt; at boot and in the idle loop none does.
fn can_sleep() -> bool {
    crate::task::current().stack_top() != 0
}

fn start(index: usize, device: Announced) {
    let at = crate::mm::mmio::map(device.base, device.size as usize);
    let Some(header) = NonNull::new(at.cast::<VirtIOHeader>()) else {
        return;
    };
    // SAFETY: the address is a fresh mapping of the device's registers, announced by whoever made
    // the machine, and nobody else uses it.
    let transport = match unsafe { MmioTransport::new(header, device.size as usize) } {
        Ok(transport) => transport,
        // Device id 0 is a slot without a device: QEMU's microvm announces several of them.
        Err(_) => return,
    };
    let started = match transport.device_type() {
        DeviceType::Block => virtio_blk::start(transport).map(|disk| {
            let disk: Arc<dyn InterruptHandler> = disk;
            disk
        }),
        DeviceType::Console => console::start(transport).map(|console| {
            let console: Arc<dyn InterruptHandler> = console;
            console
        }),
        DeviceType::EntropySource => {
            rng::offer(transport);
            return;
        }
        kind => {
            crate::klog!(
                "virtio: no driver for the {kind:?} device at {:#x}",
                device.base
            );
            return;
        }
    };
    match started {
        Ok(handler) => {
            let vector = idt::DEVICE_BASE + index as u8;
            // The slots are numbered by the parameters, so each is set once.
            let _ = HANDLERS[index].set(handler);
            if irq::register(vector, ENTRIES[index]).is_ok() {
                ioapic::route(device.irq, vector);
            }
        }
        Err(error) => {
            crate::klog!(
                "virtio: device at {:#x} cannot be used: {error:?}",
                device.base
            );
        }
    }
}

/// Reset the device and agree on the features of `wanted` (VERSION_1 always among them where it is
/// offered); gives those that both sides have.
fn negotiate(transport: &mut MmioTransport<'static>, wanted: u64) -> u64 {
    transport.set_status(DeviceStatus::empty());
    transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
    let agreed = transport.read_device_features() & (wanted | FEATURE_VERSION_1);
    transport.write_driver_features(agreed);
    transport
        .set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK);
    transport.set_guest_page_size(virtio_drivers::PAGE_SIZE as u32);
    agreed
}

/// Names and interrupt counts of the devices, for `/proc/interrupts`.
pub fn interrupt_counts() -> Vec<(usize, u64)> {
    (0..MAX_DEVICES)
        .filter(|&n| HANDLERS[n].get().is_some())
        .map(|n| (n, irq::count(idt::DEVICE_BASE + n as u8)))
        .collect()
}
