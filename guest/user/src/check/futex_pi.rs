//! Futexes that know their owner: the PI operations.

use crate::frame::child::{Exit, fork};
use crate::frame::mapping::Mapping;
use crate::frame::state::wait_until_asleep;
use crate::frame::thread;
use libc::*;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

tests!(
    free_lock_is_taken_and_given_back,
    lock_of_ones_own_is_edeadlk,
    unlock_of_another_owners_is_eperm,
    trylock_of_a_taken_lock_is_eagain,
    lock_of_an_owner_that_does_not_exist_is_esrch,
    waiter_gets_the_lock_when_it_is_given_up,
    waiting_sets_the_waiters_bit,
    lock_times_out_at_its_deadline,
    lock_pi2_takes_the_monotonic_clock,
    lock_of_an_owner_that_ends_goes_to_the_waiter,
    requeued_waiter_owns_the_lock,
    requeue_to_a_changed_word_is_eagain,
    wake_of_a_waiter_that_is_to_be_requeued_is_einval,
);

const FUTEX_LOCK_PI2: i32 = 13;
const WAITERS: u32 = 1 << 31;
const OWNER: u32 = (1 << 30) - 1;

/// Words that children share.
fn words() -> &'static Mapping {
    Box::leak(Box::new(Mapping::shared(1)))
}

fn tid() -> u32 {
    ok!(SYS_gettid) as u32
}

fn lock(word: &AtomicU32) {
    ok!(SYS_futex, word, FUTEX_LOCK_PI, 0, 0);
}

fn unlock(word: &AtomicU32) {
    ok!(SYS_futex, word, FUTEX_UNLOCK_PI, 0, 0);
}

fn free_lock_is_taken_and_given_back() {
    let word = words().word(0);
    lock(word);
    assert_eq!(word.load(SeqCst), tid());
    unlock(word);
    assert_eq!(word.load(SeqCst), 0);
    ok!(SYS_futex, word, FUTEX_TRYLOCK_PI, 0, 0);
    assert_eq!(word.load(SeqCst), tid());
}

fn lock_of_ones_own_is_edeadlk() {
    let word = words().word(0);
    lock(word);
    fails!(EDEADLK, SYS_futex, word, FUTEX_LOCK_PI, 0, 0);
    fails!(EDEADLK, SYS_futex, word, FUTEX_TRYLOCK_PI, 0, 0);
}

fn unlock_of_another_owners_is_eperm() {
    let word = words().word(0);
    fails!(EPERM, SYS_futex, word, FUTEX_UNLOCK_PI, 0, 0);
    word.store(1, SeqCst);
    fails!(EPERM, SYS_futex, word, FUTEX_UNLOCK_PI, 0, 0);
}

fn trylock_of_a_taken_lock_is_eagain() {
    let word = words().word(0);
    lock(word);
    let child = fork(|| fails!(EAGAIN, SYS_futex, word, FUTEX_TRYLOCK_PI, 0, 0));
    assert_eq!(child.wait(), Exit::Code(0));
}

fn lock_of_an_owner_that_does_not_exist_is_esrch() {
    let word = words().word(0);
    word.store((1 << 29) + 5, SeqCst);
    fails!(ESRCH, SYS_futex, word, FUTEX_LOCK_PI, 0, 0);
}

fn waiter_gets_the_lock_when_it_is_given_up() {
    let word = words().word(0);
    lock(word);
    let child = fork(|| {
        lock(word);
        assert_eq!(word.load(SeqCst) & OWNER, tid());
        unlock(word);
    });
    wait_until_asleep(child.pid());
    unlock(word);
    assert_eq!(child.wait(), Exit::Code(0));
    assert_eq!(word.load(SeqCst), 0);
}

fn waiting_sets_the_waiters_bit() {
    let word = words().word(0);
    lock(word);
    let child = fork(|| lock(word));
    wait_until_asleep(child.pid());
    assert_eq!(word.load(SeqCst), tid() | WAITERS);
}

fn lock_times_out_at_its_deadline() {
    let word = words().word(0);
    lock(word);
    let child = fork(|| {
        let past = timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        fails!(ETIMEDOUT, SYS_futex, word, FUTEX_LOCK_PI, 0, &past);
    });
    assert_eq!(child.wait(), Exit::Code(0));
    unlock(word);
}

fn lock_pi2_takes_the_monotonic_clock() {
    let word = words().word(0);
    lock(word);
    let child = fork(|| {
        let mut soon: timespec = crate::frame::plain::zeroed();
        ok!(SYS_clock_gettime, CLOCK_MONOTONIC, &mut soon);
        soon.tv_sec += 1;
        soon.tv_nsec = 0;
        fails!(ETIMEDOUT, SYS_futex, word, FUTEX_LOCK_PI2, 0, &soon);
    });
    assert_eq!(child.wait(), Exit::Code(0));
}

fn lock_of_an_owner_that_ends_goes_to_the_waiter() {
    let words = words();
    let (word, go) = (words.word(0), words.word(64));
    let owner = fork(|| {
        lock(word);
        go.store(1, SeqCst);
        ok!(SYS_futex, go, FUTEX_WAKE, 1, 0);
        while go.load(SeqCst) != 2 {
            let _ = call!(SYS_futex, go, FUTEX_WAIT, 1, 0);
        }
    });
    while go.load(SeqCst) != 1 {
        let _ = call!(SYS_futex, go, FUTEX_WAIT, 0, 0);
    }
    let waiter = fork(|| {
        lock(word);
        assert_eq!(word.load(SeqCst) & OWNER, tid());
    });
    wait_until_asleep(waiter.pid());
    go.store(2, SeqCst);
    ok!(SYS_futex, go, FUTEX_WAKE, 1, 0);
    assert_eq!(owner.wait(), Exit::Code(0));
    assert_eq!(waiter.wait(), Exit::Code(0));
}

fn requeued_waiter_owns_the_lock() {
    let words = words();
    let (condition, mutex) = (words.word(0), words.word(64));
    lock(mutex);
    let waiter = thread::spawn(move || {
        ok!(SYS_futex, condition, FUTEX_WAIT_REQUEUE_PI, 0, 0, mutex);
        let owns = mutex.load(SeqCst) & OWNER == tid();
        unlock(mutex);
        owns
    });
    waiter.wait_until_asleep();
    assert_eq!(
        ok!(SYS_futex, condition, FUTEX_CMP_REQUEUE_PI, 1, 0, mutex, 0),
        1
    );
    waiter.wait_until_asleep();
    unlock(mutex);
    assert!(waiter.join());
}

fn requeue_to_a_changed_word_is_eagain() {
    let words = words();
    let (condition, mutex) = (words.word(0), words.word(64));
    fails!(
        EAGAIN,
        SYS_futex,
        condition,
        FUTEX_CMP_REQUEUE_PI,
        1,
        0,
        mutex,
        7
    );
    fails!(
        EINVAL,
        SYS_futex,
        condition,
        FUTEX_CMP_REQUEUE_PI,
        2,
        0,
        mutex,
        0
    );
}

fn wake_of_a_waiter_that_is_to_be_requeued_is_einval() {
    let words = words();
    let (condition, mutex) = (words.word(0), words.word(64));
    let child = fork(|| {
        let _ = call!(SYS_futex, condition, FUTEX_WAIT_REQUEUE_PI, 0, 0, mutex);
    });
    wait_until_asleep(child.pid());
    fails!(EINVAL, SYS_futex, condition, FUTEX_WAKE, 1, 0);
}
