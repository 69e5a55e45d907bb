//! The page cache: the pages of a file, shared by read, write and mmap.
//!
//! A cache belongs to one inode. It knows which pages are dirty; where they come from and go to is
//! the file system's business. A frame in the cache may also be mapped by processes and be in use
//! by a copy under way: its reference count says so, and only frames that nobody else refers to
//! are given back when memory is short.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::mm::frame::{self, Frame};
use crate::sync::SpinLock;

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// Dirty pages in all caches.
static DIRTY: AtomicUsize = AtomicUsize::new(0);

/// Pages in all caches.
static CACHED: AtomicUsize = AtomicUsize::new(0);

struct Page {
    frame: Frame,
    dirty: bool,
    /// A process has or had it in a writable shared mapping: dirty as long as it is mapped.
    mapped: bool,
}

/// The cached pages of one inode, by index.
pub struct PageCache {
    pages: SpinLock<BTreeMap<u64, Page>>,
}

impl PageCache {
    /// An empty cache.
    pub const fn new() -> Self {
        Self {
            pages: SpinLock::new(BTreeMap::new()),
        }
    }

    /// The page `index`, if it is cached.
    #[inline]
    pub fn get(&self, index: u64) -> Option<Frame> {
        self.pages.lock().get(&index).map(|page| page.frame.clone())
    }

    /// Calls `each` for those of the pages `first..end` that are cached, in order. `each` must not
    /// come back here, nor allocate.
    pub fn each(&self, first: u64, end: u64, each: &mut dyn FnMut(u64, &Frame)) {
        for (&index, page) in self.pages.lock().range(first..end) {
            each(index, &page.frame);
        }
    }

    /// Whether page `index` is cached and dirty.
    pub fn is_dirty(&self, index: u64) -> bool {
        self.pages.lock().get(&index).is_some_and(|page| page.dirty)
    }

    /// Put a page in, unless there is one already; gives the one that is there then.
    pub fn insert(&self, index: u64, frame: Frame, dirty: bool) -> Frame {
        let mut pages = self.pages.lock();
        if let Some(page) = pages.get_mut(&index) {
            if dirty && !page.dirty {
                page.dirty = true;
                DIRTY.fetch_add(1, Ordering::Relaxed);
            }
            return page.frame.clone();
        }
        CACHED.fetch_add(1, Ordering::Relaxed);
        if dirty {
            DIRTY.fetch_add(1, Ordering::Relaxed);
        }
        pages.insert(
            index,
            Page {
                frame: frame.clone(),
                dirty,
                mapped: false,
            },
        );
        frame
    }

    /// Note that page `index` differs from the device. `mapped`: through a shared mapping, so that
    /// it may change again without further notice.
    pub fn mark_dirty(&self, index: u64, mapped: bool) {
        if let Some(page) = self.pages.lock().get_mut(&index) {
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
        for (&index, page) in self.pages.lock().iter_mut() {
            if !page.dirty {
                continue;
            }
            if page.mapped && page.frame.refcount() > 1 {
                taken.push((index, page.frame.clone()));
                continue;
            }
            page.mapped = false;
            page.dirty = false;
            DIRTY.fetch_sub(1, Ordering::Relaxed);
            taken.push((index, page.frame.clone()));
        }
        taken
    }

    /// Whether there is anything to write back.
    pub fn has_dirty(&self) -> bool {
        self.pages.lock().values().any(|page| page.dirty)
    }

    /// Forget the pages from `first` on (the file has been cut).
    pub fn truncate(&self, first: u64) {
        let cut = self.pages.lock().split_off(&first);
        for page in cut.values() {
            CACHED.fetch_sub(1, Ordering::Relaxed);
            if page.dirty {
                DIRTY.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Forget the pages `first..end`.
    pub fn punch(&self, first: u64, end: u64) {
        let mut pages = self.pages.lock();
        let mut middle = pages.split_off(&first);
        let mut tail = middle.split_off(&end);
        pages.append(&mut tail);
        drop(pages);
        for page in middle.values() {
            CACHED.fetch_sub(1, Ordering::Relaxed);
            if page.dirty {
                DIRTY.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// How many pages from `first` on, at most `max`, are *not* cached in a row.
    pub fn absent_run(&self, first: u64, max: u64) -> u64 {
        let pages = self.pages.lock();
        match pages.range(first..first.saturating_add(max)).next() {
            Some((&index, _)) => index - first,
            None => max,
        }
    }

    /// Number of cached pages.
    pub fn len(&self) -> usize {
        self.pages.lock().len()
    }

    /// Drop up to `target` clean pages that nobody maps; gives the number. Skips a cache that is
    /// locked: the caller may be the one who holds it.
    pub fn reclaim(&self, target: usize) -> usize {
        let Some(mut pages) = self.pages.try_lock() else {
            return 0;
        };
        let mut dropped = 0;
        pages.retain(|_, page| {
            if dropped >= target || page.dirty || page.frame.refcount() > 1 {
                return true;
            }
            dropped += 1;
            false
        });
        CACHED.fetch_sub(dropped, Ordering::Relaxed);
        dropped
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

