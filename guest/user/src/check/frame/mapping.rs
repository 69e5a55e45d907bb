//! Memory that a test maps.

use super::call::Errno;
use libc::*;

/// Bytes in a page.
pub const PAGE: usize = 4096;

/// Readable and writable.
pub const RW: i32 = PROT_READ | PROT_WRITE;

/// A mapping, removed when dropped. Its bytes are reached by number, from 0.
pub struct Mapping {
    /// Where it begins.
    pub at: usize,
    /// Its length in bytes.
    pub len: usize,
}

impl Mapping {
    /// Private anonymous memory of so many pages.
    pub fn anonymous(pages: usize) -> Self {
        Self::new(pages * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0).expect("mmap")
    }

    /// Anonymous memory that parent and child share.
    pub fn shared(pages: usize) -> Self {
        Self::new(pages * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0).expect("mmap")
    }

    /// `mmap(2)` at an address of the kernel's choice.
    pub fn new(len: usize, prot: i32, flags: i32, fd: i32, offset: usize) -> Result<Self, Errno> {
        let at = call!(SYS_mmap, 0, len, prot, flags, fd, offset)?;
        Ok(Mapping { at, len })
    }

    /// Read byte `index`.
    pub fn get(&self, index: usize) -> u8 {
        peek(self.at + index)
    }

    /// Write byte `index`.
    pub fn set(&self, index: usize, value: u8) {
        poke(self.at + index, value);
    }

    /// An atomic word at byte `index`, a multiple of four.
    pub fn word(&self, index: usize) -> &std::sync::atomic::AtomicU32 {
        assert!(index.is_multiple_of(4) && index + 4 <= self.len);
        // SAFETY: within the mapping, aligned, and every bit pattern is a value; the mapping lives
        // as long as the reference.
        unsafe { std::sync::atomic::AtomicU32::from_ptr((self.at + index) as *mut u32) }
    }

    /// Call the code at its beginning.
    pub fn run(&self) {
        self.run_at(0);
    }

    /// Call the code at byte `index`.
    pub fn run_at(&self, index: usize) {
        // SAFETY: code of the test's own that returns or faults.
        let code: extern "C" fn() = unsafe { std::mem::transmute(self.at + index) };
        code();
    }

    /// `mprotect(2)` of all of it.
    pub fn protect(&self, prot: i32) -> Result<usize, Errno> {
        call!(SYS_mprotect, self.at, self.len, prot)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let _ = call!(SYS_munmap, self.at, self.len);
    }
}

/// Read a byte anywhere; the processor decides whether that is a fault.
pub fn peek(at: usize) -> u8 {
    // SAFETY: an address of the test's own, or one that is meant to fault.
    unsafe { (at as *const u8).read_volatile() }
}

/// Write a byte anywhere; the processor decides whether that is a fault.
pub fn poke(at: usize, value: u8) {
    // SAFETY: an address of the test's own, or one that is meant to fault.
    unsafe { (at as *mut u8).write_volatile(value) }
}

/// Whether anything is mapped at a page (`mincore(2)` fails with ENOMEM where nothing is).
pub fn is_mapped(at: usize) -> bool {
    let mut resident = [0u8; 1];
    call!(SYS_mincore, at & !(PAGE - 1), PAGE, &mut resident).is_ok()
}

/// Whether a page's memory is there, by `mincore(2)`.
pub fn is_resident(at: usize) -> bool {
    let mut resident = [0u8; 1];
    ok!(SYS_mincore, at, PAGE, &mut resident);
    resident[0] & 1 == 1
}
