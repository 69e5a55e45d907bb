//! Bringing tables up to date with the guest's: INVLPG, CR3 loads.

use super::entry::{ADDRESS, PS, index, span};
use super::memory::{GuestRam, TablePages};
use super::role::{Class, Role, child, is_link, rights};
use super::source::PART;
use super::{Policy, ShadowTables};

impl<T: TablePages> ShadowTables<T> {
    /// INVLPG (SDM volume 3, section 4.10.4.1): forgets the translation of `va`, and whatever has
    /// been kept of upper levels, as the processor forgets all its paging-structure caches.
    pub fn invlpg(&mut self, ram: &impl GuestRam, va: u64) {
        self.stats.invlpgs += 1;
        if self.config.policy == Policy::Trace {
            return;
        }
        self.clock += 1;
        for user_view in [false, true] {
            if let Some(&root) = self.roles.get(&Role::root(self.paging.cr3, user_view)) {
                self.sync_upper(ram, root);
                self.sync_path(ram, root, va);
            }
        }
    }

    /// Brings everything that the current CR3 reaches up to date.
    pub(super) fn sync_roots(&mut self, ram: &impl GuestRam) {
        self.clock += 1;
        for user_view in [false, true] {
            if let Some(&root) = self.roles.get(&Role::root(self.paging.cr3, user_view)) {
                self.sync_below(ram, root, 1);
            }
        }
    }

    /// Brings a table and all below it up to date.
    pub(super) fn sync_tree(&mut self, ram: &impl GuestRam, page: u32) {
        self.clock += 1;
        self.sync_below(ram, page, 1);
    }

    fn sync_upper(&mut self, ram: &impl GuestRam, page: u32) {
        self.sync_below(ram, page, 2);
    }

    fn sync_below(&mut self, ram: &impl GuestRam, page: u32, lowest: u8) {
        let p = self.pool.page_mut(page);
        let level = p.role.level;
        if p.synced == self.clock || level < lowest || p.role.class.is_split() {
            return;
        }
        p.synced = self.clock;
        self.sync_page(ram, page);
        if level <= lowest {
            return;
        }
        let p = self.pool.page(page);
        for i in p.present.iter() {
            let value = self.pool.entry(page, i);
            if is_link(level, value) && !self.is_monitor_slot(level, i) {
                self.sync_below(ram, self.pool.target(value), lowest);
            }
        }
    }

    /// Brings up to date the entries that translate `va`, upper levels first.
    fn sync_path(&mut self, ram: &impl GuestRam, mut page: u32, va: u64) {
        for level in (1..=4u8).rev() {
            let i = index(va, level);
            if self.is_monitor_slot(level, i) || self.pool.page(page).role.class.is_split() {
                return;
            }
            self.sync_entry(ram, page, i);
            let value = self.pool.entry(page, i);
            if !is_link(level, value) {
                return;
            }
            page = self.pool.target(value);
        }
    }

    fn sync_page(&mut self, ram: &impl GuestRam, page: u32) {
        self.stats.syncs += 1;
        let p = self.pool.page(page);
        let (table, present) = (p.role.table, p.present);
        for part in present.parts() {
            let first = part * PART;
            let source = self.pool.page(page).source.part(part);
            if ram.holds(table + 8 * first as u64, source) {
                continue;
            }
            for i in first..first + PART {
                self.sync_entry(ram, page, i);
            }
        }
    }

    /// Brings one entry up to date.
    pub(super) fn sync_entry(&mut self, ram: &impl GuestRam, page: u32, i: usize) {
        let old = self.pool.entry(page, i);
        let p = self.pool.page_mut(page);
        let (role, private) = (p.role, p.private.get(i));
        let now = ram.read(role.table + 8 * i as u64).unwrap_or(u64::MAX);
        if p.source.get(i) == now {
            return;
        }
        p.source.set(i, now);
        if old == 0 || self.is_monitor_slot(role.level, i) {
            return;
        }
        self.stats.changed += 1;
        let value = if self.paging.mode.is_reserved(now, role.level) {
            0
        } else if role.level == 1 {
            self.leaf(ram, role, now)
        } else if now & PS != 0 {
            self.large(ram, role, now, old)
        } else {
            match child(&self.paging.mode, role, private, now) {
                Some((to, bits)) if self.leads_to(role.level, old, to) => (old & ADDRESS) | bits,
                _ => 0,
            }
        };
        self.replace(page, i, value, None);
    }

    fn leads_to(&self, level: u8, link: u64, role: Role) -> bool {
        is_link(level, link) && self.roles.get(&role) == Some(&self.pool.target(link))
    }

    /// What the entry for a large guest page becomes; 0 if it takes a fault to make it.
    fn large(&self, ram: &impl GuestRam, role: Role, now: u64, old: u64) -> u64 {
        let Some(bits) = rights(&self.paging.mode, role.class, now, true) else {
            return 0;
        };
        let base = now & ADDRESS & !(span(role.level) - 1);
        if self.may_be_large(ram, base, role.level) {
            return base | Self::without_code(role.class, bits) | PS;
        }
        let split = Role {
            table: base,
            level: role.level - 1,
            class: Class::Split {
                kernel: role.class.is_kernel(),
            },
        };
        if self.leads_to(role.level, old, split) {
            (old & ADDRESS) | (bits & !super::entry::D)
        } else {
            0
        }
    }
}
