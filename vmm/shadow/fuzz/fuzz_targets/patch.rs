#![no_main]
//! Any bytes as kernel code: what is found lies in it, in order, and is found again.

use gnomon_shadow::patch::{Patches, TRAP, scan};
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
    let again = scan(&patched, va);
    assert!(again.len() <= code.len());
});
