//! Futexes (`futex(2)`): waiting for a word of user memory to change.
//!
//! A sleeper enters its bucket *before* it looks at the word, and whoever changes the word wakes
//! *after* the change: whatever the order, the sleeper sees the change or is found in the bucket.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{current, current_space};
use crate::errno::{Errno, KResult};
use crate::mm::user;
use crate::sync::{SpinLock, Waiter};

/// Bit set that every waiter matches.
pub const MATCH_ANY: u32 = u32::MAX;

/// Number of buckets; a power of two.
const BUCKETS: usize = 64;

/// What a word is, wherever it is mapped: an address space and an address in it, or an object of
/// shared memory and an offset in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    object: usize,
    offset: usize,
}

impl Key {
    /// The key of the word at a user address.
    pub(super) fn of(address: usize) -> KResult<Self> {
        if !address.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        let space = current_space().ok_or(Errno::EFAULT)?;
        let (object, offset) = space.word_key(address);
        Ok(Self { object, offset })
    }

    fn bucket(&self) -> usize {
        let mixed = (self.object >> 4)
            .wrapping_add(self.offset >> 2)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed >> (usize::BITS - BUCKETS.trailing_zeros())
    }
}

/// A sleeper.
struct Sleeper {
    waiter: Arc<Waiter>,
    bits: u32,
    /// It goes on to own a PI lock: only a requeue to one may wake it.
    to_lock: bool,
    woken: AtomicBool,
    /// The bucket it is in; requeueing moves it.
    bucket: AtomicUsize,
}

struct Entry {
    key: Key,
    sleeper: Arc<Sleeper>,
}

static TABLE: [SpinLock<Vec<Entry>>; BUCKETS] = [const { SpinLock::new(Vec::new()) }; BUCKETS];

/// Give back the room that empty buckets keep for the next sleepers.
pub fn shrink() {
    for bucket in &TABLE {
        let mut bucket = bucket.lock();
        if bucket.is_empty() {
            *bucket = Vec::new();
        }
    }
}

/// Take a sleeper out; false: a wake was quicker.
fn leave(sleeper: &Arc<Sleeper>) -> bool {
    loop {
        let index = sleeper.bucket.load(Ordering::SeqCst);
        let mut bucket = TABLE[index].lock();
        if sleeper.woken.load(Ordering::SeqCst) {
            return false;
        }
        if let Some(at) = bucket.iter().position(|e| Arc::ptr_eq(&e.sleeper, sleeper)) {
            bucket.remove(at);
            return true;
        }
        // It was moved between the load and the lock.
    }
}

/// FUTEX_WAIT, FUTEX_WAIT_BITSET: sleep while the word at `address` is `expected`, until a wake with
/// a common bit, or until `deadline` of the monotonic clock.
///
/// # Errors
/// EAGAIN: the word is something else. ETIMEDOUT. ERESTARTSYS: a signal. EFAULT, EINVAL.
pub fn wait(address: usize, expected: u32, bits: u32, deadline: Option<u64>) -> KResult<()> {
    wait_as(address, expected, bits, false, deadline)
}

/// FUTEX_WAIT_REQUEUE_PI: sleep as [`wait`] does until [`requeue_to_lock`], then own the lock at
/// `target`.
///
/// # Errors
/// Those of [`wait`] and of [`super::futex_pi::lock`].
pub fn wait_to_lock(
    address: usize,
    expected: u32,
    target: usize,
    deadline: Option<u64>,
) -> KResult<()> {
    if Key::of(address)? == Key::of(target)? {
        return Err(Errno::EINVAL);
    }
    wait_as(address, expected, MATCH_ANY, true, deadline)?;
    super::futex_pi::lock(target, deadline)
}

fn wait_as(
    address: usize,
    expected: u32,
    bits: u32,
    to_lock: bool,
    deadline: Option<u64>,
) -> KResult<()> {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let key = Key::of(address)?;
    let waiter = current().waiter().clone();
    waiter.reset();
    let index = key.bucket();
    let sleeper = Arc::new(Sleeper {
        waiter,
        bits,
        to_lock,
        woken: AtomicBool::new(false),
        bucket: AtomicUsize::new(index),
    });
    {
        let mut bucket = TABLE[index].lock();
        bucket.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        bucket.push(Entry {
            key,
            sleeper: sleeper.clone(),
        });
    }
    let result = match user::read_user::<u32>(address) {
        Ok(value) if value == expected => sleep(&sleeper, deadline),
        Ok(_) => Err(Errno::EAGAIN),
        Err(e) => Err(e),
    };
    match result {
        Ok(()) => Ok(()),
        // A wake that chose this sleeper must not be lost: it counts.
        Err(e) => {
            if leave(&sleeper) {
                Err(e)
            } else {
                Ok(())
            }
        }
    }
}

fn sleep(sleeper: &Arc<Sleeper>, deadline: Option<u64>) -> KResult<()> {
    loop {
        if sleeper.woken.load(Ordering::SeqCst) {
            return Ok(());
        }
        if !sleeper.waiter.wait(deadline)? {
            return Err(Errno::ETIMEDOUT);
        }
    }
}

fn release(sleeper: &Sleeper) {
    sleeper.woken.store(true, Ordering::SeqCst);
    sleeper.waiter.wake();
}

/// FUTEX_WAKE, FUTEX_WAKE_BITSET: wake up to `count` sleepers at `address` that have a bit in common
/// with `bits`. Gives their number.
///
/// # Errors
/// EINVAL: no bits, or the address is not aligned.
pub fn wake(address: usize, count: usize, bits: u32) -> KResult<usize> {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let key = Key::of(address)?;
    let to_lock = |entry: &Entry| entry.key == key && entry.sleeper.to_lock;
    if TABLE[key.bucket()].lock().iter().any(to_lock) {
        return Err(Errno::EINVAL);
    }
    Ok(wake_key(key, count, bits))
}

/// FUTEX_CMP_REQUEUE_PI: if the word at `address` is `expected`, let up to `count` sleepers of
/// [`wait_to_lock`] go on to the lock; each queues there by itself. Gives their number.
///
/// # Errors
/// EAGAIN: the word is something else. EINVAL: there are sleepers of another kind. EFAULT.
pub fn requeue_to_lock(
    address: usize,
    target: usize,
    count: usize,
    expected: u32,
) -> KResult<usize> {
    let from = Key::of(address)?;
    if from == Key::of(target)? {
        return Err(Errno::EINVAL);
    }
    if user::read_user::<u32>(address)? != expected {
        return Err(Errno::EAGAIN);
    }
    let other = |entry: &Entry| entry.key == from && !entry.sleeper.to_lock;
    if TABLE[from.bucket()].lock().iter().any(other) {
        return Err(Errno::EINVAL);
    }
    Ok(wake_key(from, count, MATCH_ANY))
}

fn wake_key(key: Key, count: usize, bits: u32) -> usize {
    let mut woken = 0;
    let mut bucket = TABLE[key.bucket()].lock();
    let mut at = 0;
    while woken < count && at < bucket.len() {
        if bucket[at].key == key && bucket[at].sleeper.bits & bits != 0 {
            release(&bucket.remove(at).sleeper);
            woken += 1;
        } else {
            at += 1;
        }
    }
    woken
}

/// FUTEX_REQUEUE, FUTEX_CMP_REQUEUE: if the word at `address` is `expected` (if given), wake up to
/// `wake` sleepers there, and have up to `limit` others sleep at `target` from now on. Gives the number
/// of those that were woken or moved.
///
/// # Errors
/// EAGAIN: the word is something else. EFAULT, EINVAL.
pub fn requeue(
    address: usize,
    target: usize,
    wake: usize,
    limit: usize,
    expected: Option<u32>,
) -> KResult<usize> {
    let from = Key::of(address)?;
    let to = Key::of(target)?;
    if let Some(expected) = expected
        && user::read_user::<u32>(address)? != expected
    {
        return Err(Errno::EAGAIN);
    }
    let woken = wake_key(from, wake, MATCH_ANY);
    if from == to {
        return Ok(woken);
    }
    let mut moved = Vec::new();
    {
        let mut bucket = TABLE[from.bucket()].lock();
        let mut at = 0;
        while moved.len() < limit && at < bucket.len() {
            if bucket[at].key == from && moved.try_reserve(1).is_ok() {
                let mut entry = bucket.remove(at);
                entry.key = to;
                moved.push(entry);
            } else {
                at += 1;
            }
        }
    }
    let count = moved.len();
    let mut bucket = TABLE[to.bucket()].lock();
    for entry in moved {
        entry.sleeper.bucket.store(to.bucket(), Ordering::SeqCst);
        bucket.push(entry);
    }
    Ok(woken + count)
}

/// FUTEX_WAKE_OP: change the word at `second` as `op` says, wake up to `count` at `first`, and up to
/// `count_second` at `second` if the old value compares as `op` says. Gives the number woken.
///
/// # Errors
/// ENOSYS: unknown operation. EFAULT, EINVAL.
pub fn wake_op(
    first: usize,
    second: usize,
    count: usize,
    count_second: usize,
    op: u32,
) -> KResult<usize> {
    let first = Key::of(first)?;
    let second_key = Key::of(second)?;
    let operand = sign_extend_12(op >> 12);
    let compared = sign_extend_12(op);
    let operand = if op >> 31 != 0 {
        1i32.wrapping_shl(operand as u32 & 31)
    } else {
        operand
    };
    let change: fn(u32, u32) -> u32 = match op >> 28 & 7 {
        0 => |_, arg| arg,
        1 => |old, arg| old.wrapping_add(arg),
        2 => |old, arg| old | arg,
        3 => |old, arg| old & !arg,
        4 => |old, arg| old ^ arg,
        _ => return Err(Errno::ENOSYS),
    };
    let holds: fn(i32, i32) -> bool = match op >> 24 & 15 {
        0 => |a, b| a == b,
        1 => |a, b| a != b,
        2 => |a, b| a < b,
        3 => |a, b| a <= b,
        4 => |a, b| a > b,
        5 => |a, b| a >= b,
        _ => return Err(Errno::ENOSYS),
    };
    let old = user::update_user_u32(second, |old| change(old, operand as u32))?;
    let mut woken = wake_key(first, count, MATCH_ANY);
    if holds(old as i32, compared) {
        woken += wake_key(second_key, count_second, MATCH_ANY);
    }
    Ok(woken)
}

fn sign_extend_12(bits: u32) -> i32 {
    ((bits << 20) as i32) >> 20
}
