//! WSClock: the clock over the pages that have left the working set.
//!
//! A page that was used since the hand last came by belongs to the working set now; one that was
//! last seen used longer than the window ago does not. The first clean page outside the working
//! set goes; if there is none, the first dirty one; if all are inside, the one used longest ago.

use crate::list::List;
use crate::{Pages, Policy, Slot, extend};
use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// The window of the working set by default, in the unit of [`Pages::now`].
pub const DEFAULT_WINDOW: u64 = 100;

/// The WSClock algorithm.
pub struct WsClock {
    ring: List,
    last_use: Vec<u64>,
    window: u64,
    // Time at the last eviction: what a page admitted since then counts as its first use.
    time: u64,
}

impl WsClock {
    /// With no page; a page is outside the working set when its last use lies more than `window`
    /// back.
    pub const fn new(window: u64) -> Self {
        WsClock {
            ring: List::new(),
            last_use: Vec::new(),
            window,
            time: 0,
        }
    }
}

impl Policy for WsClock {
    fn name(&self) -> &'static str {
        "wsclock"
    }
    fn reserve(&mut self, slots: usize) -> Result<(), TryReserveError> {
        extend(&mut self.last_use, slots, 0)?;
        self.ring.reserve(slots)
    }
    fn admit(&mut self, slot: Slot) {
        if self.ring.push_back(slot) {
            let index = slot as usize;
            if index >= self.last_use.len() {
                self.last_use.resize(index + 1, 0);
            }
            self.last_use[index] = self.time;
        }
    }
    fn remove(&mut self, slot: Slot) {
        self.ring.remove(slot);
    }
    fn evict(&mut self, pages: &mut dyn Pages) -> Option<Slot> {
        let now = pages.now();
        self.time = now;
        let (mut dirty, mut oldest): (Option<Slot>, Option<Slot>) = (None, None);
        for _ in 0..self.ring.len() {
            let slot = self.ring.front()?;
            let last_use = &mut self.last_use[slot as usize];
            if pages.take_accessed(slot) {
                *last_use = now;
            }
            let last_use = *last_use;
            if now.saturating_sub(last_use) > self.window {
                if !pages.dirty(slot) {
                    return self.ring.pop_front();
                }
                dirty.get_or_insert(slot);
            }
            if oldest.is_none_or(|o| last_use < self.last_use[o as usize]) {
                oldest = Some(slot);
            }
            self.ring.pass(slot);
        }
        let victim = dirty.or(oldest)?;
        self.ring.remove(victim);
        Some(victim)
    }
    fn evict_many(&mut self, pages: &mut dyn Pages, most: usize, chosen: &mut Vec<Slot>) {
        let now = pages.now();
        self.time = now;
        let end = chosen.len() + most;
        // The dirty pages outside the working set stand behind the clean ones.
        let clean = chosen.len();
        let mut dirty = 0;
        let mut oldest: Option<Slot> = None;
        for _ in 0..self.ring.len() {
            let Some(slot) = self.ring.front() else {
                break;
            };
            let last_use = &mut self.last_use[slot as usize];
            if pages.take_accessed(slot) {
                *last_use = now;
            }
            let last_use = *last_use;
            let outside = now.saturating_sub(last_use) > self.window;
            if outside && !pages.dirty(slot) {
                if chosen.len() == end {
                    // A clean page is better than the last dirty one, which is on the ring yet.
                    chosen.pop();
                    dirty -= 1;
                }
                self.ring.remove(slot);
                chosen.insert(chosen.len() - dirty, slot);
                if chosen.len() - dirty == end {
                    break;
                }
                continue;
            }
            if outside && chosen.len() < end {
                chosen.push(slot);
                dirty += 1;
            }
            if oldest.is_none_or(|o| last_use < self.last_use[o as usize]) {
                oldest = Some(slot);
            }
            self.ring.pass(slot);
        }
        if chosen.len() == clean {
            chosen.extend(oldest);
        }
        for &slot in &chosen[clean..] {
            self.ring.remove(slot);
        }
    }
    fn len(&self) -> usize {
        self.ring.len()
    }
}
