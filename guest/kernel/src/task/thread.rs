//! A task: one thread of execution, with what it has for itself.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use gnomon_sched::Entity;

use super::kstack::KernelStack;
use super::ptrace::Tracing;
use super::signal::state::TaskSignals;
use super::{Process, Usage};
use crate::arch::TrapFrame;
use crate::arch::context::Context;
use crate::arch::fpu::FpuState;
use crate::arch::percpu;
use crate::errno::KResult;
use crate::sync::{SpinLock, Waiter};
use crate::time::account::Split;

/// Bytes of a command name, with its NUL (`TASK_COMM_LEN`).
pub const COMM_LEN: usize = 16;

/// A task's state, as the scheduler sees it.
pub mod state {
    /// On a processor.
    pub const RUNNING: u32 = 0;
    /// In a run queue.
    pub const QUEUED: u32 = 1;
    /// Woken, but not in a run queue yet.
    pub const WAKING: u32 = 2;
    /// Asleep; signals wake it.
    pub const INTERRUPTIBLE: u32 = 3;
    /// Asleep; signals do not wake it.
    pub const UNINTERRUPTIBLE: u32 = 4;
    /// Stopped by a signal.
    pub const STOPPED: u32 = 5;
    /// Ended; never runs again.
    pub const DEAD: u32 = 6;
    /// Stopped for its tracer (ptrace).
    pub const TRACED: u32 = 7;
}

/// Flag: a signal may be deliverable, or the thread must stop or die.
pub const SIGNAL: u32 = 1 << 0;
/// Flag: a system call was interrupted and asked for a restart.
pub const RESTART: u32 = 1 << 1;
/// Flag: it has a tracer. Stays set; demands nothing by itself.
pub const TRACED: u32 = 1 << 2;
/// Flag: its tracer wants to see its system calls. Stays set; see `syscall::follow`.
pub const TRACE_CALLS: u32 = 1 << 3;
/// Flag: its tracer may have changed its registers.
pub const RELOAD: u32 = 1 << 4;
/// Flag: it must stop for its tracer (PTRACE_EVENT_STOP).
pub const TRAP: u32 = 1 << 5;

/// How `restart_syscall` continues a call that had a deadline (`ERESTART_RESTARTBLOCK`).
#[derive(Clone, Copy)]
pub struct RestartBlock {
    /// What to call.
    pub call: fn([usize; 4]) -> KResult<usize>,
    /// With what.
    pub args: [usize; 4],
}

/// A thread. Threads of one process share its [`Process`].
pub struct Task {
    tid: AtomicU32,
    /// The process that it belongs to.
    pub process: Arc<Process>,

    // Scheduling.
    pub(crate) state: AtomicU32,
    pub(crate) on_cpu: AtomicBool,
    pub(crate) cpu: AtomicU32,
    /// Belongs to the run queue's lock.
    pub(crate) entity: UnsafeCell<Entity>,
    /// Belongs to the processor that switches to or from the task.
    pub(crate) context: UnsafeCell<Context>,
    /// As `context`.
    pub(crate) fpu: UnsafeCell<FpuState>,
    pub(crate) fs_base: AtomicUsize,
    pub(crate) gs_base: AtomicUsize,
    stack: Option<KernelStack>,
    /// When it was last put on a processor, monotonic.
    pub(crate) since_ns: AtomicU64,
    /// Time on processors until then.
    pub(crate) run_ns: AtomicU64,
    /// How much of it was the program's own, how much the kernel's.
    pub(crate) split: Split,
    pub(crate) voluntary_switches: AtomicU64,
    pub(crate) involuntary_switches: AtomicU64,
    waiter: Arc<Waiter>,
    /// It sleeps so that signals do not wake it, but for its end.
    pub(crate) killable: AtomicBool,
    /// sched_setscheduler(2): policy and priority, as they were set.
    pub(crate) sched_policy: AtomicU32,
    pub(crate) sched_priority: AtomicU32,

    // Signals.
    pub(super) flags: AtomicU32,
    /// Blocked signals; changed by the task itself, under its process's signal lock.
    pub(super) blocked: AtomicU64,
    pub(super) signals: SpinLock<TaskSignals>,

    // System calls.
    restart: SpinLock<Option<RestartBlock>>,
    /// Where to write 0 and wake a futex at the end (`set_tid_address(2)`).
    pub(crate) clear_child_tid: AtomicUsize,
    /// Head of the robust list (`set_robust_list(2)`).
    pub(crate) robust_list: AtomicUsize,
    comm: SpinLock<[u8; COMM_LEN]>,
    /// Vector, error code and address of the last exception, for signal frames.
    last_fault: SpinLock<(u8, u64, usize)>,
    /// Its tracer's hold on it; made when it is traced for the first time.
    pub(super) tracing: SpinLock<Option<Box<Tracing>>>,
}

// SAFETY: the cells are guarded as their comments say; everything else is shared safely.
unsafe impl Sync for Task {}
// SAFETY: a task's parts do not depend on the processor that made it.
unsafe impl Send for Task {}

/// What a new task starts with.
pub(super) struct Parts {
    pub tid: u32,
    pub process: Arc<Process>,
    pub entity: Entity,
    pub stack: Option<KernelStack>,
    pub context: Context,
    pub fpu: FpuState,
    pub fs_base: usize,
    pub gs_base: usize,
    pub blocked: u64,
    pub comm: [u8; COMM_LEN],
}

impl Task {
    pub(super) fn new(parts: Parts) -> Arc<Self> {
        Arc::new_cyclic(|weak| Self {
            tid: AtomicU32::new(parts.tid),
            process: parts.process,
            state: AtomicU32::new(state::WAKING),
            on_cpu: AtomicBool::new(false),
            cpu: AtomicU32::new(0),
            entity: UnsafeCell::new(parts.entity),
            context: UnsafeCell::new(parts.context),
            fpu: UnsafeCell::new(parts.fpu),
            fs_base: AtomicUsize::new(parts.fs_base),
            gs_base: AtomicUsize::new(parts.gs_base),
            stack: parts.stack,
            since_ns: AtomicU64::new(0),
            run_ns: AtomicU64::new(0),
            split: Split::new(),
            voluntary_switches: AtomicU64::new(0),
            involuntary_switches: AtomicU64::new(0),
            // SAFETY: a task leaves all wait queues before it ends.
            waiter: Arc::new(unsafe { Waiter::embedded(weak.as_ptr()) }),
            killable: AtomicBool::new(false),
            sched_policy: AtomicU32::new(0),
            sched_priority: AtomicU32::new(0),
            flags: AtomicU32::new(0),
            blocked: AtomicU64::new(parts.blocked),
            signals: SpinLock::new(TaskSignals::new()),
            restart: SpinLock::new(None),
            clear_child_tid: AtomicUsize::new(0),
            robust_list: AtomicUsize::new(0),
            comm: SpinLock::new(parts.comm),
            last_fault: SpinLock::new((0, 0, 0)),
            tracing: SpinLock::new(None),
        })
    }

    /// Its number.
    #[inline]
    pub fn tid(&self) -> u32 {
        self.tid.load(Ordering::Relaxed)
    }

    /// exec(2) by another thread than the leader: it takes the leader's number.
    pub(super) fn set_tid(&self, tid: u32) {
        self.tid.store(tid, Ordering::Relaxed);
    }

    /// The command name, without NULs.
    pub fn comm(&self) -> ([u8; COMM_LEN], usize) {
        let comm = *self.comm.lock();
        let len = comm.iter().position(|&b| b == 0).unwrap_or(COMM_LEN);
        (comm, len)
    }

    /// Set the command name; cut to 15 bytes.
    pub fn set_comm(&self, name: &[u8]) {
        let mut comm = [0; COMM_LEN];
        let len = name.len().min(COMM_LEN - 1);
        comm[..len].copy_from_slice(&name[..len]);
        *self.comm.lock() = comm;
    }

    /// The waiter for [`crate::sync::WaitQueue`].
    #[inline]
    pub(crate) fn waiter(&self) -> &Arc<Waiter> {
        &self.waiter
    }

    /// The program's registers. Meaningful while the task is in the kernel.
    pub fn frame(&self) -> Option<*mut TrapFrame> {
        self.stack.as_ref().map(KernelStack::frame)
    }

    /// The frame pointer where it was switched away from; none in the running task.
    pub(crate) fn saved_frame_pointer(&self) -> Option<usize> {
        if self.on_cpu.load(Ordering::SeqCst) || self.stack.is_none() {
            return None;
        }
        // SAFETY: the task does not run, so its context is complete and nobody writes it.
        Some(unsafe { (*self.context.get()).frame_pointer() })
    }

    /// One past the kernel stack; 0 for the boot task, which never goes to ring 3.
    #[inline]
    pub(crate) fn stack_top(&self) -> usize {
        self.stack.as_ref().map_or(0, KernelStack::top)
    }

    pub(super) fn stack(&self) -> Option<&KernelStack> {
        self.stack.as_ref()
    }

    /// Whether it is the first thread of its process.
    pub fn is_leader(&self) -> bool {
        self.tid() == self.process.pid()
    }

    /// Whether it has a tracer.
    #[inline]
    pub fn is_traced(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & TRACED != 0
    }

    /// Whether something waits to be done before the task returns to ring 3 that must interrupt
    /// a sleep: a signal, a stop, its end.
    #[inline]
    pub fn has_signal(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & (SIGNAL | TRAP) != 0
    }

    /// Whether its end has been asked for: of its whole process, or of all threads but the one that
    /// executes a program.
    pub(super) fn must_end(&self) -> bool {
        let signals = self.process.signals.lock();
        signals.exiting.is_some() || signals.exec_by.is_some_and(|tid| tid != self.tid())
    }

    #[inline]
    pub(crate) fn work_flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }

    /// Set flags; the task looks at them before it returns to ring 3.
    pub(crate) fn set_flags(&self, flags: u32) {
        self.flags.fetch_or(flags, Ordering::SeqCst);
        if core::ptr::eq(percpu::current().cast(), self) {
            percpu::set_work();
        }
    }

    pub(crate) fn clear_flags(&self, flags: u32) {
        self.flags.fetch_and(!flags, Ordering::SeqCst);
    }

    /// Say that the task is about to sleep. What it waits for must be tested after this and before
    /// `schedule`.
    #[inline]
    pub(crate) fn prepare_sleep(&self, interruptible: bool) {
        let state = if interruptible {
            state::INTERRUPTIBLE
        } else {
            state::UNINTERRUPTIBLE
        };
        self.state.swap(state, Ordering::SeqCst);
    }

    /// Take back [`Self::prepare_sleep`].
    #[inline]
    pub(crate) fn cancel_sleep(&self) {
        self.state.swap(state::RUNNING, Ordering::SeqCst);
    }

    /// How `restart_syscall` shall go on; then return `ERESTART_RESTARTBLOCK`.
    pub fn set_restart(&self, block: RestartBlock) {
        *self.restart.lock() = Some(block);
    }

    /// Take the restart block.
    pub(crate) fn take_restart(&self) -> Option<RestartBlock> {
        self.restart.lock().take()
    }

    /// Blocked signals.
    pub fn blocked(&self) -> u64 {
        self.blocked.load(Ordering::Relaxed)
    }

    /// Time on processors, in nanoseconds, up to now.
    pub fn cpu_ns(&self) -> u64 {
        let ran = self.run_ns.load(Ordering::Relaxed);
        if self.on_cpu.load(Ordering::Relaxed) {
            ran + crate::time::now_ns().saturating_sub(self.since_ns.load(Ordering::Relaxed))
        } else {
            ran
        }
    }

    /// Processor time and switches.
    pub fn usage(&self) -> Usage {
        let (user_ns, system_ns) = self.split.of(self.cpu_ns());
        Usage {
            user_ns,
            system_ns,
            voluntary_switches: self.voluntary_switches.load(Ordering::Relaxed),
            involuntary_switches: self.involuntary_switches.load(Ordering::Relaxed),
            ..Usage::default()
        }
    }

    /// The letter that `/proc/[pid]/stat` shows.
    pub fn state_letter(&self) -> u8 {
        match self.state.load(Ordering::Relaxed) {
            state::RUNNING | state::QUEUED | state::WAKING => b'R',
            state::INTERRUPTIBLE => b'S',
            state::UNINTERRUPTIBLE => b'D',
            state::STOPPED => b'T',
            state::TRACED => b't',
            _ => b'X',
        }
    }

    /// Remember an exception for the frame of the signal that it raises.
    pub(super) fn note_fault(&self, vector: u8, error: u64, addr: usize) {
        *self.last_fault.lock() = (vector, error, addr);
    }

    /// Vector, error code and address of the last exception.
    pub(super) fn last_fault(&self) -> (u8, u64, usize) {
        *self.last_fault.lock()
    }

    /// Nice value, -20 to 19.
    pub fn nice(&self) -> i8 {
        crate::sched::nice(self)
    }
}
