//! The page cache: the pages of a file, shared by read, write and mmap.
//!
//! A cache belongs to one inode. It knows which pages are dirty; where they come from and go to is
//! the file system's business. A frame in the cache may also be mapped by processes and be in use
//! by a copy under way: its reference count says so, and only frames that nobody else refers to
//! are given back when memory is short.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::mm::frame::{self, Frame};
use crate::mm::stat;
use crate::sync::SpinLock;

mod evicted;

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// Dirty pages in all caches.
static DIRTY: AtomicUsize = AtomicUsize::new(0);

/// Pages in all caches.
static CACHED: AtomicUsize = AtomicUsize::new(0);

/// Those of them that are the only place of their contents.
static SHMEM: AtomicUsize = AtomicUsize::new(0);

struct Page {
    frame: Frame,
    dirty: bool,
    /// A process has or had it in a writable shared mapping: dirty as long as it is mapped.
    mapped: bool,
}

/// Pages in a [`Group`].
const GROUP: usize = 16;

/// Neighbouring pages: one search in the tree finds all that a fault or a read-ahead wants.
#[derive(Default)]
struct Group {
    pages: [Option<Page>; GROUP],
}

/// The pages of a cache: groups by index / [`GROUP`].
struct Pages(BTreeMap<u64, Box<Group>>);

impl Pages {
    #[inline]
    fn get(&self, index: u64) -> Option<&Page> {
        let group = self.0.get(&(index / GROUP as u64))?;
        group.pages[index as usize % GROUP].as_ref()
    }

    fn get_mut(&mut self, index: u64) -> Option<&mut Page> {
        let group = self.0.get_mut(&(index / GROUP as u64))?;
        group.pages[index as usize % GROUP].as_mut()
    }

    /// The pages that are there, in order.
    fn iter(&self) -> impl Iterator<Item = (u64, &Page)> {
        self.0.iter().flat_map(|(&number, group)| {
            let index = number * GROUP as u64;
            let pages = group.pages.iter().zip(index..);
            pages.filter_map(|(page, index)| Some((index, page.as_ref()?)))
        })
    }

    /// Takes the pages out for which `which` says so; gives their number.
    fn take(&mut self, first: u64, end: u64, mut which: impl FnMut(u64, &Page) -> bool) -> usize {
        let mut taken = 0;
        let mut empty = Vec::new();
        let groups = first / GROUP as u64..end.div_ceil(GROUP as u64);
        for (&number, group) in self.0.range_mut(groups) {
            let mut left = false;
            for (slot, index) in group.pages.iter_mut().zip(number * GROUP as u64..) {
                let Some(page) = slot else { continue };
                if (first..end).contains(&index) && which(index, page) {
                    if page.dirty {
                        DIRTY.fetch_sub(1, Ordering::Relaxed);
                    }
                    *slot = None;
                    taken += 1;
                } else {
                    left = true;
                }
            }
            if !left {
                empty.push(number);
            }
        }
        for number in empty {
            self.0.remove(&number);
        }
        CACHED.fetch_sub(taken, Ordering::Relaxed);
        taken
    }
}

/// The cached pages of one inode, by index.
pub struct PageCache {
    pages: SpinLock<Pages>,
    /// There is no device behind it.
    only_memory: bool,
}

impl PageCache {
    /// An empty cache.
    pub const fn new() -> Self {
        Self::with(false)
    }

    /// An empty cache of a file that has no device: its pages count as shared memory.
    pub const fn without_device() -> Self {
        Self::with(true)
    }

    const fn with(only_memory: bool) -> Self {
        Self {
            pages: SpinLock::new(Pages(BTreeMap::new())),
            only_memory,
        }
    }

    /// The page `index`, if it is cached.
    #[inline]
    pub fn get(&self, index: u64) -> Option<Frame> {
        self.pages.lock().get(index).map(|page| page.frame.clone())
    }

    /// Calls `each` for those of the pages `first..end` that are cached, in order. `each` must not
    /// come back here, nor allocate.
    pub fn each(&self, first: u64, end: u64, each: &mut dyn FnMut(u64, &Frame)) {
        let pages = self.pages.lock();
        let mut index = first;
        while index < end {
            let next = (index / GROUP as u64 + 1) * GROUP as u64;
            if let Some(group) = pages.0.get(&(index / GROUP as u64)) {
                let slots = &group.pages[index as usize % GROUP..];
                for (page, index) in slots.iter().zip(index..end) {
                    if let Some(page) = page {
                        each(index, &page.frame);
                    }
                }
            }
            index = next;
        }
    }

    /// Whether page `index` is cached and dirty.
    pub fn is_dirty(&self, index: u64) -> bool {
        self.pages.lock().get(index).is_some_and(|page| page.dirty)
    }

    /// Put a page in, unless there is one already; gives the one that is there then.
    pub fn insert(&self, index: u64, frame: Frame, dirty: bool) -> Frame {
        let mut pages = self.pages.lock();
        let group = pages.0.entry(index / GROUP as u64).or_default();
        let slot = &mut group.pages[index as usize % GROUP];
        if let Some(page) = slot {
            if dirty && !page.dirty {
                page.dirty = true;
                DIRTY.fetch_add(1, Ordering::Relaxed);
            }
            return page.frame.clone();
        }
        CACHED.fetch_add(1, Ordering::Relaxed);
        if evicted::forget(core::ptr::from_ref(self).addr(), index) {
            stat::REFAULTS_FILE.add_one();
        }
        if self.only_memory {
            SHMEM.fetch_add(1, Ordering::Relaxed);
        }
        if dirty {
            DIRTY.fetch_add(1, Ordering::Relaxed);
        }
        *slot = Some(Page {
            frame: frame.clone(),
            dirty,
            mapped: false,
        });
        frame
    }

    /// Note that page `index` differs from the device. `mapped`: through a shared mapping, so that
    /// it may change again without further notice.
    pub fn mark_dirty(&self, index: u64, mapped: bool) {
        if let Some(page) = self.pages.lock().get_mut(index) {
            page.mapped |= mapped;
            if !page.dirty {
                page.dirty = true;
                DIRTY.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The dirty pages in order of their indices; they count as clean from now on, except those
    /// that are still mapped writable.
    pub fn take_dirty(&self) -> Vec<(u64, Frame)> {
        let mut taken = Vec::new();
        for (&number, group) in &mut self.pages.lock().0 {
            for (slot, index) in group.pages.iter_mut().zip(number * GROUP as u64..) {
                let Some(page) = slot.as_mut().filter(|page| page.dirty) else {
                    continue;
                };
                if !page.mapped || page.frame.refcount() == 1 {
                    page.mapped = false;
                    page.dirty = false;
                    DIRTY.fetch_sub(1, Ordering::Relaxed);
                }
                taken.push((index, page.frame.clone()));
            }
        }
        taken
    }

    /// Whether there is anything to write back.
    pub fn has_dirty(&self) -> bool {
        self.pages.lock().iter().any(|(_, page)| page.dirty)
    }

    /// Forget the pages from `first` on (the file has been cut).
    pub fn truncate(&self, first: u64) {
        self.punch(first, u64::MAX - GROUP as u64);
    }

    /// Forget the pages `first..end`.
    pub fn punch(&self, first: u64, end: u64) {
        if first < end {
            let taken = self.pages.lock().take(first, end, |_, _| true);
            if self.only_memory {
                SHMEM.fetch_sub(taken, Ordering::Relaxed);
            }
        }
    }

    /// How many pages from `first` on, at most `max`, are *not* cached in a row.
    pub fn absent_run(&self, first: u64, max: u64) -> u64 {
        let mut run = max;
        self.each(first, first.saturating_add(max), &mut |index, _| {
            run = run.min(index - first);
        });
        run
    }

    /// Hands up to `max` clean pages that nobody else refers to over to `each`, which gives back the one
    /// that has to stay; none is handed over after that. How many are gone. `each` must not come back
    /// here.
    pub fn take_unused(
        &self,
        max: usize,
        each: &mut dyn FnMut(u64, Frame) -> Option<Frame>,
    ) -> usize {
        let Some(mut pages) = self.pages.try_lock() else {
            return 0;
        };
        let (mut gone, mut refused) = (0, false);
        pages.0.retain(|&number, group| {
            for (slot, index) in group.pages.iter_mut().zip(number * GROUP as u64..) {
                let unused = |page: &mut Page| !page.dirty && page.frame.refcount() == 1;
                if refused || gone == max {
                    break;
                }
                let Some(page) = slot.take_if(unused) else {
                    continue;
                };
                match each(index, page.frame) {
                    None => gone += 1,
                    Some(frame) => {
                        refused = true;
                        *slot = Some(Page { frame, ..page });
                    }
                }
            }
            group.pages.iter().any(Option::is_some)
        });
        CACHED.fetch_sub(gone, Ordering::Relaxed);
        if self.only_memory {
            SHMEM.fetch_sub(gone, Ordering::Relaxed);
        }
        gone
    }

    /// Number of cached pages.
    pub fn len(&self) -> usize {
        self.pages.lock().iter().count()
    }

    /// Drop up to `target` clean pages that nobody maps; gives the number. Skips a cache that is
    /// locked: the caller may be the one who holds it.
    pub fn reclaim(&self, target: usize) -> usize {
        let Some(mut pages) = self.pages.try_lock() else {
            return 0;
        };
        let mut left = target;
        let cache = core::ptr::from_ref(self).addr();
        // What is dropped because somebody asked for it says nothing of what is needed.
        let short = target < usize::MAX;
        pages.take(0, u64::MAX - GROUP as u64, |index, page| {
            let drop = left > 0 && !page.dirty && page.frame.refcount() == 1;
            if drop {
                left -= 1;
                if short {
                    evicted::remember(cache, index);
                }
            }
            drop
        })
    }
}

impl Default for PageCache {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for PageCache {
    fn drop(&mut self) {
        self.truncate(0);
    }
}

/// Give back up to `target` frames of clean, unmapped file pages; gives how many it was. Called
/// when memory is short, from anywhere: it neither sleeps nor waits for a lock.
pub fn reclaim(target: usize) -> usize {
    super::ext2fs::reclaim(target)
}

/// Number of cached pages, clean and dirty.
pub fn cached_pages() -> usize {
    CACHED.load(Ordering::Relaxed)
}

/// Number of cached pages of files that have no device: tmpfs, shared anonymous memory.
pub fn shared_memory_pages() -> usize {
    SHMEM.load(Ordering::Relaxed)
}

/// Number of pages that wait for write-back.
pub fn dirty_pages() -> usize {
    DIRTY.load(Ordering::Relaxed)
}

/// Whether a writer should write back before it makes more pages dirty.
pub fn too_many_dirty() -> bool {
    dirty_pages() > frame::total_frames() / 8
}

/// The contents of a cached frame.
pub fn bytes(frame: &Frame) -> &[u8] {
    // SAFETY: the frame is mapped in the direct map for as long as it is referred to. A program
    // that maps it may change bytes meanwhile; they are only ever copied, never trusted.
    unsafe { core::slice::from_raw_parts(frame.as_ptr(), PAGE) }
}

/// The contents of a cached frame, to be changed.
#[allow(clippy::mut_from_ref)]
pub fn bytes_mut(frame: &Frame) -> &mut [u8] {
    // SAFETY: as for `bytes`; the file's write lock keeps other writers of the kernel away.
    unsafe { core::slice::from_raw_parts_mut(frame.as_ptr(), PAGE) }
}
