//! First in, first out: the page that has been in memory for longest goes, used or not.

use crate::list::List;
use crate::{Pages, Policy, Slot};
use alloc::collections::TryReserveError;

/// First in, first out.
pub struct Fifo {
    queue: List,
}

impl Fifo {
    /// With no page.
    pub const fn new() -> Self {
        Fifo { queue: List::new() }
    }
}

impl Default for Fifo {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for Fifo {
    fn name(&self) -> &'static str {
        "fifo"
    }
    fn reserve(&mut self, slots: usize) -> Result<(), TryReserveError> {
        self.queue.reserve(slots)
    }
    fn admit(&mut self, slot: Slot) {
        self.queue.push_back(slot);
    }
    fn remove(&mut self, slot: Slot) {
        self.queue.remove(slot);
    }
    fn evict(&mut self, _pages: &mut dyn Pages) -> Option<Slot> {
        self.queue.pop_front()
    }
    fn len(&self) -> usize {
        self.queue.len()
    }
}
