//! Faults, mappings and a loop that needs no kernel.

use crate::{Outcome, check};
use std::hint::black_box;
use std::sync::atomic::AtomicU32;

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// Mapped memory.
pub struct Mapping {
    start: *mut u8,
    len: usize,
}

/// Kind of an access to memory.
#[derive(Clone, Copy)]
pub enum Access {
    Read,
    Write,
}

impl Mapping {
    /// Anonymous memory.
    pub fn new(pages: usize) -> std::io::Result<Self> {
        Self::map(pages, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
    }

    /// The first pages of an open file.
    pub fn of_file(file: i32, pages: usize) -> std::io::Result<Self> {
        Self::map(pages, libc::MAP_PRIVATE, file)
    }

    /// A page that is shared with processes to come.
    pub fn shared() -> std::io::Result<Self> {
        Self::map(1, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1)
    }

    fn map(pages: usize, flags: i32, file: i32) -> std::io::Result<Self> {
        let len = pages * PAGE;
        // SAFETY: a new mapping, wherever there is room.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                file,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        Ok(Mapping {
            start: start.cast(),
            len,
        })
    }

    /// Access a byte of each page.
    #[inline(always)]
    pub fn touch(&self, access: Access) {
        for offset in (0..self.len).step_by(PAGE) {
            // SAFETY: inside the mapping.
            unsafe {
                let byte = self.start.add(offset);
                match access {
                    Access::Read => _ = byte.read_volatile(),
                    Access::Write => byte.write_volatile(1),
                }
            }
        }
    }

    /// The first word.
    pub fn word(&self) -> &AtomicU32 {
        // SAFETY: inside the mapping, aligned, and zero at first; whoever shares it uses it so, too.
        unsafe { &*self.start.cast() }
    }

    /// Write a byte to the first page.
    pub fn touch_first(&self) {
        // SAFETY: inside the mapping.
        unsafe { self.start.write_volatile(1) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing refers to it any more.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

/// Rounds of so many pages, so that any count fits in a small guest.
const ROUND: u64 = 1024;

pub fn fault(count: u64) -> Outcome {
    let mut left = count;
    while left > 0 {
        let pages = left.min(ROUND);
        Mapping::new(pages as usize)?.touch(Access::Write);
        left -= pages;
    }
    Ok(())
}

pub fn copy_on_write(count: u64) -> Outcome {
    let mut left = count;
    while left > 0 {
        let pages = left.min(ROUND);
        let mapping = Mapping::new(pages as usize)?;
        mapping.touch(Access::Write);
        // SAFETY: one thread; the child touches its copy and ends.
        match check(unsafe { libc::fork() })? {
            0 => {
                mapping.touch(Access::Write);
                // SAFETY: ends the child without running what the parent registered.
                unsafe { libc::_exit(0) }
            }
            child => {
                // SAFETY: no status is asked for.
                check(unsafe { libc::waitpid(child as i32, std::ptr::null_mut(), 0) })?;
            }
        }
        left -= pages;
    }
    Ok(())
}

pub fn map_touch_unmap(count: u64) -> Outcome {
    for _ in 0..count {
        Mapping::new(1)?.touch(Access::Write);
    }
    Ok(())
}

pub fn touch(count: u64) -> Outcome {
    for _ in 0..count {
        Mapping::new((1 << 20) / PAGE)?.touch(Access::Write);
    }
    Ok(())
}

pub fn compute(count: u64) -> Outcome {
    let mut state = 88_172_645_463_325_252u64;
    for _ in 0..count * 1_000_000 {
        // xorshift64 (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    black_box(state);
    Ok(())
}
