//! System V semaphores (`semop(2)`, `semctl(2)`).
//!
//! A call's operations are carried out together or not at all. Whoever cannot go on sleeps in the
//! set's queue and tries anew after each change; adjustments that are to be undone at a process's end
//! lie in the set, by process, or by a number that processes share (CLONE_SYSVSEM).

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::perm::{READ, WRITE};
use super::table::{Object, Table};
use super::{NO_WAIT, Perm, PermRecord, me, now};
use crate::errno::{Errno, KResult};
use crate::mm::user::Pod;
use crate::sync::{SpinLock, WaitQueue};

/// Most sets.
pub const MOST: usize = 32000;
/// Most semaphores of a set.
pub const MOST_IN_SET: usize = 32000;
/// Most operations of a call.
pub const MOST_OPERATIONS: usize = 500;
/// Largest value.
pub const LARGEST: i32 = 32767;

const UNDO: i16 = 0o10000;

/// `struct sembuf`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Operation {
    number: u16,
    change: i16,
    flags: i16,
}

// SAFETY: integers without padding; any bit pattern is valid.
unsafe impl Pod for Operation {}

#[derive(Clone, Copy, Default)]
struct Semaphore {
    value: i32,
    pid: u32,
    /// Calls that sleep until it grows.
    waiting_more: u32,
    /// Calls that sleep until it is 0.
    waiting_zero: u32,
}

struct State {
    perm: Perm,
    semaphores: Vec<Semaphore>,
    /// What is added when a process ends, by its number or that of its group.
    undo: BTreeMap<u32, Vec<i16>>,
    operated: i64,
    changed: i64,
    removed: bool,
}

/// A set of semaphores.
pub struct Set {
    state: SpinLock<State>,
    changes: WaitQueue,
}

static SETS: Table<Set> = Table::new(MOST);
/// Whether any process ever asked for an undo: exit need not look before.
static UNDO_USED: AtomicBool = AtomicBool::new(false);

/// Processes that share their adjustments, each with its group's number.
static GROUPS: SpinLock<BTreeMap<u32, u32>> = SpinLock::new(BTreeMap::new());
/// Whether there are groups: they are rare.
static GROUPS_USED: AtomicBool = AtomicBool::new(false);

/// The number of a process's adjustments.
fn undo_key(pid: u32) -> u32 {
    if !GROUPS_USED.load(Ordering::Relaxed) {
        return pid;
    }
    GROUPS.lock().get(&pid).copied().unwrap_or(pid)
}

/// A child shares its parent's adjustments (CLONE_SYSVSEM): they are made when both have ended.
pub fn share(parent: u32, child: u32) {
    /// The first number of a group; no process has it.
    const FIRST: u32 = 1 << 24;
    static NEXT: AtomicU32 = AtomicU32::new(FIRST);
    GROUPS_USED.store(true, Ordering::Relaxed);
    let mut groups = GROUPS.lock();
    let known = groups.get(&parent).copied();
    let group = known.unwrap_or_else(|| NEXT.fetch_add(1, Ordering::Relaxed) | FIRST);
    groups.insert(parent, group);
    groups.insert(child, group);
    drop(groups);
    if known.is_some() || !UNDO_USED.load(Ordering::Relaxed) {
        return;
    }
    // What the parent has had for itself becomes the group's.
    for (_, set) in SETS.all() {
        let mut state = set.state.lock();
        if let Some(adjustments) = state.undo.remove(&parent) {
            state.undo.insert(group, adjustments);
        }
    }
}

/// A process leaves its group, if it is in one: the number of the adjustments to make now.
fn leave(pid: u32) -> Option<u32> {
    if !GROUPS_USED.load(Ordering::Relaxed) {
        return Some(pid);
    }
    let mut groups = GROUPS.lock();
    let Some(group) = groups.remove(&pid) else {
        return Some(pid);
    };
    let others = groups.values().any(|&other| other == group);
    (!others).then_some(group)
}

impl Object for Set {
    fn perm(&self) -> Perm {
        self.state.lock().perm
    }

    fn check_size(&self, size: usize) -> KResult<()> {
        if size > self.state.lock().semaphores.len() {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }
}

/// Why operations cannot be carried out now.
enum Obstacle {
    /// This one has to wait, and whether for zero.
    Wait {
        number: usize,
        zero: bool,
        no_wait: bool,
    },
    Error(Errno),
}

impl State {
    /// Carry out all operations, or none.
    fn try_all(&mut self, operations: &[Operation], pid: u32) -> Result<(), Obstacle> {
        let fault = Obstacle::Error;
        let mut done = 0;
        let mut result = Ok(());
        for operation in operations {
            let semaphore = &mut self.semaphores[usize::from(operation.number)];
            let change = i32::from(operation.change);
            let value = semaphore.value + change;
            if (change == 0 && semaphore.value != 0) || value < 0 {
                result = Err(Obstacle::Wait {
                    number: operation.number.into(),
                    zero: change == 0,
                    no_wait: operation.flags & NO_WAIT as i16 != 0,
                });
                break;
            }
            if value > LARGEST {
                result = Err(fault(Errno::ERANGE));
                break;
            }
            semaphore.value = value;
            done += 1;
        }
        if result.is_ok() {
            result = self.note_undo(operations, undo_key(pid)).map_err(fault);
        }
        if result.is_err() {
            for operation in &operations[..done] {
                self.semaphores[usize::from(operation.number)].value -= i32::from(operation.change);
            }
            return result;
        }
        for operation in operations {
            self.semaphores[usize::from(operation.number)].pid = pid;
        }
        self.operated = now();
        Ok(())
    }

    fn note_undo(&mut self, operations: &[Operation], key: u32) -> KResult<()> {
        let wanted = |o: &&Operation| o.flags & UNDO != 0 && o.change != 0;
        if operations.iter().find(wanted).is_none() {
            return Ok(());
        }
        let count = self.semaphores.len();
        let mut adjustments = match self.undo.get(&key) {
            Some(known) => known.clone(),
            None => alloc::vec![0; count],
        };
        for operation in operations.iter().filter(wanted) {
            let place = &mut adjustments[usize::from(operation.number)];
            *place = place.checked_sub(operation.change).ok_or(Errno::ERANGE)?;
        }
        UNDO_USED.store(true, Ordering::Relaxed);
        self.undo.insert(key, adjustments);
        Ok(())
    }

    fn waiting(&mut self, number: usize, zero: bool) -> &mut u32 {
        let semaphore = &mut self.semaphores[number];
        match zero {
            true => &mut semaphore.waiting_zero,
            false => &mut semaphore.waiting_more,
        }
    }
}

/// `semget(2)`
pub fn get(key: i32, count: usize, flags: usize) -> KResult<usize> {
    if count as i32 as usize != count || count > MOST_IN_SET {
        return Err(Errno::EINVAL);
    }
    SETS.get(key, count, flags, |perm| {
        if count == 0 {
            return Err(Errno::EINVAL);
        }
        let mut semaphores = Vec::new();
        semaphores
            .try_reserve_exact(count)
            .map_err(|_| Errno::ENOMEM)?;
        semaphores.resize(count, Semaphore::default());
        Ok(Set {
            state: SpinLock::new(State {
                perm,
                semaphores,
                undo: BTreeMap::new(),
                operated: 0,
                changed: now(),
                removed: false,
            }),
            changes: WaitQueue::new(),
        })
    })
}

/// `semtimedop(2)`: carry out `operations`, asleep until `deadline` of the monotonic clock.
///
/// # Errors
/// EAGAIN: it would have to wait, or the time is over. EFBIG, EACCES, ERANGE, EINVAL. EIDRM: the set
/// was removed. EINTR.
pub fn operate(id: usize, operations: &[Operation], deadline: Option<u64>) -> KResult<()> {
    let set = SETS.find(id)?;
    {
        let state = set.state.lock();
        let count = state.semaphores.len();
        if operations.iter().any(|o| usize::from(o.number) >= count) {
            return Err(Errno::EFBIG);
        }
        let alters = operations.iter().any(|o| o.change != 0);
        state.perm.check(if alters { WRITE } else { READ })?;
    }
    let pid = me();
    // The semaphore that this call is counted at as a sleeper.
    let mut counted: Option<(usize, bool)> = None;
    let result = set.changes.wait_deadline(deadline, || {
        let mut state = set.state.lock();
        if let Some((number, zero)) = counted.take() {
            *state.waiting(number, zero) -= 1;
        }
        if state.removed {
            return Some(Err(Errno::EIDRM));
        }
        match state.try_all(operations, pid) {
            Ok(()) => Some(Ok(())),
            Err(Obstacle::Error(e)) => Some(Err(e)),
            Err(Obstacle::Wait { no_wait: true, .. }) => Some(Err(Errno::EAGAIN)),
            Err(Obstacle::Wait { number, zero, .. }) => {
                *state.waiting(number, zero) += 1;
                counted = Some((number, zero));
                None
            }
        }
    });
    if let Some((number, zero)) = counted {
        *set.state.lock().waiting(number, zero) -= 1;
    }
    match result {
        Ok(Some(Ok(()))) => {
            set.changes.wake_all();
            Ok(())
        }
        Ok(Some(Err(e))) => Err(e),
        Ok(None) => Err(Errno::EAGAIN),
        Err(_) => Err(Errno::EINTR),
    }
}

/// The end of a process: its adjustments are made.
pub fn exit(pid: u32) {
    let Some(key) = leave(pid) else {
        return;
    };
    if !UNDO_USED.load(Ordering::Relaxed) {
        return;
    }
    for (_, set) in SETS.all() {
        let mut state = set.state.lock();
        let Some(adjustments) = state.undo.remove(&key) else {
            continue;
        };
        for (semaphore, adjustment) in state.semaphores.iter_mut().zip(&adjustments) {
            if *adjustment != 0 {
                let value = semaphore.value + i32::from(*adjustment);
                semaphore.value = value.clamp(0, LARGEST);
                semaphore.pid = pid;
            }
        }
        state.operated = now();
        drop(state);
        set.changes.wake_all();
    }
}

/// A fact about one semaphore.
#[derive(Clone, Copy, Debug)]
pub enum Fact {
    /// Its value.
    Value,
    /// The last process that changed it.
    Pid,
    /// Calls that wait for it to grow.
    WaitingMore,
    /// Calls that wait for it to be 0.
    WaitingZero,
}

/// `GETVAL`, `GETPID`, `GETNCNT`, `GETZCNT`. EACCES, EINVAL.
pub fn look(id: usize, number: usize, fact: Fact) -> KResult<usize> {
    let set = SETS.find(id)?;
    let state = set.state.lock();
    state.perm.check(READ)?;
    let semaphore = state.semaphores.get(number).ok_or(Errno::EINVAL)?;
    Ok(match fact {
        Fact::Value => semaphore.value as usize,
        Fact::Pid => semaphore.pid as usize,
        Fact::WaitingMore => semaphore.waiting_more as usize,
        Fact::WaitingZero => semaphore.waiting_zero as usize,
    })
}

/// `GETALL`: all values. EACCES, EINVAL.
pub fn values(id: usize) -> KResult<Vec<u16>> {
    let set = SETS.find(id)?;
    let state = set.state.lock();
    state.perm.check(READ)?;
    Ok(state.semaphores.iter().map(|s| s.value as u16).collect())
}

/// Number of semaphores of a set. EINVAL.
pub fn count(id: usize) -> KResult<usize> {
    Ok(SETS.find(id)?.state.lock().semaphores.len())
}

/// `SETVAL` (`first` and one value), `SETALL` (0 and all values): pending adjustments of these
/// semaphores are forgotten. EACCES, EINVAL, ERANGE.
pub fn set_values(id: usize, first: usize, values: &[i32]) -> KResult<()> {
    let set = SETS.find(id)?;
    {
        let mut state = set.state.lock();
        state.perm.check(WRITE)?;
        if first + values.len() > state.semaphores.len() {
            return Err(Errno::EINVAL);
        }
        if values.iter().any(|v| !(0..=LARGEST).contains(v)) {
            return Err(Errno::ERANGE);
        }
        let pid = me();
        for (n, value) in values.iter().enumerate() {
            let semaphore = &mut state.semaphores[first + n];
            semaphore.value = *value;
            semaphore.pid = pid;
        }
        for adjustments in state.undo.values_mut() {
            adjustments[first..first + values.len()].fill(0);
        }
        state.changed = now();
    }
    set.changes.wake_all();
    Ok(())
}

/// `struct semid64_ds`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Record {
    /// Owners and permissions.
    pub perm: PermRecord,
    operated: i64,
    unused1: u64,
    changed: i64,
    unused2: u64,
    count: u64,
    unused3: [u64; 2],
}

// SAFETY: integers without implicit padding; any bit pattern is valid.
unsafe impl Pod for Record {}

const _: () = assert!(size_of::<Record>() == 104);

fn record(id: u32, set: &Set) -> Record {
    let state = set.state.lock();
    Record {
        perm: state.perm.record(id),
        operated: state.operated,
        changed: state.changed,
        count: state.semaphores.len() as u64,
        ..Record::default()
    }
}

/// `IPC_STAT`. EACCES, EINVAL.
pub fn stat(id: usize) -> KResult<Record> {
    let set = SETS.find(id)?;
    set.perm().check(READ)?;
    Ok(record(id as u32, &set))
}

/// `SEM_STAT` (`any`: `SEM_STAT_ANY`) of an index: number and facts.
pub fn stat_index(index: usize, any: bool) -> KResult<(usize, Record)> {
    let (id, set) = SETS.at(index)?;
    if !any {
        set.perm().check(READ)?;
    }
    Ok((id as usize, record(id, &set)))
}

/// `IPC_SET`. EPERM, EINVAL.
pub fn set(id: usize, from: &PermRecord) -> KResult<()> {
    let set = SETS.find(id)?;
    set.perm().check_owner()?;
    let mut state = set.state.lock();
    state.perm.set(from);
    state.changed = now();
    Ok(())
}

/// `IPC_RMID`: those who sleep get EIDRM. EPERM, EINVAL.
pub fn remove(id: usize) -> KResult<()> {
    let set = SETS.find(id)?;
    set.perm().check_owner()?;
    if SETS.remove(&set) {
        set.state.lock().removed = true;
        set.changes.wake_all();
    }
    Ok(())
}

/// Number of sets, of semaphores in all, and the highest index.
pub fn sums() -> (usize, usize, usize) {
    let all = SETS.all();
    let semaphores = all.iter().map(|(_, s)| s.state.lock().semaphores.len());
    (all.len(), semaphores.sum(), SETS.highest())
}

/// The text of `/proc/sysvipc/sem`.
pub fn describe() -> String {
    let mut text = String::from(
        "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n",
    );
    for (id, set) in SETS.all() {
        let state = set.state.lock();
        let perm = &state.perm;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:>10} {id:>10}  {:>4} {:>10} {:>5} {:>5} {:>5} {:>5} {:>10} {:>10}",
            perm.key,
            format!("{:o}", perm.mode),
            state.semaphores.len(),
            perm.uid,
            perm.gid,
            perm.cuid,
            perm.cgid,
            state.operated,
            state.changed,
        );
    }
    text
}
