//! Random: any page, each as likely as the others. It knows nothing and has no bad case.

use crate::{Pages, Policy, Slot, extend};
use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// A page chosen at random.
pub struct Random {
    pages: Vec<Slot>,
    // Where a slot stands in `pages`, plus 1; 0: nowhere.
    place: Vec<u32>,
    state: u64,
}

impl Random {
    /// With no page; the same seed makes the same choices.
    pub const fn new(seed: u64) -> Self {
        Random {
            pages: Vec::new(),
            place: Vec::new(),
            // xorshift needs a state that is not 0.
            state: seed | 1,
        }
    }

    /// xorshift64 (Marsaglia, *Xorshift RNGs*, 2003).
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn take(&mut self, at: usize) -> Slot {
        let slot = self.pages.swap_remove(at);
        self.place[slot as usize] = 0;
        if let Some(&moved) = self.pages.get(at) {
            self.place[moved as usize] = at as u32 + 1;
        }
        slot
    }
}

impl Policy for Random {
    fn name(&self) -> &'static str {
        "random"
    }
    fn reserve(&mut self, slots: usize) -> Result<(), TryReserveError> {
        self.pages
            .try_reserve_exact(slots.saturating_sub(self.pages.len()))?;
        extend(&mut self.place, slots, 0)
    }
    fn admit(&mut self, slot: Slot) {
        let index = slot as usize;
        if index >= self.place.len() {
            self.place.resize(index + 1, 0);
        }
        if self.place[index] == 0 {
            self.pages.push(slot);
            self.place[index] = self.pages.len() as u32;
        }
    }
    fn remove(&mut self, slot: Slot) {
        if let Some(&place @ 1..) = self.place.get(slot as usize) {
            self.take(place as usize - 1);
        }
    }
    fn evict(&mut self, _pages: &mut dyn Pages) -> Option<Slot> {
        if self.pages.is_empty() {
            return None;
        }
        let at = (self.next() % self.pages.len() as u64) as usize;
        Some(self.take(at))
    }
    fn len(&self) -> usize {
        self.pages.len()
    }
}
