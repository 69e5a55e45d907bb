//! The tree of names: cached directory entries, and the mounts that hang on them.
//!
//! A dentry is one name in one directory, with its inode, or without one if the name is known not
//! to exist. It holds its parent, so that a path can always be told; the parent knows its children
//! weakly. What keeps an unused dentry alive is a ring of recently used ones, which a clock hand
//! sweeps. A mounted file system's root is a dentry of its own that covers the mount point.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::Inode;
use crate::errno::{Errno, KResult};
use crate::sync::{Mutex, MutexGuard, SpinLock};

/// How many dentries are kept although nobody uses them.
const KEPT: usize = 1024;

struct Place {
    parent: Option<Arc<Dentry>>,
    name: Box<[u8]>,
}

/// A name in the tree of directories.
pub struct Dentry {
    inode: Option<Arc<dyn Inode>>,
    place: SpinLock<Place>,
    children: SpinLock<BTreeMap<Box<[u8]>, Weak<Dentry>>>,
    /// Held while names in this directory are looked up on the device, made or removed.
    changes: Mutex<()>,
    /// For the root of a mounted file system: the mount point below it.
    covers: Option<Arc<Dentry>>,
    mounted: SpinLock<Option<Arc<Dentry>>>,
    has_mount: AtomicBool,
    /// The name has been removed from its directory.
    gone: AtomicBool,
    referenced: AtomicBool,
    /// Its place in the ring, if it is there.
    slot: AtomicUsize,
}

impl Dentry {
    fn make(
        inode: Option<Arc<dyn Inode>>,
        parent: Option<Arc<Dentry>>,
        name: &[u8],
        covers: Option<Arc<Dentry>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            inode,
            place: SpinLock::new(Place {
                parent,
                name: name.into(),
            }),
            children: SpinLock::new(BTreeMap::new()),
            changes: Mutex::new(()),
            covers,
            mounted: SpinLock::new(None),
            has_mount: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            referenced: AtomicBool::new(false),
            slot: AtomicUsize::new(usize::MAX),
        })
    }

    /// The root of a file system, which is going to cover `mount_point` (none: the root of all).
    pub fn new_root(inode: Arc<dyn Inode>, mount_point: Option<Arc<Dentry>>) -> Arc<Self> {
        Self::make(Some(inode), None, b"/", mount_point)
    }

    /// A name for an object that is in no directory: `memfd`, `O_TMPFILE`.
    pub fn new_unnamed(inode: Arc<dyn Inode>, name: &[u8]) -> Arc<Self> {
        let dentry = Self::make(Some(inode), None, name, None);
        dentry.gone.store(true, Ordering::Relaxed);
        dentry
    }

    /// The inode; `None` if the name does not exist.
    #[inline]
    pub fn inode(&self) -> Option<&Arc<dyn Inode>> {
        self.inode.as_ref()
    }

    /// The inode of a name that exists. ENOENT.
    #[inline]
    pub fn expect_inode(&self) -> KResult<&Arc<dyn Inode>> {
        self.inode.as_ref().ok_or(Errno::ENOENT)
    }

    /// The name: one component, `/` for a root.
    pub fn name(&self) -> Box<[u8]> {
        self.place.lock().name.clone()
    }

    /// Whether the name has been removed.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// The directory it is in, across mounts; itself for the root of all.
    pub fn parent(self: &Arc<Self>) -> Arc<Dentry> {
        let mut at = self;
        while let Some(below) = &at.covers {
            at = below;
        }
        let parent = at.place.lock().parent.clone();
        parent.unwrap_or_else(|| at.clone())
    }

    /// The mount point that this root of a file system covers.
    pub fn covers(&self) -> Option<&Arc<Dentry>> {
        self.covers.as_ref()
    }

    /// The root of what is mounted here, or the dentry itself.
    #[inline]
    pub fn top(self: Arc<Self>) -> Arc<Dentry> {
        if !self.has_mount.load(Ordering::Relaxed) {
            return self;
        }
        let mut at = self;
        loop {
            let above = at.mounted.lock().clone();
            match above {
                Some(root) => at = root,
                None => return at,
            }
        }
    }

    /// Mount `root` (made with this dentry as its mount point) here, or with `None` unmount.
    pub fn set_mounted(&self, root: Option<Arc<Dentry>>) {
        self.has_mount.store(root.is_some(), Ordering::Relaxed);
        let old = core::mem::replace(&mut *self.mounted.lock(), root);
        drop(old);
    }

    /// Whether something is mounted here.
    pub fn is_mount_point(&self) -> bool {
        self.has_mount.load(Ordering::Relaxed)
    }

    /// Lock this directory for changes of its names.
    pub fn lock_changes(&self) -> MutexGuard<'_, ()> {
        self.changes.lock()
    }

    /// The entry `name` of this directory: from the cache, or from the file system. An absent name
    /// gives a dentry without inode. ENOTDIR, EIO, ENAMETOOLONG.
    pub fn child(self: &Arc<Self>, name: &[u8]) -> KResult<Arc<Dentry>> {
        if let Some(found) = self.cached(name) {
            return Ok(found);
        }
        let _changes = self.changes.lock();
        self.child_locked(name)
    }

    /// As [`Dentry::child`], with [`Dentry::lock_changes`] held by the caller.
    pub fn child_locked(self: &Arc<Self>, name: &[u8]) -> KResult<Arc<Dentry>> {
        if let Some(found) = self.cached(name) {
            return Ok(found);
        }
        let dir = self.expect_inode()?;
        if self.is_gone() {
            return Err(Errno::ENOENT);
        }
        let inode = match dir.lookup(name) {
            Ok(inode) => Some(inode),
            Err(Errno::ENOENT) => None,
            Err(e) => return Err(e),
        };
        Ok(self.enter(name, inode))
    }

    fn cached(&self, name: &[u8]) -> Option<Arc<Dentry>> {
        let found = self.children.lock().get(name)?.upgrade()?;
        found.referenced.store(true, Ordering::Relaxed);
        Some(found)
    }

    /// Put a fresh dentry for `name` into the cache, in place of any other; called with the
    /// changes locked.
    pub fn enter(self: &Arc<Self>, name: &[u8], inode: Option<Arc<dyn Inode>>) -> Arc<Dentry> {
        let fresh = Self::make(inode, Some(self.clone()), name, None);
        if self.inode.as_ref().is_some_and(|dir| dir.cacheable()) {
            self.children
                .lock()
                .insert(name.into(), Arc::downgrade(&fresh));
            keep(fresh.clone());
        }
        fresh
    }

    /// Remove the name of `child` from the cache, as it has been removed from the directory.
    pub fn forget(&self, child: &Arc<Dentry>) {
        child.gone.store(true, Ordering::Relaxed);
        let name = child.name();
        let mut children = self.children.lock();
        if children
            .get(&name)
            .is_some_and(|known| Weak::as_ptr(known) == Arc::as_ptr(child))
        {
            children.remove(&name);
        }
    }

    /// Give `child` of this directory the name `name` in `dir`, as the file system has done;
    /// both directories' changes are locked.
    pub fn moved(&self, child: &Arc<Dentry>, dir: &Arc<Dentry>, name: &[u8]) {
        let old_name = child.name();
        self.children.lock().remove(&old_name);
        let old = {
            let mut place = child.place.lock();
            core::mem::replace(
                &mut *place,
                Place {
                    parent: Some(dir.clone()),
                    name: name.into(),
                },
            )
        };
        drop(old);
        dir.children
            .lock()
            .insert(name.into(), Arc::downgrade(child));
    }

    /// Whether `self` is `ancestor` or lies below it.
    pub fn is_below(self: &Arc<Self>, ancestor: &Arc<Dentry>) -> bool {
        let mut at = self.clone();
        loop {
            if Arc::ptr_eq(&at, ancestor) {
                return true;
            }
            let parent = at.parent();
            if Arc::ptr_eq(&parent, &at) {
                return false;
            }
            at = parent;
        }
    }

    /// The absolute path as seen from `root`; `None` if it does not lie below it. A removed name
    /// is told as it was.
    pub fn path_from(self: &Arc<Self>, root: &Arc<Dentry>) -> Option<Vec<u8>> {
        let mut names = Vec::new();
        let mut at = self.clone();
        while !Arc::ptr_eq(&at, root) {
            while let Some(below) = &at.covers {
                at = below.clone();
            }
            let (name, parent) = {
                let place = at.place.lock();
                (place.name.clone(), place.parent.clone())
            };
            names.push(name);
            at = parent?;
        }
        if names.is_empty() {
            return Some(b"/".to_vec());
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        Some(path)
    }

    /// The absolute path from the root of all, as `/proc` shows it; ` (deleted)` is appended to a
    /// removed name.
    pub fn display_path(self: &Arc<Self>) -> Vec<u8> {
        let mut path = match self.path_from(&super::mount::root()) {
            Some(path) => path,
            None => {
                let mut path = b"/".to_vec();
                path.extend_from_slice(&self.name());
                path
            }
        };
        if self.is_gone() {
            path.extend_from_slice(b" (deleted)");
        }
        path
    }
}

impl Drop for Dentry {
    fn drop(&mut self) {
        let me: *const Dentry = self;
        let mut place = core::mem::replace(
            self.place.get_mut(),
            Place {
                parent: None,
                name: Box::default(),
            },
        );
        let mut pointer = me;
        // A loop, not recursion: a chain of a hundred thousand directories must not use up the
        // kernel stack.
        while let Some(parent) = place.parent.take() {
            {
                let mut children = parent.children.lock();
                if children
                    .get(&place.name)
                    .is_some_and(|known| Weak::as_ptr(known) == pointer)
                {
                    children.remove(&place.name);
                }
            }
            pointer = Arc::as_ptr(&parent);
            let Some(mut last) = Arc::into_inner(parent) else {
                break;
            };
            place = core::mem::replace(
                last.place.get_mut(),
                Place {
                    parent: None,
                    name: Box::default(),
                },
            );
        }
    }
}

struct Ring {
    slots: Vec<Option<Arc<Dentry>>>,
    hand: usize,
}

static RING: SpinLock<Ring> = SpinLock::new(Ring {
    slots: Vec::new(),
    hand: 0,
});

/// Keep `dentry` in the ring; what it displaces is dropped after the lock.
fn keep(dentry: Arc<Dentry>) {
    let displaced = {
        let mut ring = RING.lock();
        if ring.slots.len() < KEPT {
            dentry.slot.store(ring.slots.len(), Ordering::Relaxed);
            ring.slots.push(Some(dentry));
            return;
        }
        // Second chance, but at most a few: the cost of an insertion stays bounded.
        for _ in 0..8 {
            match &ring.slots[ring.hand] {
                Some(kept) if kept.referenced.swap(false, Ordering::Relaxed) => {
                    ring.hand = (ring.hand + 1) % KEPT;
                }
                _ => break,
            }
        }
        let hand = ring.hand;
        ring.hand = (hand + 1) % KEPT;
        dentry.slot.store(hand, Ordering::Relaxed);
        ring.slots[hand].replace(dentry)
    };
    drop(displaced);
}

/// Let go of all dentries that nobody uses (before an unmount).
pub fn drop_unused() {
    let slots = {
        let mut ring = RING.lock();
        ring.hand = 0;
        core::mem::take(&mut ring.slots)
    };
    drop(slots);
}

/// A name of `inode` among those that were used not long ago.
pub fn recent_name(inode: &Arc<dyn Inode>) -> Option<Arc<Dentry>> {
    let ring = RING.lock();
    let mut kept = ring.slots.iter().flatten();
    kept.find(|dentry| dentry.inode().is_some_and(|i| Arc::ptr_eq(i, inode)))
        .cloned()
}

/// Let the ring go of a dentry whose name has been removed, so that its inode can be freed.
pub fn drop_gone(dentry: &Arc<Dentry>) {
    let found = {
        let mut ring = RING.lock();
        let slot = dentry.slot.load(Ordering::Relaxed);
        match ring.slots.get_mut(slot) {
            Some(kept) if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, dentry)) => {
                kept.take()
            }
            _ => None,
        }
    };
    drop(found);
}
