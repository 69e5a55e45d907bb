//! Least recently used.
//!
//! Exact only where every use is told by [`Policy::touch`], which no paging hardware does. In the
//! kernel it sees uses when it looks: at each eviction it moves the pages used since the last look
//! behind the others, which costs a pass over all pages and is what the other policies avoid.

use crate::list::List;
use crate::{Pages, Policy, Slot};
use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// Least recently used.
pub struct Lru {
    queue: List,
    used: Vec<Slot>,
}

impl Lru {
    /// With no page.
    pub const fn new() -> Self {
        Lru {
            queue: List::new(),
            used: Vec::new(),
        }
    }
}

impl Default for Lru {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for Lru {
    fn name(&self) -> &'static str {
        "lru"
    }
    fn reserve(&mut self, slots: usize) -> Result<(), TryReserveError> {
        self.used
            .try_reserve_exact(slots.saturating_sub(self.used.len()))?;
        self.queue.reserve(slots)
    }
    fn admit(&mut self, slot: Slot) {
        self.queue.push_back(slot);
    }
    fn remove(&mut self, slot: Slot) {
        self.queue.remove(slot);
    }
    fn touch(&mut self, slot: Slot) {
        self.queue.pass(slot);
    }
    fn evict(&mut self, pages: &mut dyn Pages) -> Option<Slot> {
        self.used.clear();
        self.used
            .extend(self.queue.iter().filter(|&slot| pages.take_accessed(slot)));
        for &slot in &self.used {
            self.queue.pass(slot);
        }
        self.queue.pop_front()
    }
    fn len(&self) -> usize {
        self.queue.len()
    }
}
