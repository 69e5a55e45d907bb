//! Things to do at a time: a sorted queue, and the hardware timer that follows its head.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use core::sync::atomic::{AtomicU64, Ordering};

use super::account::Running;
use crate::arch::apic;
use crate::sched;
use crate::sync::SpinLock;
use crate::task::Task;

/// Something that wants to be called at a time.
pub trait Alarm: Send + Sync {
    /// The time has come. Called with interrupts disabled and no lock held; must not sleep.
    fn ring(&self, now: u64);
}

/// What to do.
enum Action {
    /// Wake the sleeper, who cancels the timer before it goes on.
    Wake(*const Task),
    /// Call the alarm.
    Ring(Arc<dyn Alarm>),
}

// SAFETY: the task is shared by all processors, and cancels the timer before it can end.
unsafe impl Send for Action {}

/// Names a timer: its deadline and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerId {
    deadline: u64,
    number: u64,
}

struct Timers {
    queue: BTreeMap<TimerId, Action>,
    next_number: u64,
}

static TIMERS: SpinLock<Timers> = SpinLock::new(Timers {
    queue: BTreeMap::new(),
    next_number: 0,
});

/// When this processor's hardware fires; MAX: it is not set. Not behind the lock: the scheduler sets
/// it while it holds a run queue, and timers wake tasks while the lock is held.
static ARMED: AtomicU64 = AtomicU64::new(u64::MAX);

/// Shortest time that the hardware is set for, in nanoseconds.
const SHORTEST: u64 = 1_000;

fn add(deadline: u64, action: Action) -> TimerId {
    let mut timers = TIMERS.lock();
    let id = TimerId {
        deadline,
        number: timers.next_number,
    };
    timers.next_number += 1;
    timers.queue.insert(id, action);
    if deadline < ARMED.load(Ordering::Relaxed) {
        arm(deadline, super::now_ns());
    }
    id
}

/// Have the timer interrupt come at `deadline` (monotonic) at the latest. It may come earlier, and is
/// never taken back: setting the hardware costs more than an interrupt for nothing.
#[inline]
pub fn arm(deadline: u64, now: u64) {
    if deadline < ARMED.load(Ordering::Relaxed) {
        ARMED.store(deadline, Ordering::Relaxed);
        apic::set_timer(deadline.saturating_sub(now).max(SHORTEST));
    }
}

/// Wake `task` at `deadline`. It must [`cancel`] the timer when it goes on.
pub(crate) fn wake_at(deadline: u64, task: &Task) -> TimerId {
    add(deadline, Action::Wake(task))
}

/// Call `alarm` at `deadline`.
pub fn ring_at(deadline: u64, alarm: Arc<dyn Alarm>) -> TimerId {
    add(deadline, Action::Ring(alarm))
}

/// Forget a timer. False: it has run, or runs right now.
pub fn cancel(id: TimerId) -> bool {
    let action = TIMERS.lock().queue.remove(&id);
    // Dropped after the lock: it may be the alarm's last owner.
    action.is_some()
}

/// The hardware timer has fired.
pub(super) fn fired(running: Running) {
    let now = super::now_ns();
    ARMED.store(u64::MAX, Ordering::Relaxed);
    loop {
        let mut timers = TIMERS.lock();
        match timers.queue.first_key_value() {
            Some((id, _)) if id.deadline <= now => {}
            Some((id, _)) => {
                let deadline = id.deadline;
                arm(deadline, now);
                break;
            }
            None => break,
        }
        let Some((_, action)) = timers.queue.pop_first() else {
            break;
        };
        match action {
            // SAFETY: the sleeper has not cancelled the timer yet, which it does under the lock that
            // is held here.
            Action::Wake(task) => sched::wake(unsafe { &*task }),
            Action::Ring(alarm) => {
                drop(timers);
                alarm.ring(now);
            }
        }
    }
    super::account::look(running, now);
    super::itimer::check_cpu_timers(now);
    sched::tick(now);
}
