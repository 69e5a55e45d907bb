//! What a tracer holds of a thread.

use alloc::sync::{Arc, Weak};

use crate::arch::TrapFrame;
use crate::task::signal::SigInfo;
use crate::task::{Process, Task};

/// Mark stops at system calls: SIGTRAP with bit 7.
pub const O_TRACESYSGOOD: u32 = 1;
/// Trace children made by fork, and stop there.
pub const O_TRACEFORK: u32 = 1 << 1;
/// The same for vfork.
pub const O_TRACEVFORK: u32 = 1 << 2;
/// The same for clone.
pub const O_TRACECLONE: u32 = 1 << 3;
/// Stop after exec.
pub const O_TRACEEXEC: u32 = 1 << 4;
/// Stop when a vfork child has released its parent.
pub const O_TRACEVFORKDONE: u32 = 1 << 5;
/// Stop before the end.
pub const O_TRACEEXIT: u32 = 1 << 6;
/// Seccomp does not exist here; the option is taken all the same.
const O_TRACESECCOMP: u32 = 1 << 7;
/// Kill the thread when the tracer ends.
pub const O_EXITKILL: u32 = 1 << 20;
/// All options.
pub const OPTIONS: u32 = O_TRACESYSGOOD
    | O_TRACEFORK
    | O_TRACEVFORK
    | O_TRACECLONE
    | O_TRACEEXEC
    | O_TRACEVFORKDONE
    | O_TRACEEXIT
    | O_TRACESECCOMP
    | O_EXITKILL;

/// `PTRACE_EVENT_FORK`.
pub const EVENT_FORK: u32 = 1;
/// `PTRACE_EVENT_VFORK`.
pub const EVENT_VFORK: u32 = 2;
/// `PTRACE_EVENT_CLONE`.
pub const EVENT_CLONE: u32 = 3;
/// `PTRACE_EVENT_EXEC`.
pub const EVENT_EXEC: u32 = 4;
/// `PTRACE_EVENT_VFORK_DONE`.
pub const EVENT_VFORK_DONE: u32 = 5;
/// `PTRACE_EVENT_EXIT`.
pub const EVENT_EXIT: u32 = 6;
/// `PTRACE_EVENT_STOP`: a stop of a thread that was attached by PTRACE_SEIZE.
pub const EVENT_STOP: u32 = 128;

/// Why a thread has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is about to take a signal.
    Signal,
    /// Its process is stopped by a signal.
    Group,
    /// The tracer asked for it, or it goes on after a group stop.
    Trap,
    /// Before a system call.
    Entry,
    /// After a system call.
    Exit,
    /// An event.
    Event,
    /// `PTRACE_EVENT_EXIT`: a process that is ending stops all the same.
    End,
}

/// A stop.
#[derive(Clone, Copy)]
pub struct Stop {
    /// Why.
    pub kind: Kind,
    /// Bits 8 and up of the wait status: the signal, and the event above it.
    pub code: u32,
    /// What PTRACE_GETSIGINFO tells.
    pub info: Option<SigInfo>,
    /// The program's registers, on the thread's kernel stack.
    pub frame: *mut TrapFrame,
    /// The tracer has learnt of it by wait.
    pub reported: bool,
    /// PTRACE_LISTEN: it stays, but what happens to it is told.
    pub listening: bool,
}

// SAFETY: the pointer is followed only while the thread stays in the stop, under the tracer's lock.
unsafe impl Send for Stop {}

/// How a thread was continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// PTRACE_CONT.
    Run,
    /// PTRACE_SYSCALL: up to the next entry to or exit from a system call.
    Calls,
    /// PTRACE_SINGLESTEP: one instruction.
    Step,
}

/// A tracer's hold on a thread. It stays with the thread when the tracer goes.
pub struct Tracing {
    /// The tracer; none: it has gone.
    pub tracer: Option<Weak<Process>>,
    /// Attached by PTRACE_SEIZE.
    pub seized: bool,
    /// `PTRACE_O_…`
    pub options: u32,
    /// The stop that the thread is in.
    pub stop: Option<Stop>,
    /// The signal that the tracer has continued it with; 0: none.
    pub signal: u32,
    /// What that signal tells, as PTRACE_SETSIGINFO may have changed it.
    pub info: Option<SigInfo>,
    /// How it was continued.
    pub mode: Mode,
    /// The trap flag in RFLAGS is the tracer's, not the program's.
    pub stepping: bool,
    /// PTRACE_GETEVENTMSG.
    pub message: u64,
    /// The thread, not a leader, has ended with this wait status, and the tracer does not know.
    pub ended: Option<u32>,
}

impl Tracing {
    /// A hold by `tracer`.
    pub fn by(tracer: &Arc<Process>, seized: bool, options: u32) -> Self {
        Self {
            tracer: Some(Arc::downgrade(tracer)),
            seized,
            options,
            stop: None,
            signal: 0,
            info: None,
            mode: Mode::Run,
            stepping: false,
            message: 0,
            ended: None,
        }
    }
}

/// Look at a traced thread's state; None: it has no tracer.
pub fn with<T>(task: &Task, look: impl FnOnce(&mut Tracing) -> T) -> Option<T> {
    let mut slot = task.tracing.lock();
    let tracing = slot.as_deref_mut().filter(|t| t.tracer.is_some())?;
    Some(look(tracing))
}

/// The tracer of a thread.
pub fn tracer(task: &Task) -> Option<Arc<Process>> {
    with(task, |t| t.tracer.as_ref().and_then(Weak::upgrade))?
}
