//! The patterns of synchronisation (Downey, *The Little Book of Semaphores*), with threads and
//! semaphores made of futexes.

use crate::frame::semaphore::Semaphore;
use crate::frame::synchronisation::{Barrier, join, pause, semaphore, start};
use crate::frame::thread::spawn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

tests!(
    signaling_orders_two_threads,
    rendezvous_makes_both_wait,
    mutex_lets_one_in,
    multiplex_lets_so_many_in,
    barrier_holds_everybody_back,
    reusable_barrier_keeps_the_rounds_apart,
    queue_pairs_leaders_and_followers,
);

fn signaling_orders_two_threads() {
    let (done, log) = (semaphore(0), Arc::new(Mutex::new(Vec::new())));
    let (theirs, their_log) = (done.clone(), log.clone());
    let second = spawn(move || {
        theirs.wait();
        their_log.lock().unwrap().push(2);
    });
    log.lock().unwrap().push(1);
    done.signal();
    second.join();
    assert_eq!(*log.lock().unwrap(), [1, 2]);
}

fn rendezvous_makes_both_wait() {
    let arrived = [semaphore(0), semaphore(0)];
    let here = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
    let met = join(start(2, move |me| {
        here[me].store(true, SeqCst);
        arrived[me].signal();
        arrived[1 - me].wait();
        here[1 - me].load(SeqCst)
    }));
    assert_eq!(met, [true, true]);
}

/// The most threads that were inside at once, of `threads` that enter through `door` often.
fn most_inside(door: Arc<Semaphore>, threads: usize) -> usize {
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    join(start(threads, move |_| {
        for _ in 0..50 {
            door.wait();
            most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
            pause();
            inside.fetch_sub(1, SeqCst);
            door.signal();
        }
    }));
    seen.load(SeqCst)
}

fn mutex_lets_one_in() {
    assert_eq!(most_inside(semaphore(1), 4), 1);
}

fn multiplex_lets_so_many_in() {
    assert!(most_inside(semaphore(3), 6) <= 3);
}

fn barrier_holds_everybody_back() {
    const THREADS: usize = 5;
    let (mutex, gate) = (Mutex::new(0), semaphore(0));
    let before = AtomicUsize::new(0);
    let seen = join(start(THREADS, move |_| {
        before.fetch_add(1, SeqCst);
        let mut count = mutex.lock().unwrap();
        *count += 1;
        if *count == THREADS {
            gate.signal();
        }
        drop(count);
        gate.wait();
        gate.signal();
        before.load(SeqCst)
    }));
    assert_eq!(seen, [THREADS; THREADS]);
}

fn reusable_barrier_keeps_the_rounds_apart() {
    const THREADS: usize = 4;
    let barrier = Barrier::new(THREADS);
    let rounds: [AtomicUsize; 10] = Default::default();
    let complete = join(start(THREADS, move |_| {
        rounds.iter().all(|round| {
            round.fetch_add(1, SeqCst);
            barrier.wait();
            round.load(SeqCst) == THREADS
        })
    }));
    assert_eq!(complete, [true; THREADS]);
}

fn queue_pairs_leaders_and_followers() {
    let (leaders, followers) = (semaphore(0), semaphore(0));
    let pairs = Arc::new(AtomicUsize::new(0));
    let seen = pairs.clone();
    join(start(10, move |me| {
        if me % 2 == 0 {
            followers.signal();
            leaders.wait();
            pairs.fetch_add(1, SeqCst);
        } else {
            leaders.signal();
            followers.wait();
            pairs.fetch_add(1, SeqCst);
        }
    }));
    assert_eq!(seen.load(SeqCst), 10);
}
