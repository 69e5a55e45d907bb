#![no_main]
//! Any bytes as kernel code: what is found lies in it, in order, and is found again.

use gnomon_shadow::patch::{Patches, TRAP, overhang, scan, scan_page};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|code: &[u8]| {
    let va = 0xffff_ffff_8020_0000;
    let mut patched = code.to_vec();
    let mut patches = Patches::default();
    let mut end = va;
    for site in scan(code, va) {
        assert!(site.va >= end, "sites do not overlap");
        let at = (site.va - va) as usize;
        assert_eq!(code[at..at + site.original.len()], site.original[..]);
        end = site.va + site.original.len() as u64;
        patched[at] = TRAP;
        patches.insert(site.va, site);
    }
    for site in scan(code, va) {
        let at = (site.va - va) as usize;
        assert_eq!(patches.original(site.va, &patched[at..]), Some(&site));
    }
    by_page(code);
    let again = scan(&patched, va);
    assert!(again.len() <= code.len());
});

/// A page scanned from some entry: every site is known again, and undone to what was there.
fn by_page(code: &[u8]) {
    let [entry_low, entry_high, rest @ ..] = code else { return };
    let entry = usize::from(u16::from_le_bytes([*entry_low, *entry_high])) % 4096;
    let mut memory: Vec<u8> = rest.iter().copied().cycle().take(4096 + 14).collect();
    if memory.is_empty() {
        return;
    }
    assert!(overhang(&memory) <= 14);
    let before = memory.clone();
    let mut patches = Patches::default();
    for site in scan_page(&before, 0x7000, entry, usize::from(*entry_low) % 15, &[]) {
        let at = (site.va - 0x7000) as usize;
        assert!(at < 4096);
        assert_eq!(before[at..at + site.original.len()], site.original[..]);
        memory[at] = TRAP;
        patches.insert(site.va, site);
    }
    for at in 0..4096 {
        if memory[at] != before[at] {
            assert!(patches.original(0x7000 + at as u64, &memory[at..]).is_some());
        }
    }
    patches.undo(0x7000, &mut memory);
    assert_eq!(memory, before);
}
