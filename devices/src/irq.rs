//! How devices ask for the processor's attention.

use std::sync::Arc;

use crate::ioapic::Ioapic;

/// One interrupt line of one device, edge triggered.
pub trait IrqLine: Send + Sync {
    /// Signal one edge. May be called from any thread, with the device's lock held.
    fn raise(&self);
}

/// Where interrupt messages go: KVM's local APICs, or local APICs of our own.
pub trait MsiSink: Send + Sync {
    /// Deliver the message `data` written to `address` (SDM volume 3, 11.11: message signalled
    /// interrupts). Called with the sender's locks held: must not call back into a device.
    fn send(&self, address: u64, data: u32);
}

/// A pin of the [`Ioapic`] as an interrupt line.
pub struct IoapicPin {
    ioapic: Arc<Ioapic>,
    pin: u8,
}

impl IoapicPin {
    /// The line that leads to `pin` (0 to 23) of `ioapic`; others lead nowhere.
    pub fn new(ioapic: Arc<Ioapic>, pin: u8) -> Self {
        Self { ioapic, pin }
    }
}

impl IrqLine for IoapicPin {
    fn raise(&self) {
        self.ioapic.pulse(self.pin);
    }
}

/// A line that is not connected, for devices whose driver polls.
pub struct NoIrq;

impl IrqLine for NoIrq {
    fn raise(&self) {}
}
