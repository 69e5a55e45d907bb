//! The guest's physical memory: where it lies, and the mapping behind it.
//!
//! ```text
//!  0            LOW_RAM_END   HIGH_START                RAM_LOW_END          4 GiB
//!  ├─ boot data ─┤ reserved ├─ RAM, the kernel at 2 MiB ─┤ MMIO, IOAPIC, LAPIC ├─ RAM
//! ```
//!
//! Memory is reserved, not committed: what the guest never touches costs the host nothing.

use gnomon_devices::GuestMemory;
use linux_loader::loader::elf::start_info::hvm_memmap_table_entry;
use thiserror::Error;
use vm_memory::GuestAddress;

/// End of the conventional memory that the guest is told of; gnomon's boot data lies below.
pub const LOW_RAM_END: u64 = 0x9_f000;

/// Start of the memory above the legacy hole.
pub const HIGH_START: u64 = 0x10_0000;

/// RAM below 4 GiB ends here at the latest; devices lie above.
pub const RAM_LOW_END: u64 = 0xc000_0000;

/// What does not fit below [`RAM_LOW_END`] continues here.
pub const RAM_HIGH_START: u64 = 1 << 32;

/// Least amount of memory that a guest may have: 2 MiB of low memory and 2 MiB for a kernel.
pub const MIN_MIB: u64 = 4;

const MIB: u64 = 1 << 20;

/// Type of a memory-map entry that is RAM (Xen's `XEN_HVM_MEMMAP_TYPE_RAM`).
const MEMMAP_RAM: u32 = 1;

/// Why there is no guest memory.
#[derive(Debug, Error)]
pub enum MemoryError {
    /// `--mem` is below [`MIN_MIB`].
    #[error("--mem {0}: a guest needs at least {MIN_MIB} MiB")]
    TooSmall(u64),
    /// `--mem` is more than the host has.
    #[error("--mem {asked}: this host has {host} MiB of memory; give less")]
    TooLarge {
        /// MiB asked for.
        asked: u64,
        /// MiB of memory and swap that the host has.
        host: u64,
    },
    /// The host refuses the mapping.
    #[error("cannot reserve {mib} MiB of memory for the guest: {reason}")]
    Map {
        /// MiB asked for.
        mib: u64,
        /// What the host says.
        reason: String,
    },
}

/// The ranges of RAM, in bytes, of a guest with `bytes` of memory.
pub fn ram_ranges(bytes: u64) -> Vec<(GuestAddress, usize)> {
    let low = bytes.min(RAM_LOW_END);
    let mut ranges = vec![(GuestAddress(0), low as usize)];
    if bytes > low {
        ranges.push((GuestAddress(RAM_HIGH_START), (bytes - low) as usize));
    }
    ranges
}

/// Reserve `mib` MiB of guest memory, all zero.
///
/// # Errors
/// Too little, more than the host has, or the host refuses.
pub fn create(mib: u64) -> Result<GuestMemory, MemoryError> {
    if mib < MIN_MIB {
        return Err(MemoryError::TooSmall(mib));
    }
    let host = host_mib();
    if mib > host {
        return Err(MemoryError::TooLarge { asked: mib, host });
    }
    GuestMemory::from_ranges(&ram_ranges(mib * MIB)).map_err(|error| MemoryError::Map {
        mib,
        reason: error.to_string(),
    })
}

/// The memory map that the guest is given, for a guest with `bytes` of memory.
pub fn memory_map(bytes: u64) -> Vec<hvm_memmap_table_entry> {
    let entry = |start: u64, end: u64| hvm_memmap_table_entry {
        addr: start,
        size: end - start,
        type_: MEMMAP_RAM,
        reserved: 0,
    };
    let low = bytes.min(RAM_LOW_END);
    let mut map = vec![entry(0, LOW_RAM_END), entry(HIGH_START, low)];
    if bytes > low {
        map.push(entry(RAM_HIGH_START, RAM_HIGH_START + bytes - low));
    }
    map
}

/// MiB of memory and swap that the host has; no limit if it does not tell.
fn host_mib() -> u64 {
    // SAFETY: an all-zero `sysinfo` is a valid value of that plain structure.
    let mut info: libc::sysinfo = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is one valid structure for the length of the call.
    if unsafe { libc::sysinfo(&mut info) } != 0 {
        return u64::MAX;
    }
    let unit = u64::from(info.mem_unit.max(1));
    (info.totalram + info.totalswap).saturating_mul(unit) / MIB
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_memory_is_one_range() {
        assert_eq!(
            ram_ranges(128 << 20),
            [(GuestAddress(0), 128 << 20)].to_vec()
        );
    }

    #[test]
    fn large_memory_leaves_the_device_hole() {
        assert_eq!(
            ram_ranges(4 << 30),
            [(GuestAddress(0), 3 << 30), (GuestAddress(4 << 30), 1 << 30)].to_vec()
        );
    }

    #[test]
    fn memory_map_leaves_out_the_legacy_hole() {
        let map = memory_map(4 << 30);
        let spans: Vec<_> = map.iter().map(|e| (e.addr, e.addr + e.size)).collect();
        assert_eq!(
            spans,
            [
                (0, LOW_RAM_END),
                (HIGH_START, RAM_LOW_END),
                (RAM_HIGH_START, 5 << 30)
            ]
        );
    }

    #[test]
    fn no_memory_is_refused() {
        assert!(matches!(create(0), Err(MemoryError::TooSmall(0))));
    }

    #[test]
    fn more_memory_than_the_host_has_is_refused() {
        assert!(matches!(
            create(u64::MAX >> 20),
            Err(MemoryError::TooLarge { .. })
        ));
    }
}
