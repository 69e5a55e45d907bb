//! Faults, mappings and a loop that needs no kernel.

use crate::{Outcome, check};
use std::hint::black_box;

const PAGE: usize = 4096;

/// Anonymous memory of a process's own.
struct Mapping {
    start: *mut u8,
    len: usize,
}

impl Mapping {
    fn new(pages: usize) -> std::io::Result<Self> {
        let len = pages * PAGE;
        // SAFETY: a new mapping, wherever there is room.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
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

    /// Write a byte to each page.
    fn touch(&self) {
        for offset in (0..self.len).step_by(PAGE) {
            // SAFETY: inside the mapping.
            unsafe { self.start.add(offset).write_volatile(1) };
        }
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
        Mapping::new(pages as usize)?.touch();
        left -= pages;
    }
    Ok(())
}

pub fn copy_on_write(count: u64) -> Outcome {
    let mut left = count;
    while left > 0 {
        let pages = left.min(ROUND);
        let mapping = Mapping::new(pages as usize)?;
        mapping.touch();
        // SAFETY: one thread; the child touches its copy and ends.
        match check(unsafe { libc::fork() })? {
            0 => {
                mapping.touch();
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
        Mapping::new(1)?.touch();
    }
    Ok(())
}

pub fn touch(count: u64) -> Outcome {
    for _ in 0..count {
        Mapping::new((1 << 20) / PAGE)?.touch();
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
