//! A queue of slots from which any slot can be taken in constant time.
//!
//! A doubly linked list whose links lie in an array indexed by slot, so that it allocates only
//! when a slot is larger than any before.

use crate::Slot;
use alloc::collections::TryReserveError;
use alloc::vec::Vec;

const NONE: Slot = Slot::MAX;

#[derive(Clone, Copy)]
struct Link {
    prev: Slot,
    next: Slot,
    linked: bool,
}

const UNLINKED: Link = Link {
    prev: NONE,
    next: NONE,
    linked: false,
};

pub(crate) struct List {
    links: Vec<Link>,
    head: Slot,
    tail: Slot,
    len: usize,
}

impl List {
    pub(crate) const fn new() -> Self {
        List {
            links: Vec::new(),
            head: NONE,
            tail: NONE,
            len: 0,
        }
    }

    /// Make room for all slots below `slots`.
    pub(crate) fn reserve(&mut self, slots: usize) -> Result<(), TryReserveError> {
        crate::extend(&mut self.links, slots, UNLINKED)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn contains(&self, slot: Slot) -> bool {
        self.links.get(slot as usize).is_some_and(|l| l.linked)
    }

    /// Put `slot` at the end; false if it is there already.
    pub(crate) fn push_back(&mut self, slot: Slot) -> bool {
        if self.contains(slot) {
            return false;
        }
        let index = slot as usize;
        if index >= self.links.len() {
            self.links.resize(index + 1, UNLINKED);
        }
        self.links[index] = Link {
            prev: self.tail,
            next: NONE,
            linked: true,
        };
        match self.tail {
            NONE => self.head = slot,
            tail => self.links[tail as usize].next = slot,
        }
        self.tail = slot;
        self.len += 1;
        true
    }

    /// Take `slot` out, wherever it is; false if it is not there.
    pub(crate) fn remove(&mut self, slot: Slot) -> bool {
        if !self.contains(slot) {
            return false;
        }
        let Link { prev, next, .. } = self.links[slot as usize];
        match prev {
            NONE => self.head = next,
            prev => self.links[prev as usize].next = next,
        }
        match next {
            NONE => self.tail = prev,
            next => self.links[next as usize].prev = prev,
        }
        self.links[slot as usize] = UNLINKED;
        self.len -= 1;
        true
    }

    pub(crate) fn front(&self) -> Option<Slot> {
        (self.head != NONE).then_some(self.head)
    }

    pub(crate) fn pop_front(&mut self) -> Option<Slot> {
        let slot = self.front()?;
        self.remove(slot);
        Some(slot)
    }

    /// Move `slot` to the end, as the hand of a clock does when it passes a page by.
    pub(crate) fn pass(&mut self, slot: Slot) {
        if self.remove(slot) {
            self.push_back(slot);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        let mut at = self.head;
        core::iter::from_fn(move || {
            let slot = at;
            (slot != NONE).then(|| {
                at = self.links[slot as usize].next;
                slot
            })
        })
    }
}
