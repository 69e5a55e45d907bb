//! The kernel's symbol table: the section `.ksyms` of its image.
//!
//! The kernel reserves [`SECTION_SIZE`] bytes, all zero; the image builder fills them after
//! linking. All numbers are little endian, offsets are from the image's link address
//! ([`IMAGE_BASE`]).
//!
//! ```text
//! +0                u32 magic  "KSYM"
//! +4                u32 count
//! +8                count * { u32 address offset, u32 name offset }, sorted by address
//! +8 + 8*count      names, each ended by NUL; name offsets count from here
//! ```
//!
//! A name is demangled already and at most [`NAME_MAX`] bytes. Functions alone are listed.

/// The section's name in the ELF.
pub const SECTION: &str = ".ksyms";

/// Bytes reserved for the table.
pub const SECTION_SIZE: usize = 256 * 1024;

/// "KSYM", little endian.
pub const MAGIC: u32 = u32::from_le_bytes(*b"KSYM");

/// Bytes before the first entry.
pub const HEADER_SIZE: usize = 8;

/// Bytes of one entry.
pub const ENTRY_SIZE: usize = 8;

/// Longest name, without its NUL.
pub const NAME_MAX: usize = 120;

/// Virtual address that the kernel is linked at: address offsets count from here.
pub const IMAGE_BASE: u64 = 0xffff_ffff_8020_0000;

/// Looks an address up in a table: the name of the function that covers it and the offset in it.
///
/// None if the table was not filled or the address lies before the first function.
pub fn lookup(table: &[u8], address: u64) -> Option<(&str, u64)> {
    let word = |at: usize| -> Option<u32> {
        Some(u32::from_le_bytes(table.get(at..at + 4)?.try_into().ok()?))
    };
    if word(0)? != MAGIC {
        return None;
    }
    let count = word(4)? as usize;
    let wanted = u32::try_from(address.checked_sub(IMAGE_BASE)?).ok()?;
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = (low + high) / 2;
        if word(HEADER_SIZE + middle * ENTRY_SIZE)? <= wanted {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let entry = HEADER_SIZE + low.checked_sub(1)? * ENTRY_SIZE;
    let start = word(entry)?;
    let names = table.get(HEADER_SIZE + count.checked_mul(ENTRY_SIZE)?..)?;
    let name = names.get(word(entry + 4)? as usize..)?;
    let end = name.iter().position(|&b| b == 0)?;
    Some((
        core::str::from_utf8(&name[..end]).ok()?,
        u64::from(wanted - start),
    ))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn table() -> Vec<u8> {
        let mut t = Vec::new();
        for n in [MAGIC, 2, 0x10, 0, 0x40, 6] {
            t.extend_from_slice(&n.to_le_bytes());
        }
        t.extend_from_slice(b"first\0second\0");
        t
    }

    #[test]
    fn address_inside_a_function_gives_its_name_and_offset() {
        assert_eq!(lookup(&table(), IMAGE_BASE + 0x12), Some(("first", 2)));
        assert_eq!(lookup(&table(), IMAGE_BASE + 0x40), Some(("second", 0)));
    }

    #[test]
    fn address_outside_the_table_gives_nothing() {
        assert_eq!(lookup(&table(), IMAGE_BASE), None);
        assert_eq!(lookup(&table(), 0x1000), None);
        assert_eq!(lookup(&[0; 64], IMAGE_BASE + 0x12), None);
        assert_eq!(lookup(&table()[..20], IMAGE_BASE + 0x12), None);
    }
}
