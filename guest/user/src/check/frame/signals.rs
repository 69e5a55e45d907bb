//! Signals: handlers that record, masks, queues.

use libc::*;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};

/// What a handler was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caught {
    /// The signal.
    pub signal: i32,
    /// `si_code`
    pub code: i32,
    /// `si_pid`, or the low half of `si_addr`.
    pub pid: i32,
    /// `si_value`
    pub value: i32,
}

/// How many signals are recorded.
const ROOM: usize = 256;
static COUNT: AtomicUsize = AtomicUsize::new(0);
static SIGNAL_AND_CODE: [AtomicI64; ROOM] = [const { AtomicI64::new(0) }; ROOM];
static PID_AND_VALUE: [AtomicI64; ROOM] = [const { AtomicI64::new(0) }; ROOM];

fn pair(high: i32, low: i32) -> i64 {
    i64::from(high) << 32 | i64::from(low as u32)
}

extern "C" fn record_signal(signal: i32, info: *mut siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel gives a valid siginfo with SA_SIGINFO; its fields here are integers.
    let (code, pid, value) = unsafe {
        let info = &*info;
        (
            info.si_code,
            info.si_pid(),
            info.si_value().sival_ptr as i32,
        )
    };
    let index = COUNT.fetch_add(1, SeqCst);
    if index < ROOM {
        SIGNAL_AND_CODE[index].store(pair(signal, code), SeqCst);
        PID_AND_VALUE[index].store(pair(pid, value), SeqCst);
    }
}

/// A handler as `SA_SIGINFO` has it.
pub type Handler = extern "C" fn(i32, *mut siginfo_t, *mut c_void);

/// Install a handler.
pub fn handle(signal: i32, flags: i32, handler: Handler) {
    handle_masking(signal, flags, &[], handler);
}

/// Install a handler that runs with more signals blocked.
pub fn handle_masking(signal: i32, flags: i32, masked: &[i32], handler: Handler) {
    act(signal, handler as usize, flags | SA_SIGINFO, masked);
}

/// `SIG_DFL` or `SIG_IGN` for a signal.
pub fn dispose(signal: i32, disposition: sighandler_t) {
    act(signal, disposition, 0, &[]);
}

fn act(signal: i32, handler: usize, flags: i32, masked: &[i32]) {
    // SAFETY: integers and a pointer; all filled in below.
    let mut action: sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    for signal in masked {
        // SAFETY: a set of our own.
        unsafe { sigaddset(&mut action.sa_mask, *signal) };
    }
    // SAFETY: the handlers of the tests touch nothing but atomics and system calls.
    let result = unsafe { sigaction(signal, &action, std::ptr::null_mut()) };
    assert_eq!(result, 0, "sigaction");
}

/// Have a signal recorded.
pub fn record(signal: i32, flags: i32) {
    handle(signal, flags, record_signal);
}

/// What has been recorded, in order.
pub fn caught() -> Vec<Caught> {
    (0..COUNT.load(SeqCst).min(ROOM))
        .map(|index| {
            let first = SIGNAL_AND_CODE[index].load(SeqCst);
            let second = PID_AND_VALUE[index].load(SeqCst);
            Caught {
                signal: (first >> 32) as i32,
                code: first as i32,
                pid: (second >> 32) as i32,
                value: second as i32,
            }
        })
        .collect()
}

/// The signals that have been recorded, in order.
pub fn caught_signals() -> Vec<i32> {
    caught().iter().map(|caught| caught.signal).collect()
}

/// A set as the kernel knows it: bit `signal - 1`.
pub fn set(signals: &[i32]) -> u64 {
    signals
        .iter()
        .fold(0, |set, signal| set | 1 << (signal - 1))
}

/// Block signals; returns the mask before.
pub fn block(signals: &[i32]) -> u64 {
    change(SIG_BLOCK, set(signals))
}

/// Unblock signals; returns the mask before.
pub fn unblock(signals: &[i32]) -> u64 {
    change(SIG_UNBLOCK, set(signals))
}

/// Block exactly `mask`; returns the mask before.
pub fn set_mask(mask: u64) -> u64 {
    change(SIG_SETMASK, mask)
}

fn change(how: i32, mask: u64) -> u64 {
    let mut old = 0u64;
    ok!(SYS_rt_sigprocmask, how, &mask, &mut old, 8);
    old
}

/// The mask.
pub fn mask() -> u64 {
    change(SIG_BLOCK, 0)
}

/// The pending signals.
pub fn pending() -> u64 {
    let mut pending = 0u64;
    ok!(SYS_rt_sigpending, &mut pending, 8);
    pending
}

/// Send a signal to this process.
pub fn raise(signal: i32) {
    ok!(SYS_kill, std::process::id(), signal);
}

/// Queue a signal with a value for a process.
pub fn queue(pid: i32, signal: i32, value: usize) {
    let value = sigval {
        sival_ptr: value as *mut c_void,
    };
    // SAFETY: no memory is passed.
    let result = unsafe { sigqueue(pid, signal, value) };
    assert_eq!(result, 0, "sigqueue: {}", std::io::Error::last_os_error());
}
