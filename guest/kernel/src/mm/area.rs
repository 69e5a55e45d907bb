//! Areas: ranges of a program's addresses with one protection and one source of pages.

use alloc::sync::Arc;

use super::layout::PAGE;
use super::shared::SharedPages;
use super::table;
use crate::fs::Inode;

/// What a program may do with memory: Linux's `PROT_` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prot(u8);

impl Prot {
    /// Nothing.
    pub const NONE: Prot = Prot(0);
    /// Read.
    pub const READ: Prot = Prot(1);
    /// Write.
    pub const WRITE: Prot = Prot(2);
    /// Execute.
    pub const EXEC: Prot = Prot(4);

    /// From a system call's argument; bits that mean nothing to us are dropped.
    pub const fn from_bits(bits: usize) -> Prot {
        Prot(bits as u8 & 7)
    }

    /// Both.
    pub const fn with(self, other: Prot) -> Prot {
        Prot(self.0 | other.0)
    }

    /// Whether all of `other` is allowed.
    pub const fn contains(self, other: Prot) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits of a leaf entry, without [`table::WRITE`].
    #[inline]
    pub(super) fn entry_bits(self) -> u64 {
        let bits = match self.0 {
            0 => table::HELD,
            _ => table::PRESENT | table::USER | table::ACCESSED,
        };
        if self.contains(Prot::EXEC) {
            bits
        } else {
            bits | table::NO_EXECUTE
        }
    }
}

impl core::ops::BitOr for Prot {
    type Output = Prot;
    fn bitor(self, other: Prot) -> Prot {
        self.with(other)
    }
}

/// Where the pages of a new mapping come from.
#[derive(Clone)]
pub enum Backing {
    /// Zeros.
    Anonymous,
    /// Zeros; the area grows downwards when it is touched below its start.
    Stack,
    /// A file's pages from `offset` (page aligned) on.
    File {
        /// The file.
        inode: Arc<dyn Inode>,
        /// Offset of the first page, in bytes.
        offset: u64,
        /// The file was opened for writing: a shared mapping of it may be made writable.
        writable: bool,
    },
}

/// Kind of a new mapping.
#[derive(Clone)]
pub struct MapKind {
    /// `MAP_SHARED`: writes go to the file, or to the other processes that share the memory.
    pub shared: bool,
    /// Where pages come from.
    pub backing: Backing,
}

/// Where an area's pages come from.
#[derive(Clone)]
pub(super) enum Source {
    /// Zeros, private.
    Anonymous,
    /// Shared anonymous memory.
    Shared(Arc<SharedPages>),
    /// A file.
    File(Arc<dyn Inode>),
}

impl Source {
    /// Whether pages come from that file.
    pub fn is_file(&self, inode: &Arc<dyn Inode>) -> bool {
        matches!(self, Source::File(own) if Arc::ptr_eq(own, inode))
    }
}

/// What fork makes of an area (`madvise`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnFork {
    /// The child gets a copy.
    Copy,
    /// The child does not get it.
    Omit,
    /// The child gets zeros.
    Wipe,
}

/// An area. Boundaries are page aligned.
#[derive(Clone)]
pub(super) struct Area {
    pub start: usize,
    pub end: usize,
    pub prot: Prot,
    /// Writes are seen by others.
    pub shared: bool,
    /// `PROT_WRITE` may be asked for: not for shared mappings of files opened for reading.
    pub may_write: bool,
    /// A stack.
    pub grows_down: bool,
    /// Pages stay in memory (`mlock`).
    pub locked: bool,
    /// What fork makes of it.
    pub on_fork: OnFork,
    /// Some page may be the process's own: fork has to copy entries.
    pub private_pages: bool,
    pub source: Source,
    /// Offset of `start` in the source, in bytes.
    pub offset: u64,
}

impl Area {
    /// Pages in the area.
    pub fn pages(&self) -> usize {
        (self.end - self.start) / PAGE
    }

    /// Index in the source of the page at `address`.
    pub fn page_index(&self, address: usize) -> u64 {
        (self.offset + (address - self.start) as u64) / PAGE as u64
    }

    /// Cuts the area at `address`; returns the upper part.
    pub fn split_off(&mut self, address: usize) -> Area {
        let mut upper = self.clone();
        upper.start = address;
        upper.offset += (address - self.start) as u64;
        self.end = address;
        upper
    }

    /// Whether `next` continues this area, so that both can be one.
    pub fn continues_with(&self, next: &Area) -> bool {
        self.end == next.start
            && self.prot == next.prot
            && self.shared == next.shared
            && self.may_write == next.may_write
            && self.locked == next.locked
            && self.on_fork == next.on_fork
            && !self.grows_down
            && !next.grows_down
            && match (&self.source, &next.source) {
                (Source::Anonymous, Source::Anonymous) => true,
                (Source::Shared(a), Source::Shared(b)) => {
                    Arc::ptr_eq(a, b) && self.offset + (self.end - self.start) as u64 == next.offset
                }
                (Source::File(a), Source::File(b)) => {
                    Arc::ptr_eq(a, b) && self.offset + (self.end - self.start) as u64 == next.offset
                }
                _ => false,
            }
    }
}

/// One area as `/proc/[pid]/maps` shows it.
#[derive(Clone)]
pub struct AreaInfo {
    /// First address.
    pub start: usize,
    /// First address behind it.
    pub end: usize,
    /// Protection.
    pub prot: Prot,
    /// `MAP_SHARED`.
    pub shared: bool,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// The file.
    pub inode: Option<Arc<dyn Inode>>,
    /// Some page may be the process's own.
    pub private_pages: bool,
    /// The area is the stack.
    pub stack: bool,
    /// The area is the heap (`brk`).
    pub heap: bool,
    /// Pages stay in memory (`mlock`).
    pub locked: bool,
}
