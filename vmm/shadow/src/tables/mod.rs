//! The shadow page tables: true tables that the processor walks, made from the guest's tables.
//!
//! ```text
//!   guest CR3 ──► guest PML4 ─► … ─► guest page table ──► gpa
//!        │             ┊ shadowed by (role)  ┊
//!        ▼             ▼                     ▼
//!   root, kernel ─► table page ─► … ─► table page ──────► gpa (guest-physical addresses are
//!   root, user   ─► (the user half is shared)              KVM's own: the frame number is equal)
//! ```
//!
//! - Every guest CR3 has two roots, for the two things that may run on it: the guest's kernel,
//!   which sees all pages, and its programs, which see those with U/S set on every level. Both run
//!   in ring 3, so true entries are all user entries, except in the slot kept for the monitor.
//! - True tables obey the guest's: an entry is present only if the guest's is, with its accessed
//!   bit set; writable only if the guest's is, with its dirty bit set; bits 63 and SMEP forbid
//!   fetches. A fault is *true* if the guest's tables forbid the access and *hidden* otherwise.
//! - A [`Policy`] says how edits of guest tables are noticed. The architecture lets a processor go
//!   on using an old translation until INVLPG or a CR3 load (SDM volume 3, section 4.10), and so do
//!   the true tables under `Vtlb` and `Unsync`: never longer.
//! - Changes that the virtual machine must make itself come out of [`ShadowTables::entry`].
//!
//! One concept a file: [`entry`] bits, [`memory`] the outside, [`walk`] the guest's tables, `role`
//! what a table page stands for, `pool` the pages, `source` what they were made from, `fill` hidden faults, `sync` INVLPG and CR3
//! loads, `trace` reverse maps, `code` what the kernel may execute, `evict` making room.

mod code;
pub mod entry;
mod evict;
mod fill;
pub mod memory;
mod pool;
mod role;
mod source;
mod sync;
#[cfg(test)]
mod tests;
mod trace;
pub mod walk;

use std::collections::HashMap;

use code::CodeFrames;
use entry::{P, W};
use memory::{Edit, Flush, GuestRam, TablePages};
use pool::Pool;
use role::{Class, Role};
use trace::Tracer;
use walk::{Mode, PageFault, Paging};

/// How the engine notices that the guest has edited its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// A software TLB: nothing is watched, everything is dropped at each CR3 load.
    Vtlb,
    /// Guest tables are write-protected; each write to one is emulated and applied at once.
    Trace,
    /// Guest tables stay writable; what is kept of them is compared with them at INVLPG and CR3
    /// loads.
    Unsync,
}

impl std::str::FromStr for Policy {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "vtlb" => Ok(Policy::Vtlb),
            "trace" => Ok(Policy::Trace),
            "unsync" => Ok(Policy::Unsync),
            _ => Err(format!(
                "shadow policy {s:?}: it must be vtlb, trace or unsync"
            )),
        }
    }
}

/// What the engine is given to work with.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How guest edits are noticed.
    pub policy: Policy,
    /// gpa of the first table page; outside the guest's RAM.
    pub first_gpa: u64,
    /// Number of table pages, at least 16.
    pub pages: u32,
    /// The root slot kept for the monitor (PML4 index and entry), the same in every root.
    pub monitor: Option<(usize, u64)>,
    /// Map 2 MiB (and, where the guest uses them, 1 GiB) pages as such.
    pub large_pages: bool,
    /// When an entry is filled, fill its neighbours that the guest has already used.
    pub prefill: bool,
    /// Guest CR3 values whose roots are kept.
    pub roots: usize,
}

/// What to do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Hidden: the tables now allow the access; try again.
    Filled,
    /// The guest's own tables forbid it: deliver a page fault.
    Fault(PageFault),
    /// Allowed, but there is no RAM at this gpa: a device's register.
    Mmio(u64),
    /// A write to a guest table that is being traced, or an access to the slot that the monitor
    /// hides: emulate the instruction; writes of traced tables go to [`ShadowTables::wrote`].
    Emulate(u64),
    /// The kernel fetches from a page that has not been scanned: scan it, say so to
    /// [`ShadowTables::code_scanned`], ask again.
    Scan(u64),
    /// A write to scanned kernel code: say so to [`ShadowTables::code_written`] and ask again, or
    /// emulate the instruction if it lies on the very page.
    Code(u64),
}

/// Counters since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Faults that the guest does not see.
    pub hidden_faults: u64,
    /// Faults that it sees.
    pub true_faults: u64,
    /// Entries made because of a fault.
    pub fills: u64,
    /// Neighbours filled along with them.
    pub prefills: u64,
    /// Fills that map a page of 2 MiB or 1 GiB as one.
    pub large_fills: u64,
    /// Guest writes to traced tables.
    pub traced_writes: u64,
    /// Table pages compared with the guest's.
    pub syncs: u64,
    /// Entries found changed by the guest.
    pub changed: u64,
    /// INVLPGs.
    pub invlpgs: u64,
    /// CR3 loads.
    pub cr3_loads: u64,
    /// Table pages taken from the pool.
    pub tables_built: u64,
    /// Roots among them.
    pub roots_built: u64,
    /// Roots given up to make room.
    pub evictions: u64,
    /// Times that everything was dropped.
    pub drops: u64,
    /// Edits made inside the virtual machine.
    pub edits: u64,
}

/// What the resume path has to do before the guest goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// gpa of the root to be loaded.
    pub root: u64,
    /// Whether the processor is on another one now.
    pub switch: bool,
    /// What must be forgotten, if the root stays.
    pub flush: Flush,
}

struct Root {
    table: u64,
    used: u64,
}

/// The shadow tables of one virtual processor.
pub struct ShadowTables<T> {
    config: Config,
    paging: Paging,
    pool: Pool<T>,
    roles: HashMap<Role, u32>,
    roots: Vec<Root>,
    clock: u64,
    tracer: Tracer,
    code: CodeFrames,
    flush: Flush,
    stats: Stats,
}

impl<T: TablePages> ShadowTables<T> {
    /// An engine with no translations. `tables` must be clear.
    ///
    /// # Panics
    /// If `config.pages` is less than 16.
    pub fn new(config: Config, paging: Paging, tables: T) -> Self {
        assert!(config.pages >= 16, "a translation alone may need 8 pages");
        ShadowTables {
            config,
            paging,
            pool: Pool::new(tables, config.first_gpa, config.pages),
            roles: HashMap::new(),
            roots: Vec::new(),
            clock: 0,
            tracer: Tracer::default(),
            code: CodeFrames::default(),
            flush: Flush::None,
            stats: Stats::default(),
        }
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Table pages in use.
    pub fn pages_in_use(&self) -> usize {
        self.pool.count()
    }

    /// What the guest's control registers say.
    pub fn paging(&self) -> &Paging {
        &self.paging
    }

    /// Prepares to run the guest's kernel or a program: the root, and in `edits` (appended) what
    /// must be changed first. The caller makes the changes and loads the root before the guest
    /// goes on.
    pub fn entry(&mut self, user_view: bool, edits: &mut Vec<Edit>) -> Entry {
        let root = loop {
            match self.root(user_view) {
                Ok(root) => break root,
                Err(full) => self.make_room(full),
            }
        };
        let switch = self.pool.loaded != Some(root);
        self.pool.loaded = Some(root);
        let before = edits.len();
        self.pool.take_edits(edits);
        self.stats.edits += (edits.len() - before) as u64;
        Entry {
            root: self.pool.gpa(root),
            switch,
            flush: std::mem::take(&mut self.flush),
        }
    }

    /// Whether [`ShadowTables::entry`] would ask for anything but loading a root.
    pub fn has_edits(&self) -> bool {
        self.pool.has_edits() || self.flush != Flush::None
    }

    /// The root page of a view of the current CR3; made if need be.
    fn root(&mut self, user_view: bool) -> Result<u32, pool::Full> {
        let role = Role::root(self.paging.cr3, user_view);
        self.clock += 1;
        let clock = self.clock;
        match self.roots.iter_mut().find(|r| r.table == role.table) {
            Some(root) => root.used = clock,
            None => {
                if self.roots.len() >= self.config.roots.max(1) {
                    self.evict_root();
                }
                self.roots.push(Root {
                    table: role.table,
                    used: clock,
                });
            }
        }
        if let Some(&page) = self.roles.get(&role) {
            return Ok(page);
        }
        let page = self.new_page(role)?;
        self.stats.roots_built += 1;
        if let Some((slot, entry)) = self.config.monitor {
            self.pool.set(page, slot, entry);
        }
        self.link_as_other_view(page, !user_view);
        Ok(page)
    }

    fn new_page(&mut self, role: Role) -> Result<u32, pool::Full> {
        let page = self.pool.allocate(role)?;
        self.stats.tables_built += 1;
        self.roles.insert(role, page);
        if self.config.policy == Policy::Trace
            && !role.class.is_split()
            && self.tracer.start(role.table)
        {
            self.write_protect(role.table);
        }
        Ok(page)
    }

    /// Takes the right to write to a guest table from every entry that maps it.
    fn write_protect(&mut self, table: u64) {
        let (small, large) = self.tracer.mappings(table);
        for (page, index) in small {
            let value = self.pool.entry(page, usize::from(index));
            self.replace(page, usize::from(index), value & !W, None);
        }
        // Large mappings come back in pieces when they are next used.
        for (page, index) in large {
            self.replace(page, usize::from(index), 0, None);
        }
    }

    fn is_monitor_slot(&self, level: u8, index: usize) -> bool {
        level == 4 && self.config.monitor.is_some_and(|(slot, _)| slot == index)
    }

    /// Makes a true entry `value` and keeps the links between table pages. `va`: the one address
    /// that the entry translates, where that is known.
    fn replace(&mut self, page: u32, index: usize, value: u64, va: Option<u64>) {
        let level = self.pool.page(page).role.level;
        let old = self.pool.entry(page, index);
        if old == value {
            return;
        }
        let at = (page, index as u16);
        let target = |pool: &Pool<T>, v| role::is_link(level, v).then(|| pool.target(v));
        let (from, to) = (target(&self.pool, old), target(&self.pool, value));
        if from != to
            && let Some(to) = to
        {
            self.pool.page_mut(to).parents.push(at);
        }
        if self.config.policy == Policy::Trace {
            self.tracer.moved(level, at, old, value);
        }
        if self.pool.set(page, index, value) {
            match va {
                Some(va) => self.flush.add_page(va),
                None => self.flush = Flush::All,
            }
        }
        if from != to
            && let Some(from) = from
        {
            self.unreference(from, at);
        }
    }

    /// Drops the reference `at` to a table page, and the page with it if it was the last one.
    fn unreference(&mut self, page: u32, at: (u32, u16)) {
        let p = self.pool.page_mut(page);
        p.parents.retain(|&parent| parent != at);
        if p.parents.is_empty() && !self.is_root(page) {
            self.free_page(page);
        }
    }

    fn is_root(&self, page: u32) -> bool {
        let role = self.pool.page(page).role;
        role.level == 4 && self.roots.iter().any(|r| r.table == role.table)
    }

    /// Frees a table page that nothing points to, and what only it pointed to.
    fn free_page(&mut self, page: u32) {
        let p = self.pool.page(page);
        let (role, present) = (p.role, p.present);
        for index in present.iter() {
            let value = self.pool.entry(page, index);
            let at = (page, index as u16);
            if self.is_monitor_slot(role.level, index) {
                continue;
            }
            if self.config.policy == Policy::Trace {
                self.tracer.moved(role.level, at, value, 0);
            }
            if role::is_link(role.level, value) {
                self.unreference(self.pool.target(value), at);
            }
        }
        self.flush = Flush::All;
        self.roles.remove(&role);
        if self.config.policy == Policy::Trace && !role.class.is_split() {
            self.tracer.stop(role.table);
        }
        self.pool.free(page);
    }

    /// The table pages that shadow the guest table at `table`, at whatever level.
    fn shadows_of(&self, table: u64) -> impl Iterator<Item = u32> {
        const CLASSES: [Class; 3] = [
            Class::User,
            Class::Kernel { user: true },
            Class::Kernel { user: false },
        ];
        (1..=4u8)
            .flat_map(move |level| {
                CLASSES.map(move |class| Role {
                    table,
                    level,
                    class,
                })
            })
            .filter_map(|role| self.roles.get(&role).copied())
    }

    /// A page's own entry has been marked accessed or dirty by the engine itself: what was made
    /// from it stays right.
    fn marked(&mut self, slot: u64, new: u64) {
        let (table, index) = (slot & entry::ADDRESS, (slot / 8 % 512) as usize);
        let pages: Vec<u32> = self.shadows_of(table).collect();
        for page in pages {
            let source = &mut self.pool.page_mut(page).source;
            if (source.get(index) ^ new) & !(entry::A | entry::D) == 0 {
                source.set(index, new);
            }
        }
    }

    /// Loads CR3 (SDM volume 3, section 4.10.4.1): translations of the old one are forgotten, as
    /// the policy sees it.
    pub fn load_cr3(&mut self, ram: &impl GuestRam, cr3: u64) {
        self.stats.cr3_loads += 1;
        self.paging.cr3 = cr3;
        match self.config.policy {
            Policy::Vtlb => self.drop_all(),
            Policy::Unsync => self.sync_roots(ram),
            Policy::Trace => {}
        }
    }

    /// Changes CR0.WP, EFER.NXE, CR4.SMEP and their like: every translation is made anew.
    pub fn set_mode(&mut self, mode: Mode) {
        if self.paging.mode != mode {
            self.paging.mode = mode;
            self.drop_all();
        }
    }

    /// What the true tables of a view give for `va`: gpa, and the rights to write and to execute;
    /// for tests and reports.
    pub fn lookup(&self, user_view: bool, va: u64) -> Option<(u64, bool, bool)> {
        if self.is_monitor_slot(4, entry::index(va, 4)) {
            return None;
        }
        let mut page = *self.roles.get(&Role::root(self.paging.cr3, user_view))?;
        let (mut writable, mut executable) = (true, true);
        for level in (1..=4u8).rev() {
            let value = self.pool.entry(page, entry::index(va, level));
            if value & P == 0 {
                return None;
            }
            writable &= value & W != 0;
            executable &= value & entry::NX == 0;
            if !role::is_link(level, value) {
                let offset = entry::span(level) - 1;
                let gpa = (value & entry::ADDRESS & !offset) | (va & offset);
                return Some((gpa, writable, executable));
            }
            page = self.pool.target(value);
        }
        None
    }
}
