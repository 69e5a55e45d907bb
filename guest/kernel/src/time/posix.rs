//! POSIX timers (`timer_create(2)`): any number for each process, each with a signal of its own.
//!
//! A timer has one signal pending at most. What expires while it is pending is counted, and told with
//! the signal when it is taken (`si_overrun`).

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use super::itimer::Setting;
use super::timer::{self, Alarm, TimerId};
use crate::errno::{Errno, KResult};
use crate::sync::SpinLock;
use crate::task::signal::{self, SI_TIMER, SigInfo};
use crate::task::{self, Process, Task};

/// Most timers of a process.
const MAX_TIMERS: usize = 1024;
/// `DELAYTIMER_MAX`.
const MAX_OVERRUN: u64 = i32::MAX as u64;

/// Who is told.
pub enum Notify {
    /// Nobody.
    Nothing,
    /// The process.
    Process,
    /// One thread of it.
    Thread(Weak<Task>),
}

struct State {
    at: u64,
    interval: u64,
    id: Option<TimerId>,
    /// The signal has been sent and not been taken.
    pending: bool,
    /// Expirations since it was sent.
    overrun: u64,
    /// Those that were told with the last signal.
    told: u64,
}

/// One timer.
pub struct PosixTimer {
    number: u32,
    wall: bool,
    signo: u32,
    value: u64,
    notify: Notify,
    process: Weak<Process>,
    state: SpinLock<State>,
    this: Weak<PosixTimer>,
}

/// The timers of a process, by number.
pub type Timers = SpinLock<Vec<Option<Arc<PosixTimer>>>>;

impl Alarm for PosixTimer {
    fn ring(&self, now: u64) {
        let Some(process) = self.process.upgrade() else {
            return;
        };
        {
            let mut state = self.state.lock();
            if state.id.is_none() || state.at > now {
                return;
            }
            state.id = None;
            let mut count = 1;
            if state.interval != 0 && !process.is_dead() {
                count += (now - state.at) / state.interval;
                state.at = state
                    .at
                    .saturating_add(state.interval.saturating_mul(count));
                if let Some(this) = self.this.upgrade() {
                    state.id = Some(timer::ring_at(state.at, this));
                }
            }
            if state.pending {
                state.overrun += count;
                return;
            }
            state.overrun = count - 1;
            state.pending = !matches!(self.notify, Notify::Nothing);
        }
        let info = SigInfo::new(
            self.signo,
            SI_TIMER,
            [u64::from(self.number), self.value, 0, 0],
        );
        let sent = match &self.notify {
            Notify::Nothing => return,
            Notify::Process => signal::send_to_process(&process, info),
            Notify::Thread(task) => match task.upgrade() {
                Some(task) => signal::send_to_task(&task, info),
                None => Err(Errno::ESRCH),
            },
        };
        if sent.is_err() {
            self.state.lock().pending = false;
        }
    }
}

impl PosixTimer {
    fn setting(&self) -> Setting {
        let state = self.state.lock();
        let value = match state.id {
            Some(_) => state.at.saturating_sub(super::now_ns()).max(1),
            None => 0,
        };
        Setting {
            value,
            interval: state.interval,
        }
    }

    fn stop(&self) {
        let id = self.state.lock().id.take();
        if let Some(id) = id {
            timer::cancel(id);
        }
    }

    fn set(&self, setting: Setting, absolute: bool) -> Setting {
        let old = self.setting();
        self.stop();
        let mut state = self.state.lock();
        state.interval = setting.interval;
        state.pending = false;
        state.overrun = 0;
        if setting.value != 0 {
            state.at = match (absolute, self.wall) {
                (false, _) => super::now_ns().saturating_add(setting.value),
                (true, false) => setting.value,
                (true, true) => setting.value.saturating_sub(super::wall_offset()),
            };
            if let Some(this) = self.this.upgrade() {
                state.id = Some(timer::ring_at(state.at, this));
            }
        }
        old
    }
}

/// A new timer of the running process that does not run yet. `value` None: the timer's number. Gives
/// its number.
///
/// # Errors
/// EAGAIN: too many.
pub fn create(wall: bool, signo: u32, value: Option<u64>, notify: Notify) -> KResult<u32> {
    let me = task::current();
    let mut timers = me.process.timers.posix.lock();
    let slot = match timers.iter().position(Option::is_none) {
        Some(slot) => slot,
        None if timers.len() < MAX_TIMERS && timers.try_reserve(1).is_ok() => {
            timers.push(None);
            timers.len() - 1
        }
        None => return Err(Errno::EAGAIN),
    };
    let number = slot as u32;
    timers[slot] = Some(Arc::new_cyclic(|this| PosixTimer {
        number,
        wall,
        signo,
        value: value.unwrap_or(u64::from(number)),
        notify,
        process: Arc::downgrade(&me.process),
        state: SpinLock::new(State {
            at: 0,
            interval: 0,
            id: None,
            pending: false,
            overrun: 0,
            told: 0,
        }),
        this: this.clone(),
    }));
    Ok(number)
}

fn find(process: &Process, number: u32) -> KResult<Arc<PosixTimer>> {
    let timers = process.timers.posix.lock();
    timers
        .get(number as usize)
        .and_then(Clone::clone)
        .ok_or(Errno::EINVAL)
}

/// `timer_settime(2)`.
///
/// # Errors
/// EINVAL: no such timer.
pub fn set(number: u32, setting: Setting, absolute: bool) -> KResult<Setting> {
    Ok(find(task::current_process(), number)?.set(setting, absolute))
}

/// `timer_gettime(2)`.
///
/// # Errors
/// EINVAL: no such timer.
pub fn get(number: u32) -> KResult<Setting> {
    Ok(find(task::current_process(), number)?.setting())
}

/// `timer_getoverrun(2)`.
///
/// # Errors
/// EINVAL: no such timer.
pub fn overrun(number: u32) -> KResult<u64> {
    let timer = find(task::current_process(), number)?;
    let told = timer.state.lock().told;
    Ok(told.min(MAX_OVERRUN))
}

/// `timer_delete(2)`.
///
/// # Errors
/// EINVAL: no such timer.
pub fn delete(number: u32) -> KResult<()> {
    let timer = find(task::current_process(), number)?;
    task::current_process().timers.posix.lock()[number as usize] = None;
    timer.stop();
    Ok(())
}

/// All timers of a process end (exit, exec).
pub fn delete_all(process: &Process) {
    let timers = core::mem::take(&mut *process.timers.posix.lock());
    for timer in timers.into_iter().flatten() {
        timer.stop();
    }
}

/// The signal of a timer is being taken: it tells how often the timer has expired since.
pub fn taken(process: &Process, info: &mut SigInfo) {
    if let Ok(timer) = find(process, info.fields[0] as u32) {
        let mut state = timer.state.lock();
        state.told = state.overrun.min(MAX_OVERRUN);
        state.overrun = 0;
        state.pending = false;
        info.fields[0] |= state.told << 32;
    }
}
