//! Futexes and robust lists.

use crate::frame::child::{Exit, fork, isolated};
use crate::frame::mapping::{Mapping, PAGE};
use crate::frame::signals::record;
use crate::frame::state::wait_until_asleep;
use crate::frame::thread::{Thread, spawn};
use crate::frame::time::milliseconds;
use libc::*;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Instant;

tests!(
    wait_on_another_value_is_eagain,
    wait_times_out,
    wait_of_a_bad_timeout_is_einval,
    wake_wakes_as_many_as_asked_for,
    wake_without_waiters_is_zero,
    private_futex_is_not_woken_by_another_address,
    shared_futex_works_between_processes,
    shared_futex_in_a_file_works_between_mappings,
    futex_at_an_unaligned_address_is_einval,
    futex_at_an_unmapped_address_is_efault,
    wait_is_interrupted_by_a_signal,
    bitset_wakes_only_those_that_match,
    bitset_of_zero_is_einval,
    bitset_timeout_is_absolute,
    requeue_moves_waiters,
    compare_and_requeue_checks_the_value,
    wake_op_changes_a_word_and_wakes_on_both,
    wake_op_compares_the_old_value,
    unknown_operation_is_enosys,
    robust_lock_of_a_dead_thread_is_marked,
    robust_list_of_bad_length_is_einval,
    robust_list_that_is_circular_ends,
    futex_mutex_excludes,
);

const FUTEX_WAIT_PRIVATE: i32 = FUTEX_WAIT | FUTEX_PRIVATE_FLAG;
const FUTEX_WAKE_PRIVATE: i32 = FUTEX_WAKE | FUTEX_PRIVATE_FLAG;

static WORD: AtomicU32 = AtomicU32::new(0);
static OTHER: AtomicU32 = AtomicU32::new(0);

fn wait(word: &'static AtomicU32) -> Thread<Result<usize, crate::frame::call::Errno>> {
    let thread = spawn(move || call!(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, 0));
    thread.wait_until_asleep();
    thread
}

fn wake(word: &AtomicU32, count: i32) -> usize {
    ok!(SYS_futex, word, FUTEX_WAKE_PRIVATE, count)
}

fn wait_on_another_value_is_eagain() {
    fails!(EAGAIN, SYS_futex, &WORD, FUTEX_WAIT, 1, 0);
    fails!(EAGAIN, SYS_futex, &WORD, FUTEX_WAIT_PRIVATE, 1, 0);
}

fn wait_times_out() {
    let begin = Instant::now();
    fails!(ETIMEDOUT, SYS_futex, &WORD, FUTEX_WAIT, 0, &milliseconds(5));
    assert!(begin.elapsed().as_millis() >= 5);
}

fn wait_of_a_bad_timeout_is_einval() {
    let wrong = timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000_000,
    };
    fails!(EINVAL, SYS_futex, &WORD, FUTEX_WAIT, 0, &wrong);
    fails!(EFAULT, SYS_futex, &WORD, FUTEX_WAIT, 0, 8usize);
}

fn wake_wakes_as_many_as_asked_for() {
    let waiters: Vec<_> = (0..3).map(|_| wait(&WORD)).collect();
    assert_eq!(wake(&WORD, 1), 1);
    assert_eq!(wake(&WORD, 10), 2);
    assert_eq!(wake(&WORD, 10), 0);
    waiters
        .into_iter()
        .for_each(|waiter| assert_eq!(waiter.join(), Ok(0)));
}

fn wake_without_waiters_is_zero() {
    assert_eq!(wake(&WORD, 1), 0);
}

fn private_futex_is_not_woken_by_another_address() {
    let waiter = wait(&WORD);
    assert_eq!(wake(&OTHER, 1), 0);
    assert_eq!(wake(&WORD, 1), 1);
    assert_eq!(waiter.join(), Ok(0));
}

fn shared_futex_works_between_processes() {
    let memory = Mapping::shared(1);
    let child = fork(|| drop(ok!(SYS_futex, memory.at, FUTEX_WAIT, 0, 0)));
    wait_until_asleep(child.pid());
    assert_eq!(ok!(SYS_futex, memory.at, FUTEX_WAKE, 1), 1);
    assert_eq!(child.wait(), Exit::Code(0));
}

fn shared_futex_in_a_file_works_between_mappings() {
    let file = crate::frame::descriptor::Fd::new(ok!(SYS_memfd_create, c"futex", 0));
    ok!(SYS_ftruncate, file.0, PAGE);
    let map = || Mapping::new(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file.0, 0).unwrap();
    let (one, other) = (map(), map());
    let child = fork(|| drop(ok!(SYS_futex, one.at + 64, FUTEX_WAIT, 0, 0)));
    wait_until_asleep(child.pid());
    assert_eq!(ok!(SYS_futex, other.at + 64, FUTEX_WAKE, 1), 1);
    assert_eq!(child.wait(), Exit::Code(0));
}

fn futex_at_an_unaligned_address_is_einval() {
    let memory = Mapping::anonymous(1);
    fails!(EINVAL, SYS_futex, memory.at + 2, FUTEX_WAIT, 0, 0);
    fails!(EINVAL, SYS_futex, memory.at + 2, FUTEX_WAKE, 1);
}

fn futex_at_an_unmapped_address_is_efault() {
    fails!(EFAULT, SYS_futex, 8usize, FUTEX_WAIT, 0, 0);
    fails!(EFAULT, SYS_futex, 8usize, FUTEX_WAKE, 1);
    fails!(EFAULT, SYS_futex, usize::MAX - 3, FUTEX_WAIT_PRIVATE, 0, 0);
}

fn wait_is_interrupted_by_a_signal() {
    record(SIGUSR1, 0);
    let waiter = wait(&WORD);
    ok!(SYS_tgkill, std::process::id(), waiter.tid(), SIGUSR1);
    assert_eq!(waiter.join().map_err(|error| error.0), Err(EINTR));
}

fn wait_for_bits(bits: i32) -> Thread<usize> {
    let thread = spawn(move || {
        ok!(
            SYS_futex,
            &WORD,
            FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG,
            0,
            0,
            0,
            bits
        )
    });
    thread.wait_until_asleep();
    thread
}

fn wake_bits(bits: i32) -> usize {
    ok!(
        SYS_futex,
        &WORD,
        FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG,
        10,
        0,
        0,
        bits
    )
}

fn bitset_wakes_only_those_that_match() {
    let (one, two) = (wait_for_bits(1), wait_for_bits(6));
    assert_eq!(wake_bits(8), 0);
    assert_eq!(wake_bits(2), 1);
    two.join();
    assert_eq!(wake_bits(-1), 1);
    one.join();
}

fn bitset_of_zero_is_einval() {
    fails!(EINVAL, SYS_futex, &WORD, FUTEX_WAIT_BITSET, 0, 0, 0, 0);
    fails!(EINVAL, SYS_futex, &WORD, FUTEX_WAKE_BITSET, 1, 0, 0, 0);
}

fn bitset_timeout_is_absolute() {
    let mut deadline: timespec = crate::frame::plain::zeroed();
    fails!(
        ETIMEDOUT,
        SYS_futex,
        &WORD,
        FUTEX_WAIT_BITSET,
        0,
        &milliseconds(1),
        0,
        -1
    );
    ok!(SYS_clock_gettime, CLOCK_MONOTONIC, &mut deadline);
    deadline.tv_nsec += 5_000_000;
    if deadline.tv_nsec >= 1_000_000_000 {
        deadline.tv_nsec -= 1_000_000_000;
        deadline.tv_sec += 1;
    }
    fails!(
        ETIMEDOUT,
        SYS_futex,
        &WORD,
        FUTEX_WAIT_BITSET,
        0,
        &deadline,
        0,
        -1
    );
    let mut now: timespec = crate::frame::plain::zeroed();
    ok!(SYS_clock_gettime, CLOCK_MONOTONIC, &mut now);
    assert!((now.tv_sec, now.tv_nsec) >= (deadline.tv_sec, deadline.tv_nsec));
}

fn requeue_moves_waiters() {
    let waiters: Vec<_> = (0..3).map(|_| wait(&WORD)).collect();
    let operation = FUTEX_REQUEUE | FUTEX_PRIVATE_FLAG;
    assert_eq!(ok!(SYS_futex, &WORD, operation, 1, 10, &OTHER), 3);
    assert_eq!(wake(&WORD, 10), 0);
    assert_eq!(wake(&OTHER, 10), 2);
    waiters
        .into_iter()
        .for_each(|waiter| assert_eq!(waiter.join(), Ok(0)));
}

fn compare_and_requeue_checks_the_value() {
    let waiters: Vec<_> = (0..3).map(|_| wait(&WORD)).collect();
    let operation = FUTEX_CMP_REQUEUE | FUTEX_PRIVATE_FLAG;
    fails!(EAGAIN, SYS_futex, &WORD, operation, 1, 1, &OTHER, 7);
    assert_eq!(ok!(SYS_futex, &WORD, operation, 1, 1, &OTHER, 0), 2);
    assert_eq!((wake(&OTHER, 10), wake(&WORD, 10)), (1, 1));
    waiters
        .into_iter()
        .for_each(|waiter| assert_eq!(waiter.join(), Ok(0)));
}

/// `FUTEX_OP` with comparison `word == old`.
fn operation(op: i32, argument: i32, old: i32) -> i32 {
    (op << 28) | (argument << 12) | old
}

fn wake_op_changes_a_word_and_wakes_on_both() {
    const ADD: i32 = 1;
    let (one, other) = (wait(&WORD), wait(&OTHER));
    let code = FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG;
    assert_eq!(
        ok!(SYS_futex, &WORD, code, 1, 1, &OTHER, operation(ADD, 5, 0)),
        2
    );
    assert_eq!(OTHER.load(SeqCst), 5);
    assert_eq!((one.join(), other.join()), (Ok(0), Ok(0)));
}

fn wake_op_compares_the_old_value() {
    const SET: i32 = 0;
    let (one, other) = (wait(&WORD), wait(&OTHER));
    let code = FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG;
    assert_eq!(
        ok!(SYS_futex, &WORD, code, 1, 1, &OTHER, operation(SET, 9, 3)),
        1
    );
    assert_eq!(OTHER.load(SeqCst), 9);
    assert_eq!(one.join(), Ok(0));
    assert_eq!(wake(&OTHER, 1), 1);
    assert_eq!(other.join(), Ok(0));
}

fn unknown_operation_is_enosys() {
    fails!(ENOSYS, SYS_futex, &WORD, 100, 0, 0);
}

/// The memory of a robust list: head at 0, one lock at 64 whose word follows its link.
fn robust_list(memory: &Mapping) -> usize {
    const OFFSET: usize = 16;
    let (head, lock) = (memory.at, memory.at + 64);
    for (at, value) in [
        (head, lock),
        (head + 8, OFFSET),
        (head + 16, 0),
        (lock, head),
    ] {
        for (i, byte) in value.to_ne_bytes().iter().enumerate() {
            crate::frame::mapping::poke(at + i, *byte);
        }
    }
    64 + OFFSET
}

fn robust_lock_of_a_dead_thread_is_marked() {
    let memory = Mapping::shared(1);
    let word = robust_list(&memory);
    isolated(|| {
        ok!(SYS_set_robust_list, memory.at, 24);
        memory
            .word(word)
            .store(ok!(SYS_gettid) as u32 | FUTEX_WAITERS, SeqCst);
    });
    assert_eq!(
        memory.word(word).load(SeqCst),
        FUTEX_OWNER_DIED | FUTEX_WAITERS
    );
}

fn robust_list_of_bad_length_is_einval() {
    fails!(EINVAL, SYS_set_robust_list, 0x1000, 23);
    let (mut head, mut len) = (0usize, 0usize);
    isolated(|| {
        ok!(SYS_set_robust_list, 0x1000, 24);
        ok!(SYS_get_robust_list, 0, &mut head, &mut len);
        assert_eq!((head, len), (0x1000, 24));
    });
}

fn robust_list_that_is_circular_ends() {
    let memory = Mapping::shared(1);
    let word = robust_list(&memory);
    isolated(|| {
        // The lock's link leads to itself, not back to the head.
        let lock = memory.at + 64;
        for (i, byte) in lock.to_ne_bytes().iter().enumerate() {
            crate::frame::mapping::poke(lock + i, *byte);
        }
        ok!(SYS_set_robust_list, memory.at, 24);
        memory.word(word).store(1, SeqCst);
    });
    assert_eq!(memory.word(word).load(SeqCst), 1);
}

fn futex_mutex_excludes() {
    static LOCK: AtomicU32 = AtomicU32::new(0);
    static COUNT: AtomicU32 = AtomicU32::new(0);
    // 0 free, 1 held, 2 held with waiters.
    let work = || {
        for _ in 0..40 {
            let mut state = LOCK
                .compare_exchange(0, 1, SeqCst, SeqCst)
                .unwrap_or_else(|s| s);
            while state != 0 {
                if state == 2 || LOCK.compare_exchange(1, 2, SeqCst, SeqCst).is_ok() {
                    let _ = call!(SYS_futex, &LOCK, FUTEX_WAIT_PRIVATE, 2, 0);
                }
                state = LOCK
                    .compare_exchange(0, 2, SeqCst, SeqCst)
                    .unwrap_or_else(|s| s);
            }
            let count = COUNT.load(SeqCst);
            ok!(SYS_sched_yield);
            COUNT.store(count + 1, SeqCst);
            if LOCK.swap(0, SeqCst) == 2 {
                wake(&LOCK, 1);
            }
        }
    };
    let threads: Vec<_> = (0..4).map(|_| spawn(work)).collect();
    threads.into_iter().for_each(Thread::join);
    assert_eq!(COUNT.load(SeqCst), 160);
}
