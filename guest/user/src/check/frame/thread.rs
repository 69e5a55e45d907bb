//! Threads.

use super::state;
use std::sync::mpsc;
use std::time::Duration;

/// How long anything may take that must not block.
const LIMIT: Duration = Duration::from_secs(5);

/// A running thread.
pub struct Thread<T> {
    tid: i32,
    result: mpsc::Receiver<T>,
    handle: std::thread::JoinHandle<()>,
}

impl<T> Thread<T> {
    /// Its number.
    pub fn tid(&self) -> i32 {
        self.tid
    }

    /// Let it run until it is asleep in a system call.
    pub fn wait_until_asleep(&self) {
        state::wait_until_thread_asleep(self.tid);
    }

    /// Its result; it must come in time.
    pub fn join(self) -> T {
        let result = self
            .result
            .recv_timeout(LIMIT)
            .expect("the thread is stuck");
        self.handle.join().expect("the thread has failed");
        result
    }
}

/// Start a thread.
pub fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> Thread<T> {
    let (send_tid, tid) = mpsc::channel();
    let (send_result, result) = mpsc::channel();
    let handle = std::thread::spawn(move || {
        let _ = send_tid.send(ok!(libc::SYS_gettid) as i32);
        let _ = send_result.send(body());
    });
    let tid = tid.recv().expect("the thread has not started");
    Thread {
        tid,
        result,
        handle,
    }
}
