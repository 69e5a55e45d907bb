//! The devices of gnomon's virtual machine.
//!
//! Nothing here knows KVM: a device is told of the guest's accesses through the [`bus`], and
//! speaks back through [`irq::IrqLine`]. That is what makes every one of them testable without a
//! virtual machine.
//!
//! | module | device |
//! |---|---|
//! | [`bus`] | who owns which ports and which addresses |
//! | [`ioapic`] | pins to messages for the local APICs |
//! | [`serial`] | a 16550A |
//! | [`logport`] | the kernel's log, many bytes an exit |
//! | [`exit`] | ports that end the virtual machine |
//! | [`virtio`] | virtio-mmio: block, console, entropy |
//!
//! # Lock order
//!
//! A device's own lock, then the [`ioapic::Ioapic`]'s, then whatever the
//! [`MsiSink`](irq::MsiSink) takes. A sink never calls back into a device.
//!
//! # What a guest can do to a device
//!
//! Make it unusable for itself, no more. A driver that breaks the rules of virtio finds its device
//! in the state `DEVICE_NEEDS_RESET`; every guest address is checked by `vm-memory` before it is
//! used; no input reaches a panic.

pub mod bus;
pub mod exit;
pub mod ioapic;
pub mod irq;
pub mod logport;
pub mod output;
pub mod serial;
pub mod virtio;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The guest's memory as all devices see it: no dirty tracking.
pub type GuestMemory = vm_memory::GuestMemoryMmap<()>;

/// Lock `mutex`; a panic of another holder is no reason to panic as well.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
