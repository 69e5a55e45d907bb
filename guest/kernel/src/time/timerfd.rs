//! Timers that are read like files (`timerfd_create(2)`).

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::any::Any;

use super::itimer::Setting;
use super::timer::{self, Alarm, TimerId};
use crate::errno::{Errno, KResult};
use crate::fs::eventfd::anonymous_inode;
use crate::fs::{File, FileOps, OpenFlags, PollEvents, PollTable, ReadBuf};
use crate::sync::{SpinLock, WaitQueue};

struct State {
    /// When it expires next, monotonic; meaningful while `id` is set.
    at: u64,
    interval: u64,
    id: Option<TimerId>,
    /// Expirations that have not been read.
    expirations: u64,
}

struct Timer {
    /// It counts by the wall clock.
    wall: bool,
    state: SpinLock<State>,
    expired: Arc<WaitQueue>,
    this: Weak<Timer>,
}

impl Alarm for Timer {
    fn ring(&self, now: u64) {
        {
            let mut state = self.state.lock();
            // Set anew or stopped just before it fired.
            if state.id.is_none() || state.at > now {
                return;
            }
            state.id = None;
            // Expirations that have been missed count too.
            let missed = (now - state.at).checked_div(state.interval);
            let count = 1 + missed.unwrap_or(0);
            if missed.is_some() {
                state.at = state
                    .at
                    .saturating_add(state.interval.saturating_mul(count));
                if let Some(this) = self.this.upgrade() {
                    state.id = Some(timer::ring_at(state.at, this));
                }
            }
            state.expirations = state.expirations.saturating_add(count);
        }
        self.expired.wake_all();
    }
}

impl Timer {
    fn take(&self) -> Option<u64> {
        let mut state = self.state.lock();
        match core::mem::take(&mut state.expirations) {
            0 => None,
            count => Some(count),
        }
    }

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

    /// Start (or with `value` 0 stop) the timer; `absolute`: `value` is a time of its clock.
    fn set(&self, setting: Setting, absolute: bool) -> Setting {
        let old = self.setting();
        let mut state = self.state.lock();
        if let Some(id) = state.id.take() {
            timer::cancel(id);
        }
        state.expirations = 0;
        state.interval = setting.interval;
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

/// An open timer.
struct TimerFd(Arc<Timer>);

impl FileOps for TimerFd {
    fn read(&self, file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        if buf.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let count = match self.0.take() {
            Some(count) => count,
            None if file.nonblocking() => return Err(Errno::EAGAIN),
            None => self.0.expired.wait(|| self.0.take())?,
        };
        buf.put(&count.to_le_bytes())
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.add(&self.0.expired);
        }
        if self.0.state.lock().expirations > 0 {
            PollEvents::READABLE
        } else {
            PollEvents::empty()
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for TimerFd {
    fn drop(&mut self) {
        let id = self.0.state.lock().id.take();
        if let Some(id) = id {
            timer::cancel(id);
        }
    }
}

/// A timer that is not running, of the wall clock or of the monotonic clock.
pub fn create(wall: bool, nonblocking: bool) -> Arc<File> {
    let timer = Arc::new_cyclic(|this| Timer {
        wall,
        state: SpinLock::new(State {
            at: 0,
            interval: 0,
            id: None,
            expirations: 0,
        }),
        expired: Arc::new(WaitQueue::new()),
        this: this.clone(),
    });
    let mut flags = OpenFlags::RDWR;
    if nonblocking {
        flags = flags | OpenFlags::NONBLOCK;
    }
    File::new(
        anonymous_inode(),
        None,
        Some(Box::new(TimerFd(timer))),
        flags,
    )
}

fn of(file: &File) -> KResult<&Timer> {
    file.ops_as::<TimerFd>()
        .map(|fd| &*fd.0)
        .ok_or(Errno::EINVAL)
}

/// `timerfd_settime(2)`.
///
/// # Errors
/// EINVAL: the file is no timer.
pub fn set(file: &File, setting: Setting, absolute: bool) -> KResult<Setting> {
    Ok(of(file)?.set(setting, absolute))
}

/// `timerfd_gettime(2)`.
///
/// # Errors
/// EINVAL: the file is no timer.
pub fn get(file: &File) -> KResult<Setting> {
    Ok(of(file)?.setting())
}
