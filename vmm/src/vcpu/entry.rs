//! The registers with which a kernel is entered (see [`gnomon_abi::boot`]).

use kvm_bindings::{kvm_regs, kvm_segment, kvm_sregs};

use crate::boot::kernel::Entry;
use crate::boot::layout;
use crate::boot::tables::{CODE_SELECTOR, DATA_SELECTOR, TSS_SELECTOR};

/// CR0: protected mode, extension type, numeric errors, write protection in ring 0.
const CR0_PROTECTED: u64 = 1 | 1 << 4 | 1 << 5 | 1 << 16;
/// CR0: paging.
const CR0_PG: u64 = 1 << 31;
/// CR4: physical address extension.
const CR4_PAE: u64 = 1 << 5;
/// EFER: long mode enabled, active, and NX.
const EFER_LONG: u64 = 1 << 8 | 1 << 10 | 1 << 11;
/// RFLAGS: the bit that is always set.
const RFLAGS_FIXED: u64 = 1 << 1;

/// General registers at entry.
pub fn general(entry: Entry) -> kvm_regs {
    let rflags = RFLAGS_FIXED;
    match entry {
        Entry::Long(rip) => kvm_regs {
            rip,
            rflags,
            rdi: layout::START_INFO,
            rsi: layout::BOOT_FACTS,
            ..Default::default()
        },
        Entry::Pvh(eip) => kvm_regs {
            rip: eip.into(),
            rflags,
            rbx: layout::START_INFO,
            ..Default::default()
        },
    }
}

/// Set the system registers of `sregs` (as KVM reset them) for entry.
pub fn system(entry: Entry, sregs: &mut kvm_sregs) {
    let long = matches!(entry, Entry::Long(_));
    let code = segment(CODE_SELECTOR, 0xb, long);
    let data = segment(DATA_SELECTOR, 0x3, false);
    sregs.cs = code;
    sregs.ds = data;
    sregs.es = data;
    sregs.fs = data;
    sregs.gs = data;
    sregs.ss = data;
    sregs.tr = kvm_segment {
        base: 0,
        limit: 0x67,
        selector: TSS_SELECTOR,
        type_: 0xb,
        present: 1,
        ..Default::default()
    };
    sregs.ldt = kvm_segment {
        unusable: 1,
        ..Default::default()
    };
    sregs.gdt.base = layout::GDT;
    sregs.gdt.limit = 5 * 8 - 1;
    sregs.idt.base = 0;
    sregs.idt.limit = 0;
    sregs.cr0 = CR0_PROTECTED;
    sregs.cr4 = 0;
    sregs.efer = 0;
    if long {
        sregs.cr0 |= CR0_PG;
        sregs.cr3 = layout::PML4;
        sregs.cr4 = CR4_PAE;
        sregs.efer = EFER_LONG;
    }
}

/// A flat segment of ring 0.
fn segment(selector: u16, kind: u8, long: bool) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector,
        type_: kind,
        present: 1,
        dpl: 0,
        db: u8::from(!long),
        s: 1,
        l: u8::from(long),
        g: 1,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_entry_passes_start_info_and_facts() {
        let regs = general(Entry::Long(0x20_0000));
        assert_eq!(
            (regs.rip, regs.rdi, regs.rsi, regs.rflags),
            (0x20_0000, layout::START_INFO, layout::BOOT_FACTS, 2)
        );
    }

    #[test]
    fn pvh_entry_has_no_paging() {
        let mut sregs = kvm_sregs::default();
        system(Entry::Pvh(0x20_0000), &mut sregs);
        assert_eq!((sregs.cr0 & CR0_PG, sregs.efer, sregs.cs.db), (0, 0, 1));
    }

    #[test]
    fn long_entry_is_in_64_bit_mode() {
        let mut sregs = kvm_sregs::default();
        system(Entry::Long(0x20_0000), &mut sregs);
        assert_eq!((sregs.cs.l, sregs.cs.db), (1, 0));
        assert_eq!(sregs.cr3, layout::PML4);
    }
}
