//! All processes and tasks by number.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::process::Process;
use super::thread::Task;
use crate::errno::{Errno, KResult};
use crate::sync::{SpinLock, SpinLockGuard};

/// Highest number plus one (`kernel.pid_max`).
pub const PID_MAX: u32 = 32768;
/// After a wrap, numbers start here: low ones are left to what runs from the start.
const PID_RESTART: u32 = 300;

/// The table.
pub struct Table {
    pub(super) processes: BTreeMap<u32, Arc<Process>>,
    pub(super) tasks: BTreeMap<u32, Arc<Task>>,
    last: u32,
    /// Tasks created since boot (`/proc/stat`: processes).
    pub(super) forks: u64,
}

static TABLE: SpinLock<Table> = SpinLock::new(Table {
    processes: BTreeMap::new(),
    tasks: BTreeMap::new(),
    last: 0,
    forks: 0,
});

/// The table, locked: outermost of the locks of this module.
#[track_caller]
pub fn table() -> SpinLockGuard<'static, Table> {
    TABLE.lock()
}

impl Table {
    /// A number that no task, process, group or session has.
    ///
    /// # Errors
    /// EAGAIN: there is none left.
    pub(super) fn allocate(&mut self) -> KResult<u32> {
        for _ in 0..PID_MAX {
            self.last = if self.last + 1 >= PID_MAX {
                PID_RESTART
            } else {
                self.last + 1
            };
            let number = self.last;
            if !self.tasks.contains_key(&number)
                && !self.processes.contains_key(&number)
                && !self.names_group(number)
            {
                return Ok(number);
            }
        }
        Err(Errno::EAGAIN)
    }

    /// Whether a process is in group or session `number`. Before the first wrap none can be unless
    /// its leader's number is taken too, but looking costs little beside a fork.
    fn names_group(&self, number: u32) -> bool {
        self.forks >= u64::from(PID_MAX - PID_RESTART)
            && self
                .processes
                .values()
                .any(|p| p.pgid() == number || p.sid() == number)
    }

    /// The processes of a group, zombies included.
    pub fn group(&self, pgid: u32) -> impl Iterator<Item = &Arc<Process>> {
        self.processes.values().filter(move |p| p.pgid() == pgid)
    }

    /// The process with number `pid`.
    pub fn process(&self, pid: u32) -> Option<&Arc<Process>> {
        self.processes.get(&pid)
    }

    /// All processes, zombies included, in the order of their numbers.
    pub fn processes(&self) -> impl Iterator<Item = &Arc<Process>> {
        self.processes.values()
    }

    /// Number of tasks.
    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }

    /// Tasks created since boot.
    pub fn forks(&self) -> u64 {
        self.forks
    }

    /// The number that was given out last.
    pub fn last_pid(&self) -> u32 {
        self.last
    }
}

/// The process with number `pid`.
pub fn find_process(pid: u32) -> Option<Arc<Process>> {
    table().processes.get(&pid).cloned()
}

/// The task with number `tid`.
pub fn find_task(tid: u32) -> Option<Arc<Task>> {
    table().tasks.get(&tid).cloned()
}

/// All processes, zombies included, in the order of their numbers.
pub fn all_processes() -> Vec<Arc<Process>> {
    table().processes.values().cloned().collect()
}
