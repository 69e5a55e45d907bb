//! A process: what its threads share, and its place in the family.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};

use super::completion::Completion;
use super::core_dump::Dump;
use super::creds::Creds;
use super::rlimit::{RLimits, Resource};
use super::shared::Shared;
use super::signal::state::ProcessSignals;
use super::stack::ImageRange;
use super::thread::Task;
use super::usage::Usage;
use crate::errno::KResult;
use crate::fs::{Dentry, FdTable, FsContext};
use crate::mm::space::AddressSpace;
use crate::sync::{OwnerCell, SpinLock, WaitQueue};
use crate::time::itimer::IntervalTimers;
use crate::tty::Tty;

/// It has not ended.
const ALIVE: u32 = 0;
/// Ended; its parent has not asked yet.
const ZOMBIE: u32 = 1;
/// Ended, and its parent knows.
const REAPED: u32 = 2;

/// A process (thread group).
pub struct Process {
    pid: u32,
    /// The parent; dangling for the first process.
    parent: SpinLock<Weak<Process>>,
    /// Changed with the parent, under the table's lock.
    ppid: AtomicU32,
    pgid: AtomicU32,
    sid: AtomicU32,
    /// [`ALIVE`], [`ZOMBIE`] or [`REAPED`].
    life: AtomicU32,
    /// Wait status, once it has ended (`wait(2)`).
    pub(super) status: AtomicU32,
    /// Signal to the parent at the end; 0: none.
    pub(super) exit_signal: AtomicU32,
    /// It has called exec since it was forked (`setpgid(2)`).
    pub(super) has_execed: AtomicBool,
    /// prctl(PR_SET_CHILD_SUBREAPER).
    pub(super) subreaper: AtomicBool,
    /// prctl(PR_SET_DUMPABLE).
    pub(super) dumpable: AtomicU32,
    no_new_privs: AtomicBool,
    /// How much likelier than by its size it is killed when memory runs out, in thousandths of all
    /// memory (`/proc/PID/oom_score_adj`).
    pub(super) oom_adjustment: AtomicI32,
    /// How its programs are run, bits of `personality(2)`.
    pub(super) personality: AtomicU32,
    /// Signal that it gets when its parent ends (prctl(PR_SET_PDEATHSIG)); 0: none.
    pub(super) parent_death_signal: AtomicU32,
    /// Children, zombies included.
    pub(super) children: SpinLock<Vec<Arc<Process>>>,
    /// Living threads.
    pub(super) threads: SpinLock<Vec<Arc<Task>>>,
    /// Threads that it traces, ended ones included until it has asked for them.
    pub(super) tracees: SpinLock<Vec<Arc<Task>>>,
    /// Number of the process that traces the leader; 0: none.
    pub(super) leader_tracer: AtomicU32,
    /// Woken when a child changes state.
    pub(super) child_events: WaitQueue,
    /// A core image of it is being written.
    pub(super) dump: SpinLock<Option<Dump>>,
    /// Woken when a thread of this process ends (exec and core images wait for that).
    pub(super) thread_exit: WaitQueue,
    /// Who it acts for.
    pub creds: SpinLock<Creds>,
    space: OwnerCell<Option<Arc<AddressSpace>>>,
    /// File descriptors.
    pub files: Shared<FdTable>,
    /// Root, working directory, umask.
    pub fs: Shared<FsContext>,
    /// Resource limits.
    pub rlimits: SpinLock<RLimits>,
    /// Actions, pending signals, stop state.
    pub(super) signals: SpinLock<ProcessSignals>,
    /// Woken when something is added to the pending signals (signalfd, sigtimedwait).
    pub signal_arrival: Arc<WaitQueue>,
    /// The controlling terminal.
    pub ctty: SpinLock<Option<Arc<Tty>>>,
    /// The program.
    pub exe: SpinLock<Option<Arc<Dentry>>>,
    /// Where arguments and environment are.
    pub image: SpinLock<ImageRange>,
    /// Use of dead threads.
    pub(super) dead_usage: SpinLock<Usage>,
    /// Use of children that have been waited for.
    pub(super) child_usage: SpinLock<Usage>,
    /// Page faults served without a device.
    pub minor_faults: AtomicU64,
    /// Page faults that read from a device.
    pub major_faults: AtomicU64,
    /// setitimer(2), alarm(2).
    pub(crate) timers: IntervalTimers,
    /// A `vfork` parent that waits for exec or exit.
    pub(super) vfork: SpinLock<Option<Arc<Completion>>>,
    /// Woken when it has ended, if anybody has asked for that (pidfds).
    watchers: SpinLock<Option<Arc<WaitQueue>>>,
    /// Monotonic time of its creation, in nanoseconds.
    pub start_ns: u64,
}

/// What a new process starts with.
pub(super) struct Parts {
    pub pid: u32,
    pub parent: Weak<Process>,
    pub ppid: u32,
    pub pgid: u32,
    pub sid: u32,
    pub exit_signal: u32,
    pub creds: Creds,
    pub space: Option<Arc<AddressSpace>>,
    pub files: Arc<SpinLock<FdTable>>,
    pub fs: Arc<SpinLock<FsContext>>,
    pub rlimits: RLimits,
    pub signals: ProcessSignals,
    pub ctty: Option<Arc<Tty>>,
    pub exe: Option<Arc<Dentry>>,
    pub image: ImageRange,
    pub vfork: Option<Arc<Completion>>,
    pub dumpable: u32,
    pub no_new_privs: bool,
    pub oom_adjustment: i32,
    pub personality: u32,
}

impl Process {
    pub(super) fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            pid: parts.pid,
            parent: SpinLock::new(parts.parent),
            ppid: AtomicU32::new(parts.ppid),
            pgid: AtomicU32::new(parts.pgid),
            sid: AtomicU32::new(parts.sid),
            life: AtomicU32::new(ALIVE),
            status: AtomicU32::new(0),
            exit_signal: AtomicU32::new(parts.exit_signal),
            has_execed: AtomicBool::new(false),
            subreaper: AtomicBool::new(false),
            dumpable: AtomicU32::new(parts.dumpable),
            no_new_privs: AtomicBool::new(parts.no_new_privs),
            oom_adjustment: AtomicI32::new(parts.oom_adjustment),
            personality: AtomicU32::new(parts.personality),
            parent_death_signal: AtomicU32::new(0),
            children: SpinLock::new(Vec::new()),
            threads: SpinLock::new(Vec::new()),
            tracees: SpinLock::new(Vec::new()),
            leader_tracer: AtomicU32::new(0),
            child_events: WaitQueue::new(),
            dump: SpinLock::new(None),
            thread_exit: WaitQueue::new(),
            creds: SpinLock::new(parts.creds),
            space: OwnerCell::new(parts.space),
            files: Shared::new(parts.files),
            fs: Shared::new(parts.fs),
            rlimits: SpinLock::new(parts.rlimits),
            signals: SpinLock::new(parts.signals),
            signal_arrival: Arc::new(WaitQueue::new()),
            ctty: SpinLock::new(parts.ctty),
            exe: SpinLock::new(parts.exe),
            image: SpinLock::new(parts.image),
            dead_usage: SpinLock::new(Usage::default()),
            child_usage: SpinLock::new(Usage::default()),
            minor_faults: AtomicU64::new(0),
            major_faults: AtomicU64::new(0),
            timers: IntervalTimers::new(),
            vfork: SpinLock::new(parts.vfork),
            watchers: SpinLock::new(None),
            start_ns: crate::time::now_ns(),
        })
    }

    /// Its number; also that of its first thread.
    #[inline]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Number of its parent; 0: none.
    #[inline]
    pub fn ppid(&self) -> u32 {
        self.ppid.load(Ordering::Relaxed)
    }

    /// Number of its process group.
    #[inline]
    pub fn pgid(&self) -> u32 {
        self.pgid.load(Ordering::Relaxed)
    }

    /// Number of its session.
    #[inline]
    pub fn sid(&self) -> u32 {
        self.sid.load(Ordering::Relaxed)
    }

    /// The parent, if it has one.
    pub fn parent(&self) -> Option<Arc<Process>> {
        self.parent.lock().upgrade()
    }

    /// Put it below another parent. Under the table's lock.
    pub(super) fn set_parent(&self, parent: &Arc<Process>) {
        *self.parent.lock() = Arc::downgrade(parent);
        self.ppid.store(parent.pid, Ordering::Relaxed);
    }

    /// Move it to another process group. Under the table's lock.
    pub(super) fn set_pgid(&self, pgid: u32) {
        self.pgid.store(pgid, Ordering::Relaxed);
    }

    /// Move it to another session. Under the table's lock.
    pub(super) fn set_sid(&self, sid: u32) {
        self.sid.store(sid, Ordering::Relaxed);
    }

    /// Whether it has ended and waits for its parent to ask.
    pub fn is_zombie(&self) -> bool {
        self.life.load(Ordering::Acquire) == ZOMBIE
    }

    /// Whether it has ended.
    pub fn is_dead(&self) -> bool {
        self.life.load(Ordering::Acquire) != ALIVE
    }

    pub(super) fn become_zombie(&self) {
        self.life.store(ZOMBIE, Ordering::Release);
    }

    /// From zombie to reaped; false: somebody else was quicker.
    pub(super) fn reap(&self) -> bool {
        self.life
            .compare_exchange(ZOMBIE, REAPED, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// The queue that is woken when it has ended.
    pub(super) fn watchers(&self) -> Arc<WaitQueue> {
        let mut watchers = self.watchers.lock();
        watchers
            .get_or_insert_with(|| Arc::new(WaitQueue::new()))
            .clone()
    }

    /// Wake those who watch for its end.
    pub(super) fn tell_watchers(&self) {
        let watchers = self.watchers.lock().clone();
        if let Some(watchers) = watchers {
            watchers.wake_all();
        }
    }

    /// Whether it is stopped by a signal.
    pub fn is_stopped(&self) -> bool {
        self.signals.lock().is_stopped()
    }

    /// The address space as one of the process's own threads sees it; None: it has exited, or
    /// is a kernel thread.
    #[inline]
    pub fn own_space(&self) -> Option<&AddressSpace> {
        // SAFETY: the caller runs in this process; exec and exit, which replace the space, do it
        // when there is no other thread left and hold no reference then.
        unsafe { self.space.owner_ref() }.as_deref()
    }

    /// The address space, for other processes (`/proc`).
    pub fn space(&self) -> Option<Arc<AddressSpace>> {
        self.space.get()
    }

    /// Exchange the address space.
    ///
    /// # Safety
    /// The caller is the last thread of the process, holds no reference from [`Self::own_space`],
    /// and sees to it that the processor does not go on using the old one's tables once it is
    /// dropped.
    pub(super) unsafe fn replace_space(
        &self,
        space: Option<Arc<AddressSpace>>,
    ) -> Option<Arc<AddressSpace>> {
        // SAFETY: by the caller's promise.
        unsafe { self.space.replace(space) }
    }

    /// The soft limit of a resource.
    #[inline]
    pub fn rlimit(&self, resource: Resource) -> u64 {
        self.rlimits.lock().soft(resource)
    }

    /// Number of descriptors that it may have.
    #[inline]
    pub fn max_files(&self) -> usize {
        self.rlimit(Resource::Files).min(1 << 20) as usize
    }

    /// Give `file` the lowest free descriptor.
    ///
    /// # Errors
    /// EMFILE: RLIMIT_NOFILE is reached.
    pub fn install_file(&self, file: Arc<crate::fs::File>, cloexec: bool) -> KResult<usize> {
        let limit = self.max_files();
        self.files.lock().install(file, cloexec, 0, limit)
    }

    /// The living threads.
    pub fn threads(&self) -> Vec<Arc<Task>> {
        self.threads.lock().clone()
    }

    /// Number of living threads.
    pub fn thread_count(&self) -> usize {
        self.threads.lock().len()
    }

    /// The first living thread (the leader, as long as it lives).
    pub fn first_thread(&self) -> Option<Arc<Task>> {
        self.threads.lock().first().cloned()
    }

    /// Wait status (`wait(2)`), once it has ended.
    pub fn exit_status(&self) -> u32 {
        self.status.load(Ordering::Relaxed)
    }

    /// prctl(PR_SET_DUMPABLE).
    pub fn dumpable(&self) -> &AtomicU32 {
        &self.dumpable
    }

    /// prctl(PR_SET_CHILD_SUBREAPER).
    pub fn subreaper(&self) -> &AtomicBool {
        &self.subreaper
    }

    /// Whether it is ending, or has ended.
    pub fn is_exiting(&self) -> bool {
        self.is_dead() || self.signals.lock().exiting.is_some()
    }

    /// Whether exec grants no privileges (prctl(PR_SET_NO_NEW_PRIVS)).
    pub fn no_new_privs(&self) -> bool {
        self.no_new_privs.load(Ordering::Relaxed)
    }

    /// From now on exec grants no privileges, to children neither.
    pub fn set_no_new_privs(&self) {
        self.no_new_privs.store(true, Ordering::Relaxed);
    }

    /// How its programs are run, bits of `personality(2)`.
    pub fn personality(&self) -> &AtomicU32 {
        &self.personality
    }

    /// Thousandths of all memory that are added to its size when memory runs out, -1000 … 1000;
    /// -1000: it is never killed for that.
    pub fn oom_adjustment(&self) -> &AtomicI32 {
        &self.oom_adjustment
    }

    /// prctl(PR_SET_PDEATHSIG).
    pub fn parent_death_signal(&self) -> &AtomicU32 {
        &self.parent_death_signal
    }
}
