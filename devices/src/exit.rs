//! Ports that end the virtual machine.
//!
//! A write is only remembered here, in an [`ExitLatch`]: the virtual processor's loop asks it
//! after each port write that it has passed on, and stops. The first write counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use gnomon_abi::ports;

use crate::bus::{Bus, BusError, PioDevice};

/// Why the guest has ended the virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitEvent {
    /// A write to [`ports::EXIT`]: gnomon's exit status is to be this.
    Exit(u8),
    /// A write to [`ports::FATAL`]: the kernel cannot go on; the value is a
    /// [`ports::FatalReason`] if the kernel keeps to the rules.
    Fatal(u32),
    /// A write of `value` to [`ports::DEBUG_EXIT`]: QEMU would end with `(value << 1) | 1`.
    DebugExit(u32),
}

impl ExitEvent {
    fn encode(self) -> u64 {
        let (kind, value) = match self {
            Self::Exit(status) => (1, u32::from(status)),
            Self::Fatal(reason) => (2, reason),
            Self::DebugExit(value) => (3, value),
        };
        kind << 32 | u64::from(value)
    }

    fn decode(word: u64) -> Option<Self> {
        let value = word as u32;
        match word >> 32 {
            1 => Some(Self::Exit(value as u8)),
            2 => Some(Self::Fatal(value)),
            3 => Some(Self::DebugExit(value)),
            _ => None,
        }
    }
}

/// Remembers the first [`ExitEvent`]. Cheap to ask.
#[derive(Debug, Default)]
pub struct ExitLatch {
    word: AtomicU64,
}

impl ExitLatch {
    /// A latch that has seen nothing.
    pub const fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
        }
    }

    /// The first event, if there was one.
    pub fn get(&self) -> Option<ExitEvent> {
        ExitEvent::decode(self.word.load(Ordering::Acquire))
    }

    /// Remember `event` unless another came before.
    pub fn set(&self, event: ExitEvent) {
        let _ = self
            .word
            .compare_exchange(0, event.encode(), Ordering::AcqRel, Ordering::Acquire);
    }
}

/// One port that ends the virtual machine when it is written. It reads as all ones.
pub struct ExitPort {
    latch: Arc<ExitLatch>,
    event: fn(u32) -> ExitEvent,
}

impl ExitPort {
    /// Put [`ports::EXIT`], [`ports::FATAL`] and [`ports::DEBUG_EXIT`] on `bus`; all report to
    /// `latch`.
    ///
    /// # Errors
    /// Another device has one of the ports.
    pub fn add_all(bus: &mut Bus, latch: &Arc<ExitLatch>) -> Result<(), BusError> {
        let mut add = |port, event| {
            let latch = Arc::clone(latch);
            bus.add_pio(port, 4, Arc::new(Mutex::new(Self { latch, event })))
        };
        add(ports::EXIT, |value| ExitEvent::Exit(value as u8))?;
        add(ports::FATAL, ExitEvent::Fatal)?;
        add(ports::DEBUG_EXIT, ExitEvent::DebugExit)?;
        Ok(())
    }
}

impl PioDevice for ExitPort {
    fn read(&mut self, _offset: u16, _data: &mut [u8]) {}

    fn write(&mut self, offset: u16, data: &[u8]) {
        if offset == 0 {
            let mut value = [0; 4];
            let len = data.len().min(4);
            value[..len].copy_from_slice(&data[..len]);
            self.latch.set((self.event)(u32::from_le_bytes(value)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bus() -> (Bus, Arc<ExitLatch>) {
        let (mut bus, latch) = (Bus::new(), Arc::new(ExitLatch::new()));
        ExitPort::add_all(&mut bus, &latch).unwrap();
        (bus, latch)
    }

    #[test]
    fn nothing_written_is_no_event() {
        assert_eq!(bus().1.get(), None);
    }

    #[test]
    fn exit_takes_the_low_byte() {
        let (bus, latch) = bus();
        bus.pio_write(ports::EXIT, 4, &0x107_u32.to_le_bytes());
        assert_eq!(latch.get(), Some(ExitEvent::Exit(7)));
    }

    #[test]
    fn first_event_counts() {
        let (bus, latch) = bus();
        bus.pio_write(ports::FATAL, 4, &2_u32.to_le_bytes());
        bus.pio_write(ports::EXIT, 4, &0_u32.to_le_bytes());
        assert_eq!(latch.get(), Some(ExitEvent::Fatal(2)));
    }

    #[test]
    fn debug_exit_takes_any_width() {
        let (bus, latch) = bus();
        bus.pio_write(ports::DEBUG_EXIT, 1, &[0x10]);
        assert_eq!(latch.get(), Some(ExitEvent::DebugExit(0x10)));
    }

    #[test]
    fn exit_ports_read_all_ones() {
        let (bus, _) = bus();
        let mut data = [0; 4];
        bus.pio_read(ports::EXIT, 4, &mut data);
        assert_eq!(data, [0xff; 4]);
    }
}
