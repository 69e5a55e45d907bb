//! The kernel's own symbols: space for the table that the image builder fills in.

use gnomon_abi::symbols::{self, SECTION_SIZE};

/// The table (format: [`gnomon_abi::symbols`]). The magic's place holds a marker, not zero, so
/// that the section occupies the file.
#[used]
#[unsafe(link_section = ".ksyms")]
static TABLE: [u8; SECTION_SIZE] = {
    let mut t = [0; SECTION_SIZE];
    t[0] = 1;
    t
};

/// Name of the kernel function that holds `address`, and the offset in it.
pub fn lookup(address: u64) -> Option<(&'static str, u64)> {
    let table: &'static [u8] = core::hint::black_box(&TABLE);
    symbols::lookup(table, address)
}
