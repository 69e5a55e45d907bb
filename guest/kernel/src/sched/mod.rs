//! Scheduling: the mechanism below the policies of `gnomon-sched`.
//!
//! Each processor has a run queue. The kernel is not preempted: a task leaves the processor in
//! [`schedule`], which it calls to sleep, or on its way back to ring 3 when a reschedule is due.
//!
//! States of a task (`task::thread::state`), and who changes them:
//! ```text
//!  RUNNING ──prepare_sleep──▶ INTERRUPTIBLE / UNINTERRUPTIBLE / STOPPED
//!     ▲                                   │ wake (compare-exchange, so once)
//!     │ pick (queue lock)                 ▼
//!  QUEUED ◀──────enqueue (queue lock)── WAKING
//! ```
//! A task that is woken while its processor is still switching away from it (`on_cpu`) is left in
//! WAKING; that processor queues it when the switch is complete.
//!
//! There is no periodic tick. The timer is set for the end of a turn only while somebody waits for
//! the processor (and for samples of whose time it is: `time::account`), and it is never taken back: firing once for nothing is cheaper than a register
//! write at each switch.

mod fpu;
mod switch;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gnomon_sched::{Arrival, Entity, Policy, TaskId};

pub use fpu::{
    fpu_image, fpu_image_size, load_fpu_image, reset_fpu, with_saved_fpu, with_stopped_fpu,
};
pub use switch::{
    finish_switch, forget, put_aside, set_fs_base, set_gs_base, user_fs_base, user_gs_base,
};

use crate::arch::{self, percpu};
use crate::sync::SpinLock;
use crate::task::thread::state;
use crate::task::{self, Task};
use crate::time::{self, account, timer};

/// Most processors that the tables have room for.
const MAX_CPUS: usize = 8;

/// The run queue of one processor.
struct RunQueue {
    policy: Option<Box<dyn Policy>>,
    /// The task that runs when nobody else can; alive for ever.
    idle: *const Task,
    /// A task that has ended on this processor, to be dropped by the next one.
    dead: Option<Arc<Task>>,
}

// SAFETY: the idle task is shared like every task and never dropped.
unsafe impl Send for RunQueue {}

/// What the scheduler keeps for one processor.
struct Cpu {
    queue: SpinLock<RunQueue>,
    need_resched: AtomicBool,
    /// The running task was picked while others wait, and its turn has not begun yet.
    slice_due: AtomicBool,
    /// Time without work, in nanoseconds.
    idle_ns: AtomicU64,
    /// Context switches.
    switches: AtomicU64,
}

static CPUS: [Cpu; MAX_CPUS] = [const {
    Cpu {
        queue: SpinLock::new(RunQueue {
            policy: None,
            idle: core::ptr::null(),
            dead: None,
        }),
        need_resched: AtomicBool::new(false),
        slice_due: AtomicBool::new(false),
        idle_ns: AtomicU64::new(0),
        switches: AtomicU64::new(0),
    }
}; MAX_CPUS];

#[inline]
fn this() -> &'static Cpu {
    &CPUS[percpu::this_cpu().id.get() as usize % MAX_CPUS]
}

#[inline]
fn id_of(task: &Task) -> TaskId {
    core::ptr::from_ref(task) as TaskId
}

/// Set up this processor's run queue; `idle` is the task that runs now and is never dropped.
/// `policy` is a name of `gnomon-sched`; an unknown one gives `cfs` and a line in the log.
pub fn init(policy: &str, idle: &'static Task) {
    let chosen = gnomon_sched::by_name(policy).unwrap_or_else(|| {
        klog!("sched: there is no policy {policy}: cfs is used (cfs and rr exist)");
        Box::new(gnomon_sched::Cfs::new())
    });
    let mut queue = this().queue.lock();
    queue.policy = Some(chosen);
    queue.idle = idle;
}

/// The entity of a task.
///
/// # Safety
/// The caller holds the lock of the run queue that the task belongs to.
#[allow(clippy::mut_from_ref)]
unsafe fn entity(task: &Task) -> &mut Entity {
    // SAFETY: the run queue's lock guards it.
    unsafe { &mut *task.entity.get() }
}

/// Charge the running task for the time since it was last charged.
#[inline]
fn charge(policy: &mut dyn Policy, running: &Task, now: u64) {
    let since = running.since_ns.load(Ordering::Relaxed);
    let ran = now.saturating_sub(since);
    running.since_ns.store(now, Ordering::Relaxed);
    running.run_ns.store(
        running.run_ns.load(Ordering::Relaxed) + ran,
        Ordering::Relaxed,
    );
    // SAFETY: the caller holds the queue's lock.
    policy.charge(unsafe { entity(running) }, ran);
}

/// Let another task run. The caller has set its state: RUNNING to stay in the queue, or one of the
/// sleeping states. Returns when the task is picked again.
pub fn schedule() {
    reschedule(Arrival::Preempted);
}

/// Let the others go first (`sched_yield(2)`).
pub fn yield_now() {
    reschedule(Arrival::Yielded);
}

fn reschedule(how: Arrival) {
    let prev = task::current();
    let cpu = this();
    let now = time::now_ns();
    let mut queue = cpu.queue.lock();
    cpu.need_resched.store(false, Ordering::Relaxed);
    let idle = queue.idle;
    let Some(policy) = queue.policy.as_deref_mut() else {
        return;
    };
    let prev_is_idle = core::ptr::eq(prev, idle);
    if prev_is_idle {
        let slept = now.saturating_sub(prev.since_ns.load(Ordering::Relaxed));
        cpu.idle_ns.fetch_add(slept, Ordering::Relaxed);
    } else {
        charge(policy, prev, now);
        // From RUNNING or WAKING (woken between `prepare_sleep` and here) back into the queue.
        let was = prev.state.load(Ordering::SeqCst);
        if (was == state::RUNNING || was == state::WAKING)
            && prev
                .state
                .compare_exchange(was, state::QUEUED, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
        {
            // SAFETY: the queue is locked.
            policy.enqueue(id_of(prev), unsafe { entity(prev) }, how);
            prev.involuntary_switches.fetch_add(1, Ordering::Relaxed);
        } else {
            prev.voluntary_switches.fetch_add(1, Ordering::Relaxed);
        }
    }
    let next = match policy.pick_next() {
        // SAFETY: a task in the queue is alive: it is dropped only after it has ended, and it ends
        // only by running.
        Some(id) => unsafe { &*(id as *const Task) },
        // SAFETY: the idle task is never dropped.
        None => unsafe { &*idle },
    };
    next.state.store(state::RUNNING, Ordering::SeqCst);
    next.on_cpu.store(true, Ordering::SeqCst);
    next.since_ns.store(now, Ordering::Relaxed);
    let slice_due = !policy.is_empty() && !core::ptr::eq(next, idle);
    cpu.slice_due.store(slice_due, Ordering::Relaxed);
    drop(queue);
    if core::ptr::eq(prev, next) {
        if slice_due {
            percpu::set_work();
        }
        if prev_is_idle {
            // The boot code waits for something, or nothing is left to run: let interrupts in.
            arch::idle();
        }
        return;
    }
    cpu.switches.fetch_add(1, Ordering::Relaxed);
    if prev_is_idle {
        account::begin(now);
    }
    next.process.timers.watch(now);
    switch::switch(prev, next);
}

/// Whether [`start_slice`] has something to do.
#[inline]
fn slice_due() -> bool {
    this().slice_due.load(Ordering::Relaxed)
}

/// Begin the turn of the running task, right before it returns to ring 3.
///
/// Not when it is picked: where ring 0 is emulated, the rest of the switch may take longer than the
/// turn, and then the timer would come before the program's first instruction, for ever.
pub fn start_slice() {
    let cpu = this();
    if !cpu.slice_due.swap(false, Ordering::Relaxed) {
        return;
    }
    let now = time::now_ns();
    let running = task::current();
    let mut queue = cpu.queue.lock();
    let Some(policy) = queue.policy.as_deref_mut() else {
        return;
    };
    charge(policy, running, now);
    // SAFETY: the queue is locked.
    let entity = unsafe { entity(running) };
    entity.begin_turn();
    if !policy.is_empty() {
        timer::arm(now.saturating_add(policy.slice_ns(entity).max(1)), now);
    }
}

/// Put a task that is in WAKING into its run queue; once, whoever comes first.
fn enqueue(task: &Task, how: Arrival) {
    let cpu = this();
    let mut queue = cpu.queue.lock();
    let idle = queue.idle;
    let Some(policy) = queue.policy.as_deref_mut() else {
        return;
    };
    if task
        .state
        .compare_exchange(
            state::WAKING,
            state::QUEUED,
            Ordering::SeqCst,
            Ordering::SeqCst,
        )
        .is_err()
    {
        return;
    }
    task.cpu
        .store(percpu::this_cpu().id.get(), Ordering::Relaxed);
    // SAFETY: the queue is locked.
    policy.enqueue(id_of(task), unsafe { entity(task) }, how);
    let running = task::current();
    if core::ptr::eq(running, idle) {
        // The idle loop looks by itself.
        return;
    }
    let now = time::now_ns();
    charge(policy, running, now);
    // SAFETY: the queue is locked.
    let (entity_woken, entity_running) = unsafe { (&*task.entity.get(), &*running.entity.get()) };
    if policy.preempts(entity_woken, entity_running) {
        cpu.need_resched.store(true, Ordering::Relaxed);
        percpu::set_work();
    } else {
        timer::arm(
            now.saturating_add(policy.slice_ns(entity_running).max(1)),
            now,
        );
    }
}

/// Wake a task from one of the given states.
fn wake_from(task: &Task, from: u32) -> bool {
    if task
        .state
        .compare_exchange(from, state::WAKING, Ordering::SeqCst, Ordering::SeqCst)
        .is_err()
    {
        return false;
    }
    if !task.on_cpu.load(Ordering::SeqCst) {
        enqueue(task, Arrival::Woken);
    }
    true
}

/// Wake a task that sleeps; nothing happens to one that does not.
pub fn wake(task: &Task) {
    let _ = wake_from(task, state::INTERRUPTIBLE) || wake_from(task, state::UNINTERRUPTIBLE);
}

/// Wake a task for a signal; with `fatal` also from a stop.
pub fn wake_interruptible(task: &Task, fatal: bool) {
    if fatal && task.killable.load(Ordering::SeqCst) {
        task.waiter().wake();
    }
    let _ = wake_from(task, state::INTERRUPTIBLE)
        || (fatal && (wake_from(task, state::STOPPED) || wake_from(task, state::TRACED)));
}

/// Wake a task that is stopped.
pub fn wake_stopped(task: &Task) {
    wake_from(task, state::STOPPED);
}

/// Wake a task that has stopped for its tracer.
pub fn wake_traced(task: &Task) {
    wake_from(task, state::TRACED);
}

/// Start a new task.
pub fn start(task: &Task) {
    enqueue(task, Arrival::New);
}

/// Whether a reschedule is due.
#[inline]
pub fn need_resched() -> bool {
    this().need_resched.load(Ordering::Relaxed)
}

/// The timer has fired: end the running task's turn if it is over and others wait; else set the
/// timer for its end.
pub(crate) fn tick(now: u64) {
    let cpu = this();
    let mut queue = cpu.queue.lock();
    let idle = queue.idle;
    let Some(policy) = queue.policy.as_deref_mut() else {
        return;
    };
    let running = task::current();
    if core::ptr::eq(running, idle) {
        return;
    }
    charge(policy, running, now);
    if policy.is_empty() {
        return;
    }
    // SAFETY: the queue is locked.
    let left = policy.slice_ns(unsafe { &*running.entity.get() });
    if left == 0 {
        cpu.need_resched.store(true, Ordering::Relaxed);
        percpu::set_work();
    } else {
        timer::arm(now + left, now);
    }
}

/// End of the running task: it never runs again, and the next one drops it.
pub fn exit_current(me: Arc<Task>) -> ! {
    me.state.store(state::DEAD, Ordering::SeqCst);
    forget(&me);
    let previous = this().queue.lock().dead.replace(me);
    drop(previous);
    schedule();
    unreachable!("a task that has ended was picked to run")
}

/// Drop the task that ended before the present one got the processor.
fn drop_dead() {
    let dead = this().queue.lock().dead.take();
    drop(dead);
}

/// The idle loop of this processor.
pub fn idle_loop() -> ! {
    loop {
        let empty = this()
            .queue
            .lock()
            .policy
            .as_ref()
            .is_none_or(|policy| policy.is_empty());
        if empty {
            arch::idle();
        } else {
            schedule();
        }
    }
}

/// Nice value of a task.
pub fn nice(task: &Task) -> i8 {
    let _queue = this().queue.lock();
    // SAFETY: the queue is locked.
    unsafe { entity(task) }.nice()
}

/// Set the nice value of a task (clamped to -20..=19).
pub fn set_nice(task: &Task, nice: i8) {
    let mut queue = this().queue.lock();
    let Some(policy) = queue.policy.as_deref_mut() else {
        return;
    };
    // SAFETY: the queue is locked.
    let entity = unsafe { entity(task) };
    if policy.dequeue(id_of(task), entity) {
        entity.set_nice(nice);
        policy.enqueue(id_of(task), entity, Arrival::Preempted);
    } else {
        entity.set_nice(nice);
    }
}

/// A copy of the running task's entity for a child.
pub fn fork_entity() -> Entity {
    let _queue = this().queue.lock();
    // SAFETY: the queue is locked.
    unsafe { entity(task::current()) }.fork()
}

/// Number of tasks that could run now, the running one included.
pub fn runnable() -> usize {
    let queue = this().queue.lock();
    let waiting = queue.policy.as_ref().map_or(0, |policy| policy.len());
    waiting + usize::from(!core::ptr::eq(task::current(), queue.idle))
}

/// Context switches since boot.
pub fn context_switches() -> u64 {
    CPUS.iter()
        .map(|cpu| cpu.switches.load(Ordering::Relaxed))
        .sum()
}

/// Time that this processor had nothing to do, in nanoseconds.
pub fn idle_ns() -> u64 {
    this().idle_ns.load(Ordering::Relaxed)
}
