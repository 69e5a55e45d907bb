//! Reverse maps: which true entries map a frame. Needed only where guest tables are
//! write-protected, to find every writable mapping of one.

use std::collections::HashMap;

use super::entry::{ADDRESS, P, PAGE, PS};

/// Entries of true tables: page and index.
type Entries = Vec<(u32, u16)>;

/// The traced tables, and all true entries that map pages.
#[derive(Default)]
pub(super) struct Tracer {
    /// gpa of a guest table → number of table pages that shadow it.
    traced: HashMap<u64, u32>,
    /// gpa of a 4 KiB page → entries that map it.
    small: HashMap<u64, Entries>,
    /// gpa of a 2 MiB page → entries that map it.
    large: HashMap<u64, Entries>,
}

const LARGE: u64 = 512 * PAGE;

impl Tracer {
    pub(super) fn is_traced(&self, gpa: u64) -> bool {
        self.traced.contains_key(&(gpa & ADDRESS))
    }

    /// Whether any page of `gpa..gpa + len` is traced.
    pub(super) fn any_traced(&self, gpa: u64, len: u64) -> bool {
        self.traced.keys().any(|&t| t >= gpa && t - gpa < len)
    }

    /// Begins to trace a table; whether it was not traced before.
    pub(super) fn start(&mut self, table: u64) -> bool {
        let n = self.traced.entry(table).or_default();
        *n += 1;
        *n == 1
    }

    pub(super) fn stop(&mut self, table: u64) {
        if let Some(n) = self.traced.get_mut(&table) {
            *n -= 1;
            if *n == 0 {
                self.traced.remove(&table);
            }
        }
    }

    /// The entries that map the page at `gpa`: 4 KiB ones, then 2 MiB ones.
    pub(super) fn mappings(&self, gpa: u64) -> (Entries, Entries) {
        let get = |map: &HashMap<u64, Vec<_>>, key| map.get(&key).cloned().unwrap_or_default();
        (
            get(&self.small, gpa & ADDRESS),
            get(&self.large, gpa & !(LARGE - 1) & ADDRESS),
        )
    }

    fn map_of(&mut self, level: u8, value: u64) -> Option<(&mut HashMap<u64, Entries>, u64)> {
        match level {
            _ if value & P == 0 => None,
            1 => Some((&mut self.small, value & ADDRESS)),
            2 if value & PS != 0 => Some((&mut self.large, value & ADDRESS & !(LARGE - 1))),
            _ => None,
        }
    }

    /// Notes that the entry `at` of a table of `level` goes from `old` to `new`.
    pub(super) fn moved(&mut self, level: u8, at: (u32, u16), old: u64, new: u64) {
        if let Some((map, key)) = self.map_of(level, old)
            && let Some(list) = map.get_mut(&key)
        {
            list.retain(|&e| e != at);
            if list.is_empty() {
                map.remove(&key);
            }
        }
        if let Some((map, key)) = self.map_of(level, new) {
            map.entry(key).or_default().push(at);
        }
    }
}
