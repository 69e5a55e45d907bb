//! Bits of a paging-structure entry (Intel SDM volume 3, section 4.5, tables 4-15 to 4-20).

/// Present.
pub const P: u64 = 1 << 0;
/// Writes allowed.
pub const W: u64 = 1 << 1;
/// User-mode accesses allowed.
pub const U: u64 = 1 << 2;
/// Page-level write-through.
pub const PWT: u64 = 1 << 3;
/// Page-level cache disable.
pub const PCD: u64 = 1 << 4;
/// Accessed.
pub const A: u64 = 1 << 5;
/// Dirty (in an entry that maps a page).
pub const D: u64 = 1 << 6;
/// Page size: in a level-2 or level-3 entry, the entry maps a page.
pub const PS: u64 = 1 << 7;
/// Global translation (in an entry that maps a page, when CR4.PGE is set).
pub const G: u64 = 1 << 8;
/// Execute disable.
pub const NX: u64 = 1 << 63;
/// Bits 51:12, the physical address of a 4 KiB page or of the next table.
pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Size of a page table and of the smallest page, in bytes.
pub const PAGE: u64 = 4096;

/// The index into the table of `level` (1: page table … 4: PML4) that translates `va`.
pub const fn index(va: u64, level: u8) -> usize {
    ((va >> (12 + 9 * (level as u32 - 1))) & 511) as usize
}

/// Bytes that one entry of the table of `level` translates.
pub const fn span(level: u8) -> u64 {
    1 << (12 + 9 * (level as u32 - 1))
}

/// Whether `va` is canonical for 4-level paging: bits 63:47 all alike.
pub const fn canonical(va: u64) -> bool {
    ((va << 16) as i64 >> 16) as u64 == va
}

/// Error code of a page fault (SDM volume 3, section 4.7).
pub mod fault {
    /// The translation was present: the fault is one of permission or of reserved bits.
    pub const PRESENT: u32 = 1 << 0;
    /// The access was a write.
    pub const WRITE: u32 = 1 << 1;
    /// The access was made in user mode.
    pub const USER: u32 = 1 << 2;
    /// A reserved bit was set in an entry.
    pub const RESERVED: u32 = 1 << 3;
    /// The access was an instruction fetch (reported when NX or SMEP is on).
    pub const FETCH: u32 = 1 << 4;
}
