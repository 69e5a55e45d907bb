//! Aging: each page has eight bits of history, shifted right at every look, with the newest use at
//! the top; the page with the smallest history goes. An approximation of least recently used and,
//! among equals, of first in, first out.

use crate::list::List;
use crate::{Pages, Policy, Slot, extend};
use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// Not frequently used, with aging.
pub struct Aging {
    queue: List,
    history: Vec<u8>,
}

impl Aging {
    /// With no page.
    pub const fn new() -> Self {
        Aging {
            queue: List::new(),
            history: Vec::new(),
        }
    }
}

impl Default for Aging {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for Aging {
    fn name(&self) -> &'static str {
        "aging"
    }
    fn reserve(&mut self, slots: usize) -> Result<(), TryReserveError> {
        extend(&mut self.history, slots, 0)?;
        self.queue.reserve(slots)
    }
    fn admit(&mut self, slot: Slot) {
        if self.queue.push_back(slot) {
            let index = slot as usize;
            if index >= self.history.len() {
                self.history.resize(index + 1, 0);
            }
            // A page comes because it is used.
            self.history[index] = 0x80;
        }
    }
    fn remove(&mut self, slot: Slot) {
        self.queue.remove(slot);
    }
    fn evict(&mut self, pages: &mut dyn Pages) -> Option<Slot> {
        let history = &mut self.history;
        let oldest = self.queue.iter().min_by_key(|&slot| {
            let bits = &mut history[slot as usize];
            *bits = (*bits >> 1) | (u8::from(pages.take_accessed(slot)) << 7);
            *bits
        })?;
        self.queue.remove(oldest);
        Some(oldest)
    }
    fn evict_many(&mut self, pages: &mut dyn Pages, most: usize, chosen: &mut Vec<Slot>) {
        // How many pages have each history, after this look.
        let mut counts = [0; 256];
        for slot in self.queue.iter() {
            let bits = &mut self.history[slot as usize];
            *bits = (*bits >> 1) | (u8::from(pages.take_accessed(slot)) << 7);
            counts[usize::from(*bits)] += 1;
        }
        // All with a history below the limit go, and so many with that of the limit.
        let (mut limit, mut at_limit) = (0, most);
        while limit < 255 && counts[limit] <= at_limit {
            at_limit -= counts[limit];
            limit += 1;
        }
        let first = chosen.len();
        for slot in self.queue.iter() {
            let bits = usize::from(self.history[slot as usize]);
            if bits < limit {
                chosen.push(slot);
            } else if bits == limit && at_limit > 0 {
                at_limit -= 1;
                chosen.push(slot);
            }
        }
        for &slot in &chosen[first..] {
            self.queue.remove(slot);
        }
    }
    fn len(&self) -> usize {
        self.queue.len()
    }
}
