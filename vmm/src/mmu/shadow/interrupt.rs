//! Events from outside: interrupt messages, the virtual timer, waiting while halted.
//!
//! All of them arrive as SIGRTMIN at the processor's thread, whose handler (see
//! [`crate::vcpu::kick`]) makes KVM_RUN return.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gnomon_devices::irq::MsiSink;
use vmm_sys_util::signal::SIGRTMIN;

use crate::clock::now_ns;
use crate::vcpu::kick::kick_thread;

/// Trigger mode in a message's data (Intel SDM volume 3, 11.11.2): level.
const LEVEL: u32 = 1 << 15;

/// Interrupts that have come and not been seen by the virtual APIC yet.
#[derive(Default)]
pub struct Inbox {
    vectors: [AtomicU64; 4],
    /// Those of them that are level triggered.
    levels: [AtomicU64; 4],
    any: AtomicBool,
    /// The kernel's number of the thread that runs the processor.
    thread: Mutex<Option<libc::pid_t>>,
}

impl MsiSink for Inbox {
    fn send(&self, _address: u64, data: u32) {
        // Fixed delivery to the one processor that there is.
        let vector = data as u8;
        let (word, bit) = (usize::from(vector / 64), 1 << (vector % 64));
        if data & LEVEL != 0 {
            self.levels[word].fetch_or(bit, Ordering::Release);
        } else {
            self.levels[word].fetch_and(!bit, Ordering::Release);
        }
        self.vectors[word].fetch_or(bit, Ordering::Release);
        self.any.store(true, Ordering::Release);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        // SAFETY: trivial.
        let this = unsafe { libc::gettid() };
        if let Some(thread) = *thread
            && thread != this
        {
            kick_thread(thread);
        }
    }
}

impl Inbox {
    /// Calls `f` with each vector that has come, and whether it is level triggered.
    pub fn drain(&self, mut f: impl FnMut(u8, bool)) {
        if !self.any.load(Ordering::Relaxed) || !self.any.swap(false, Ordering::AcqRel) {
            return;
        }
        for (i, word) in self.vectors.iter().enumerate() {
            let mut bits = word.swap(0, Ordering::AcqRel);
            let levels = self.levels[i].load(Ordering::Acquire);
            while bits != 0 {
                let n = bits.trailing_zeros();
                f((i * 64) as u8 + n as u8, levels >> n & 1 != 0);
                bits &= bits - 1;
            }
        }
    }

    /// Whether one has come.
    pub fn is_full(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    fn set_thread(&self, thread: Option<libc::pid_t>) {
        *self
            .thread
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = thread;
    }
}

fn timespec(ns: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: (ns / 1_000_000_000) as _,
        tv_nsec: (ns % 1_000_000_000) as _,
    }
}

/// The processor's thread: where signals go, and the alarm clock that sends one.
pub struct Alarm {
    inbox: Arc<Inbox>,
    timer: libc::timer_t,
    armed: Option<u64>,
}

// SAFETY: a timer id is a number of the process, not of a thread.
unsafe impl Send for Alarm {}

impl Alarm {
    /// An alarm for the calling thread, which `inbox` then interrupts too.
    ///
    /// # Errors
    /// The host is out of timers.
    pub fn for_this_thread(inbox: &Arc<Inbox>) -> std::io::Result<Self> {
        // SAFETY: all-zero is a valid value of this plain structure.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = SIGRTMIN();
        // SAFETY: trivial.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let mut timer = std::ptr::null_mut();
        // SAFETY: both point to valid structures.
        if unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: trivial.
        inbox.set_thread(Some(unsafe { libc::gettid() }));
        Ok(Self {
            inbox: Arc::clone(inbox),
            timer,
            armed: None,
        })
    }

    /// Rings at `deadline`, in ns of the monotonic clock, or not at all.
    pub fn set(&mut self, deadline: Option<u64>) {
        if self.armed == deadline {
            return;
        }
        self.armed = deadline;
        let value = libc::itimerspec {
            it_interval: timespec(0),
            // 0 would turn it off.
            it_value: timespec(deadline.map_or(0, |ns| ns.max(1))),
        };
        // SAFETY: the timer is ours, the structure valid.
        unsafe {
            libc::timer_settime(
                self.timer,
                libc::TIMER_ABSTIME,
                &value,
                std::ptr::null_mut(),
            )
        };
    }

    /// Sleeps until `deadline`, a message or a signal; returns at once if `interrupted` says that
    /// a signal has come already.
    pub fn sleep(&self, deadline: Option<u64>, interrupted: impl Fn() -> bool) {
        let timeout = deadline.map(|ns| timespec(ns.saturating_sub(now_ns())));
        // SAFETY: plain sets and structures, valid for the calls; the signal is blocked but for
        // the wait itself, so that none is lost between the check and the wait.
        unsafe {
            let mut blocked: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut blocked);
            libc::sigaddset(&mut blocked, SIGRTMIN());
            libc::pthread_sigmask(libc::SIG_BLOCK, &blocked, &mut before);
            if !interrupted() && !self.inbox.is_full() {
                let timeout = timeout
                    .as_ref()
                    .map_or(std::ptr::null(), std::ptr::from_ref);
                libc::ppoll(std::ptr::null_mut(), 0, timeout, &before);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.inbox.set_thread(None);
        // SAFETY: the timer is ours.
        unsafe { libc::timer_delete(self.timer) };
    }
}
