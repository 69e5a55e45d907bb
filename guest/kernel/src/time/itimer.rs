//! Interval timers (`setitimer(2)`), `alarm(2)`, and the limit of processor time.

use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU64, Ordering};

use super::SECOND;
use super::timer::{self, Alarm, TimerId};
use crate::sync::SpinLock;
use crate::task::rlimit::{INFINITY, Resource};
use crate::task::signal::{self, SIGALRM, SIGKILL, SIGPROF, SIGVTALRM, SIGXCPU, SigInfo};
use crate::task::{self, Process};

/// A timer as programs see it, in nanoseconds; `value` 0: off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// Time until it expires.
    pub value: u64,
    /// Time between later expirations; 0: none.
    pub interval: u64,
}

/// A timer that counts processor time: expires when the process has used `at`.
#[derive(Clone, Copy)]
struct CpuTimer {
    at: u64,
    interval: u64,
}

impl CpuTimer {
    const OFF: Self = Self {
        at: u64::MAX,
        interval: 0,
    };
}

struct Real {
    /// When it expires, monotonic.
    at: u64,
    interval: u64,
    id: Option<TimerId>,
}

/// The interval timers of a process.
pub struct IntervalTimers {
    real: SpinLock<Real>,
    /// ITIMER_VIRTUAL, ITIMER_PROF, RLIMIT_CPU.
    cpu: SpinLock<[CpuTimer; 3]>,
    /// Timers of timer_create(2).
    pub(super) posix: super::posix::Timers,
    /// The earliest of `cpu`, as time used; MAX: none.
    next_cpu: AtomicU64,
}

const VIRTUAL: usize = 0;
const PROF: usize = 1;
const LIMIT: usize = 2;

impl IntervalTimers {
    /// All off.
    pub const fn new() -> Self {
        Self {
            real: SpinLock::new(Real {
                at: 0,
                interval: 0,
                id: None,
            }),
            cpu: SpinLock::new([CpuTimer::OFF; 3]),
            posix: SpinLock::new(alloc::vec::Vec::new()),
            next_cpu: AtomicU64::new(u64::MAX),
        }
    }

    /// A task of the process gets the processor: the timer must fire when its time is used up.
    #[inline]
    pub fn watch(&self, now: u64) {
        let next = self.next_cpu.load(Ordering::Relaxed);
        if next != u64::MAX {
            let used = task::current_process().usage().cpu_ns();
            timer::arm(now.saturating_add(next.saturating_sub(used)), now);
        }
    }

    fn update(&self, timers: &[CpuTimer; 3]) {
        let next = timers.iter().map(|t| t.at).min().unwrap_or(u64::MAX);
        self.next_cpu.store(next, Ordering::Relaxed);
    }
}

impl Default for IntervalTimers {
    fn default() -> Self {
        Self::new()
    }
}

/// SIGALRM when the real-time timer of a process expires.
struct RealAlarm(Weak<Process>);

impl Alarm for RealAlarm {
    fn ring(&self, now: u64) {
        let Some(process) = self.0.upgrade() else {
            return;
        };
        {
            let mut real = process.timers.real.lock();
            if real.id.is_none() {
                return;
            }
            real.id = None;
            if real.interval != 0 && !process.is_dead() {
                // Whole intervals that have been missed are left out.
                let behind = now.saturating_sub(real.at) / real.interval + 1;
                real.at = real.at.saturating_add(real.interval.saturating_mul(behind));
                real.id = Some(timer::ring_at(real.at, Arc::new(RealAlarm(self.0.clone()))));
            } else {
                real.at = 0;
            }
        }
        // A standard signal: there is always room.
        let _ = signal::send_to_process(&process, SigInfo::kernel(SIGALRM));
    }
}

/// Read ITIMER_REAL.
pub fn real(process: &Process) -> Setting {
    let real = process.timers.real.lock();
    match real.id {
        // An armed timer never shows as 0, which would mean off.
        Some(_) => Setting {
            value: real.at.saturating_sub(super::now_ns()).max(1_000),
            interval: real.interval,
        },
        None => Setting {
            value: 0,
            interval: real.interval,
        },
    }
}

/// Set ITIMER_REAL of the running process; the old setting comes back.
pub fn set_real(setting: Setting) -> Setting {
    let me = task::current();
    let process = &me.process;
    let old = real(process);
    let mut real = process.timers.real.lock();
    if let Some(id) = real.id.take() {
        timer::cancel(id);
    }
    real.interval = setting.interval;
    if setting.value != 0 {
        real.at = super::now_ns().saturating_add(setting.value);
        real.id = Some(timer::ring_at(
            real.at,
            Arc::new(RealAlarm(Arc::downgrade(process))),
        ));
    }
    old
}

/// Read ITIMER_VIRTUAL (`prof` false) or ITIMER_PROF.
pub fn cpu(process: &Process, prof: bool) -> Setting {
    let used = process.usage().cpu_ns();
    let timer = process.timers.cpu.lock()[if prof { PROF } else { VIRTUAL }];
    match timer.at {
        u64::MAX => Setting {
            value: 0,
            interval: timer.interval,
        },
        at => Setting {
            value: at.saturating_sub(used).max(1_000),
            interval: timer.interval,
        },
    }
}

/// Set ITIMER_VIRTUAL or ITIMER_PROF of the running process; the old setting comes back.
pub fn set_cpu(prof: bool, setting: Setting) -> Setting {
    let process = task::current_process();
    let old = cpu(process, prof);
    let used = process.usage().cpu_ns();
    {
        let mut timers = process.timers.cpu.lock();
        timers[if prof { PROF } else { VIRTUAL }] = CpuTimer {
            at: if setting.value == 0 {
                u64::MAX
            } else {
                used.saturating_add(setting.value)
            },
            interval: setting.interval,
        };
        process.timers.update(&timers);
    }
    process.timers.watch(super::now_ns());
    old
}

/// RLIMIT_CPU of a process has been set: watch over it.
pub fn cpu_limit_changed(process: &Process) {
    let limit = process.rlimit(Resource::Cpu);
    {
        let mut timers = process.timers.cpu.lock();
        timers[LIMIT].at = if limit == INFINITY {
            u64::MAX
        } else {
            limit.saturating_mul(SECOND)
        };
        process.timers.update(&timers);
    }
    if core::ptr::eq(process, task::current_process()) {
        process.timers.watch(super::now_ns());
    }
}

/// All timers off (exit).
pub fn stop_all(process: &Process) {
    super::posix::delete_all(process);
    let id = process.timers.real.lock().id.take();
    if let Some(id) = id {
        timer::cancel(id);
    }
    let mut timers = process.timers.cpu.lock();
    *timers = [CpuTimer::OFF; 3];
    process.timers.update(&timers);
}

/// The timer has fired: has the running process used up a timer of processor time?
pub(super) fn check_cpu_timers(now: u64) {
    let process = task::current_process();
    let next = process.timers.next_cpu.load(Ordering::Relaxed);
    if next == u64::MAX {
        return;
    }
    let used = process.usage().cpu_ns();
    if used >= next {
        let mut expired = [false; 3];
        let mut hard = false;
        let limit = *process.rlimits.lock();
        {
            let mut timers = process.timers.cpu.lock();
            for (timer, expired) in timers.iter_mut().zip(&mut expired) {
                if timer.at <= used {
                    *expired = true;
                    timer.at = if timer.interval == 0 {
                        u64::MAX
                    } else {
                        used.saturating_add(timer.interval)
                    };
                }
            }
            if expired[LIMIT] {
                // Each second from now on, until the hard limit (`getrlimit(2)`).
                timers[LIMIT].at = used.saturating_add(SECOND);
                hard = limit
                    .get(Resource::Cpu as usize)
                    .is_ok_and(|l| used >= l.max.saturating_mul(SECOND));
            }
            process.timers.update(&timers);
        }
        for (expired, signo) in
            expired
                .into_iter()
                .zip([SIGVTALRM, SIGPROF, if hard { SIGKILL } else { SIGXCPU }])
        {
            if expired {
                // Standard signals: there is always room.
                let _ = signal::send_to_process(process, SigInfo::kernel(signo));
            }
        }
    }
    process.timers.watch(now);
}
