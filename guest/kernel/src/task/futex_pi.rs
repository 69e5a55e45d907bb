//! Futexes that know their owner (`futex(2)`: the PI operations).
//!
//! The word is the owner's number, or 0, with a bit that says that somebody waits: then unlocking is
//! the kernel's work, which hands the lock to whoever has waited longest. A sleeper enters the table
//! before it sets that bit, so that whoever sees the bit finds the sleeper.
//!
//! No priority is lent to an owner: there are no real-time priorities here, and nice values are not
//! lent, as Linux does not. None of the policies lets a task that can run wait for ever.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use super::futex::Key;
use super::{current, find_task};
use crate::errno::{Errno, KResult};
use crate::mm::user;
use crate::sync::{SpinLock, Waiter};

/// The word: somebody waits.
const WAITERS: u32 = 1 << 31;
/// The word: its owner ended.
const OWNER_DIED: u32 = 1 << 30;
/// The word: number of its owner.
const OWNER: u32 = (1 << 30) - 1;

/// A sleeper.
struct Sleeper {
    waiter: Arc<Waiter>,
    tid: u32,
    /// Whom it waits for.
    owner: AtomicU32,
    /// The lock has been handed to it.
    owns: AtomicBool,
}

struct Entry {
    key: Key,
    sleeper: Arc<Sleeper>,
}

/// All sleepers, the one that has waited longest first.
static SLEEPERS: SpinLock<Vec<Entry>> = SpinLock::new(Vec::new());
/// How many there are: the end of a task looks at this alone.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Take a sleeper out. False: it was taken out by whoever handed the lock to it.
fn leave(sleeper: &Arc<Sleeper>) -> bool {
    let mut sleepers = SLEEPERS.lock();
    let at = sleepers
        .iter()
        .position(|entry| Arc::ptr_eq(&entry.sleeper, sleeper));
    let Some(at) = at else {
        return false;
    };
    let gone = sleepers.remove(at);
    COUNT.fetch_sub(1, Ordering::SeqCst);
    drop(sleepers);
    drop(gone);
    true
}

fn others_wait(key: &Key, besides: &Arc<Sleeper>) -> bool {
    let sleepers = SLEEPERS.lock();
    sleepers
        .iter()
        .any(|entry| entry.key == *key && !Arc::ptr_eq(&entry.sleeper, besides))
}

/// FUTEX_LOCK_PI, FUTEX_LOCK_PI2: own the lock at `address`, asleep until `deadline` of the
/// monotonic clock.
///
/// # Errors
/// EDEADLK: the caller owns it. ESRCH: the owner does not exist. ETIMEDOUT. ERESTARTNOINTR: a
/// signal. EFAULT, EINVAL.
pub fn lock(address: usize, deadline: Option<u64>) -> KResult<()> {
    if try_lock_fast(address)? {
        return Ok(());
    }
    let key = Key::of(address)?;
    let me = current();
    let waiter = me.waiter().clone();
    waiter.reset();
    let sleeper = Arc::new(Sleeper {
        waiter,
        tid: me.tid(),
        owner: AtomicU32::new(0),
        owns: AtomicBool::new(false),
    });
    {
        let mut sleepers = SLEEPERS.lock();
        sleepers.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        sleepers.push(Entry {
            key,
            sleeper: sleeper.clone(),
        });
        COUNT.fetch_add(1, Ordering::SeqCst);
    }
    let result = wait(address, &key, &sleeper, deadline);
    if leave(&sleeper) {
        result
    } else {
        // Handed over, whatever else has happened.
        Ok(())
    }
}

/// Take the lock if the word is 0.
fn try_lock_fast(address: usize) -> KResult<bool> {
    Key::of(address)?;
    Ok(user::cmpxchg_user_u32(address, 0, current().tid())? == 0)
}

/// The sleep of [`lock`].
fn wait(address: usize, key: &Key, me: &Arc<Sleeper>, deadline: Option<u64>) -> KResult<()> {
    let mut slept = false;
    loop {
        if me.owns.load(Ordering::SeqCst) {
            return Ok(());
        }
        let word: u32 = user::read_user(address)?;
        let owner = word & OWNER;
        let gone = owner != 0 && find_task(owner).is_none();
        if owner == me.tid {
            return Err(Errno::EDEADLK);
        }
        if gone && !slept {
            return Err(Errno::ESRCH);
        }
        let new = match owner == 0 || gone {
            true => {
                let died = if gone { OWNER_DIED } else { word & OWNER_DIED };
                let more = if others_wait(key, me) { WAITERS } else { 0 };
                me.tid | died | more
            }
            false => word | WAITERS,
        };
        me.owner.store(owner, Ordering::SeqCst);
        if new != word && user::cmpxchg_user_u32(address, word, new)? != word {
            continue;
        }
        if new & OWNER == me.tid {
            return Ok(());
        }
        match me.waiter.wait(deadline) {
            Ok(true) => slept = true,
            Ok(false) => return Err(Errno::ETIMEDOUT),
            Err(_) => return Err(Errno::ERESTARTNOINTR),
        }
    }
}

/// FUTEX_TRYLOCK_PI: own the lock if nobody does, or its owner has died.
///
/// # Errors
/// EDEADLK, EFAULT, EINVAL. EAGAIN: somebody owns it. ESRCH: the owner does not exist.
pub fn try_lock(address: usize) -> KResult<()> {
    Key::of(address)?;
    let me = current().tid();
    loop {
        let word: u32 = user::read_user(address)?;
        match word & OWNER {
            0 => {}
            owner if owner == me => return Err(Errno::EDEADLK),
            owner if find_task(owner).is_none() => return Err(Errno::ESRCH),
            _ => return Err(Errno::EAGAIN),
        }
        if user::cmpxchg_user_u32(address, word, word | me)? == word {
            return Ok(());
        }
    }
}

/// FUTEX_UNLOCK_PI: give the lock to whoever has waited longest, or to nobody.
///
/// # Errors
/// EPERM: the caller does not own it. EFAULT, EINVAL.
pub fn unlock(address: usize) -> KResult<()> {
    let key = Key::of(address)?;
    let me = current().tid();
    loop {
        let word: u32 = user::read_user(address)?;
        if word & OWNER != me {
            return Err(Errno::EPERM);
        }
        let (next, more) = {
            let sleepers = SLEEPERS.lock();
            let mut waiting = sleepers.iter().filter(|entry| entry.key == key);
            let next = waiting.next().map(|entry| entry.sleeper.clone());
            (next, waiting.next().is_some())
        };
        let new = match &next {
            Some(next) => next.tid | if more { WAITERS } else { 0 },
            None => 0,
        };
        if user::cmpxchg_user_u32(address, word, new)? != word {
            continue;
        }
        if let Some(next) = next {
            // It may have given up meanwhile; then it finds that it owns the lock all the same.
            next.owns.store(true, Ordering::SeqCst);
            leave(&next);
            next.waiter.wake();
        }
        return Ok(());
    }
}

/// A task has ended: whoever waits for it looks at the word again, and finds no owner.
pub fn owner_ended(tid: u32) {
    if COUNT.load(Ordering::SeqCst) == 0 {
        return;
    }
    let sleepers = SLEEPERS.lock();
    for entry in sleepers.iter() {
        if entry.sleeper.owner.load(Ordering::SeqCst) == tid {
            entry.sleeper.waiter.wake();
        }
    }
}
