//! A process: what its threads share, and its place in the family.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};

use super::core_dump::Dump;
use super::creds::Creds;
use super::rlimit::{RLimits, Resource};
use super::signal::state::ProcessSignals;
use super::thread::Task;
use crate::errno::KResult;
use crate::fs::{Dentry, FdTable, FsContext};
use crate::mm::space::AddressSpace;
use crate::sync::{OwnerCell, SpinLock, SpinLockGuard, WaitQueue};
use crate::time::itimer::IntervalTimers;
use crate::tty::Tty;

/// A part of a process that `clone` may share with another process.
pub struct Shared<T> {
    cell: OwnerCell<Arc<SpinLock<T>>>,
}

impl<T> Shared<T> {
    /// A part that begins as `value`.
    pub fn new(value: Arc<SpinLock<T>>) -> Self {
        Self {
            cell: OwnerCell::new(value),
        }
    }

    /// Lock the part.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> SpinLockGuard<'_, T> {
        // SAFETY: the part is replaced only by the process's last thread in exec and exit, and
        // those who look at other processes do it without sleeping.
        unsafe { self.cell.owner_ref() }.lock()
    }

    /// The part, to be shared with another process.
    pub fn share(&self) -> Arc<SpinLock<T>> {
        self.cell.get()
    }

    /// Whether another process uses the same part.
    pub fn is_shared(&self) -> bool {
        // SAFETY: as in `lock`.
        Arc::strong_count(unsafe { self.cell.owner_ref() }) > 1
    }

    /// Leave the part to the others, and go on with `value`.
    ///
    /// # Safety
    /// The caller is the only thread of the process and holds no lock of the part.
    pub unsafe fn replace(&self, value: T) -> Arc<SpinLock<T>> {
        // SAFETY: by the caller's promise.
        unsafe { self.cell.replace(Arc::new(SpinLock::new(value))) }
    }
}

/// Bytes of a command name, with its NUL (`TASK_COMM_LEN`).
pub const COMM_LEN: usize = 16;

/// Processor time and faults of dead threads, or of children that have been waited for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Nanoseconds in ring 3.
    pub user_ns: u64,
    /// Nanoseconds in the kernel on its behalf.
    pub system_ns: u64,
    /// Page faults served without a device.
    pub minor_faults: u64,
    /// Page faults that read from a device.
    pub major_faults: u64,
    /// Switches because it waited.
    pub voluntary_switches: u64,
    /// Switches because its turn was over.
    pub involuntary_switches: u64,
    /// Largest resident set, in KiB.
    pub max_rss_kib: u64,
}

impl Usage {
    /// All processor time, in nanoseconds.
    pub fn cpu_ns(&self) -> u64 {
        self.user_ns + self.system_ns
    }

    /// Add another's use to this one.
    pub fn add(&mut self, other: &Usage) {
        self.user_ns += other.user_ns;
        self.system_ns += other.system_ns;
        self.minor_faults += other.minor_faults;
        self.major_faults += other.major_faults;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
        self.max_rss_kib = self.max_rss_kib.max(other.max_rss_kib);
    }
}

/// A `vfork` parent's wait for its child.
pub struct Completion {
    done: AtomicBool,
    queue: WaitQueue,
}

impl Completion {
    /// Not done yet.
    pub const fn new() -> Self {
        Self {
            done: AtomicBool::new(false),
            queue: WaitQueue::new(),
        }
    }

    /// Let those who wait go on.
    pub fn complete(&self) {
        self.done.store(true, Ordering::SeqCst);
        self.queue.wake_all();
    }

    /// Wait; nothing but the end of the waiting process ends it early. (The child goes on to use the
    /// memory then, which it holds too.)
    pub fn wait(&self) {
        let me = super::current();
        me.killable.store(true, Ordering::SeqCst);
        self.queue.wait_uninterruptible(|| {
            let over = self.done.load(Ordering::SeqCst) || me.must_end();
            over.then_some(())
        });
        me.killable.store(false, Ordering::SeqCst);
    }
}

impl Default for Completion {
    fn default() -> Self {
        Self::new()
    }
}

/// Addresses of the arguments and the environment on the stack, for `/proc/[pid]/cmdline`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImageRange {
    /// First byte of `argv[0]`.
    pub args: usize,
    /// One past the last argument's NUL.
    pub args_end: usize,
    /// First byte of the environment.
    pub env: usize,
    /// One past the last variable's NUL.
    pub env_end: usize,
    /// Stack pointer at the start of the program.
    pub stack: usize,
}

/// What is left of a process that has ended.
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
    /// Page faults served without a device, and with one.
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

    /// Get a copy of the descriptors, if another process uses the same. The caller is the only
    /// thread of the process.
    ///
    /// # Errors
    /// ENOMEM: memory is short.
    pub fn part_files(&self) -> KResult<()> {
        if self.files.is_shared() {
            let copy = self.files.lock().fork()?;
            // SAFETY: the only thread, and no lock is held any more.
            drop(unsafe { self.files.replace(copy) });
        }
        Ok(())
    }

    /// Get a copy of root, working directory and umask, if another process uses the same. The
    /// caller is the only thread of the process.
    pub fn part_fs(&self) {
        if self.fs.is_shared() {
            let copy = self.fs.lock().clone();
            // SAFETY: as in `part_files`.
            drop(unsafe { self.fs.replace(copy) });
        }
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

    /// Processor time and faults of all threads, living and dead.
    pub fn usage(&self) -> Usage {
        let mut usage = *self.dead_usage.lock();
        for thread in self.threads.lock().iter() {
            usage.add(&thread.usage());
        }
        usage.minor_faults += self.minor_faults.load(Ordering::Relaxed);
        usage.major_faults += self.major_faults.load(Ordering::Relaxed);
        usage
    }

    /// Use of the children that have been waited for.
    pub fn child_usage(&self) -> Usage {
        *self.child_usage.lock()
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
