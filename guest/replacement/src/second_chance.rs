//! Enhanced second chance: the clock, with four classes by (used, dirty).
//!
//! First a round that looks for a page neither used nor dirty and changes nothing; then one that
//! takes a page not used but dirty, and forgets the use of those it passes; then both again. A
//! clean page costs no write, so it goes first.

use crate::list::List;
use crate::{Pages, Policy, Slot, extend};
use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// The clock algorithm with the dirty bit.
pub struct SecondChance {
    ring: List,
    // Use that a round has seen and must not forget, since asking the hardware clears it.
    used: Vec<bool>,
}

impl SecondChance {
    /// With no page.
    pub const fn new() -> Self {
        SecondChance {
            ring: List::new(),
            used: Vec::new(),
        }
    }

    fn is_used(&mut self, slot: Slot, pages: &mut dyn Pages) -> bool {
        let used = &mut self.used[slot as usize];
        *used |= pages.take_accessed(slot);
        *used
    }
}

impl Default for SecondChance {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for SecondChance {
    fn name(&self) -> &'static str {
        "second-chance"
    }
    fn reserve(&mut self, slots: usize) -> Result<(), TryReserveError> {
        extend(&mut self.used, slots, false)?;
        self.ring.reserve(slots)
    }
    fn admit(&mut self, slot: Slot) {
        if self.ring.push_back(slot) {
            let index = slot as usize;
            if index >= self.used.len() {
                self.used.resize(index + 1, false);
            }
            self.used[index] = false;
        }
    }
    fn remove(&mut self, slot: Slot) {
        self.ring.remove(slot);
    }
    fn evict(&mut self, pages: &mut dyn Pages) -> Option<Slot> {
        for round in 0..4 {
            for _ in 0..self.ring.len() {
                let slot = self.ring.front()?;
                let used = self.is_used(slot, pages);
                let second = round % 2 == 1;
                if !used && (second || !pages.dirty(slot)) {
                    return self.ring.pop_front();
                }
                if second {
                    self.used[slot as usize] = false;
                }
                self.ring.pass(slot);
            }
        }
        self.ring.pop_front()
    }
    fn evict_many(&mut self, pages: &mut dyn Pages, most: usize, chosen: &mut Vec<Slot>) {
        let end = chosen.len() + most;
        for round in 0..4 {
            for _ in 0..self.ring.len() {
                if chosen.len() == end {
                    return;
                }
                let Some(slot) = self.ring.front() else {
                    return;
                };
                let used = self.is_used(slot, pages);
                let second = round % 2 == 1;
                if !used && (second || !pages.dirty(slot)) {
                    self.ring.remove(slot);
                    chosen.push(slot);
                    continue;
                }
                if second {
                    self.used[slot as usize] = false;
                }
                self.ring.pass(slot);
            }
        }
    }
    fn len(&self) -> usize {
        self.ring.len()
    }
}
