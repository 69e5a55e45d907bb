//! The walk of the guest's own tables, as the processor does it (SDM volume 3, sections 4.5 to 4.8).

use super::entry::{self, A, ADDRESS, D, NX, P, PS, U, W, fault};
use super::memory::GuestRam;

/// The control-register bits that paging depends on, and the guest's CR3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// CR3, of which bits 51:12 matter here.
    pub cr3: u64,
    /// The other bits.
    pub mode: Mode,
}

/// Control-register bits that change what a translation allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// CR0.WP: supervisor writes obey the W bit too.
    pub wp: bool,
    /// EFER.NXE: bit 63 of an entry forbids fetches, and is reserved otherwise.
    pub nxe: bool,
    /// CR4.SMEP: no supervisor fetches from user pages.
    pub smep: bool,
    /// Width of a physical address in bits, 32 to 52.
    pub physical_bits: u8,
    /// Whether the processor offers pages of 1 GiB.
    pub gigabyte_pages: bool,
}

/// What is done at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A data read.
    Read,
    /// A data write (or a read that will be followed by one, as in `add [m], r`).
    Write,
    /// An instruction fetch.
    Fetch,
}

/// One access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Read, write or fetch.
    pub kind: Kind,
    /// Made with CPL 3. (Accesses to GDT, IDT and TSS are supervisor accesses at any CPL.)
    pub user: bool,
}

impl Access {
    /// A supervisor read.
    pub const READ: Access = Access {
        kind: Kind::Read,
        user: false,
    };
    /// A supervisor write.
    pub const WRITE: Access = Access {
        kind: Kind::Write,
        user: false,
    };

    /// The access that a page fault with this error code was about.
    pub fn from_error(error: u32, user: bool) -> Self {
        let kind = if error & fault::FETCH != 0 {
            Kind::Fetch
        } else if error & fault::WRITE != 0 {
            Kind::Write
        } else {
            Kind::Read
        };
        Access { kind, user }
    }
}

/// A page fault that the guest has to see: the error code; CR2 is the address asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFault {
    /// Error code, bits of [`fault`].
    pub error: u32,
}

/// A translation that the guest's tables give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Guest-physical address of the byte asked for.
    pub gpa: u64,
    /// Level of the entry that maps the page: 1, 2 (2 MiB) or 3 (1 GiB).
    pub level: u8,
    /// The entries used, by level: `entries[level]` (0 unused).
    pub entries: [u64; 5],
    /// Their guest-physical addresses.
    pub slots: [u64; 5],
    /// Every level allows writes.
    pub writable: bool,
    /// Every level allows user mode.
    pub user: bool,
    /// Some level forbids fetches.
    pub no_execute: bool,
}

impl Mode {
    /// Whether a bit is set in `entry`, found in a table of `level`, that must not be.
    pub fn is_reserved(&self, entry: u64, level: u8) -> bool {
        let mut mask = ADDRESS & !((1u64 << self.physical_bits) - 1);
        if !self.nxe {
            mask |= NX;
        }
        if entry & PS != 0 {
            mask |= match level {
                4 => PS,
                3 if !self.gigabyte_pages => PS,
                // Bit 12 of a large page's entry is PAT.
                3 | 2 => (entry::span(level) - 1) & ADDRESS & !(1 << 12),
                _ => 0,
            };
        }
        entry & mask != 0
    }

    fn fault(&self, access: Access, bits: u32) -> PageFault {
        let mut error = bits;
        if access.user {
            error |= fault::USER;
        }
        match access.kind {
            Kind::Read => {}
            Kind::Write => error |= fault::WRITE,
            Kind::Fetch => {
                if self.nxe || self.smep {
                    error |= fault::FETCH;
                }
            }
        }
        PageFault { error }
    }

    /// Whether a translation with these rights allows `access`.
    pub fn allows(&self, writable: bool, user: bool, no_execute: bool, access: Access) -> bool {
        if access.user && !user {
            return false;
        }
        match access.kind {
            Kind::Read => true,
            Kind::Write => writable || (!access.user && !self.wp),
            Kind::Fetch => !(no_execute || self.smep && !access.user && user),
        }
    }
}

/// Translates `va` without touching anything.
///
/// # Errors
/// The page fault that the processor would raise. A table outside RAM reads as all ones, as
/// unmapped memory does, and so ends as a reserved-bit fault.
pub fn walk(
    ram: &impl GuestRam,
    paging: &Paging,
    va: u64,
    access: Access,
) -> Result<Translation, PageFault> {
    let mode = &paging.mode;
    let mut t = Translation {
        gpa: 0,
        level: 4,
        entries: [0; 5],
        slots: [0; 5],
        writable: true,
        user: true,
        no_execute: false,
    };
    let mut table = paging.cr3 & ADDRESS;
    for level in (1..=4u8).rev() {
        let slot = table + 8 * entry::index(va, level) as u64;
        let entry = ram.read(slot).unwrap_or(u64::MAX);
        if entry & P == 0 {
            return Err(mode.fault(access, 0));
        }
        if mode.is_reserved(entry, level) {
            return Err(mode.fault(access, fault::PRESENT | fault::RESERVED));
        }
        let i = usize::from(level);
        t.entries[i] = entry;
        t.slots[i] = slot;
        t.writable &= entry & W != 0;
        t.user &= entry & U != 0;
        t.no_execute |= entry & NX != 0;
        t.level = level;
        table = entry & ADDRESS;
        if level == 1 || entry & PS != 0 {
            let offset = entry::span(level) - 1;
            t.gpa = (entry & ADDRESS & !offset) | (va & offset);
            break;
        }
    }
    if !mode.allows(t.writable, t.user, t.no_execute, access) {
        return Err(mode.fault(access, fault::PRESENT));
    }
    Ok(t)
}

/// Translates `va` and sets the accessed bits of every entry used, and the dirty bit of the last
/// one for a write. `changed` is told each entry that was changed: address, new value.
///
/// # Errors
/// As [`walk`]; nothing has then been changed.
pub fn walk_and_mark(
    ram: &impl GuestRam,
    paging: &Paging,
    va: u64,
    access: Access,
    mut changed: impl FnMut(u64, u64),
) -> Result<Translation, PageFault> {
    'again: loop {
        let mut t = walk(ram, paging, va, access)?;
        for level in (t.level..=4).rev() {
            let i = usize::from(level);
            let mut bits = A;
            if level == t.level && access.kind == Kind::Write {
                bits |= D;
            }
            let old = t.entries[i];
            let new = old | bits;
            if new == old {
                continue;
            }
            match ram.compare_exchange(t.slots[i], old, new) {
                Some(true) => {
                    changed(t.slots[i], new);
                    t.entries[i] = new;
                }
                // Another processor, or an entry that is in use at two levels: begin again.
                _ => continue 'again,
            }
        }
        return Ok(t);
    }
}
