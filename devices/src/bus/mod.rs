//! Who owns which I/O ports and which addresses of the guest.
//!
//! Built once, before the first virtual processor runs, and then only read; so looking a device
//! up takes no lock. A device sees offsets into its own range, never addresses, and never an
//! access that begins or ends outside its range: such an access belongs to nobody. What belongs
//! to nobody reads as all ones, and writes to it are lost, as on a PC.

use std::sync::{Arc, Mutex};

use thiserror::Error;

use crate::lock;

/// A device reached by `in` and `out`.
pub trait PioDevice: Send {
    /// Fill `data` (1, 2 or 4 bytes) from the port `offset` within the device's range. `data` is
    /// all ones on entry.
    fn read(&mut self, offset: u16, data: &mut [u8]);

    /// Take `data` (1, 2 or 4 bytes), written to the port `offset` within the device's range.
    fn write(&mut self, offset: u16, data: &[u8]);

    /// Take `data`, the elements of a string write (`rep outs`), `width` bytes each, all to the
    /// same port. Unless the device knows better, element by element.
    fn write_string(&mut self, offset: u16, width: usize, data: &[u8]) {
        for element in data.chunks_exact(width) {
            self.write(offset, element);
        }
    }
}

/// A device reached by loads and stores.
pub trait MmioDevice: Send {
    /// Fill `data` (1 to 8 bytes) from `offset` within the device's range. `data` is all ones on
    /// entry.
    fn read(&mut self, offset: u64, data: &mut [u8]);

    /// Take `data` (1 to 8 bytes), written at `offset` within the device's range.
    fn write(&mut self, offset: u64, data: &[u8]);
}

/// Why a device cannot be put on the bus.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BusError {
    /// A range of no ports or addresses.
    #[error("a device's range at {base:#x} is empty")]
    Empty {
        /// First port or address.
        base: u64,
    },
    /// The range goes past the last port or address.
    #[error("a device's range of {len:#x} at {base:#x} passes the end of the address space")]
    TooLarge {
        /// First port or address.
        base: u64,
        /// Number of ports or addresses.
        len: u64,
    },
    /// Another device is there.
    #[error("a device's range of {len:#x} at {base:#x} overlaps the one at {other:#x}")]
    Overlap {
        /// First port or address.
        base: u64,
        /// Number of ports or addresses.
        len: u64,
        /// First port or address of the device already there.
        other: u64,
    },
}

/// One address space: ranges in ascending order, disjoint.
struct Map<D: ?Sized> {
    entries: Vec<Entry<D>>,
}

struct Entry<D: ?Sized> {
    first: u64,
    /// The last port or address, included: `first + len` may be 2^64.
    last: u64,
    device: Arc<Mutex<D>>,
}

impl<D: ?Sized> Map<D> {
    const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    fn add(
        &mut self,
        base: u64,
        len: u64,
        limit: u64,
        device: Arc<Mutex<D>>,
    ) -> Result<(), BusError> {
        let last = match len.checked_sub(1) {
            None => return Err(BusError::Empty { base }),
            Some(distance) => base
                .checked_add(distance)
                .filter(|last| *last <= limit)
                .ok_or(BusError::TooLarge { base, len })?,
        };
        let at = self.entries.partition_point(|entry| entry.last < base);
        if let Some(next) = self.entries.get(at)
            && next.first <= last
        {
            let other = next.first;
            return Err(BusError::Overlap { base, len, other });
        }
        let first = base;
        self.entries.insert(
            at,
            Entry {
                first,
                last,
                device,
            },
        );
        Ok(())
    }

    /// The device that owns all of `len` bytes at `addr`, and their offset in it.
    fn find(&self, addr: u64, len: usize) -> Option<(u64, &Mutex<D>)> {
        let end = addr.checked_add((len as u64).checked_sub(1)?)?;
        let at = self.entries.partition_point(|entry| entry.last < addr);
        let entry = self.entries.get(at)?;
        (entry.first <= addr && end <= entry.last).then(|| (addr - entry.first, &*entry.device))
    }
}

/// All devices of a virtual machine by port and by address.
pub struct Bus {
    pio: Map<dyn PioDevice>,
    mmio: Map<dyn MmioDevice>,
}

impl Default for Bus {
    fn default() -> Self {
        Self::new()
    }
}

impl Bus {
    /// A bus without devices.
    pub const fn new() -> Self {
        Self {
            pio: Map::new(),
            mmio: Map::new(),
        }
    }

    /// Give `len` ports from `base` to `device`.
    ///
    /// # Errors
    /// An empty range, one past port 0xffff, one that overlaps another.
    pub fn add_pio(
        &mut self,
        base: u16,
        len: u16,
        device: Arc<Mutex<dyn PioDevice>>,
    ) -> Result<(), BusError> {
        self.pio
            .add(base.into(), len.into(), u16::MAX.into(), device)
    }

    /// Give `len` bytes of guest physical addresses from `base` to `device`.
    ///
    /// # Errors
    /// An empty range, one past the last address, one that overlaps another.
    pub fn add_mmio(
        &mut self,
        base: u64,
        len: u64,
        device: Arc<Mutex<dyn MmioDevice>>,
    ) -> Result<(), BusError> {
        self.mmio.add(base, len, u64::MAX, device)
    }

    /// `in` and `rep ins`: fill `data` with elements of `width` bytes from `port`. False if the
    /// port belongs to nobody: `data` is then all ones.
    pub fn pio_read(&self, port: u16, width: usize, data: &mut [u8]) -> bool {
        data.fill(0xff);
        let Some((offset, device)) = self.pio.find(port.into(), width) else {
            return false;
        };
        let mut device = lock(device);
        for element in data.chunks_exact_mut(width) {
            device.read(offset as u16, element);
        }
        true
    }

    /// `out` and `rep outs`: write the elements of `width` bytes in `data` to `port`. False if
    /// the port belongs to nobody: `data` is then lost.
    pub fn pio_write(&self, port: u16, width: usize, data: &[u8]) -> bool {
        let Some((offset, device)) = self.pio.find(port.into(), width) else {
            return false;
        };
        let mut device = lock(device);
        if data.len() == width {
            device.write(offset as u16, data);
        } else {
            device.write_string(offset as u16, width, data);
        }
        true
    }

    /// A load of `data.len()` bytes from guest physical address `addr`. False if the address
    /// belongs to nobody: `data` is then all ones.
    pub fn mmio_read(&self, addr: u64, data: &mut [u8]) -> bool {
        data.fill(0xff);
        match self.mmio.find(addr, data.len()) {
            Some((offset, device)) => {
                lock(device).read(offset, data);
                true
            }
            None => false,
        }
    }

    /// A store of `data` to guest physical address `addr`. False if the address belongs to
    /// nobody: `data` is then lost.
    pub fn mmio_write(&self, addr: u64, data: &[u8]) -> bool {
        match self.mmio.find(addr, data.len()) {
            Some((offset, device)) => {
                lock(device).write(offset, data);
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests;
