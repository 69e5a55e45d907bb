//! Getting a virtual processor out of KVM_RUN from another thread.
//!
//! A signal ends KVM_RUN; but one that comes just before it would be lost. So the handler also
//! sets `immediate_exit` in the page shared with KVM, and the next KVM_RUN returns at once.

use std::cell::Cell;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kvm_bindings::kvm_run;
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

thread_local! {
    /// The shared page of the processor that this thread runs.
    static SHARED: Cell<*mut kvm_run> = const { Cell::new(ptr::null_mut()) };
}

/// What other threads want of a virtual processor, and what it tells them.
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicBool,
    inspect: AtomicBool,
    exits: AtomicU64,
    /// The kernel's number of the thread that runs the processor.
    thread: Mutex<Option<libc::pid_t>>,
}

extern "C" fn on_kick(_signal: libc::c_int, _info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    SHARED.with(|shared| {
        let run = shared.get();
        if !run.is_null() {
            // SAFETY: the pointer is set only while the page is mapped, by the thread that this
            // handler interrupts; one byte is stored, which KVM reads.
            unsafe { ptr::addr_of_mut!((*run).immediate_exit).write_volatile(1) };
        }
    });
}

/// Make KVM_RUN, or a wait, of this process's thread `thread` return.
pub fn kick_thread(thread: libc::pid_t) {
    // SAFETY: sends a signal, which has a handler, to a thread of this process; one that has ended
    // is not found.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, SIGRTMIN()) };
}

impl Control {
    /// Ask the processor to stop for good.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.kick();
    }

    /// Ask the processor whether anything can still wake it.
    pub fn inspect(&self) {
        self.inspect.store(true, Ordering::Release);
        self.kick();
    }

    /// Exits from the guest so far.
    pub fn exits(&self) -> u64 {
        self.exits.load(Ordering::Relaxed)
    }

    /// Make KVM_RUN return.
    fn kick(&self) {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(thread) = *thread {
            kick_thread(thread);
        }
    }

    /// The processor counts an exit.
    pub(super) fn count_exit(&self) {
        // One writer: no read-modify-write needed.
        let exits = self.exits.load(Ordering::Relaxed);
        self.exits.store(exits + 1, Ordering::Relaxed);
    }

    /// Whether to stop.
    pub(super) fn wants_stop(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Whether to look if anything can wake the processor; asked once.
    pub(super) fn wants_inspection(&self) -> bool {
        self.inspect.load(Ordering::Relaxed) && self.inspect.swap(false, Ordering::AcqRel)
    }

    /// The calling thread is the one that runs the processor whose page is `run`, for as long as
    /// the returned guard lives.
    ///
    /// # Safety
    /// `run` stays mapped for that long.
    pub unsafe fn enter(&self, run: *mut kvm_run) -> Entered<'_> {
        // A failure leaves kicks without effect, no worse: the signal is valid, so there is none.
        let _ = register_signal_handler(SIGRTMIN(), on_kick);
        SHARED.set(run);
        // SAFETY: always succeeds.
        let this = unsafe { libc::gettid() };
        self.set_thread(Some(this));
        Entered(self)
    }

    fn set_thread(&self, thread: Option<libc::pid_t>) {
        *self
            .thread
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = thread;
    }
}

/// A thread can be kicked while this lives.
pub struct Entered<'a>(&'a Control);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.set_thread(None);
        SHARED.set(ptr::null_mut());
    }
}
