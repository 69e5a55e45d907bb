//! Page replacement: which page leaves memory when a frame is needed.
//!
//! A [`Policy`] knows the pages that may be evicted by small numbers (slots) and is told when one
//! comes and when one goes. What the hardware knows of a page, whether it was used and whether it
//! was written, it asks of [`Pages`]: in the kernel that is the accessed and dirty bits of page
//! tables, in a simulation whatever the simulation says.
//!
//! | name | policy | file |
//! |---|---|---|
//! | `fifo` | the page that came first | [`fifo`] |
//! | `lru` | the page that has not been used for longest; needs to be told of every use | [`lru`] |
//! | `clock` | first in, first out, but a page that was used gets another round | [`clock`] |
//! | `second-chance` | `clock` that prefers clean pages (enhanced second chance) | [`second_chance`] |
//! | `aging` | the smallest 8-bit history of use | [`aging`] |
//! | `wsclock` | `clock` over pages outside the working set | [`wsclock`] |
//! | `random` | any page | [`random`] |
//!
//! Sources: Arpaci-Dusseau, *Operating Systems: Three Easy Pieces*, chapter 22; Tanenbaum,
//! *Modern Operating Systems*, section 3.4; Carr and Hennessy, *WSClock*, SOSP 1981.
#![no_std]
extern crate alloc;

pub mod aging;
pub mod clock;
pub mod fifo;
mod list;
pub mod lru;
pub mod random;
pub mod second_chance;
pub mod wsclock;

use alloc::boxed::Box;
use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// The number of an evictable page: small and dense, since policies index arrays by it.
pub type Slot = u32;

/// What the hardware knows of the pages.
pub trait Pages {
    /// Was the page used since this was last asked? Asking forgets it.
    fn take_accessed(&mut self, slot: Slot) -> bool;
    /// Must the page be written before its frame can be given away?
    fn dirty(&self, slot: Slot) -> bool;
    /// Time in the unit of the working-set window of [`wsclock`]: in the kernel, milliseconds.
    fn now(&self) -> u64;
}

/// A page replacement policy.
pub trait Policy: Send {
    /// The name by which it is chosen.
    fn name(&self) -> &'static str;
    /// Make room for all slots below `slots`: no other call allocates as long as it is about them.
    fn reserve(&mut self, slots: usize) -> Result<(), TryReserveError>;
    /// A page has come into memory. A slot that is already there is not admitted twice.
    fn admit(&mut self, slot: Slot);
    /// A page has gone for another reason than eviction (unmapped, its process ended).
    fn remove(&mut self, slot: Slot);
    /// A page was used. Only a simulation can tell this; the policies that can be run by real
    /// hardware ask [`Pages::take_accessed`] instead.
    fn touch(&mut self, _slot: Slot) {}
    /// Choose a page and forget it. `None`: there is none.
    fn evict(&mut self, pages: &mut dyn Pages) -> Option<Slot>;
    /// Choose up to `most` pages and forget them; they are put at the end of `chosen`, which has
    /// room. The policies that look at all pages do so once, and not once a page.
    fn evict_many(&mut self, pages: &mut dyn Pages, most: usize, chosen: &mut Vec<Slot>) {
        for _ in 0..most {
            let Some(slot) = self.evict(pages) else {
                break;
            };
            chosen.push(slot);
        }
    }
    /// How many pages are there to choose from.
    fn len(&self) -> usize;
    /// Is there no page to choose from?
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The names [`by_name`] knows.
pub const NAMES: [&str; 7] = [
    "fifo",
    "lru",
    "clock",
    "second-chance",
    "aging",
    "wsclock",
    "random",
];

/// The policy of that name, with nothing admitted; `None` if there is none of that name.
///
/// `seed` is for `random`.
pub fn by_name(name: &str, seed: u64) -> Option<Box<dyn Policy>> {
    Some(match name {
        "fifo" => Box::new(fifo::Fifo::new()),
        "lru" => Box::new(lru::Lru::new()),
        "clock" => Box::new(clock::Clock::new()),
        "second-chance" => Box::new(second_chance::SecondChance::new()),
        "aging" => Box::new(aging::Aging::new()),
        "wsclock" => Box::new(wsclock::WsClock::new(wsclock::DEFAULT_WINDOW)),
        "random" => Box::new(random::Random::new(seed)),
        _ => return None,
    })
}

/// Makes `array` at least `len` long.
fn extend<T: Clone>(array: &mut Vec<T>, len: usize, with: T) -> Result<(), TryReserveError> {
    if let Some(more) = len.checked_sub(array.len()) {
        array.try_reserve_exact(more)?;
        array.resize(len, with);
    }
    Ok(())
}
