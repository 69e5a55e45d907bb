//! ELF notes of a kernel image: how a loader finds out where and how to enter it.
//!
//! | name | type | description | meaning |
//! |---|---|---|---|
//! | `Xen\0` | 18 | 4 or 8 bytes | physical address of the 32-bit PVH entry |
//! | `Gnomon\0` | 1 | [`GnomonNote`] | the ELF's `e_entry` is a physical address that takes the 64-bit protocol of [`crate::boot`] |
//!
//! gnomon enters a kernel with the second note by [`crate::boot`]'s protocol; one that has the
//! first alone by PVH; any other by its `e_entry` in 64-bit mode with `rdi` and `rsi` as there.

/// Name of the PVH note, with its NUL.
pub const XEN_NAME: &[u8; 4] = b"Xen\0";

/// `XEN_ELFNOTE_PHYS32_ENTRY`.
pub const XEN_PHYS32_ENTRY: u32 = 18;

/// Name of our own note, with its NUL.
pub const GNOMON_NAME: &[u8; 7] = b"Gnomon\0";

/// Type of the note that marks the 64-bit entry protocol.
pub const GNOMON_ENTRY64: u32 = 1;

/// Version of [`crate::boot`]'s protocol.
pub const PROTOCOL_VERSION: u32 = 1;

/// Descriptor of the note [`GNOMON_ENTRY64`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct GnomonNote {
    /// [`PROTOCOL_VERSION`].
    pub version: u32,
    /// Zero.
    pub flags: u32,
}

const _: () = assert!(core::mem::size_of::<GnomonNote>() == 8);
