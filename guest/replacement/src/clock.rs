//! Clock: the hand passes over the pages in the order in which they came; one that was used since
//! the hand last came by is left for another round, the first that was not goes.

use crate::list::List;
use crate::{Pages, Policy, Slot};
use alloc::collections::TryReserveError;

/// The clock algorithm. The hand stands at the front of the queue.
pub struct Clock {
    ring: List,
}

impl Clock {
    /// With no page.
    pub const fn new() -> Self {
        Clock { ring: List::new() }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for Clock {
    fn name(&self) -> &'static str {
        "clock"
    }
    fn reserve(&mut self, slots: usize) -> Result<(), TryReserveError> {
        self.ring.reserve(slots)
    }
    fn admit(&mut self, slot: Slot) {
        self.ring.push_back(slot);
    }
    fn remove(&mut self, slot: Slot) {
        self.ring.remove(slot);
    }
    fn evict(&mut self, pages: &mut dyn Pages) -> Option<Slot> {
        // Once round is enough: asking forgets the use. A page may be used again meanwhile, so the
        // search is bounded, and then the page under the hand goes.
        for _ in 0..self.ring.len() {
            let slot = self.ring.front()?;
            if !pages.take_accessed(slot) {
                break;
            }
            self.ring.pass(slot);
        }
        self.ring.pop_front()
    }
    fn len(&self) -> usize {
        self.ring.len()
    }
}
