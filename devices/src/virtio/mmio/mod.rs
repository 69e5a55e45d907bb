//! The virtio-mmio transport, version 2 (virtio 1.2, section 4.2).
//!
//! | offset | register | | offset | register |
//! |---|---|---|---|---|
//! | 000 | magic "virt" | | 050 | QueueNotify |
//! | 004 | version 2 | | 060 064 | InterruptStatus, InterruptACK |
//! | 008 00c | device, vendor | | 070 | Status |
//! | 010 014 | DeviceFeatures, …Sel | | 080 084 | QueueDesc |
//! | 020 024 | DriverFeatures, …Sel | | 090 094 | QueueDriver |
//! | 030 034 038 | QueueSel, …NumMax, …Num | | 0a0 0a4 | QueueDevice |
//! | 044 | QueueReady | | 0fc 100… | ConfigGeneration, configuration |
//!
//! The driver walks through the states of section 3.1.1, forwards only:
//!
//! ```text
//! 0 ── ACKNOWLEDGE ── DRIVER ── FEATURES_OK ── DRIVER_OK
//!                     features   queues         notifications
//! ```
//!
//! Whatever else it does sets DEVICE_NEEDS_RESET, logged once; from then on the device ignores all
//! but a reset (a write of 0 to Status).

use std::sync::Arc;

use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_DRIVER_OK,
    VIRTIO_CONFIG_S_FAILED, VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET,
    VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_mmio::{
    VIRTIO_MMIO_CONFIG, VIRTIO_MMIO_CONFIG_GENERATION, VIRTIO_MMIO_DEVICE_FEATURES,
    VIRTIO_MMIO_DEVICE_FEATURES_SEL, VIRTIO_MMIO_DEVICE_ID, VIRTIO_MMIO_DRIVER_FEATURES,
    VIRTIO_MMIO_DRIVER_FEATURES_SEL, VIRTIO_MMIO_INT_CONFIG, VIRTIO_MMIO_INT_VRING,
    VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INTERRUPT_STATUS, VIRTIO_MMIO_MAGIC_VALUE,
    VIRTIO_MMIO_QUEUE_AVAIL_HIGH, VIRTIO_MMIO_QUEUE_AVAIL_LOW, VIRTIO_MMIO_QUEUE_DESC_HIGH,
    VIRTIO_MMIO_QUEUE_DESC_LOW, VIRTIO_MMIO_QUEUE_NOTIFY, VIRTIO_MMIO_QUEUE_NUM,
    VIRTIO_MMIO_QUEUE_NUM_MAX, VIRTIO_MMIO_QUEUE_READY, VIRTIO_MMIO_QUEUE_SEL,
    VIRTIO_MMIO_QUEUE_USED_HIGH, VIRTIO_MMIO_QUEUE_USED_LOW, VIRTIO_MMIO_STATUS,
    VIRTIO_MMIO_VENDOR_ID, VIRTIO_MMIO_VERSION,
};
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::{Queue, QueueT};
use vm_memory::GuestAddress;

use super::VirtioDevice;
use super::queue::{ActiveQueue, ChainBuffer, DriverError};
use crate::GuestMemory;
use crate::bus::MmioDevice;
use crate::irq::IrqLine;

/// Bytes of address space that a virtio-mmio device occupies.
pub const SIZE: u64 = 0x1000;

/// "virt", little endian.
const MAGIC: u32 = u32::from_le_bytes(*b"virt");
const VERSION: u32 = 2;
/// "GNOM", little endian. Vendor numbers are not assigned; drivers ignore them.
const VENDOR: u32 = u32::from_le_bytes(*b"GNOM");

/// The feature bits that every device offers.
const TRANSPORT_FEATURES: u64 =
    1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_INDIRECT_DESC | 1 << VIRTIO_RING_F_EVENT_IDX;

/// The states in their order.
const STEPS: [u32; 4] = [
    VIRTIO_CONFIG_S_ACKNOWLEDGE,
    VIRTIO_CONFIG_S_DRIVER,
    VIRTIO_CONFIG_S_FEATURES_OK,
    VIRTIO_CONFIG_S_DRIVER_OK,
];

/// One queue as the driver sets it up.
struct QueueSlot {
    ring: Queue,
    chain: ChainBuffer,
    setup: Setup,
}

/// What the driver has written so far; it becomes the ring's when QueueReady is written.
#[derive(Clone, Copy)]
struct Setup {
    size: u16,
    desc: u64,
    avail: u64,
    used: u64,
}

impl QueueSlot {
    fn new(max: u16) -> Self {
        Self {
            // Fails for a size that is no power of two: `queue_sizes` promises that it is one.
            ring: Queue::new(max).unwrap_or_default(),
            chain: ChainBuffer::new(max),
            setup: Setup::new(max),
        }
    }

    fn reset(&mut self) {
        self.ring.reset();
        self.setup = Setup::new(self.ring.max_size());
    }

    /// Put the driver's set-up to work.
    fn start(&mut self, mem: &GuestMemory, event_idx: bool) -> Result<(), virtio_queue::Error> {
        let Setup {
            size,
            desc,
            avail,
            used,
        } = self.setup;
        self.ring.reset();
        self.ring.try_set_size(size)?;
        self.ring.try_set_desc_table_address(GuestAddress(desc))?;
        self.ring.try_set_avail_ring_address(GuestAddress(avail))?;
        self.ring.try_set_used_ring_address(GuestAddress(used))?;
        self.ring.set_event_idx(event_idx);
        self.ring.set_ready(true);
        if self.ring.is_valid(mem) {
            Ok(())
        } else {
            self.ring.set_ready(false);
            Err(virtio_queue::Error::QueueNotReady)
        }
    }
}

impl Setup {
    fn new(size: u16) -> Self {
        Self {
            size,
            desc: 0,
            avail: 0,
            used: 0,
        }
    }
}

/// A virtio device behind its registers.
///
/// Shared as `Arc<Mutex<VirtioMmio<D>>>` between the bus and whoever else feeds the device.
pub struct VirtioMmio<D> {
    device: D,
    mem: GuestMemory,
    irq: Arc<dyn IrqLine>,
    queues: Vec<QueueSlot>,
    features: u64,
    driver_features: u64,
    device_features_sel: u32,
    driver_features_sel: u32,
    queue_sel: u32,
    status: u32,
    interrupt_status: u32,
    config_generation: u32,
}

impl<D: VirtioDevice> VirtioMmio<D> {
    /// `device`, whose queues lie in `mem` and which interrupts through `irq`.
    pub fn new(device: D, mem: GuestMemory, irq: Arc<dyn IrqLine>) -> Self {
        let queues = device.queue_sizes().iter().copied();
        Self {
            queues: queues.map(QueueSlot::new).collect(),
            features: device.features() | TRANSPORT_FEATURES,
            device,
            mem,
            irq,
            driver_features: 0,
            device_features_sel: 0,
            driver_features_sel: 0,
            queue_sel: 0,
            status: 0,
            interrupt_status: 0,
            config_generation: 0,
        }
    }

    /// The device behind the registers.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The device behind the registers.
    pub fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// Whether the driver has broken the rules and not reset the device since.
    pub fn needs_reset(&self) -> bool {
        self.status & VIRTIO_CONFIG_S_NEEDS_RESET != 0
    }

    /// Let the device use queue `index` because something has happened on its side. Without
    /// effect until the driver is ready.
    pub(super) fn poke(&mut self, index: usize) {
        if self.is_running() && self.queues[index].ring.ready() {
            let result = self.run_queue(index);
            self.judge(result);
        }
    }

    /// The device has changed its configuration: tell the driver.
    pub(super) fn config_changed(&mut self) {
        self.config_generation = self.config_generation.wrapping_add(1);
        if self.is_running() {
            self.interrupt(VIRTIO_MMIO_INT_CONFIG);
        }
    }

    /// DRIVER_OK, and neither DEVICE_NEEDS_RESET nor FAILED.
    fn is_running(&self) -> bool {
        const WATCHED: u32 =
            VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED;
        self.status & WATCHED == VIRTIO_CONFIG_S_DRIVER_OK
    }

    fn interrupt(&mut self, reason: u32) {
        self.interrupt_status |= reason;
        self.irq.raise();
    }

    /// Where the driver broke the rules, stop until it resets the device.
    fn judge(&mut self, result: Result<(), DriverError>) {
        let Err(error) = result else {
            return;
        };
        log::warn!(
            "virtio device of type {}: its driver broke the rules: {error}; it needs a reset",
            self.device.device_type()
        );
        let running = self.is_running();
        self.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
        // 2.1.2: with DRIVER_OK set, a configuration change notification follows.
        if running {
            self.interrupt(VIRTIO_MMIO_INT_CONFIG);
        }
    }

    fn reset(&mut self) {
        self.device.reset();
        self.queues.iter_mut().for_each(QueueSlot::reset);
        self.driver_features = 0;
        self.device_features_sel = 0;
        self.driver_features_sel = 0;
        self.queue_sel = 0;
        self.status = 0;
        self.interrupt_status = 0;
    }

    fn run_queue(&mut self, index: usize) -> Result<(), DriverError> {
        let slot = &mut self.queues[index];
        let mut queue = ActiveQueue::new(&self.mem, &mut slot.ring, &mut slot.chain);
        // What was completed before an error is the driver's to know of all the same.
        let result = self.device.process(index, &mut queue);
        let interrupt = queue.wants_interrupt();
        if let Ok(true) = interrupt {
            self.interrupt(VIRTIO_MMIO_INT_VRING);
        }
        result.and(interrupt.map(|_| ()))
    }

    fn notify(&mut self, index: u32) -> Result<(), DriverError> {
        let ready = usize::try_from(index)
            .ok()
            .and_then(|at| self.queues.get(at).map(|slot| (at, slot.ring.ready())));
        match ready {
            None => Err(DriverError::NoSuchQueue(index)),
            // What is made available before DRIVER_OK is looked at then.
            Some(_) if !self.is_running() => Ok(()),
            Some((_, false)) => Err(DriverError::NotReady(index)),
            Some((at, true)) => self.run_queue(at),
        }
    }

    fn set_status(&mut self, new: u32) -> Result<(), DriverError> {
        let old = self.status;
        let error = Err(DriverError::Status { old, new });
        let known = STEPS
            .iter()
            .fold(VIRTIO_CONFIG_S_FAILED, |all, step| all | step);
        if old & !new != 0 || new & !known != 0 {
            return error;
        }
        self.status |= new & VIRTIO_CONFIG_S_FAILED;
        let mut before_done = true;
        for step in STEPS {
            if new & step == 0 {
                before_done = false;
            } else if !before_done {
                return error;
            } else if old & step == 0 && !self.take_step(step)? {
                // The driver reads the status back, and finds FEATURES_OK missing.
                return Ok(());
            }
        }
        Ok(())
    }

    /// Enter the state `step`. False: the driver's features are not acceptable.
    fn take_step(&mut self, step: u32) -> Result<bool, DriverError> {
        if step == VIRTIO_CONFIG_S_FEATURES_OK {
            let accepted = self.driver_features;
            if accepted & !self.features != 0 || accepted & 1 << VIRTIO_F_VERSION_1 == 0 {
                log::warn!(
                    "virtio device of type {}: features {accepted:#x} refused, {:#x} offered",
                    self.device.device_type(),
                    self.features
                );
                return Ok(false);
            }
        }
        self.status |= step;
        if step == VIRTIO_CONFIG_S_DRIVER_OK {
            self.device.activate(self.driver_features);
            for index in 0..self.queues.len() {
                if self.queues[index].ring.ready() {
                    self.run_queue(index)?;
                }
            }
        }
        Ok(true)
    }

    fn selected(&self) -> Option<&QueueSlot> {
        self.queues.get(usize::try_from(self.queue_sel).ok()?)
    }

    fn read_register(&self, offset: u32) -> u32 {
        match offset {
            VIRTIO_MMIO_MAGIC_VALUE => MAGIC,
            VIRTIO_MMIO_VERSION => VERSION,
            VIRTIO_MMIO_DEVICE_ID => self.device.device_type(),
            VIRTIO_MMIO_VENDOR_ID => VENDOR,
            VIRTIO_MMIO_DEVICE_FEATURES => half(self.features, self.device_features_sel),
            VIRTIO_MMIO_QUEUE_NUM_MAX => self
                .selected()
                .map_or(0, |slot| slot.ring.max_size().into()),
            VIRTIO_MMIO_QUEUE_READY => self.selected().is_some_and(|slot| slot.ring.ready()).into(),
            VIRTIO_MMIO_INTERRUPT_STATUS => self.interrupt_status,
            VIRTIO_MMIO_STATUS => self.status,
            VIRTIO_MMIO_CONFIG_GENERATION => self.config_generation,
            // Write-only registers, and the length of shared memory regions: there are none.
            _ => u32::MAX,
        }
    }

    fn write_register(&mut self, offset: u32, value: u32) -> Result<(), DriverError> {
        if offset == VIRTIO_MMIO_STATUS && value == 0 {
            self.reset();
            return Ok(());
        }
        if self.needs_reset() {
            return Ok(());
        }
        match offset {
            VIRTIO_MMIO_QUEUE_NOTIFY => self.notify(value)?,
            VIRTIO_MMIO_INTERRUPT_ACK => self.interrupt_status &= !value,
            VIRTIO_MMIO_STATUS => self.set_status(value)?,
            VIRTIO_MMIO_DEVICE_FEATURES_SEL => self.device_features_sel = value,
            VIRTIO_MMIO_DRIVER_FEATURES_SEL => self.driver_features_sel = value,
            VIRTIO_MMIO_QUEUE_SEL => self.queue_sel = value,
            VIRTIO_MMIO_DRIVER_FEATURES => {
                self.expect_status(offset, VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_FEATURES_OK)?;
                set_half(&mut self.driver_features, self.driver_features_sel, value);
            }
            VIRTIO_MMIO_QUEUE_NUM
            | VIRTIO_MMIO_QUEUE_READY
            | VIRTIO_MMIO_QUEUE_DESC_LOW
            | VIRTIO_MMIO_QUEUE_DESC_HIGH
            | VIRTIO_MMIO_QUEUE_AVAIL_LOW
            | VIRTIO_MMIO_QUEUE_AVAIL_HIGH
            | VIRTIO_MMIO_QUEUE_USED_LOW
            | VIRTIO_MMIO_QUEUE_USED_HIGH => {
                self.expect_status(offset, VIRTIO_CONFIG_S_FEATURES_OK, 0)?;
                self.set_up_queue(offset, value)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Fail unless the status has `set` and has not `clear`.
    fn expect_status(&self, offset: u32, set: u32, clear: u32) -> Result<(), DriverError> {
        let status = self.status;
        if status & set == set && status & clear == 0 {
            Ok(())
        } else {
            let offset = offset.into();
            Err(DriverError::Early { offset, status })
        }
    }

    fn set_up_queue(&mut self, offset: u32, value: u32) -> Result<(), DriverError> {
        let number = self.queue_sel;
        let event_idx = self.driver_features & 1 << VIRTIO_RING_F_EVENT_IDX != 0;
        let slot = usize::try_from(number)
            .ok()
            .and_then(|at| self.queues.get_mut(at))
            .ok_or(DriverError::NoSuchQueue(number))?;
        if offset == VIRTIO_MMIO_QUEUE_READY {
            return match (value & 1, slot.ring.ready()) {
                (0, _) => {
                    slot.ring.reset();
                    Ok(())
                }
                (_, true) => Ok(()),
                _ => slot
                    .start(&self.mem, event_idx)
                    .map_err(|_| DriverError::Rings(number)),
            };
        }
        if slot.ring.ready() {
            let (offset, status) = (offset.into(), self.status);
            return Err(DriverError::Early { offset, status });
        }
        let setup = &mut slot.setup;
        match offset {
            VIRTIO_MMIO_QUEUE_NUM => {
                setup.size = u16::try_from(value)
                    .ok()
                    .filter(|size| size.is_power_of_two() && *size <= slot.ring.max_size())
                    .ok_or(DriverError::QueueSize(value))?;
            }
            VIRTIO_MMIO_QUEUE_DESC_LOW => set_half(&mut setup.desc, 0, value),
            VIRTIO_MMIO_QUEUE_DESC_HIGH => set_half(&mut setup.desc, 1, value),
            VIRTIO_MMIO_QUEUE_AVAIL_LOW => set_half(&mut setup.avail, 0, value),
            VIRTIO_MMIO_QUEUE_AVAIL_HIGH => set_half(&mut setup.avail, 1, value),
            VIRTIO_MMIO_QUEUE_USED_LOW => set_half(&mut setup.used, 0, value),
            _ => set_half(&mut setup.used, 1, value),
        }
        Ok(())
    }
}

/// The 32 bits of `word` that the selector `sel` names: 0 low, 1 high, others none.
fn half(word: u64, sel: u32) -> u32 {
    match sel {
        0 => word as u32,
        1 => (word >> 32) as u32,
        _ => 0,
    }
}

/// Replace the 32 bits of `word` that the selector `sel` names.
fn set_half(word: &mut u64, sel: u32, value: u32) {
    match sel {
        0 => *word = *word & !0xffff_ffff | u64::from(value),
        1 => *word = *word & 0xffff_ffff | u64::from(value) << 32,
        _ => {}
    }
}

impl<D: VirtioDevice> MmioDevice for VirtioMmio<D> {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        if let Some(offset) = offset.checked_sub(VIRTIO_MMIO_CONFIG.into()) {
            data.fill(0);
            self.device.read_config(offset, data);
        } else if data.len() == 4 {
            data.copy_from_slice(&self.read_register(offset as u32).to_le_bytes());
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if let Some(offset) = offset.checked_sub(VIRTIO_MMIO_CONFIG.into()) {
            if !self.needs_reset() {
                self.device.write_config(offset, data);
            }
        } else if let Ok(value) = data.try_into().map(u32::from_le_bytes) {
            let result = self.write_register(offset as u32, value);
            self.judge(result);
        }
    }
}

#[cfg(test)]
mod tests;
