//! Advisory locks: `flock(2)`, and record locks by `fcntl(2)`.
//!
//! Locks of all files are in one table, by file system and inode number; most of the time it is
//! empty, and `close` then has nothing to look for. Locks of `flock` and record locks do not see
//! each other.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::{File, Inode};
use crate::errno::{Errno, KResult};
use crate::sync::{SpinLock, WaitQueue};

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A process (record locks).
    Process(u32),
    /// An open file description (`F_OFD_SETLK`).
    Description(u64),
    /// An open file description, by `flock`.
    Flock(u64),
}

impl Owner {
    fn is_flock(self) -> bool {
        matches!(self, Owner::Flock(_))
    }
}

/// A lock on the bytes `start..end` of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// First byte.
    pub start: u64,
    /// One past the last byte; `u64::MAX` reaches to the end of the file, wherever that is.
    pub end: u64,
    /// A write lock.
    pub exclusive: bool,
    /// Its holder.
    pub owner: Owner,
}

impl Lock {
    fn conflicts(&self, other: &Lock) -> bool {
        self.owner != other.owner
            && self.owner.is_flock() == other.owner.is_flock()
            && (self.exclusive || other.exclusive)
            && self.start < other.end
            && other.start < self.end
    }
}

type Key = (u64, u64);

static LOCKS: SpinLock<BTreeMap<Key, Vec<Lock>>> = SpinLock::new(BTreeMap::new());
static COUNT: AtomicUsize = AtomicUsize::new(0);
static CHANGED: WaitQueue = WaitQueue::new();

fn key(inode: &Arc<dyn Inode>) -> Key {
    let meta = inode.metadata();
    (meta.dev, meta.ino)
}

/// A lock that stands in the way of `wanted`, if any (`F_GETLK`).
pub fn blocker(inode: &Arc<dyn Inode>, wanted: &Lock) -> Option<Lock> {
    LOCKS
        .lock()
        .get(&key(inode))?
        .iter()
        .find(|held| held.conflicts(wanted))
        .copied()
}

/// Processes that sleep for a record lock, and the process that each waits for.
static SLEEPERS: SpinLock<BTreeMap<u32, u32>> = SpinLock::new(BTreeMap::new());

/// Take `wanted`, replacing what its owner holds in that range; waits for others if `wait`.
/// EAGAIN, EDEADLK: the others wait for the caller. ENOLCK: too many locks. ERESTARTSYS.
pub fn acquire(inode: &Arc<dyn Inode>, wanted: Lock, wait: bool) -> KResult<()> {
    let key = key(inode);
    if try_acquire(key, &wanted)? {
        return Ok(());
    }
    if !wait {
        return Err(Errno::EAGAIN);
    }
    let result = CHANGED.wait(|| match try_acquire(key, &wanted) {
        Ok(true) => Some(Ok(())),
        Ok(false) if closes_circle(inode, &wanted) => Some(Err(Errno::EDEADLK)),
        Ok(false) => None,
        Err(errno) => Some(Err(errno)),
    });
    if let Owner::Process(pid) = wanted.owner {
        SLEEPERS.lock().remove(&pid);
    }
    result?
}

/// Whether the process that `wanted` waits for waits, over others perhaps, for the owner of `wanted`.
/// If not, the owner is noted as a sleeper.
fn closes_circle(inode: &Arc<dyn Inode>, wanted: &Lock) -> bool {
    /// Longer chains are not followed, as on Linux.
    const DEPTH: usize = 10;
    let held = blocker(inode, wanted).map(|lock| lock.owner);
    let (Owner::Process(me), Some(Owner::Process(holder))) = (wanted.owner, held) else {
        return false;
    };
    let mut sleepers = SLEEPERS.lock();
    let mut next = holder;
    for _ in 0..DEPTH {
        if next == me {
            return true;
        }
        match sleepers.get(&next) {
            Some(other) => next = *other,
            None => break,
        }
    }
    sleepers.insert(me, holder);
    false
}

/// Take a lock if nobody is in the way. ENOLCK: there is no room for more.
fn try_acquire(key: Key, wanted: &Lock) -> KResult<bool> {
    /// A lock may be cut into two, with the new one between.
    const PIECES: usize = 3;
    let mut locks = LOCKS.lock();
    if let Some(held) = locks.get(&key)
        && held.iter().any(|other| other.conflicts(wanted))
    {
        return Ok(false);
    }
    let held = locks.entry(key).or_default();
    held.try_reserve(PIECES).map_err(|_| Errno::ENOLCK)?;
    let before = held.len();
    let downgraded = carve(held, wanted);
    held.push(*wanted);
    let after = held.len();
    COUNT.fetch_add(after, Ordering::Relaxed);
    COUNT.fetch_sub(before, Ordering::Relaxed);
    drop(locks);
    if downgraded {
        CHANGED.wake_all();
    }
    Ok(true)
}

/// Remove the owner's locks from a range, splitting those that reach beyond it. Whether there were
/// any.
fn carve(held: &mut Vec<Lock>, range: &Lock) -> bool {
    let mut pieces = Vec::new();
    let before = held.len();
    held.retain(|lock| {
        if lock.owner != range.owner || lock.start >= range.end || range.start >= lock.end {
            return true;
        }
        if lock.start < range.start {
            pieces.push(Lock {
                end: range.start,
                ..*lock
            });
        }
        if lock.end > range.end {
            pieces.push(Lock {
                start: range.end,
                ..*lock
            });
        }
        false
    });
    let changed = held.len() != before;
    held.extend(pieces);
    changed
}

/// Give up what `range.owner` holds in the range.
pub fn release(inode: &Arc<dyn Inode>, range: &Lock) {
    if COUNT.load(Ordering::Relaxed) == 0 {
        return;
    }
    let key = key(inode);
    let mut locks = LOCKS.lock();
    let Some(held) = locks.get_mut(&key) else {
        return;
    };
    let before = held.len();
    let changed = carve(held, range);
    let after = held.len();
    if after == 0 {
        locks.remove(&key);
    }
    COUNT.fetch_add(after, Ordering::Relaxed);
    COUNT.fetch_sub(before, Ordering::Relaxed);
    drop(locks);
    if changed {
        CHANGED.wake_all();
    }
}

fn everything(owner: Owner) -> Lock {
    Lock {
        start: 0,
        end: u64::MAX,
        exclusive: false,
        owner,
    }
}

/// A process closes a descriptor of the file: its record locks on it go (`fcntl(2)`).
#[inline]
pub fn closed_by(inode: &Arc<dyn Inode>, pid: u32) {
    if COUNT.load(Ordering::Relaxed) != 0 {
        release(inode, &everything(Owner::Process(pid)));
    }
}

/// A process ends: all of its record locks go.
pub fn exited(pid: u32) {
    if COUNT.load(Ordering::Relaxed) == 0 {
        return;
    }
    let mut locks = LOCKS.lock();
    locks.retain(|_, held| {
        let before = held.len();
        held.retain(|lock| lock.owner != Owner::Process(pid));
        COUNT.fetch_sub(before - held.len(), Ordering::Relaxed);
        !held.is_empty()
    });
    drop(locks);
    CHANGED.wake_all();
}

/// The last reference to a description that has held locks goes.
pub fn release_flock(file: &File) {
    release(file.inode(), &everything(Owner::Flock(file.id())));
    release(file.inode(), &everything(Owner::Description(file.id())));
}

/// `flock(2)` for the whole file; `exclusive` `None` unlocks. EAGAIN, ERESTARTSYS.
pub fn flock(file: &File, exclusive: Option<bool>, wait: bool) -> KResult<()> {
    let owner = Owner::Flock(file.id());
    match exclusive {
        None => {
            release(file.inode(), &everything(owner));
            Ok(())
        }
        Some(exclusive) => {
            file.note_flock();
            acquire(
                file.inode(),
                Lock {
                    exclusive,
                    ..everything(owner)
                },
                wait,
            )
        }
    }
}
