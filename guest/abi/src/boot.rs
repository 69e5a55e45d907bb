//! How gnomon enters the guest kernel, and what it tells it.
//!
//! The kernel is an ELF64 whose `e_entry` gnomon enters in 64-bit mode:
//!
//! | register | value |
//! |---|---|
//! | `rdi` | gpa of an `hvm_start_info` (version 1 with memory map; Xen's PVH boot protocol) |
//! | `rsi` | gpa of [`BootFacts`] (0: none, the kernel was entered by another loader) |
//! | `rsp` | undefined: the kernel brings its own stack |
//! | `rflags` | 2 (interrupts off) |
//! | `cr3` | tables that map the first 1 GiB one to one with 2 MiB pages, writable, executable |
//! | `cr0` `cr4` `efer` | PE NE WP PG ET / PAE / LME LMA NXE |
//! | `cs` `ss`… | flat: 0x08 64-bit code, 0x10 data; the GDT lies below 1 MiB |
//!
//! The same ELF carries a `XEN_ELFNOTE_PHYS32_ENTRY` note, so that any PVH loader can boot it too
//! (32-bit entry, `ebx` = gpa of `hvm_start_info`). The command line is `hvm_start_info`'s; virtio
//! devices are announced on it as `virtio_mmio.device=SIZE@BASE:IRQ`, as Linux and QEMU's microvm
//! do it. All memory that the loader did not fill is zero.

/// "GNOMON01", little endian.
pub const MAGIC: u64 = u64::from_le_bytes(*b"GNOMON01");

/// `syscall` from ring 3 jumps to LSTAR but stays in ring 3: the kernel must point LSTAR at a
/// one-byte `hlt` on a page that ring 3 may execute, and take the `#GP` there as the entry.
pub const SYSCALL_STAYS_IN_RING3: u64 = 1 << 0;

/// `int n` from ring 3 arrives as `#UD` with RIP at the instruction.
pub const INT_N_IS_UD: u64 = 1 << 1;

/// The `xsave` family and `xgetbv` cannot be executed in ring 0, whatever CPUID says (it may offer
/// XSAVE although it should not): the kernel must use `fxsave`, and leave `CR4.OSXSAVE` clear, so
/// that programs are told that AVX is not to be used.
pub const NO_XSAVE_IN_RING0: u64 = 1 << 2;

/// Facts about the virtual machine that the kernel could not find out otherwise.
///
/// They say what the machine is and cannot do; never what is going to run on it. Written at a
/// gpa below 1 MiB, 8-byte aligned.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct BootFacts {
    /// [`MAGIC`].
    pub magic: u64,
    /// What this host cannot do: `SYSCALL_STAYS_IN_RING3` …
    pub quirks: u64,
    /// Frequency of the time-stamp counter in kHz.
    pub tsc_khz: u64,
    /// Frequency of the local APIC's timer in kHz, divider 1.
    pub apic_timer_khz: u64,
    /// Wall clock when the virtual processor is first entered: nanoseconds since 1970-01-01 UTC.
    pub wall_clock_ns: u64,
    /// gpa of init's argument strings, each ended by NUL: `argv[0]` first.
    pub init_args: u64,
    /// Their length in bytes; 0: the kernel uses `/sbin/init` alone.
    pub init_args_len: u64,
    /// gpa of init's environment strings (`NAME=value`), each ended by NUL.
    pub init_env: u64,
    /// Their length in bytes.
    pub init_env_len: u64,
    /// Number of virtual processors, at least 1.
    pub cpus: u64,
    /// Seed of the kernel's random numbers.
    pub seed: [u8; 32],
}

const _: () = assert!(core::mem::size_of::<BootFacts>() == 112);
const _: () = assert!(core::mem::align_of::<BootFacts>() == 8);
