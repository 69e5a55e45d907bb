//! Sensitive instructions that do not trap in ring 3, and how they are made to.
//!
//! A kernel that runs in ring 3 silently gets the wrong answer from PUSHF, POPF, SGDT, SIDT, SLDT,
//! STR, SMSW, LAR, LSL, VERR, VERW and from reads of segment registers (Robin & Irvine, 2000).
//! [`scan`] finds them by a linear sweep over code; the first byte of each is replaced by `hlt`
//! (F4), which traps, whatever the length of the instruction: nothing behind it is overwritten, so
//! branches to its neighbours stay right. [`Patches`] remembers what was there; when the `hlt`
//! traps, the original is carried out instead.
//!
//! IRETQ, far returns and loads of segment registers trap by themselves: the guest's selectors are
//! not in the true GDT.

use std::collections::BTreeMap;

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind};

/// The byte that replaces the first one of a sensitive instruction: `hlt`.
pub const TRAP: u8 = 0xf4;

/// One instruction found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Linear address of its first byte.
    pub va: u64,
    /// Its bytes.
    pub original: Vec<u8>,
}

/// Whether an instruction gives another result in ring 3 than in ring 0 without trapping.
pub fn is_sensitive(i: &Instruction) -> bool {
    use Mnemonic as M;
    match i.mnemonic() {
        M::Pushf | M::Pushfd | M::Pushfq | M::Popf | M::Popfd | M::Popfq => true,
        M::Sgdt | M::Sidt | M::Sldt | M::Str | M::Smsw => true,
        M::Lar | M::Lsl | M::Verr | M::Verw => true,
        M::Mov => i.op_kind(1) == OpKind::Register && i.op1_register().is_segment_register(),
        M::Push => i.op_kind(0) == OpKind::Register && i.op0_register().is_segment_register(),
        _ => false,
    }
}

/// The sensitive instructions in `code`, which begins with an instruction and lies at `va`.
///
/// Bytes that are no instruction are stepped over one at a time; a sweep that has lost its way in
/// data finds it again after a few instructions, as x86 code does.
pub fn scan(code: &[u8], va: u64) -> Vec<Site> {
    let mut decoder = Decoder::with_ip(64, code, va, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    let mut sites = Vec::new();
    while decoder.can_decode() {
        let start = decoder.position();
        decoder.decode_out(&mut instruction);
        if instruction.is_invalid() {
            // Cannot fail: start is less than the length.
            if decoder.set_position(start + 1).is_err() {
                break;
            }
            decoder.set_ip(va.wrapping_add(start as u64 + 1));
            continue;
        }
        if is_sensitive(&instruction) {
            let original = code[start..start + instruction.len()].to_vec();
            sites.push(Site {
                va: instruction.ip(),
                original,
            });
        }
    }
    sites
}

/// The instructions that have been replaced, by the guest-physical address of their first byte.
#[derive(Clone, Debug, Default)]
pub struct Patches(BTreeMap<u64, Site>);

impl Patches {
    /// Remembers a replacement at `gpa`.
    pub fn insert(&mut self, gpa: u64, site: Site) {
        self.0.insert(gpa, site);
    }

    /// Number of instructions replaced.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none has been replaced.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The original of the instruction that trapped at `gpa`, whose bytes are `now`. `None` if it
    /// was not replaced, or if the guest has since written other code there.
    pub fn original(&self, gpa: u64, now: &[u8]) -> Option<&Site> {
        let site = self.0.get(&gpa)?;
        let same = now.first() == Some(&TRAP)
            // Its end may lie on the next page.
            && site.original.iter().zip(now).skip(1).all(|(a, b)| a == b);
        same.then_some(site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_does_not_trap_and_nothing_else() {
        // nop; pushfq; mov rax,cr3; popfq; mov eax,cs; cli; sgdt [rax]; iretq; push fs; (bad) ; pushfq
        let code = [
            0x90, 0x9c, 0x0f, 0x20, 0xd8, 0x9d, 0x8c, 0xc8, 0xfa, 0x0f, 0x01, 0x00, 0x48, 0xcf,
            0x0f, 0xa0, 0x06, 0x9c,
        ];
        let found: Vec<_> = scan(&code, 0x1000)
            .into_iter()
            .map(|s| (s.va, s.original.len()))
            .collect();
        assert_eq!(
            found,
            [
                (0x1001, 1),
                (0x1005, 1),
                (0x1006, 2),
                (0x1009, 3),
                (0x100e, 2),
                (0x1011, 1)
            ]
        );
    }

    #[test]
    fn immediates_are_not_instructions() {
        // mov eax, 0x9c9c9c9c; add eax, 0x9d9d9d9d
        assert!(
            scan(
                &[0xb8, 0x9c, 0x9c, 0x9c, 0x9c, 0x05, 0x9d, 0x9d, 0x9d, 0x9d],
                0
            )
            .is_empty()
        );
    }

    #[test]
    fn a_replacement_is_known_until_its_code_changes() {
        let mut p = Patches::default();
        p.insert(
            0x5000,
            Site {
                va: 0xffff_8000_0000_5000,
                original: vec![0x8c, 0xc8],
            },
        );
        assert!(p.original(0x5000, &[TRAP, 0xc8, 0x90]).is_some());
        assert!(p.original(0x5000, &[TRAP, 0x90]).is_none());
        assert!(p.original(0x5001, &[TRAP, 0xc8]).is_none());
        assert!(
            p.original(0x5000, &[TRAP]).is_some(),
            "the rest is on the next page"
        );
    }
}
