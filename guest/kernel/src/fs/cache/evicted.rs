//! The pages that were dropped last for want of memory: one that is wanted again belongs to a working
//! set that does not fit (`workingset_refault_file` in `/proc/vmstat`).

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Pages that are remembered at most; a later one may displace an earlier one.
const REMEMBERED: usize = 4096;

/// Tags of pages, each in the place that its cache and index give; 0: none.
static TAGS: [AtomicU32; REMEMBERED] = [const { AtomicU32::new(0) }; REMEMBERED];
/// How many there are: whoever makes a page looks at this first.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Place and tag of page `index` of the cache at an address.
fn place_and_tag(cache: usize, index: u64) -> (usize, u32) {
    // Knuth, The Art of Computer Programming, 6.4: multiplicative hashing.
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let hash = (cache as u64 ^ index.rotate_left(32)).wrapping_mul(GOLDEN);
    let tag = (hash >> 20) as u32 | 1;
    ((hash >> 52) as usize % REMEMBERED, tag)
}

/// The page has been dropped.
pub fn remember(cache: usize, index: u64) {
    let (place, tag) = place_and_tag(cache, index);
    if TAGS[place].swap(tag, Ordering::Relaxed) == 0 {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
}

/// The page comes in: whether it was dropped before.
pub fn forget(cache: usize, index: u64) -> bool {
    if COUNT.load(Ordering::Relaxed) == 0 {
        return false;
    }
    let (place, tag) = place_and_tag(cache, index);
    let known = TAGS[place]
        .compare_exchange(tag, 0, Ordering::Relaxed, Ordering::Relaxed)
        .is_ok();
    if known {
        COUNT.fetch_sub(1, Ordering::Relaxed);
    }
    known
}
