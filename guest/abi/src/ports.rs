//! I/O ports through which the guest kernel speaks to gnomon.
//!
//! Ports, not `vmcall`: some KVM hosts cannot take a `vmcall` from ring 0 (docs/hosts.md). All of
//! them read as all ones on other machines, and writes there are lost; the kernel uses them only
//! after it has been entered by gnomon (it was then handed [`crate::boot::BootFacts`]).

/// `out dx, eax`: end the virtual machine; the low 8 bits are gnomon's exit status.
pub const EXIT: u16 = 0x510;

/// `out dx, eax`: the kernel cannot go on (panic or fatal exception). The value is a
/// [`FatalReason`]. What the kernel had to say about it has gone to [`LOG`] before. gnomon prints
/// its report and ends with status 125.
pub const FATAL: u16 = 0x514;

/// `out dx, al` or `out dx, eax` (and `rep outsb`, `rep outsd`): one or four bytes of the kernel's
/// log, to gnomon's stderr.
///
/// KVM leaves the virtual machine once for each element of a string write, so four bytes at a time
/// cost a quarter of the exits.
pub const LOG: u16 = 0x502;

/// `out dx, al`: QEMU's isa-debug-exit, for kernels of the user's own: the machine ends with
/// status `(value << 1) | 1`.
pub const DEBUG_EXIT: u16 = 0xf4;

/// COM1, a 16550A.
pub const COM1: u16 = 0x3f8;

/// The value that goes to [`FATAL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FatalReason {
    /// A Rust panic in the kernel.
    Panic = 1,
    /// A processor exception in the kernel that it could not handle.
    Exception = 2,
    /// The root file system cannot be mounted, or there is none.
    NoRoot = 3,
    /// No init program can be run.
    NoInit = 4,
}
