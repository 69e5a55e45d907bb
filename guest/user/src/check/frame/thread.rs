//! Threads.

use super::state;
use std::sync::mpsc;
use std::time::Duration;

/// How long anything may take that must not block.
const LIMIT: Duration = Duration::from_secs(20);

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

/// The C library's `clone(2)`: a process or thread that runs `body` on a stack of its own and then
/// ends with status 0. Returns its number. Its memory is given back only where it has its own.
pub fn clone(flags: i32, body: impl FnOnce() + 'static) -> i32 {
    extern "C" fn begin(body: *mut libc::c_void) -> i32 {
        // SAFETY: made from a box below, and taken once.
        let body = unsafe { Box::from_raw(body.cast::<Box<dyn FnOnce()>>()) };
        body();
        0
    }
    const STACK: usize = 1 << 18;
    let stack = Box::leak(vec![0u8; STACK].into_boxed_slice());
    let body: Box<Box<dyn FnOnce()>> = Box::new(Box::new(body));
    // SAFETY: the stack is this child's alone; the body owns what it uses.
    let result = unsafe {
        libc::clone(
            begin,
            stack.as_mut_ptr_range().end.cast(),
            flags,
            Box::into_raw(body).cast(),
        )
    };
    assert_ne!(result, -1, "clone: {}", std::io::Error::last_os_error());
    result
}
