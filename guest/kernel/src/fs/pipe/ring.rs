//! The bytes of a pipe.
//!
//! They lie in contiguous frames, used as a ring: one page until that is full for the first time,
//! then as much as the pipe's capacity allows and memory permits.

use crate::errno::{Errno, KResult};
use crate::fs::{ReadBuf, WriteBuf};
use crate::mm::frame;

/// Capacity of a new pipe in bytes.
const DEFAULT_CAPACITY: usize = 65536;

/// The ring.
pub struct Ring {
    gpa: u64,
    order: usize,
    start: usize,
    len: usize,
    capacity: usize,
}

impl Ring {
    /// An empty one. ENOMEM.
    pub fn new() -> KResult<Self> {
        Ok(Self {
            gpa: frame::alloc_pages(0).ok_or(Errno::ENOMEM)?,
            order: 0,
            start: 0,
            len: 0,
            capacity: DEFAULT_CAPACITY,
        })
    }

    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes that it may grow to hold (`F_GETPIPE_SZ`).
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that fit without growing.
    pub fn free(&self) -> usize {
        self.size() - self.len
    }

    fn size(&self) -> usize {
        4096 << self.order
    }

    fn memory(&mut self) -> &mut [u8] {
        // SAFETY: the frames are the ring's own, and `self` is borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(crate::mm::phys_to_virt(self.gpa), self.size()) }
    }

    /// Room for writers, counting what the ring may grow to.
    pub fn room(&self) -> usize {
        self.capacity.max(self.size()) - self.len
    }

    /// Make the memory large enough for `wanted` bytes, if that can be had. The contents stay.
    pub fn grow(&mut self, wanted: usize) {
        let mut order = (wanted.min(self.capacity).div_ceil(4096))
            .next_power_of_two()
            .trailing_zeros() as usize;
        // In a hurry to hold much, skip the sizes in between.
        if order > 0 {
            order = order.max(2);
        }
        while order > self.order {
            // The reserve is not for what programs ask for.
            if frame::can_allocate(1 << order)
                && let Some(gpa) = frame::alloc_pages(order)
            {
                self.move_to(gpa, order);
                return;
            }
            order -= 1;
        }
    }

    /// It is as large as it gets, since memory is short.
    pub fn stop_growing(&mut self) {
        self.capacity = self.size();
    }

    /// Change what it may hold to `capacity` bytes, a power of two of pages. EBUSY: it holds more
    /// now. ENOMEM.
    pub fn set_capacity(&mut self, capacity: usize) -> KResult<()> {
        if capacity < self.len {
            return Err(Errno::EBUSY);
        }
        if capacity < self.size() {
            let order = (capacity / 4096).trailing_zeros() as usize;
            if !frame::can_allocate(1 << order) {
                return Err(Errno::ENOMEM);
            }
            let gpa = frame::alloc_pages(order).ok_or(Errno::ENOMEM)?;
            self.move_to(gpa, order);
        }
        self.capacity = capacity;
        Ok(())
    }

    /// Move to fresh frames, which hold at least what is in it.
    fn move_to(&mut self, gpa: u64, order: usize) {
        let (start, len) = (self.start, self.len);
        let old = self.memory();
        let first = len.min(old.len() - start);
        let to = crate::mm::phys_to_virt(gpa);
        // SAFETY: the new frames have just been allocated and hold at least `len` bytes; old and
        // new do not overlap, and nobody else uses the old ones.
        unsafe {
            core::ptr::copy_nonoverlapping(old.as_ptr().add(start), to, first);
            core::ptr::copy_nonoverlapping(old.as_ptr(), to.add(first), len - first);
            frame::free_pages(self.gpa, self.order);
        }
        self.gpa = gpa;
        self.order = order;
        self.start = 0;
    }

    /// Take bytes from `buf` as far as there is memory; gives the count.
    pub fn fill(&mut self, buf: &mut WriteBuf<'_>, max: usize) -> KResult<usize> {
        let mut done = 0;
        while done < max {
            let size = self.size();
            let end = (self.start + self.len) & (size - 1);
            let run = (size - self.len).min(size - end).min(max - done);
            if run == 0 {
                break;
            }
            match buf.take(&mut self.memory()[end..end + run]) {
                Ok(0) => break,
                Ok(n) => {
                    self.len += n;
                    done += n;
                }
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Hand copies of the oldest bytes to `buf`; gives the count.
    pub fn peek(&mut self, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        let (start, len) = (self.start, self.len);
        let first = len.min(self.size() - start);
        let n = buf.put(&self.memory()[start..start + first])?;
        if n < first {
            return Ok(n);
        }
        Ok(n + buf.put(&self.memory()[..len - first])?)
    }

    /// Hand bytes to `buf`; gives the count.
    pub fn drain(&mut self, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        let mut done = 0;
        while self.len > 0 && buf.remaining() > 0 {
            let start = self.start;
            let run = self.len.min(self.size() - start);
            match buf.put(&self.memory()[start..start + run]) {
                Ok(0) => break,
                Ok(n) => {
                    self.start = (start + n) & (self.size() - 1);
                    self.len -= n;
                    done += n;
                }
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
            }
        }
        if self.len == 0 {
            self.start = 0;
        }
        Ok(done)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` or for `move_to`, and used by nobody else.
        unsafe { frame::free_pages(self.gpa, self.order) };
    }
}
