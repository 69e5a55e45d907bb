//! The kernel's half of the address space.
//!
//! | addresses | what |
//! |---|---|
//! | `0 .. 0x7fff_ffff_f000` | the program |
//! | `0xffff_8880_0000_0000` (PML4 slot 273), 512 GiB | direct map of physical memory, 2 MiB pages, never executable |
//! | `0xffff_ffff_8020_0000` (slot 511) | the kernel's image, 4 KiB pages |
//! | `0xffff_ffff_c000_0000` (slot 511), 2 MiB | device registers, the system-call gate |
//!
//! PML4 slot 256 cannot be used on every host.

/// First address that no program can have. The last page of the lower half stays free: a SYSCALL
/// at its end would return to a non-canonical address.
pub const USER_END: usize = 0x7fff_ffff_f000;

/// Lowest address a program may map (as Linux's vm.mmap_min_addr).
pub const USER_START: usize = 0x1_0000;

/// The direct map of physical memory.
pub const DIRECT_MAP: usize = 0xffff_8880_0000_0000;

/// Bytes that the direct map can hold.
pub const DIRECT_MAP_SIZE: usize = 512 << 30;

/// The window for device registers.
pub const DEVICE_WINDOW: usize = 0xffff_ffff_c000_0000;

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// The kernel's image.
pub const KERNEL_IMAGE: usize = gnomon_abi::symbols::IMAGE_BASE as usize;
