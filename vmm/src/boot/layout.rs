//! Where gnomon's boot data lies in guest memory, all below 1 MiB.
//!
//! The kernel may use this memory for itself once it has read what it needs.

/// The global descriptor table: null, code, data, task state.
pub const GDT: u64 = 0x500;

/// `hvm_start_info`.
pub const START_INFO: u64 = 0x6000;

/// The memory map behind it.
pub const MEMMAP: u64 = 0x7000;

/// [`gnomon_abi::boot::BootFacts`].
pub const BOOT_FACTS: u64 = 0x8000;

/// Page tables that map the first GiB one to one: one page each of PML4, PDPT and PD.
pub const PML4: u64 = 0x9000;
/// See [`PML4`].
pub const PDPT: u64 = 0xa000;
/// See [`PML4`].
pub const PD: u64 = 0xb000;

/// The kernel's command line, ended by NUL.
pub const CMDLINE: u64 = 0x1_0000;
/// Bytes that it may have, the NUL included.
pub const CMDLINE_MAX: usize = 0x1_0000;

/// Init's arguments.
pub const ARGS: u64 = 0x2_0000;
/// Bytes that they may have.
pub const ARGS_MAX: usize = 0x5_0000;

/// Init's environment.
pub const ENV: u64 = 0x7_0000;
/// Bytes that it may have.
pub const ENV_MAX: usize = 0x2_0000;

const _: () = assert!(CMDLINE + CMDLINE_MAX as u64 <= ARGS);
const _: () = assert!(ARGS + ARGS_MAX as u64 <= ENV);
const _: () = assert!(ENV + ENV_MAX as u64 <= crate::memory::LOW_RAM_END);
