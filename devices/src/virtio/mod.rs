//! Virtio devices (OASIS virtio 1.2).
//!
//! [`mmio`] is the transport: registers, status, feature negotiation, queue set-up. It drives a
//! [`VirtioDevice`], which sees queues that work and chains that have been checked
//! ([`queue::ActiveQueue`]). Requests are carried out within the driver's write to QueueNotify:
//! the used ring is filled when that store returns, and the interrupt, unless suppressed, has been
//! raised.

pub mod block;
pub mod console;
pub mod mmio;
pub mod queue;
pub mod rng;
#[cfg(test)]
mod testing;

use queue::{ActiveQueue, DriverError};

/// A virtio device without its transport.
pub trait VirtioDevice: Send {
    /// The device type (virtio 1.2, section 5).
    fn device_type(&self) -> u32;

    /// Feature bits of this type that the device offers. The transport adds its own.
    fn features(&self) -> u64;

    /// The largest size of each queue, a power of two: as many queues as the slice is long.
    fn queue_sizes(&self) -> &'static [u16];

    /// Fill `data` from the configuration space at `offset`. `data` is all zero on entry and
    /// stays so where there is no field.
    fn read_config(&self, offset: u64, data: &mut [u8]);

    /// The driver has written `data` to the configuration space at `offset`.
    fn write_config(&mut self, _offset: u64, _data: &[u8]) {}

    /// The driver has set DRIVER_OK, having accepted `features`.
    fn activate(&mut self, _features: u64) {}

    /// The driver has reset the device: forget what it said.
    fn reset(&mut self) {}

    /// Use what the driver has made available in queue number `index`.
    ///
    /// # Errors
    /// The driver broke the rules: the device will need a reset.
    fn process(&mut self, index: usize, queue: &mut ActiveQueue<'_>) -> Result<(), DriverError>;
}

/// Fill `data` from `offset` of the configuration space `config`, as far as that goes.
fn copy_config(config: &[u8], offset: u64, data: &mut [u8]) {
    let rest = usize::try_from(offset)
        .ok()
        .and_then(|offset| config.get(offset..))
        .unwrap_or_default();
    let len = rest.len().min(data.len());
    data[..len].copy_from_slice(&rest[..len]);
}
