//! What the problems of synchronisation share.

use super::semaphore::Semaphore;
use super::thread::{Thread, spawn};
use std::sync::{Arc, Mutex};

/// A semaphore that threads share.
pub fn semaphore(value: u32) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(value))
}

/// Start `count` threads with the same work.
pub fn start<T: Send + 'static>(
    count: usize,
    work: impl Fn(usize) -> T + Send + Sync + 'static,
) -> Vec<Thread<T>> {
    let work = Arc::new(work);
    (0..count)
        .map(|number| {
            let work = work.clone();
            spawn(move || work(number))
        })
        .collect()
}

/// What the threads have returned.
pub fn join<T>(threads: Vec<Thread<T>>) -> Vec<T> {
    threads.into_iter().map(Thread::join).collect()
}

/// Let others run.
pub fn pause() {
    ok!(libc::SYS_sched_yield);
}

/// A barrier for many rounds: two turnstiles.
pub struct Barrier {
    threads: usize,
    count: Mutex<usize>,
    first: Semaphore,
    second: Semaphore,
}

impl Barrier {
    /// One for so many threads.
    pub fn new(threads: usize) -> Self {
        let (first, second) = (Semaphore::new(0), Semaphore::new(0));
        Barrier {
            threads,
            count: Mutex::new(0),
            first,
            second,
        }
    }

    /// Wait until all are here.
    pub fn wait(&self) {
        let mut count = self.count.lock().unwrap();
        *count += 1;
        if *count == self.threads {
            (0..self.threads).for_each(|_| self.first.signal());
        }
        drop(count);
        self.first.wait();
        let mut count = self.count.lock().unwrap();
        *count -= 1;
        if *count == 0 {
            (0..self.threads).for_each(|_| self.second.signal());
        }
        drop(count);
        self.second.wait();
    }
}
