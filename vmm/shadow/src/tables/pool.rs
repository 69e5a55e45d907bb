//! The pool of true table pages: who uses which, what they hold, and the edits that are due.
//!
//! What a page holds is read from the page itself, but for the changes that have been posted and not
//! been made yet. The guest entries that it was made from are kept here (`source`), so that bringing a
//! page up to date is a comparison of what is in use when nothing has changed.

use std::collections::{HashMap, VecDeque};

use super::entry::{ADDRESS, P, PAGE};
use super::memory::{Edit, TablePages};
use super::role::Role;
use super::source::Source;

/// A set of table indices.
#[derive(Clone, Copy, Default)]
pub(super) struct Indices([u64; 8]);

impl Indices {
    pub(super) fn set(&mut self, i: usize, on: bool) {
        let bit = 1 << (i % 64);
        if on {
            self.0[i / 64] |= bit;
        } else {
            self.0[i / 64] &= !bit;
        }
    }

    pub(super) fn get(&self, i: usize) -> bool {
        self.0[i / 64] & (1 << (i % 64)) != 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0 == [0; 8]
    }

    /// The parts of the table, in pieces of 64 entries, with an index in the set.
    pub(super) fn parts(self) -> impl Iterator<Item = usize> {
        (0..8).filter(move |&part| self.0[part] != 0)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        (0..8).flat_map(move |w| {
            let mut bits = self.0[w];
            std::iter::from_fn(move || {
                if bits == 0 {
                    return None;
                }
                let i = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                Some(w * 64 + i)
            })
        })
    }
}

/// A table page in use.
pub(super) struct Page {
    pub(super) role: Role,
    /// The guest entries that the present ones were made from.
    pub(super) source: Source,
    pub(super) present: Indices,
    /// The entries that point here.
    pub(super) parents: Vec<(u32, u16)>,
    /// In a root of the kernel's view: the slots that cannot share the user's tables.
    pub(super) private: Indices,
    /// Guest writes to the table since it was last used for a fill (tracing only).
    pub(super) writes: u32,
    /// Last synchronisation that visited the page.
    pub(super) synced: u64,
}

/// No page is left, not even one to be cleared.
#[derive(Debug)]
pub(super) struct Full;

pub(super) struct Pool<T> {
    tables: T,
    pages: Vec<Option<Box<Page>>>,
    first_gpa: u64,
    capacity: u32,
    clean: Vec<u32>,
    /// Free, with old entries still in them: cleared when they are used again.
    dirty: VecDeque<u32>,
    edits: Vec<Edit>,
    /// What the posted changes make of entries.
    pending: HashMap<(u32, u16), u64>,
    /// Number of the current list of edits, and the last one that touched each page: what follows
    /// a posted edit of a page must be posted too.
    batch: u64,
    posted: Vec<u64>,
    /// The root that the processor is on: it may be given up, but not cleared.
    pub(super) loaded: Option<u32>,
}

impl<T: TablePages> Pool<T> {
    pub(super) fn new(tables: T, first_gpa: u64, capacity: u32) -> Self {
        Pool {
            tables,
            pages: Vec::new(),
            first_gpa,
            capacity,
            clean: Vec::new(),
            dirty: VecDeque::new(),
            edits: Vec::new(),
            pending: HashMap::new(),
            batch: 1,
            posted: Vec::new(),
            loaded: None,
        }
    }

    pub(super) fn page(&self, page: u32) -> &Page {
        self.pages[page as usize].as_deref().expect("a page in use")
    }

    pub(super) fn page_mut(&mut self, page: u32) -> &mut Page {
        self.pages[page as usize]
            .as_deref_mut()
            .expect("a page in use")
    }

    pub(super) fn gpa(&self, page: u32) -> u64 {
        self.first_gpa + u64::from(page) * PAGE
    }

    /// The table page that a link points to.
    pub(super) fn target(&self, link: u64) -> u32 {
        (((link & ADDRESS) - self.first_gpa) / PAGE) as u32
    }

    pub(super) fn in_use(&self) -> impl Iterator<Item = u32> {
        (0..self.pages.len() as u32).filter(|&p| self.pages[p as usize].is_some())
    }

    pub(super) fn count(&self) -> usize {
        self.pages.len() - self.clean.len() - self.dirty.len()
    }

    pub(super) fn allocate(&mut self, role: Role) -> Result<u32, Full> {
        let page = if let Some(page) = self.clean.pop() {
            page
        } else if (self.pages.len() as u32) < self.capacity {
            self.pages.push(None);
            self.posted.push(0);
            self.pages.len() as u32 - 1
        } else {
            let at = self
                .dirty
                .iter()
                .position(|&p| Some(p) != self.loaded)
                .ok_or(Full)?;
            let page = self.dirty.remove(at).ok_or(Full)?;
            self.edits.push(Edit::Clear { page });
            self.posted[page as usize] = self.batch;
            page
        };
        self.pages[page as usize] = Some(Box::new(Page {
            role,
            source: Source::default(),
            present: Indices::default(),
            parents: Vec::new(),
            private: Indices::default(),
            writes: 0,
            synced: 0,
        }));
        Ok(page)
    }

    /// Gives a page back; nothing points to it any more.
    pub(super) fn free(&mut self, page: u32) {
        let Some(old) = self.pages[page as usize].take() else {
            return;
        };
        if old.present.is_empty() && self.loaded != Some(page) {
            self.clean.push(page);
        } else {
            self.dirty.push_back(page);
        }
    }

    /// A true entry, as it is once the posted changes have been made: 0 or present.
    pub(super) fn entry(&self, page: u32, index: usize) -> u64 {
        if !self.page(page).present.get(index) {
            return 0;
        }
        if self.is_posted(page)
            && let Some(&value) = self.pending.get(&(page, index as u16))
        {
            return value;
        }
        self.tables.read(page, index)
    }

    /// Makes an entry what it should be. Whether an entry that was present has changed.
    pub(super) fn set(&mut self, page: u32, index: usize, value: u64) -> bool {
        debug_assert!(value == 0 || value & P != 0);
        let old = self.entry(page, index);
        if old == value {
            return false;
        }
        self.page_mut(page).present.set(index, value != 0);
        if old == 0 && !self.is_posted(page) {
            self.tables.write(page, index, value);
            return false;
        }
        self.posted[page as usize] = self.batch;
        self.pending.insert((page, index as u16), value);
        self.edits.push(Edit::Write {
            page,
            index: index as u16,
            value,
        });
        old != 0
    }

    /// Whether changes of this page have to be posted at the moment.
    pub(super) fn is_posted(&self, page: u32) -> bool {
        self.posted[page as usize] == self.batch
    }

    pub(super) fn has_edits(&self) -> bool {
        !self.edits.is_empty()
    }

    pub(super) fn take_edits(&mut self, out: &mut Vec<Edit>) {
        out.append(&mut self.edits);
        self.pending.clear();
        self.batch += 1;
    }
}
