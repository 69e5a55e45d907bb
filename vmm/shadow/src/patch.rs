//! Sensitive instructions that do not trap in ring 3, and how they are made to.
//!
//! A kernel that runs in ring 3 silently gets the wrong answer from PUSHF, POPF, SGDT, SIDT, SLDT,
//! STR, SMSW, LAR, LSL, VERR, VERW and from reads of segment registers (Robin & Irvine, 2000).
//! [`scan`] finds them by a linear sweep over code; the first byte of each is replaced by `hlt`
//! (F4), which traps, whatever the length of the instruction: nothing behind it is overwritten, so
//! branches to its neighbours stay right. [`Patches`] remembers what was there; when the `hlt`
//! traps, the original is carried out instead.
//!
//! So are IRETQ, far returns and loads of segment registers. They would trap by themselves if the
//! guest's selectors were not in the true GDT, but a host that runs ring 3 on a GDT of its own
//! (docs/hosts.md, H1) has segments for ring 3 where guests are likely to have theirs.

use std::collections::BTreeMap;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind};

const PAGE: usize = 4096;
/// Bytes of the longest instruction, less one: how far one may reach into the next page.
pub const BEYOND: usize = 14;

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

/// Whether an instruction may give another result in ring 3 than in ring 0 without trapping.
pub fn is_sensitive(i: &Instruction) -> bool {
    use Mnemonic as M;
    let is_segment = |n| i.op_kind(n) == OpKind::Register && i.op_register(n).is_segment_register();
    match i.mnemonic() {
        M::Pushf | M::Pushfd | M::Pushfq | M::Popf | M::Popfd | M::Popfq => true,
        M::Sgdt | M::Sidt | M::Sldt | M::Str | M::Smsw => true,
        M::Lar | M::Lsl | M::Verr | M::Verw => true,
        M::Iret | M::Iretd | M::Iretq | M::Retf => true,
        M::Mov => is_segment(0) || is_segment(1),
        M::Push | M::Pop => is_segment(0),
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

/// The sensitive instructions that begin in the page of code at the front of `code`, which lies at
/// `va` and may go on behind the page. `entry`: where in the page the processor is about to
/// execute; `start`: where the first instruction of the page begins, as far as is known.
///
/// What can be reached from `entry` without an indirect jump is found for certain; the rest is
/// swept as by [`scan`], and falls into step with it.
///
/// Where instructions overlap, the replaced byte of one may lie within another, which then has to be
/// replaced too, sensitive or not, and is carried out from its original. `beyond`: where bytes
/// behind the page have been replaced already, counted from the front of `code`.
pub fn scan_page(code: &[u8], va: u64, entry: usize, start: usize, beyond: &[usize]) -> Vec<Site> {
    let known = instructions(code, va, entry, start);
    let mut replaced = vec![false; code.len()];
    for &at in beyond {
        if let Some(byte) = replaced.get_mut(at) {
            *byte = true;
        }
    }
    let mut sites = Vec::new();
    // Backwards: what makes an instruction wrong lies behind its first byte.
    for (at, i) in known.iter().enumerate().rev() {
        let Some(i) = i else { continue };
        let bytes = at..at + i.len();
        if is_sensitive(i) || replaced[bytes.clone()].contains(&true) {
            replaced[at] = true;
            let original = code[bytes].to_vec();
            sites.push(Site {
                va: i.ip(),
                original,
            });
        }
    }
    sites.reverse();
    sites
}

/// The instruction that begins at each byte of the page at the front of `code`, where that is known.
fn instructions(code: &[u8], va: u64, entry: usize, start: usize) -> Vec<Option<Instruction>> {
    let page = code.len().min(PAGE);
    let mut decoder = Decoder::with_ip(64, code, va, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    let mut decode = |at: usize| {
        decoder.set_position(at).ok()?;
        decoder.set_ip(va.wrapping_add(at as u64));
        decoder.decode_out(&mut instruction);
        (!instruction.is_invalid()).then_some(instruction)
    };
    let mut known: Vec<Option<Instruction>> = vec![None; page];
    let mut open = vec![entry];
    while let Some(mut at) = open.pop() {
        while at < page && known[at].is_none() {
            let Some(i) = decode(at) else { break };
            known[at] = Some(i);
            let target = i.near_branch_target().wrapping_sub(va) as usize;
            match i.flow_control() {
                FlowControl::UnconditionalBranch => {
                    at = target;
                    continue;
                }
                FlowControl::ConditionalBranch | FlowControl::Call => open.push(target),
                FlowControl::IndirectBranch | FlowControl::Return | FlowControl::Exception => break,
                _ => {}
            }
            at += i.len();
        }
    }
    let mut at = start;
    while at < page {
        let found = known[at].or_else(|| decode(at));
        let Some(i) = found else {
            at += 1;
            continue;
        };
        let end = at + i.len();
        // Out of step with what is known: go on from there.
        if let Some(next) = (at + 1..end.min(page)).find(|&n| known[n].is_some())
            && known[at].is_none()
        {
            at = next;
            continue;
        }
        known[at] = Some(i);
        at = end;
    }
    known
}

/// Where the first instruction behind a page of `code` begins, counted from the page's end, if
/// `code` begins with an instruction.
pub fn overhang(code: &[u8]) -> usize {
    let mut decoder = Decoder::new(64, code, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    while decoder.can_decode() && decoder.position() < PAGE {
        let at = decoder.position();
        decoder.decode_out(&mut instruction);
        if instruction.is_invalid() && decoder.set_position(at + 1).is_err() {
            break;
        }
    }
    decoder.position().saturating_sub(PAGE)
}

/// The instructions that have been replaced, by the guest-physical address of their first byte.
#[derive(Clone, Debug, Default)]
pub struct Patches(BTreeMap<u64, Site>);

impl Patches {
    /// Remembers a replacement at `gpa`.
    pub fn insert(&mut self, gpa: u64, site: Site) {
        self.0.insert(gpa, site);
    }

    /// Forgets the replacements in `len` bytes at `gpa`.
    pub fn remove(&mut self, gpa: u64, len: u64) -> Vec<(u64, Site)> {
        self.0.extract_if(gpa..gpa + len, |_, _| true).collect()
    }

    /// Puts back into `code`, a copy of memory at `gpa`, what was there before.
    pub fn undo(&self, gpa: u64, code: &mut [u8]) {
        for (at, site) in self.0.range(gpa..gpa + code.len() as u64) {
            let here = &mut code[(at - gpa) as usize..];
            if self.original(*at, here) == Some(site) {
                here[0] = site.original[0];
            }
        }
    }

    /// Where instructions have been replaced in `len` bytes at `gpa`.
    pub fn within(&self, gpa: u64, len: u64) -> impl Iterator<Item = u64> {
        self.0.range(gpa..gpa + len).map(|(at, _)| *at)
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
        // Its end may lie on the next page, and another may have been replaced within it.
        let unchanged = |(at, (was, is)): (u64, (&u8, &u8))| {
            was == is || (*is == TRAP && self.0.contains_key(&(gpa + at)))
        };
        let same = now.first() == Some(&TRAP)
            && (0..)
                .zip(site.original.iter().zip(now))
                .skip(1)
                .all(unchanged);
        same.then_some(site)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
                (0x100c, 2),
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
    fn page_is_scanned_from_where_it_is_entered() {
        // An address that looks like `mov eax, imm32` hides what follows from a plain sweep.
        let mut page = vec![0x90; 4096];
        page[..8].copy_from_slice(&[0xeb, 0x01, 0xb8, 0x9c, 0x9d, 0x8c, 0xc8, 0xc3]);
        let sites = |entry| {
            scan_page(&page, 0x7000, entry, 0, &[])
                .into_iter()
                .map(|site| site.va)
                .collect::<Vec<_>>()
        };
        assert_eq!(sites(0), [0x7003, 0x7004, 0x7005]);
        assert_eq!(sites(3), [0x7003, 0x7004, 0x7005]);
        page[4095] = 0x9c;
        assert_eq!(scan_page(&page, 0x7000, 0, 0, &[]).len(), 4);
    }

    #[test]
    fn instruction_may_go_on_behind_the_page() {
        let mut code = vec![0x90; 4096 + BEYOND];
        code[4095..4098].copy_from_slice(&[0x0f, 0x01, 0x00]);
        let sites = scan_page(&code, 0, 4000, 0, &[]);
        assert_eq!(sites.len(), 1);
        assert_eq!(sites[0].original, [0x0f, 0x01, 0x00]);
        assert_eq!(overhang(&code), 2);
        let mut patches = Patches::default();
        patches.insert(4095, sites[0].clone());
        code[4095] = TRAP;
        patches.undo(0, &mut code);
        assert_eq!(code[4095], 0x0f);
        assert_eq!(patches.remove(0, 4096).len(), 1);
        assert!(patches.is_empty());
    }

    #[test]
    fn instruction_around_a_sensitive_one_is_replaced_too() {
        // 0: mov eax, imm32, whose third byte is pushfq; 5: jmp 2.
        let mut page = vec![0x90; 4096];
        page[..7].copy_from_slice(&[0xb8, 0x11, 0x9c, 0xc3, 0x22, 0xeb, 0xfb]);
        let sites = scan_page(&page, 0x7000, 0, 0, &[]);
        let found: Vec<_> = sites.iter().map(|s| (s.va, s.original.len())).collect();
        assert_eq!(found, [(0x7000, 5), (0x7002, 1)]);
        let mut patches = Patches::default();
        for site in sites {
            page[(site.va - 0x7000) as usize] = TRAP;
            patches.insert(site.va, site);
        }
        assert_eq!(
            patches.original(0x7000, &page[..5]).unwrap().original,
            [0xb8, 0x11, 0x9c, 0xc3, 0x22]
        );
        patches.undo(0x7000, &mut page);
        assert_eq!(page[..7], [0xb8, 0x11, 0x9c, 0xc3, 0x22, 0xeb, 0xfb]);
    }

    #[test]
    fn instruction_around_a_replaced_byte_of_the_next_page_is_replaced() {
        let mut code = vec![0x90; 4096 + BEYOND];
        // mov eax, imm32: its last three bytes lie on the next page.
        code[4094] = 0xb8;
        assert!(scan_page(&code, 0, 4000, 0, &[]).is_empty());
        assert!(scan_page(&code, 0, 4000, 0, &[4099]).is_empty());
        let sites = scan_page(&code, 0, 4000, 0, &[4098]);
        assert_eq!((sites.len(), sites[0].va), (1, 4094));
    }

    /// What may be executed from `entry` on, without an indirect jump: a plain search.
    fn reachable(code: &[u8], entry: usize) -> Vec<(usize, Instruction)> {
        let (mut seen, mut open, mut all) = (Vec::new(), vec![entry], Vec::new());
        while let Some(at) = open.pop() {
            if at >= PAGE || seen.contains(&at) {
                continue;
            }
            seen.push(at);
            let i = Decoder::with_ip(64, &code[at..], at as u64, DecoderOptions::NONE).decode();
            if i.is_invalid() {
                continue;
            }
            all.push((at, i));
            let next = at + i.len();
            let target = i.near_branch_target() as usize;
            match i.flow_control() {
                FlowControl::Next | FlowControl::Interrupt | FlowControl::IndirectCall => {
                    open.push(next);
                }
                FlowControl::UnconditionalBranch => open.push(target),
                FlowControl::ConditionalBranch | FlowControl::Call => open.extend([next, target]),
                _ => {}
            }
        }
        all
    }

    proptest! {
        /// Whatever may be executed either is as it was or traps, and then its original is known;
        /// what is sensitive traps.
        #[test]
        fn nothing_that_may_be_executed_is_changed_unseen(
            bytes in prop::collection::vec(
                prop::sample::select(vec![
                    0x9c_u8, 0x9d, 0x8c, 0xc8, 0x0f, 0x01, 0x00, 0xb8, 0x48, 0x05, 0xeb, 0x74, 0x02,
                    0x03, 0xf9, 0xfb, 0x90, 0xe8, 0xff, 0xa0,
                ]),
                40,
            ),
            entry in 0..40_usize,
            start in 0..15_usize,
        ) {
            let mut code = vec![0xc3; PAGE + BEYOND];
            code[..40].copy_from_slice(&bytes);
            let before = code.clone();
            let mut patches = Patches::default();
            for site in scan_page(&before, 0, entry, start, &[]) {
                code[site.va as usize] = TRAP;
                patches.insert(site.va, site);
            }
            for (at, i) in reachable(&before, entry) {
                let bytes = at..at + i.len();
                let original = patches.original(at as u64, &code[bytes.clone()]);
                match original {
                    Some(site) => prop_assert_eq!(&site.original[..], &before[bytes]),
                    None => {
                        prop_assert!(!is_sensitive(&i));
                        prop_assert_eq!(&code[bytes.clone()], &before[bytes]);
                    }
                }
            }
            patches.undo(0, &mut code);
            prop_assert_eq!(code, before);
        }
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
