//! Threads and what they share.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, Once, RwLock};
use std::thread;
use std::time::{Duration, Instant};

/// Try everything once, and print what came of it.
pub fn run() {
    mutex();
    atomic_sieve();
    barrier();
    ping_pong();
    readers_and_writers();
    locals();
    park();
    panicking_thread();
    once();
    sleepers();
    many();
    available();
}

fn mutex() {
    let counter = Arc::new(Mutex::new(0u64));
    let threads: Vec<_> = (0..8)
        .map(|n| {
            let counter = Arc::clone(&counter);
            thread::spawn(move || {
                for _ in 0..1000 {
                    *counter.lock().unwrap() += n;
                }
                n * n
            })
        })
        .collect();
    let squares: Vec<u64> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    println!("mutex {} {squares:?}", counter.lock().unwrap());
}

fn atomic_sieve() {
    const LIMIT: u64 = 20_000;
    let (count, sum) = (AtomicU64::new(0), AtomicU64::new(0));
    let is_prime = |n: u64| {
        n > 1
            && (2..)
                .take_while(|d| d * d <= n)
                .all(|d| !n.is_multiple_of(d))
    };
    thread::scope(|scope| {
        for part in 0..4 {
            let (count, sum) = (&count, &sum);
            scope.spawn(move || {
                for n in (part..LIMIT).step_by(4).filter(|&n| is_prime(n)) {
                    count.fetch_add(1, Ordering::Relaxed);
                    sum.fetch_add(n, Ordering::Relaxed);
                }
            });
        }
    });
    println!("sieve {} {}", count.into_inner(), sum.into_inner());
}

fn barrier() {
    let barrier = Barrier::new(5);
    let (before, leaders) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                before.fetch_add(1, Ordering::SeqCst);
                let result = barrier.wait();
                assert_eq!(before.load(Ordering::SeqCst), 5);
                if result.is_leader() {
                    leaders.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    println!("barrier {}", leaders.into_inner());
}

fn ping_pong() {
    let shared = (Mutex::new(0u32), Condvar::new());
    let play = |mine: u32| {
        let (ball, moved) = &shared;
        for _ in 0..200 {
            let mut at = moved
                .wait_while(ball.lock().unwrap(), |at| *at % 2 != mine)
                .unwrap();
            *at += 1;
            moved.notify_one();
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| play(0));
        scope.spawn(|| play(1));
    });
    println!("ping-pong {}", shared.0.lock().unwrap());
    let (ball, moved) = &shared;
    let (_guard, result) = moved
        .wait_timeout_while(ball.lock().unwrap(), Duration::from_millis(20), |_| true)
        .unwrap();
    println!("condition timed out {}", result.timed_out());
}

fn readers_and_writers() {
    let pair = RwLock::new((0u32, 0u32));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let mut pair = pair.write().unwrap();
                    pair.0 += 1;
                    pair.1 += 1;
                }
            });
        }
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let pair = pair.read().unwrap();
                    assert_eq!(pair.0, pair.1);
                }
            });
        }
    });
    println!("rwlock {:?}", pair.read().unwrap());
}

fn locals() {
    thread_local!(static OWN: Cell<u32> = const { Cell::new(7) });
    OWN.set(8);
    let other = thread::spawn(|| {
        let first = OWN.get();
        OWN.set(9);
        (first, OWN.get())
    });
    println!("locals {:?} {}", other.join().unwrap(), OWN.get());
}

fn park() {
    let parked = thread::Builder::new()
        .name("parked".into())
        .stack_size(64 << 10)
        .spawn(|| {
            thread::park();
            thread::current().name().map(str::to_owned)
        })
        .unwrap();
    thread::sleep(Duration::from_millis(5));
    parked.thread().unpark();
    println!("park {:?}", parked.join().unwrap());
}

fn panicking_thread() {
    std::panic::set_hook(Box::new(|_| {}));
    let result = thread::spawn(|| {
        let empty: Vec<u32> = Vec::new();
        empty[std::hint::black_box(3)]
    })
    .join();
    let _ = std::panic::take_hook();
    println!("panicking thread {}", result.is_err());
}

fn once() {
    static ONCE: Once = Once::new();
    static RUNS: AtomicU64 = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                ONCE.call_once(|| {
                    thread::sleep(Duration::from_millis(2));
                    RUNS.fetch_add(1, Ordering::SeqCst);
                });
                assert_eq!(RUNS.load(Ordering::SeqCst), 1);
            });
        }
    });
    println!("once {}", RUNS.load(Ordering::SeqCst));
}

fn sleepers() {
    let start = Instant::now();
    let threads: Vec<_> = [30, 10, 20]
        .map(|ms| thread::spawn(move || thread::sleep(Duration::from_millis(ms))))
        .into_iter()
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    println!("slept {}", start.elapsed() >= Duration::from_millis(30));
}

fn many() {
    let sum: u64 = (0..100u64)
        .map(|n| thread::spawn(move || n).join().unwrap())
        .sum();
    let all: Vec<_> = (0..40u64).map(|n| thread::spawn(move || n)).collect();
    let at_once: u64 = all.into_iter().map(|t| t.join().unwrap()).sum();
    println!("many {sum} {at_once}");
}

fn available() {
    println!("processors {}", thread::available_parallelism().is_ok());
}
