//! A walk of the guest's page tables, for reading what a guest sees at a virtual address.
//!
//! Only reports use it: it changes no accessed bit and asks for no permission.

use gnomon_devices::GuestMemory;
use kvm_bindings::kvm_sregs;
use vm_memory::{Bytes, GuestAddress};

const CR0_PG: u64 = 1 << 31;
const CR4_LA57: u64 = 1 << 12;
const EFER_LMA: u64 = 1 << 10;
const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const PAGE: u64 = 4096;

/// The guest physical address behind `address`; None where nothing is mapped.
///
/// Knows 64-bit paging (four and five levels) and no paging at all.
pub fn translate(memory: &GuestMemory, sregs: &kvm_sregs, address: u64) -> Option<u64> {
    if sregs.cr0 & CR0_PG == 0 {
        return Some(address);
    }
    if sregs.efer & EFER_LMA == 0 {
        return None;
    }
    let levels = if sregs.cr4 & CR4_LA57 != 0 { 5 } else { 4 };
    let mut table = sregs.cr3 & ADDRESS;
    for level in (0..levels).rev() {
        let shift = 12 + 9 * level;
        let index = address >> shift & 0x1ff;
        let entry: u64 = memory.read_obj(GuestAddress(table + 8 * index)).ok()?;
        if entry & PRESENT == 0 {
            return None;
        }
        if level == 0 || (level <= 2 && entry & LARGE != 0) {
            let offset = (1 << shift) - 1;
            return Some(entry & ADDRESS & !offset | address & offset);
        }
        table = entry & ADDRESS;
    }
    None
}

/// Up to `len` bytes at `address`: as many as are mapped.
pub fn read_virtual(memory: &GuestMemory, sregs: &kvm_sregs, address: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let at = address.wrapping_add(bytes.len() as u64);
        let Some(gpa) = translate(memory, sregs, at) else {
            break;
        };
        let room = (PAGE - at % PAGE).min((len - bytes.len()) as u64) as usize;
        let mut piece = vec![0; room];
        if memory.read_slice(&mut piece, GuestAddress(gpa)).is_err() {
            break;
        }
        bytes.extend(piece);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2 MiB mapped at 0xffff_ffff_8000_0000, a page at the 2 MiB after it.
    fn guest() -> (GuestMemory, kvm_sregs) {
        let memory = GuestMemory::from_ranges(&[(GuestAddress(0), 4 << 20)]).unwrap();
        for (at, entry) in [
            (0x1000 + 8 * 511, 0x2001_u64),
            (0x2000 + 8 * 510, 0x3001),
            (0x3000, 0x20_0081),
            (0x3008, 0x4001),
            (0x4000, 0x5001),
        ] {
            memory.write_obj(entry, GuestAddress(at)).unwrap();
        }
        let sregs = kvm_sregs {
            cr0: CR0_PG,
            cr3: 0x1000,
            efer: EFER_LMA,
            ..Default::default()
        };
        (memory, sregs)
    }

    #[test]
    fn large_page_is_walked() {
        let (memory, sregs) = guest();
        assert_eq!(
            translate(&memory, &sregs, 0xffff_ffff_8000_1234),
            Some(0x20_1234)
        );
    }

    #[test]
    fn small_page_is_walked() {
        let (memory, sregs) = guest();
        assert_eq!(
            translate(&memory, &sregs, 0xffff_ffff_8020_0010),
            Some(0x5010)
        );
    }

    #[test]
    fn unmapped_address_has_no_translation() {
        let (memory, sregs) = guest();
        assert_eq!(translate(&memory, &sregs, 0x1000), None);
    }

    #[test]
    fn read_stops_where_the_mapping_ends() {
        let (memory, sregs) = guest();
        memory.write_slice(b"abcd", GuestAddress(0x5ffc)).unwrap();
        let bytes = read_virtual(&memory, &sregs, 0xffff_ffff_8020_0ffc, 15);
        assert_eq!(bytes, b"abcd");
    }
}
