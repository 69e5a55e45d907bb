//! What the shadow tables need of the outside: the guest's memory, and true table pages.

use super::entry::PAGE;

/// The guest's RAM, by guest-physical address.
pub trait GuestRam {
    /// The aligned quadword at `gpa`; `None` where there is no RAM.
    fn read(&self, gpa: u64) -> Option<u64>;

    /// Stores `new` at the aligned `gpa` if `old` is there; whether it was. `None`: no RAM.
    fn compare_exchange(&self, gpa: u64, old: u64, new: u64) -> Option<bool>;

    /// Whether every byte of `gpa..gpa + len` is RAM.
    fn is_ram(&self, gpa: u64, len: u64) -> bool;

    /// Whether the words from the aligned `gpa` on, within a page, are exactly `known`; `false` where
    /// there is no RAM.
    fn holds(&self, gpa: u64, known: &[u64]) -> bool {
        (gpa..)
            .step_by(8)
            .zip(known)
            .all(|(at, &word)| self.read(at) == Some(word))
    }
}

/// The pages that hold the true tables, numbered from 0 and contiguous in guest-physical space.
///
/// They are clear at first, and nobody but the engine changes them. It writes here directly only where
/// the entry is not present; whatever else it wants done comes out as an [`Edit`].
pub trait TablePages {
    /// Entry `index` of table page `page`, as the writes and edits so far have left it.
    fn read(&self, page: u32, index: usize) -> u64;

    /// Stores `value` into entry `index` of table page `page`.
    fn write(&mut self, page: u32, index: usize, value: u64);
}

/// A change that must be made inside the virtual machine, in order, before the guest goes on.
///
/// KVM's own shadow of these tables misses changes of present entries that are made from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Store `value` into entry `index` of table page `page`.
    Write {
        /// Number of the table page.
        page: u32,
        /// Entry, 0 to 511.
        index: u16,
        /// The entry's new value.
        value: u64,
    },
    /// Clear all 512 entries of a table page.
    Clear {
        /// Number of the table page.
        page: u32,
    },
}

/// What the processor must forget, after the edits, before the guest goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flush {
    /// Nothing: only entries that were not present have changed.
    #[default]
    None,
    /// The translation of one address (INVLPG).
    Page(u64),
    /// Everything (load CR3).
    All,
}

impl Flush {
    /// Adds the translation of `va` to what must be forgotten.
    pub fn add_page(&mut self, va: u64) {
        let va = va & !(PAGE - 1);
        *self = match *self {
            Flush::None => Flush::Page(va),
            Flush::Page(old) if old == va => Flush::Page(va),
            _ => Flush::All,
        };
    }
}
