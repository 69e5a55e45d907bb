//! Making room: giving up roots, or everything.

use super::memory::{Flush, TablePages};
use super::pool::Full;
use super::role::Role;
use super::{Policy, ShadowTables, Tracer};

impl<T: TablePages> ShadowTables<T> {
    /// Gives up the least recently used root that is not the current one; whether there was one.
    pub(super) fn evict_root(&mut self) -> bool {
        let current = Role::root(self.paging.cr3, false).table;
        let oldest = (0..self.roots.len())
            .filter(|&i| self.roots[i].table != current)
            .min_by_key(|&i| self.roots[i].used);
        let Some(oldest) = oldest else { return false };
        let root = self.roots.swap_remove(oldest);
        for user_view in [false, true] {
            if let Some(&page) = self.roles.get(&Role::root(root.table, user_view)) {
                self.free_page(page);
            }
        }
        self.stats.evictions += 1;
        true
    }

    /// Frees table pages when there are none: an old root's, or all.
    pub(super) fn make_room(&mut self, _: Full) {
        if !self.evict_root() {
            self.drop_all();
        }
    }

    /// Forgets every translation. The pages are cleared when they are used again.
    pub(super) fn drop_all(&mut self) {
        let pages: Vec<u32> = self.pool.in_use().collect();
        for page in pages {
            self.pool.free(page);
        }
        self.roles.clear();
        self.roots.clear();
        if self.config.policy == Policy::Trace {
            self.tracer = Tracer::default();
        }
        self.flush = Flush::All;
        self.stats.drops += 1;
    }
}
