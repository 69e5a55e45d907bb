//! The guest's RAM as the engine sees it: by guest-physical address, through gnomon's mapping.
//!
//! The guest may change memory at any time: every access is volatile or atomic, and nothing is
//! borrowed.

use std::sync::atomic::{AtomicU64, Ordering};

use gnomon_devices::GuestMemory;
use gnomon_shadow::tables::memory::GuestRam;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress};

/// One contiguous piece of RAM.
#[derive(Clone, Copy)]
struct Region {
    start: u64,
    len: u64,
    host: *mut u8,
}

/// All RAM. Keeps the mapping alive.
pub struct Ram {
    regions: Vec<Region>,
    _memory: GuestMemory,
}

// SAFETY: the pointers lead to a mapping that `_memory` keeps and that any thread may access; all
// accesses are volatile or atomic.
unsafe impl Send for Ram {}

impl Ram {
    /// The RAM in `memory`.
    pub fn new(memory: &GuestMemory) -> Self {
        let regions = memory
            .iter()
            .filter_map(|region| {
                Some(Region {
                    start: region.start_addr().0,
                    len: region.len(),
                    host: region.get_host_address(MemoryRegionAddress(0)).ok()?,
                })
            })
            .collect();
        Self {
            regions,
            _memory: memory.clone(),
        }
    }

    /// Where `len` bytes at `gpa` lie in gnomon's memory; None unless all of them are RAM.
    fn host(&self, gpa: u64, len: u64) -> Option<*mut u8> {
        for region in &self.regions {
            let offset = gpa.wrapping_sub(region.start);
            if offset < region.len && region.len - offset >= len {
                // SAFETY: the offset lies within the region's mapping.
                return Some(unsafe { region.host.add(offset as usize) });
            }
        }
        None
    }

    /// Copies from RAM; false if a byte of it is not RAM.
    pub fn load(&self, gpa: u64, bytes: &mut [u8]) -> bool {
        let Some(from) = self.host(gpa, bytes.len() as u64) else {
            return false;
        };
        if bytes.len() == 8 && gpa.is_multiple_of(8) {
            // SAFETY: eight bytes of RAM, aligned as the mapping is by pages.
            let word = unsafe { from.cast::<u64>().read_volatile() };
            bytes.copy_from_slice(&word.to_le_bytes());
        } else {
            for (i, byte) in bytes.iter_mut().enumerate() {
                // SAFETY: within the range that `host` has checked.
                *byte = unsafe { from.add(i).read_volatile() };
            }
        }
        true
    }

    /// Copies to RAM; false if a byte of it is not RAM.
    pub fn store(&self, gpa: u64, bytes: &[u8]) -> bool {
        let Some(to) = self.host(gpa, bytes.len() as u64) else {
            return false;
        };
        match *bytes {
            [a, b, c, d, e, f, g, h] if gpa.is_multiple_of(8) => {
                let word = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
                // SAFETY: eight bytes of RAM, aligned.
                unsafe { to.cast::<u64>().write_volatile(word) };
            }
            _ => {
                for (i, byte) in bytes.iter().enumerate() {
                    // SAFETY: within the range that `host` has checked.
                    unsafe { to.add(i).write_volatile(*byte) };
                }
            }
        }
        true
    }
}

impl GuestRam for Ram {
    fn read(&self, gpa: u64) -> Option<u64> {
        let from = self.host(gpa & !7, 8)?;
        // SAFETY: eight bytes of RAM, aligned.
        Some(unsafe { from.cast::<u64>().read_volatile() })
    }

    fn compare_exchange(&self, gpa: u64, old: u64, new: u64) -> Option<bool> {
        let at = self.host(gpa & !7, 8)?;
        // SAFETY: eight bytes of RAM, aligned, valid as long as `self`; the guest may access them
        // at the same time, as an atomic allows.
        let word = unsafe { AtomicU64::from_ptr(at.cast()) };
        Some(
            word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok(),
        )
    }

    fn is_ram(&self, gpa: u64, len: u64) -> bool {
        self.host(gpa, len).is_some()
    }

    fn holds(&self, gpa: u64, known: &[u64]) -> bool {
        let Some(at) = self.host(gpa & !7, 8 * known.len() as u64) else {
            return false;
        };
        let at = at.cast::<u64>();
        // SAFETY: so many words of RAM, aligned.
        known
            .iter()
            .enumerate()
            .all(|(i, word)| unsafe { at.add(i).read_volatile() } == *word)
    }
}
