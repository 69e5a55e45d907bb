//! Faults: true ones are told apart, hidden ones filled.

use super::entry::{A, ADDRESS, D, P, PAGE, PS, U, W, index, span};
use super::memory::{GuestRam, TablePages};
use super::pool::Full;
use super::role::{Class, Role, child, is_link, rights};
use super::walk::{Access, Kind, PageFault, Translation, walk_and_mark};
use super::{Outcome, Policy, ShadowTables};

impl<T: TablePages> ShadowTables<T> {
    /// Deals with a page fault of the running guest at `va`.
    pub fn fault(&mut self, ram: &impl GuestRam, va: u64, access: Access) -> Outcome {
        let t = match self.translate(ram, va, access) {
            Ok(t) => t,
            Err(fault) => {
                self.stats.true_faults += 1;
                return Outcome::Fault(fault);
            }
        };
        if !ram.is_ram(t.gpa & !(PAGE - 1), PAGE) {
            return Outcome::Mmio(t.gpa);
        }
        match access.kind {
            Kind::Fetch if !access.user && !self.is_code(t.gpa) => return Outcome::Scan(t.gpa),
            Kind::Write if self.is_code(t.gpa) => return Outcome::Code(t.gpa),
            _ => {}
        }
        let traced = access.kind == Kind::Write && self.tracer.is_traced(t.gpa);
        if traced || self.is_monitor_slot(4, index(va, 4)) {
            return Outcome::Emulate(t.gpa);
        }
        self.stats.hidden_faults += 1;
        self.fill(ram, va, &t, access);
        Outcome::Filled
    }

    /// Fills the translation of `va` ahead of an access that is likely to come. Nothing happens
    /// where the guest's tables do not allow it, or the accessed bit would have to be set first.
    pub fn prefetch(&mut self, ram: &impl GuestRam, va: u64, access: Access) {
        if self.is_monitor_slot(4, index(va, 4)) {
            return;
        }
        let Ok(t) = super::walk::walk(ram, &self.paging, va, access) else {
            return;
        };
        let used = (t.level..=4).all(|l| t.entries[usize::from(l)] & A != 0);
        if used && ram.is_ram(t.gpa & !(PAGE - 1), PAGE) {
            self.fill(ram, va, &t, access);
        }
    }

    /// Translates an access that is made on the guest's behalf, marking entries accessed and dirty.
    ///
    /// # Errors
    /// The page fault to be delivered.
    pub fn translate(
        &mut self,
        ram: &impl GuestRam,
        va: u64,
        access: Access,
    ) -> Result<Translation, PageFault> {
        let mut changed = [(0u64, 0u64); 16];
        let mut n = 0;
        let t = walk_and_mark(ram, &self.paging, va, access, |slot, new| {
            if n < changed.len() {
                changed[n] = (slot, new);
                n += 1;
            }
        })?;
        for &(slot, new) in &changed[..n] {
            self.marked(slot, new);
        }
        Ok(t)
    }

    fn fill(&mut self, ram: &impl GuestRam, va: u64, t: &Translation, access: Access) {
        self.stats.fills += 1;
        while let Err(full) = self.try_fill(ram, va, t, access) {
            self.make_room(full);
        }
    }

    fn try_fill(
        &mut self,
        ram: &impl GuestRam,
        va: u64,
        t: &Translation,
        access: Access,
    ) -> Result<(), Full> {
        let mut page = self.root(access.user)?;
        let slot = index(va, 4);
        let fetch = access.kind == Kind::Fetch;
        if !access.user && t.entries[4] & U != 0 && (!t.user || fetch) {
            // Kernel pages or kernel code below a user entry: this slot cannot share the user's
            // tables.
            self.pool.page_mut(page).private.set(slot, true);
        }
        for level in (t.level + 1..=4).rev() {
            let entry = t.entries[usize::from(level)];
            let i = index(va, level);
            let p = self.pool.page_mut(page);
            p.writes = 0;
            let private = p.private.get(slot);
            let Some((role, bits)) = child(&self.paging.mode, p.role, private, entry) else {
                return Ok(());
            };
            page = self.link(ram, page, i, role, bits, entry)?;
        }
        if t.level < 4 {
            self.link_other_view(ram, !access.user, slot, t.entries[4]);
        }
        let (level, entry) = (t.level, t.entries[usize::from(t.level)]);
        let class = self.pool.page(page).role.class;
        let Some(bits) = rights(&self.paging.mode, class, entry, true) else {
            return Ok(());
        };
        if level == 1 {
            let value = self.small(class, t.gpa & ADDRESS, bits);
            let i = index(va, 1);
            self.replace(page, i, value, Some(va));
            self.pool.page_mut(page).source.set(i, entry);
            if self.config.prefill && !self.pool.is_posted(page) {
                self.fill_neighbours(ram, page);
            }
            return Ok(());
        }
        self.fill_large(ram, va, page, level, entry, bits)
    }

    /// Lets the root of the current CR3's other view lead to the table that `entry` of its `slot` asks
    /// for, if both are there: the kernel is likely to use its program's memory, and the program what
    /// the kernel has used for it.
    fn link_other_view(&mut self, ram: &impl GuestRam, user_view: bool, slot: usize, entry: u64) {
        let role = Role::root(self.paging.cr3, user_view);
        let Some(&root) = self.roles.get(&role) else {
            return;
        };
        let p = self.pool.page(root);
        if p.present.get(slot) || self.is_monitor_slot(4, slot) || self.pool.is_posted(root) {
            return;
        }
        if let Some((role, bits)) = child(&self.paging.mode, role, p.private.get(slot), entry)
            && self.roles.contains_key(&role)
        {
            // It is there: nothing is taken from the pool.
            let _ = self.link(ram, root, slot, role, bits, entry);
        }
    }

    /// Lets the new root `page` lead to the tables that it can share with the root of the other view.
    pub(super) fn link_as_other_view(&mut self, page: u32, user_view: bool) {
        let other = Role::root(self.paging.cr3, user_view);
        let Some(&other) = self.roles.get(&other) else {
            return;
        };
        let role = self.pool.page(page).role;
        for slot in self.pool.page(other).present.iter() {
            let entry = self.pool.page(other).source.get(slot);
            if !self.is_monitor_slot(4, slot)
                && let Some((to, bits)) = child(&self.paging.mode, role, false, entry)
                && let Some(&to) = self.roles.get(&to)
                && to == self.pool.target(self.pool.entry(other, slot))
            {
                self.replace(page, slot, self.pool.gpa(to) | bits, None);
                self.pool.page_mut(page).source.set(slot, entry);
            }
        }
    }

    /// Points entry `i` of `page` to the table of `role`; the number of that table's page.
    fn link(
        &mut self,
        ram: &impl GuestRam,
        page: u32,
        i: usize,
        role: Role,
        bits: u64,
        source: u64,
    ) -> Result<u32, Full> {
        let known = self.roles.get(&role).copied();
        let to = match known {
            Some(to) => to,
            None => self.new_page(role)?,
        };
        let old = self.pool.entry(page, i);
        let same = is_link(self.pool.page(page).role.level, old) && self.pool.target(old) == to;
        self.replace(page, i, self.pool.gpa(to) | bits, None);
        self.pool.page_mut(page).source.set(i, source);
        if known.is_some() && !same && self.config.policy != Policy::Trace {
            // It was kept for others and may be older than this address may see.
            self.sync_tree(ram, to);
        }
        if known.is_none() && role.class.is_split() && role.level == 1 {
            self.fill_split(ram, to, role);
        }
        Ok(to)
    }

    /// A true entry for one 4 KiB page.
    pub(super) fn small(&self, class: Class, gpa: u64, bits: u64) -> u64 {
        let bits = self.guarded(class, gpa, bits);
        let traced = self.config.policy == Policy::Trace && self.tracer.is_traced(gpa);
        gpa | if traced { bits & !W } else { bits }
    }

    /// Whether the large page at `gpa` may be mapped as such.
    pub(super) fn may_be_large(&self, ram: &impl GuestRam, gpa: u64, level: u8) -> bool {
        let trace = self.config.policy == Policy::Trace;
        self.config.large_pages
            && ram.is_ram(gpa, span(level))
            && (level == 2 || !trace)
            && !self.code.any_in(gpa, span(level))
            && !(trace && self.tracer.any_traced(gpa, span(level)))
    }

    /// Maps the large guest page that `entry` (in `page`, a table of `level`) maps, as far as `va`
    /// needs it: whole where that is possible, in pieces otherwise.
    fn fill_large(
        &mut self,
        ram: &impl GuestRam,
        va: u64,
        mut page: u32,
        mut level: u8,
        entry: u64,
        mut bits: u64,
    ) -> Result<(), Full> {
        let mut base = entry & ADDRESS & !(span(level) - 1);
        let mut source = entry;
        loop {
            let i = index(va, level);
            let class = self.pool.page(page).role.class;
            if level == 1 {
                let value = self.small(class, base, bits);
                self.replace(page, i, value, Some(va));
                return Ok(());
            }
            if self.may_be_large(ram, base, level) {
                // Several addresses of the page may be cached.
                let bits = Self::without_code(class, bits);
                self.replace(page, i, base | bits | PS, None);
                self.pool.page_mut(page).source.set(i, source);
                self.stats.large_fills += 1;
                return Ok(());
            }
            let role = Role {
                table: base,
                level: level - 1,
                class: Class::Split {
                    kernel: class.is_kernel(),
                },
            };
            page = self.link(ram, page, i, role, bits & !D, source)?;
            level -= 1;
            base += va & (span(level + 1) - 1) & !(span(level) - 1);
            bits = P | W | U | A | D;
            source = 0;
        }
    }

    fn fill_split(&mut self, ram: &impl GuestRam, page: u32, role: Role) {
        for i in 0..512 {
            let gpa = role.table + PAGE * i as u64;
            if ram.is_ram(gpa, PAGE) {
                let value = self.small(role.class, gpa, P | W | U | A | D);
                self.replace(page, i, value, None);
                self.stats.prefills += 1;
            }
        }
    }

    /// Fills the entries of a page table that the guest has already used.
    fn fill_neighbours(&mut self, ram: &impl GuestRam, page: u32) {
        let role = self.pool.page(page).role;
        for i in 0..512 {
            if self.pool.page(page).present.get(i) {
                continue;
            }
            let Some(entry) = ram.read(role.table + 8 * i as u64) else {
                return;
            };
            let value = self.leaf(ram, role, entry);
            if value != 0 {
                self.pool.page_mut(page).source.set(i, entry);
                self.replace(page, i, value, None);
                self.stats.prefills += 1;
            }
        }
    }

    /// The true entry of a page table of `role` for the guest's `entry`; 0 if there can be none
    /// without a fault.
    pub(super) fn leaf(&self, ram: &impl GuestRam, role: Role, entry: u64) -> u64 {
        let gpa = entry & ADDRESS;
        match rights(&self.paging.mode, role.class, entry, true) {
            Some(bits) if !self.paging.mode.is_reserved(entry, 1) && ram.is_ram(gpa, PAGE) => {
                self.small(role.class, gpa, bits)
            }
            _ => 0,
        }
    }

    /// The guest has written `len` bytes at `gpa`, by an instruction that was emulated for it.
    pub fn wrote(&mut self, ram: &impl GuestRam, gpa: u64, len: u64) {
        if self.config.policy != Policy::Trace || len == 0 {
            return;
        }
        let mut at = gpa & !7;
        while at < gpa + len {
            let table = at & ADDRESS;
            if !self.tracer.is_traced(table) {
                at = table + PAGE;
                continue;
            }
            self.stats.traced_writes += 1;
            let i = (at / 8 % 512) as usize;
            let pages: Vec<u32> = self.shadows_of(table).collect();
            for page in pages {
                if self.shadow_exists(table, page) {
                    self.table_written(ram, page, i, len);
                }
            }
            at += 8;
        }
    }

    fn shadow_exists(&self, table: u64, page: u32) -> bool {
        self.shadows_of(table).any(|p| p == page)
    }

    fn table_written(&mut self, ram: &impl GuestRam, page: u32, i: usize, len: u64) {
        /// Writes to a table that is not used meanwhile, after which it is no table any more.
        const FLOOD: u32 = 24;
        self.sync_entry(ram, page, i);
        let p = self.pool.page_mut(page);
        p.writes += 1;
        if p.writes < FLOOD && len == 8 {
            return;
        }
        p.writes = 0;
        self.give_up_page(page);
    }

    /// Stops to trace the guest table at `gpa`, because it is written as data is; whether it was
    /// traced and is no more. What it translates is filled again when it is next used.
    pub fn give_up(&mut self, gpa: u64) -> bool {
        let table = gpa & ADDRESS;
        let was = self.tracer.is_traced(table);
        let pages: Vec<u32> = self.shadows_of(table).collect();
        for page in pages {
            // One may have gone with another.
            if self.shadow_exists(table, page) {
                self.give_up_page(page);
            }
        }
        was && !self.tracer.is_traced(table)
    }

    /// Lets go of a table page, unless it is the current root's.
    fn give_up_page(&mut self, page: u32) {
        let p = self.pool.page(page);
        let (role, parents) = (p.role, p.parents.clone());
        if role.level == 4 {
            let current = self.paging.cr3 & ADDRESS == role.table;
            if !current && let Some(at) = self.roots.iter().position(|r| r.table == role.table) {
                self.roots.swap_remove(at);
                for user_view in [false, true] {
                    if let Some(&root) = self.roles.get(&Role::root(role.table, user_view)) {
                        self.free_page(root);
                    }
                }
            }
            return;
        }
        for (parent, index) in parents {
            self.replace(parent, usize::from(index), 0, None);
        }
    }
}
