#![no_main]
//! Any sequence of edits, flushes and accesses: the engine agrees with a walk of the guest's tables,
//! maps RAM alone, and never writes to an entry that is present from outside.

use std::cell::RefCell;
use std::rc::Rc;

use gnomon_shadow::tables::entry::{ADDRESS, P};
use gnomon_shadow::tables::memory::{Edit, GuestRam, TablePages};
use gnomon_shadow::tables::walk::{Access, Kind, Mode, Paging, walk};
use gnomon_shadow::tables::{Config, Outcome, Policy, ShadowTables};
use gnomon_shadow_fuzz::Input;
use libfuzzer_sys::fuzz_target;

const FRAMES: u64 = 16;
const POOL: u64 = 1 << 36;
const PAGES: u32 = 20;

struct Ram(RefCell<Vec<u64>>);

impl GuestRam for Ram {
    fn read(&self, gpa: u64) -> Option<u64> {
        self.0.borrow().get((gpa / 8) as usize).copied()
    }
    fn compare_exchange(&self, gpa: u64, old: u64, new: u64) -> Option<bool> {
        let same = self.read(gpa)? == old;
        if same {
            self.0.borrow_mut()[(gpa / 8) as usize] = new;
        }
        Some(same)
    }
    fn is_ram(&self, gpa: u64, len: u64) -> bool {
        gpa.checked_add(len).is_some_and(|end| end <= FRAMES * 4096)
    }
}

#[derive(Clone)]
struct Tables(Rc<RefCell<Vec<[u64; 512]>>>);

impl TablePages for Tables {
    fn read(&self, page: u32, index: usize) -> u64 {
        self.0.borrow()[page as usize][index]
    }
    fn write(&mut self, page: u32, index: usize, value: u64) {
        let entry = &mut self.0.borrow_mut()[page as usize][index];
        assert_eq!(*entry & P, 0);
        *entry = value;
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let setup = input.byte();
    let policy = [Policy::Vtlb, Policy::Trace, Policy::Unsync][usize::from(setup % 3)];
    let config = Config {
        policy,
        first_gpa: POOL,
        pages: PAGES,
        monitor: Some((300, 0x77_0000 | P)),
        large_pages: setup & 4 != 0,
        prefill: setup & 8 != 0,
        roots: 2,
    };
    let mode = Mode {
        wp: setup & 16 != 0,
        nxe: setup & 32 != 0,
        smep: setup & 64 != 0,
        physical_bits: 40,
        gigabyte_pages: setup & 128 != 0,
    };
    let ram = Ram(RefCell::new(vec![0; (FRAMES * 512) as usize]));
    let tables = Tables(Rc::new(RefCell::new(vec![[0; 512]; PAGES as usize])));
    let mut shadow = ShadowTables::new(config, Paging { cr3: 0x1000, mode }, tables.clone());
    let mut edits = Vec::new();
    while !input.0.is_empty() {
        let [op, a, b, c] = input.bytes();
        let va = u64::from(a & 3) << 39 | u64::from(a >> 2 & 1) << 30 | u64::from(b & 3) << 21
            | u64::from(b >> 2 & 3) << 12 | u64::from(c);
        let user = op & 0x80 != 0;
        match op & 7 {
            0..=2 => {
                let slot = u64::from(a) % FRAMES * 4096 + 8 * u64::from(b & 7);
                let entry = u64::from(c & 31) << 12 | u64::from(op >> 3) << 1 | u64::from(b >> 7)
                    | u64::from(b >> 3 & 15) << 5;
                ram.0.borrow_mut()[(slot / 8) as usize] = entry;
                shadow.wrote(&ram, slot, 8);
            }
            3 => shadow.invlpg(&ram, va),
            4 => shadow.load_cr3(&ram, u64::from(1 + (a & 3)) << 12),
            _ => {
                let kind = [Kind::Read, Kind::Write, Kind::Fetch][usize::from(op >> 3) % 3];
                let access = Access { kind, user };
                let plain = walk(&ram, shadow.paging(), va, access);
                match shadow.fault(&ram, va, access) {
                    Outcome::Fault(f) => assert_eq!(plain.err(), Some(f)),
                    Outcome::Scan(gpa) => shadow.code_scanned(gpa),
                    Outcome::Code(gpa) => shadow.code_written(gpa),
                    _ => assert!(plain.is_ok()),
                }
            }
        }
        edits.clear();
        shadow.entry(user, &mut edits);
        let mut all = tables.0.borrow_mut();
        for edit in &edits {
            match *edit {
                Edit::Write { page, index, value } => all[page as usize][usize::from(index)] = value,
                Edit::Clear { page } => all[page as usize] = [0; 512],
            }
        }
        // Every true entry leads to RAM, to a table page, or is the monitor's.
        for (i, page) in all.iter().enumerate() {
            for (j, entry) in page.iter().enumerate() {
                let gpa = entry & ADDRESS;
                let table = gpa >= POOL && gpa < POOL + u64::from(PAGES) * 4096;
                let ours = j == 300 && *entry == 0x77_0000 | P;
                assert!(entry & P == 0 || table || ours || gpa < FRAMES * 4096, "{i} {j} {entry:#x}");
            }
        }
    }
});
