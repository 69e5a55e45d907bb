//! The signal state of processes and of tasks.

use super::action::Actions;
use super::pending::Pending;
use super::set::SigSet;

/// Whether a process is stopped by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It runs.
    Running,
    /// A stop signal has been taken; `left` threads have not stopped yet.
    Stopping {
        /// The signal.
        signo: u32,
        /// Threads still running.
        left: usize,
    },
    /// All threads have stopped.
    Stopped {
        /// The signal.
        signo: u32,
    },
}

impl Stop {
    /// The signal that asked for it; 0: none.
    pub fn signo(self) -> u32 {
        match self {
            Stop::Running => 0,
            Stop::Stopping { signo, .. } | Stop::Stopped { signo } => signo,
        }
    }

    /// Whether a stop has been asked for.
    pub fn is_active(self) -> bool {
        self != Stop::Running
    }
}

/// A change that the parent can ask for by `wait` and has not asked for yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreported {
    /// Stopped by this signal.
    Stopped(u32),
    /// Continued.
    Continued,
}

/// What the threads of a process share of signals.
pub struct ProcessSignals {
    /// What to do with each signal.
    pub actions: Actions,
    /// Signals sent to the process as a whole.
    pub pending: Pending,
    /// Job control.
    pub stop: Stop,
    /// Job control: what `wait` will report.
    pub unreported: Option<Unreported>,
    /// The process is ending, with this wait status: each thread ends as soon as it looks.
    pub exiting: Option<u32>,
    /// exec by a thread: all others end, the process does not.
    pub exec_by: Option<u32>,
}

impl ProcessSignals {
    /// Nothing pending; the given actions.
    pub fn new(actions: Actions) -> Self {
        Self {
            actions,
            pending: Pending::new(),
            stop: Stop::Running,
            unreported: None,
            exiting: None,
            exec_by: None,
        }
    }

    /// Whether all threads are stopped.
    pub fn is_stopped(&self) -> bool {
        matches!(self.stop, Stop::Stopped { .. })
    }
}

/// `stack_t` (`sigaltstack(2)`).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct AltStack {
    /// Lowest address.
    pub base: usize,
    /// `SS_…`.
    pub flags: u32,
    pad: u32,
    /// Bytes.
    pub size: usize,
}

// SAFETY: integers without implicit padding; any bit pattern is valid.
unsafe impl crate::mm::user::Pod for AltStack {}

/// The task runs on the alternate stack.
pub const SS_ONSTACK: u32 = 1;
/// There is no alternate stack.
pub const SS_DISABLE: u32 = 2;
/// The stack is disarmed while a handler runs on it.
pub const SS_AUTODISARM: u32 = 1 << 31;

impl AltStack {
    /// No alternate stack.
    pub const NONE: Self = Self {
        base: 0,
        flags: SS_DISABLE,
        pad: 0,
        size: 0,
    };

    /// A stack with the given flags.
    pub const fn new(base: usize, flags: u32, size: usize) -> Self {
        Self {
            base,
            flags,
            pad: 0,
            size,
        }
    }

    /// Whether there is a stack.
    pub fn is_enabled(&self) -> bool {
        self.flags & SS_DISABLE == 0 && self.size != 0
    }

    /// Whether `sp` lies on the stack. With SS_AUTODISARM nobody is "on" it: it was disarmed.
    pub fn holds(&self, sp: usize) -> bool {
        self.flags & SS_AUTODISARM == 0
            && self.is_enabled()
            && sp > self.base
            && sp - self.base <= self.size
    }
}

/// What a task has for itself of signals.
pub struct TaskSignals {
    /// Signals sent to this task.
    pub pending: Pending,
    /// The mask to go back to when the signal that ends `sigsuspend` (or `ppoll`, `pselect`) has
    /// been handled.
    pub saved_mask: Option<SigSet>,
    /// Alternate stack.
    pub alt: AltStack,
    /// The set that `sigtimedwait` waits for: such signals wake the task although blocked.
    pub awaited: SigSet,
    /// The task takes part in a stop and has been counted.
    pub stopped: bool,
}

impl TaskSignals {
    /// Nothing pending, no alternate stack.
    pub const fn new() -> Self {
        Self {
            pending: Pending::new(),
            saved_mask: None,
            alt: AltStack::NONE,
            awaited: 0,
            stopped: false,
        }
    }
}

impl Default for TaskSignals {
    fn default() -> Self {
        Self::new()
    }
}
