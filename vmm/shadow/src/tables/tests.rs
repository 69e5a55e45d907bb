//! The shadow tables against a plain walker: random guest tables, edits, INVLPGs, CR3 loads and
//! accesses. The machine around the engine is a model: a processor with a TLB that walks the true
//! tables, and a guest whose history of edits says which old translations it may still use.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use proptest::prelude::*;

use super::entry::*;
use super::memory::*;
use super::walk::*;
use super::*;

const MIB: u64 = 1 << 20;
const RAM: u64 = 4 * MIB;
const POOL: u64 = 1 << 32;
const TABLES: u64 = 24;
const MONITOR: usize = 300;
const MONITOR_ENTRY: u64 = 0xabc0_0000 | P | W | A;

/// xorshift64*: the whole run follows from one seed.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Guest RAM that remembers what every entry has been since the last CR3 load.
struct Ram {
    words: RefCell<Vec<u64>>,
    /// slot → (since step, value)
    history: RefCell<HashMap<u64, Vec<(u64, u64)>>>,
    step: RefCell<u64>,
    loaded_at: RefCell<u64>,
}

impl Ram {
    fn store(&self, gpa: u64, value: u64) {
        let old = std::mem::replace(&mut self.words.borrow_mut()[(gpa / 8) as usize], value);
        let mut history = self.history.borrow_mut();
        let list = history
            .entry(gpa)
            .or_insert_with(|| vec![(*self.loaded_at.borrow(), old)]);
        list.push((*self.step.borrow(), value));
    }

    /// The values that `slot` had at some time in `from..=to`.
    fn values(&self, slot: u64, from: u64, to: u64) -> Vec<u64> {
        let history = self.history.borrow();
        let Some(list) = history.get(&slot) else {
            return vec![self.read(slot).unwrap_or(u64::MAX)];
        };
        (0..list.len())
            .filter(|&i| list[i].0 <= to && list.get(i + 1).is_none_or(|next| next.0 >= from))
            .map(|i| list[i].1)
            .collect()
    }
}

impl GuestRam for Ram {
    fn read(&self, gpa: u64) -> Option<u64> {
        self.words.borrow().get((gpa / 8) as usize).copied()
    }
    fn compare_exchange(&self, gpa: u64, old: u64, new: u64) -> Option<bool> {
        let same = self.read(gpa)? == old;
        if same {
            self.store(gpa, new);
        }
        Some(same)
    }
    fn is_ram(&self, gpa: u64, len: u64) -> bool {
        gpa.checked_add(len).is_some_and(|end| end <= RAM)
    }
}

/// True tables: the rule that only entries that are not present may be written from outside holds.
#[derive(Clone)]
struct Tables(Rc<RefCell<Vec<[u64; 512]>>>);

impl TablePages for Tables {
    fn read(&self, page: u32, index: usize) -> u64 {
        self.0.borrow()[page as usize][index]
    }
    fn write(&mut self, page: u32, index: usize, value: u64) {
        let entry = &mut self.0.borrow_mut()[page as usize][index];
        assert_eq!(*entry, 0, "direct write to an entry that is present");
        *entry = value;
    }
}

struct Machine {
    ram: Ram,
    tables: Tables,
    shadow: ShadowTables<Tables>,
    config: Config,
    /// What the processor has cached: (user view, page) → (gpa, writable, executable).
    tlb: HashMap<u64, (u64, bool, bool)>,
    root: u64,
    flushed: HashMap<u64, u64>,
    upper_flushes: Vec<u64>,
    edits: Vec<Edit>,
}

/// A plain walker, written apart from the engine's.
fn plain_walk(ram: &Ram, paging: &Paging, va: u64, access: Access) -> Result<u64, u32> {
    let mut table = paging.cr3 & ADDRESS;
    let (mut w, mut u, mut nx) = (true, true, false);
    let mut error = 0;
    if access.kind == Kind::Write {
        error |= 2;
    }
    if access.user {
        error |= 4;
    }
    if access.kind == Kind::Fetch && (paging.mode.nxe || paging.mode.smep) {
        error |= 16;
    }
    let mut shift = 39;
    loop {
        let e = ram
            .read(table + ((va >> shift) & 511) * 8)
            .unwrap_or(u64::MAX);
        if e & 1 == 0 {
            return Err(error);
        }
        let mut reserved = e & ADDRESS >> paging.mode.physical_bits << paging.mode.physical_bits;
        if !paging.mode.nxe {
            reserved |= e & NX;
        }
        let last = shift == 12 || (e & PS != 0 && shift != 39);
        if e & PS != 0 {
            reserved |= match shift {
                39 => PS,
                30 if !paging.mode.gigabyte_pages => PS,
                30 => e & 0x3fff_e000,
                21 => e & 0x001f_e000,
                _ => 0,
            };
        }
        if reserved != 0 {
            return Err(error | 9);
        }
        w &= e & W != 0;
        u &= e & U != 0;
        nx |= e & NX != 0;
        if last {
            let denied = (access.user && !u)
                || match access.kind {
                    Kind::Read => false,
                    Kind::Write => !w && (access.user || paging.mode.wp),
                    Kind::Fetch => nx || (u && !access.user && paging.mode.smep),
                };
            let mask = (1 << shift) - 1;
            return if denied {
                Err(error | 1)
            } else {
                Ok((e & ADDRESS & !mask) | (va & mask))
            };
        }
        table = e & ADDRESS;
        shift -= 9;
    }
}

impl Machine {
    fn new(config: Config, mode: Mode) -> Self {
        let tables = Tables(Rc::new(RefCell::new(vec![[0; 512]; config.pages as usize])));
        let ram = Ram {
            words: RefCell::new(vec![0; (RAM / 8) as usize]),
            history: RefCell::default(),
            step: RefCell::new(1),
            loaded_at: RefCell::new(1),
        };
        let paging = Paging { cr3: PAGE, mode };
        Machine {
            ram,
            shadow: ShadowTables::new(config, paging, tables.clone()),
            tables,
            config,
            tlb: HashMap::new(),
            root: 0,
            flushed: HashMap::new(),
            upper_flushes: vec![1],
            edits: Vec::new(),
        }
    }

    fn step(&self) -> u64 {
        *self.ram.step.borrow()
    }

    /// Enters the guest: what the resume path of the monitor does.
    fn enter(&mut self, user: bool) {
        self.edits.clear();
        let entry = self.shadow.entry(user, &mut self.edits);
        let mut tables = self.tables.0.borrow_mut();
        for edit in &self.edits {
            match *edit {
                Edit::Write { page, index, value } => {
                    tables[page as usize][usize::from(index)] = value;
                }
                Edit::Clear { page } => {
                    let gpa = POOL + u64::from(page) * PAGE;
                    assert_ne!(gpa, self.root, "the root in use would be cleared");
                    tables[page as usize] = [0; 512];
                }
            }
        }
        match entry.flush {
            _ if entry.switch => self.tlb.clear(),
            Flush::None => {}
            Flush::Page(va) => {
                self.tlb.remove(&va);
            }
            Flush::All => self.tlb.clear(),
        }
        assert!(entry.switch || entry.root == self.root);
        self.root = entry.root;
        let page = ((entry.root - POOL) / PAGE) as usize;
        assert_eq!(
            tables[page][MONITOR], MONITOR_ENTRY,
            "the monitor's slot is in every root"
        );
    }

    /// What the processor finds for `va` in ring 3.
    fn hardware(&mut self, va: u64) -> Option<(u64, bool, bool)> {
        if let Some(&(gpa, w, x)) = self.tlb.get(&(va & !(PAGE - 1))) {
            return Some((gpa | (va & (PAGE - 1)), w, x));
        }
        let (mut table, mut w, mut x) = (self.root, true, true);
        for level in (1..=4).rev() {
            let e = self.tables.0.borrow()[((table - POOL) / PAGE) as usize][index(va, level)];
            if e & (P | U) != P | U {
                return None;
            }
            w &= e & W != 0;
            x &= e & NX == 0;
            if level == 1 || e & PS != 0 {
                let mask = span(level) - 1;
                let gpa = (e & ADDRESS & !mask) | (va & mask);
                self.tlb.insert(va & !(PAGE - 1), (gpa & !(PAGE - 1), w, x));
                return Some((gpa, w, x));
            }
            table = e & ADDRESS;
        }
        None
    }

    fn allows(found: Option<(u64, bool, bool)>, kind: Kind) -> bool {
        found.is_some_and(|(_, w, x)| match kind {
            Kind::Read => true,
            Kind::Write => w,
            Kind::Fetch => x,
        })
    }

    /// Whether a processor could have a translation of `va` to `gpa` for `access` in its TLB.
    fn legal(&self, va: u64, gpa: u64, access: Access) -> bool {
        let now = self.step();
        let since = self.flushed.get(&(va & !(PAGE - 1))).copied().unwrap_or(0);
        let loaded = *self.ram.loaded_at.borrow();
        let since = since.max(loaded);
        (0..self.upper_flushes.len()).any(|i| {
            let from = self.upper_flushes[i];
            let to = self.upper_flushes.get(i + 1).copied().unwrap_or(now);
            to >= since
                && self.path(
                    va,
                    gpa,
                    access,
                    (from, to, since.max(from)),
                    4,
                    self.shadow.paging().cr3 & ADDRESS,
                    (true, true, false),
                )
        })
    }

    #[allow(clippy::too_many_arguments)]
    fn path(
        &self,
        va: u64,
        gpa: u64,
        access: Access,
        (from, to, leaf_from): (u64, u64, u64),
        level: u8,
        table: u64,
        (w, u, nx): (bool, bool, bool),
    ) -> bool {
        let mode = &self.shadow.paging().mode;
        let slot = table + 8 * index(va, level) as u64;
        self.ram.values(slot, from, to).into_iter().any(|e| {
            if e & (P | A) != P | A || mode.is_reserved(e, level) {
                return false;
            }
            let rights = (w && e & W != 0, u && e & U != 0, nx || e & NX != 0);
            if level > 1 && e & PS == 0 {
                return self.path(
                    va,
                    gpa,
                    access,
                    (from, to, leaf_from),
                    level - 1,
                    e & ADDRESS,
                    rights,
                );
            }
            let mask = span(level) - 1;
            self.ram.values(slot, leaf_from, to).contains(&e)
                && (e & ADDRESS & !mask) | (va & mask) == gpa
                && (access.kind != Kind::Write || e & D != 0)
                && mode.allows(rights.0, rights.1, rights.2, access)
        })
    }

    /// One access of the guest, to its end.
    fn access(&mut self, va: u64, access: Access) {
        for _ in 0..8 {
            self.enter(access.user);
            let found = self.hardware(va);
            if Self::allows(found, access.kind) {
                let gpa = found.map(|f| f.0).unwrap_or_default();
                assert!(self.legal(va, gpa, access), "{va:#x} → {gpa:#x} {access:?}");
                match access.kind {
                    Kind::Fetch if !access.user => assert!(self.shadow.is_code(gpa)),
                    Kind::Write => assert!(!self.shadow.is_code(gpa)),
                    _ => {}
                }
                return;
            }
            // A processor throws away a cached translation that faults.
            self.tlb.remove(&(va & !(PAGE - 1)));
            let plain = plain_walk(&self.ram, self.shadow.paging(), va, access);
            match self.shadow.fault(&self.ram, va, access) {
                Outcome::Filled => {
                    let gpa = plain.expect("a hidden fault where the walker sees a true one");
                    assert!(gpa < RAM);
                }
                Outcome::Fault(f) => return assert_eq!(plain, Err(f.error), "{va:#x} {access:?}"),
                Outcome::Mmio(gpa) => {
                    assert!(gpa >= RAM);
                    return assert_eq!(plain, Ok(gpa));
                }
                Outcome::Emulate(gpa) => {
                    assert!(index(va, 4) == MONITOR || self.config.policy == Policy::Trace);
                    return assert_eq!(plain, Ok(gpa));
                }
                Outcome::Scan(gpa) => {
                    assert!(access.kind == Kind::Fetch && !access.user);
                    assert_eq!(plain, Ok(gpa));
                    self.shadow.code_scanned(gpa);
                }
                Outcome::Code(gpa) => {
                    assert_eq!(access.kind, Kind::Write);
                    assert_eq!(plain, Ok(gpa));
                    self.shadow.code_written(gpa);
                }
            }
        }
        panic!("{va:#x} {access:?}: no end of hidden faults");
    }

    fn check_translations(&self, va: u64) {
        for user in [false, true] {
            let Some((gpa, w, x)) = self.shadow.lookup(user, va) else {
                continue;
            };
            let may = |kind| self.legal(va, gpa, Access { kind, user });
            assert!(may(Kind::Read), "read {va:#x} user {user} → {gpa:#x}");
            assert!(
                !w || may(Kind::Write),
                "write {va:#x} user {user} → {gpa:#x}"
            );
            assert!(
                !x || may(Kind::Fetch),
                "fetch {va:#x} user {user} → {gpa:#x}"
            );
        }
    }

    /// What the engine believes to be in the tables is there once its edits have been made.
    fn check_tables(&mut self) {
        while let Err(full) = self.shadow.root(false) {
            self.shadow.make_room(full);
        }
        let pool = &self.shadow.pool;
        let entries = |page| std::array::from_fn(|i| pool.entry(page, i));
        let believed: Vec<(u32, [u64; 512])> =
            pool.in_use().map(|page| (page, entries(page))).collect();
        self.enter(false);
        let tables = self.tables.0.borrow();
        for (page, entries) in believed {
            assert_eq!(entries, tables[page as usize]);
        }
    }

    fn edit(&mut self, slot: u64, value: u64) {
        self.ram.store(slot, value);
        self.shadow.wrote(&self.ram, slot, 8);
    }

    fn load_cr3(&mut self, cr3: u64) {
        let now = self.step();
        self.ram.history.borrow_mut().clear();
        *self.ram.loaded_at.borrow_mut() = now;
        self.flushed.clear();
        self.upper_flushes = vec![now];
        self.shadow.load_cr3(&self.ram, cr3);
    }

    fn invlpg(&mut self, va: u64) {
        let now = self.step();
        self.flushed.insert(va & !(PAGE - 1), now);
        self.upper_flushes.push(now);
        // INVLPG of a page of a large translation drops the whole of it: the model keeps pages
        // apart, which only allows the engine less.
        self.shadow.invlpg(&self.ram, va);
    }
}

fn random_va(rng: &mut Rng) -> u64 {
    let i4 = [0, 1, 273, MONITOR as u64][rng.below(4) as usize];
    let (i3, i2, i1) = (rng.below(2), rng.below(3), [0, 1, 5][rng.below(3) as usize]);
    let va = (i4 << 39) | (i3 << 30) | (i2 << 21) | (i1 << 12) | (rng.below(512) * 8);
    ((va << 16) as i64 >> 16) as u64
}

fn random_entry(rng: &mut Rng) -> u64 {
    let mut e = match rng.below(16) {
        0 => RAM + rng.below(8) * PAGE,
        1 => rng.below(3) * 2 * MIB,
        2..=4 => rng.below(RAM / PAGE) * PAGE,
        _ => (1 + rng.below(TABLES)) * PAGE,
    };
    for (bit, likely) in [(P, 7), (W, 5), (U, 5), (A, 4), (D, 4)] {
        if rng.below(8) < likely {
            e |= bit;
        }
    }
    if rng.one_in(8) {
        e |= PS;
        if !rng.one_in(4) {
            e &= !0x3fff_e000 | 0x0020_0000;
        }
    }
    if rng.one_in(8) {
        e |= NX;
    }
    if rng.one_in(64) {
        e |= 1 << 51;
    }
    e
}

/// Stays in one mode for a while: a change of root would hide a flush that is missing.
fn random_access(rng: &mut Rng, user: &mut bool) -> Access {
    let kind = [Kind::Read, Kind::Write, Kind::Fetch][rng.below(3) as usize];
    *user ^= rng.one_in(24);
    Access { kind, user: *user }
}

fn run(seed: u64, policy: Policy, steps: u64) {
    let mut rng = Rng(seed | 1);
    let config = Config {
        policy,
        first_gpa: POOL,
        pages: [16, 24, 400][rng.below(3) as usize],
        monitor: Some((MONITOR, MONITOR_ENTRY)),
        large_pages: !rng.one_in(3),
        prefill: !rng.one_in(3),
        roots: 1 + rng.below(3) as usize,
    };
    let mode = Mode {
        wp: !rng.one_in(3),
        nxe: !rng.one_in(4),
        smep: rng.one_in(2),
        physical_bits: 46,
        gigabyte_pages: rng.one_in(2),
    };
    let mut m = Machine::new(config, mode);
    for table in 1..=TABLES {
        for i in 0..6 {
            m.ram.store(table * PAGE + 8 * i, random_entry(&mut rng));
        }
    }
    m.load_cr3(PAGE);
    let mut user = false;
    for _ in 0..steps {
        *m.ram.step.borrow_mut() += 1;
        match rng.below(32) {
            0..=7 => {
                let i = [0, 1, 2, 5, 273, MONITOR as u64][rng.below(6) as usize];
                let slot = (1 + rng.below(TABLES)) * PAGE + 8 * i;
                m.edit(slot, random_entry(&mut rng));
            }
            8..=10 => m.invlpg(random_va(&mut rng)),
            11 => m.load_cr3((1 + rng.below(4)) * PAGE),
            12 => {
                let va = random_va(&mut rng);
                m.shadow
                    .prefetch(&m.ram, va, random_access(&mut rng, &mut user));
            }
            15 if rng.one_in(4) => {
                let gpa = rng.below(RAM / PAGE) * PAGE;
                if rng.one_in(2) {
                    m.shadow.code_scanned(gpa);
                } else {
                    m.shadow.code_written(gpa);
                }
            }
            16 if rng.one_in(64) => m.check_tables(),
            14 if rng.one_in(4) => {
                m.shadow.give_up((1 + rng.below(TABLES)) * PAGE);
            }
            13 if rng.one_in(20) => {
                let mode = Mode {
                    wp: rng.one_in(2),
                    smep: rng.one_in(2),
                    ..m.shadow.paging().mode
                };
                m.shadow.set_mode(mode);
                let cr3 = m.shadow.paging().cr3;
                m.load_cr3(cr3);
            }
            _ => m.access(random_va(&mut rng), random_access(&mut rng, &mut user)),
        }
        m.check_translations(random_va(&mut rng));
        m.check_translations(random_va(&mut rng));
    }
    m.check_tables();
}

/// Steps of one case: `GNOMON_SHADOW_STEPS` in all, or a million in a release build.
fn steps_per_case(cases: u32) -> u64 {
    let default = if cfg!(debug_assertions) {
        60_000
    } else {
        1_200_000
    };
    let all = std::env::var("GNOMON_SHADOW_STEPS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(default);
    all / 3 / u64::from(cases) + 1
}

const CASES: u32 = 64;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: CASES, failure_persistence: None, max_shrink_iters: 0, ..ProptestConfig::default()
    })]

    #[test]
    fn vtlb_allows_what_the_architecture_allows(seed: u64) {
        run(seed, Policy::Vtlb, steps_per_case(CASES));
    }

    #[test]
    fn trace_allows_what_the_architecture_allows(seed: u64) {
        run(seed, Policy::Trace, steps_per_case(CASES));
    }

    #[test]
    fn unsync_allows_what_the_architecture_allows(seed: u64) {
        run(seed, Policy::Unsync, steps_per_case(CASES));
    }
}
