//! Kernel code: a page may be executed in the kernel's view only after it has been scanned for
//! sensitive instructions, and is write-protected from then on, in both views. A write makes it
//! plain memory again, which has to be scanned before it is next executed: no frame is ever both
//! writable anywhere and executable by the kernel.
//!
//! ```text
//!             fetch: Outcome::Scan ─► code_scanned
//!   memory ─────────────────────────────────────────► code
//!   kernel: W, NX      code_written ◄─ write:         kernel: X, no W
//!   user: W, X                         Outcome::Code  user: X, no W
//! ```

use super::ShadowTables;
use super::entry::{ADDRESS, NX, PAGE, PS, W, span};
use super::memory::TablePages;
use super::role::{Class, is_link};

/// The frames that hold scanned code: a bit for each.
#[derive(Default)]
pub(super) struct CodeFrames(Vec<u64>);

impl CodeFrames {
    fn set(&mut self, gpa: u64, on: bool) {
        let n = (gpa / PAGE) as usize;
        if on && self.0.len() <= n / 64 {
            self.0.resize(n / 64 + 1, 0);
        }
        if let Some(word) = self.0.get_mut(n / 64) {
            *word = *word & !(1 << (n % 64)) | u64::from(on) << (n % 64);
        }
    }

    pub(super) fn contains(&self, gpa: u64) -> bool {
        let n = (gpa / PAGE) as usize;
        self.0
            .get(n / 64)
            .is_some_and(|word| word >> (n % 64) & 1 != 0)
    }

    /// Whether any frame of the large page at `gpa`, of at least 64 frames, is one.
    pub(super) fn any_in(&self, gpa: u64, len: u64) -> bool {
        let first = (gpa / PAGE / 64) as usize;
        let end = first + (len / PAGE / 64) as usize;
        let end = end.min(self.0.len());
        first < end && self.0[first..end].iter().any(|word| *word != 0)
    }
}

impl<T: TablePages> ShadowTables<T> {
    /// Whether the page at `gpa` holds kernel code that has been scanned, and is write-protected.
    pub fn is_code(&self, gpa: u64) -> bool {
        self.code.contains(gpa)
    }

    /// The page at `gpa`, which must be RAM, has been scanned: the kernel may execute it, and
    /// nobody may write to it.
    pub fn code_scanned(&mut self, gpa: u64) {
        self.code.set(gpa, true);
        self.restrict(gpa & ADDRESS, |_, value| value & !W);
    }

    /// The page at `gpa` is about to be written to: it is no code any more.
    pub fn code_written(&mut self, gpa: u64) {
        self.code.set(gpa, false);
        self.restrict(gpa & ADDRESS, |class, value| {
            if class.is_kernel() { value | NX } else { value }
        });
    }

    /// What an entry of a page of `class` may allow for the 4 KiB page at `gpa`, of `bits`.
    pub(super) fn guarded(&self, class: Class, gpa: u64, bits: u64) -> u64 {
        if self.code.contains(gpa) {
            bits & !W
        } else {
            Self::without_code(class, bits)
        }
    }

    /// What an entry may allow where there is no code, of `bits`.
    pub(super) fn without_code(class: Class, bits: u64) -> u64 {
        if class.is_kernel() { bits | NX } else { bits }
    }

    /// Makes every entry that maps the page at `gpa` what `limit` says. Large pages around it come
    /// back in pieces when they are next used. A search, since it is seldom needed.
    fn restrict(&mut self, gpa: u64, limit: impl Fn(Class, u64) -> u64) {
        let pages: Vec<u32> = self.pool.in_use().collect();
        for page in pages {
            let p = self.pool.page(page);
            let (role, present) = (p.role, p.present);
            if role.level > 3 {
                continue;
            }
            for index in present.iter() {
                let value = self.pool.entry(page, index);
                if role.level == 1 {
                    if value & ADDRESS == gpa {
                        self.replace(page, index, limit(role.class, value), None);
                    }
                } else if !is_link(role.level, value) {
                    debug_assert!(value & PS != 0);
                    let mask = span(role.level) - 1;
                    if value & ADDRESS & !mask == gpa & !mask {
                        self.replace(page, index, 0, None);
                    }
                }
            }
        }
    }
}
