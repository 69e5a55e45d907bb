//! System V message queues (`msgop(2)`, `msgctl(2)`).

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use super::perm::{READ, WRITE};
use super::table::{Object, Table};
use super::{NO_WAIT, Perm, PermRecord, me, now};
use crate::errno::{Errno, KResult};
use crate::mm::user::Pod;
use crate::sync::{SpinLock, WaitQueue};
use crate::task;

/// Most queues.
pub const MOST: usize = 32000;
/// Longest message in bytes.
pub const LONGEST: usize = 8192;
/// Bytes that a queue takes, unless its owner says otherwise.
pub const CAPACITY: usize = 16384;

const NOERROR: usize = 0o10000;
const EXCEPT: usize = 0o20000;
const COPY: usize = 0o40000;

/// A message.
#[derive(Clone)]
pub struct Message {
    /// Its type, positive.
    pub kind: i64,
    /// Its text.
    pub text: Vec<u8>,
}

struct State {
    perm: Perm,
    messages: VecDeque<Message>,
    bytes: usize,
    capacity: usize,
    sent: i64,
    received: i64,
    changed: i64,
    last_sender: u32,
    last_receiver: u32,
    removed: bool,
}

/// A queue.
pub struct Queue {
    state: SpinLock<State>,
    changes: WaitQueue,
}

static QUEUES: Table<Queue> = Table::new(MOST);

impl Object for Queue {
    fn perm(&self) -> Perm {
        self.state.lock().perm
    }

    fn check_size(&self, _size: usize) -> KResult<()> {
        Ok(())
    }
}

/// `msgget(2)`
pub fn get(key: i32, flags: usize) -> KResult<usize> {
    QUEUES.get(key, 0, flags, |perm| {
        Ok(Queue {
            state: SpinLock::new(State {
                perm,
                messages: VecDeque::new(),
                bytes: 0,
                capacity: CAPACITY,
                sent: 0,
                received: 0,
                changed: now(),
                last_sender: 0,
                last_receiver: 0,
                removed: false,
            }),
            changes: WaitQueue::new(),
        })
    })
}

/// Wait until `attempt` gives something; `NO_WAIT` in `flags`: `empty` at once.
fn wait<T>(
    queue: &Queue,
    flags: usize,
    empty: Errno,
    mut attempt: impl FnMut(&mut State) -> Option<KResult<T>>,
) -> KResult<T> {
    let result = queue.changes.wait(|| {
        let mut state = queue.state.lock();
        if state.removed {
            return Some(Err(Errno::EIDRM));
        }
        match attempt(&mut state) {
            None if flags & NO_WAIT != 0 => Some(Err(empty)),
            result => result,
        }
    });
    match result {
        Ok(result) => result,
        Err(_) => Err(Errno::ERESTARTNOHAND),
    }
}

/// `msgsnd(2)`. EAGAIN, EACCES, EIDRM, EINVAL, EINTR.
pub fn send(id: usize, message: Message, flags: usize) -> KResult<()> {
    let queue = QUEUES.find(id)?;
    queue.perm().check(WRITE)?;
    let mut message = Some(message);
    wait(&queue, flags, Errno::EAGAIN, |state| {
        let len = message.as_ref()?.text.len();
        if state.bytes + len > state.capacity || state.messages.len() >= state.capacity {
            return None;
        }
        if state.messages.try_reserve(1).is_err() {
            return Some(Err(Errno::ENOMEM));
        }
        state.bytes += len;
        state.messages.push_back(message.take()?);
        state.sent = now();
        state.last_sender = me();
        Some(Ok(()))
    })?;
    queue.changes.wake_all();
    Ok(())
}

impl State {
    /// Where the message lies that `kind` asks for.
    fn position(&self, kind: i64, flags: usize) -> Option<usize> {
        let mut each = self.messages.iter();
        if flags & COPY != 0 {
            let index = usize::try_from(kind).ok()?;
            return (index < self.messages.len()).then_some(index);
        }
        match kind {
            0 => (!self.messages.is_empty()).then_some(0),
            _ if kind > 0 && flags & EXCEPT != 0 => each.position(|m| m.kind != kind),
            _ if kind > 0 => each.position(|m| m.kind == kind),
            _ => {
                let most = kind.checked_neg().unwrap_or(i64::MAX);
                let fitting = each.enumerate().filter(|(_, m)| m.kind <= most);
                fitting.min_by_key(|(n, m)| (m.kind, *n)).map(|(n, _)| n)
            }
        }
    }
}

/// `msgrcv(2)`: a message of at most `len` bytes, chosen by `kind`.
///
/// # Errors
/// ENOMSG, E2BIG, EACCES, EIDRM, EINVAL, EINTR.
pub fn receive(id: usize, len: usize, kind: i64, flags: usize) -> KResult<Message> {
    if flags & COPY != 0 && (flags & EXCEPT != 0 || flags & NO_WAIT == 0) {
        return Err(Errno::EINVAL);
    }
    let queue = QUEUES.find(id)?;
    queue.perm().check(READ)?;
    let mut message = wait(&queue, flags, Errno::ENOMSG, |state| {
        let at = state.position(kind, flags)?;
        if state.messages[at].text.len() > len && flags & NOERROR == 0 {
            return Some(Err(Errno::E2BIG));
        }
        if flags & COPY != 0 {
            return Some(Ok(state.messages[at].clone()));
        }
        let message = state.messages.remove(at)?;
        state.bytes -= message.text.len();
        state.received = now();
        state.last_receiver = me();
        Some(Ok(message))
    })?;
    message.text.truncate(len);
    queue.changes.wake_all();
    Ok(message)
}

/// `struct msqid64_ds`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Record {
    /// Owners and permissions.
    pub perm: PermRecord,
    sent: i64,
    received: i64,
    changed: i64,
    bytes: u64,
    messages: u64,
    capacity: u64,
    last_sender: u32,
    last_receiver: u32,
    unused: [u64; 2],
}

// SAFETY: integers without implicit padding; any bit pattern is valid.
unsafe impl Pod for Record {}

const _: () = assert!(size_of::<Record>() == 120);

fn record(id: u32, queue: &Queue) -> Record {
    let state = queue.state.lock();
    Record {
        perm: state.perm.record(id),
        sent: state.sent,
        received: state.received,
        changed: state.changed,
        bytes: state.bytes as u64,
        messages: state.messages.len() as u64,
        capacity: state.capacity as u64,
        last_sender: state.last_sender,
        last_receiver: state.last_receiver,
        unused: [0; 2],
    }
}

/// `IPC_STAT`. EACCES, EINVAL.
pub fn stat(id: usize) -> KResult<Record> {
    let queue = QUEUES.find(id)?;
    queue.perm().check(READ)?;
    Ok(record(id as u32, &queue))
}

/// `MSG_STAT` (`any`: `MSG_STAT_ANY`) of an index: number and facts.
pub fn stat_index(index: usize, any: bool) -> KResult<(usize, Record)> {
    let (id, queue) = QUEUES.at(index)?;
    if !any {
        queue.perm().check(READ)?;
    }
    Ok((id as usize, record(id, &queue)))
}

/// `IPC_SET`. EPERM: not the owner, or more than the usual capacity and not root. EINVAL.
pub fn set(id: usize, from: &Record) -> KResult<()> {
    let queue = QUEUES.find(id)?;
    queue.perm().check_owner()?;
    let capacity = usize::try_from(from.capacity).unwrap_or(usize::MAX);
    let privileged = task::current_process().creds.lock().is_privileged();
    if capacity > CAPACITY && !privileged {
        return Err(Errno::EPERM);
    }
    {
        let mut state = queue.state.lock();
        state.perm.set(&from.perm);
        state.capacity = capacity;
        state.changed = now();
    }
    queue.changes.wake_all();
    Ok(())
}

/// `IPC_RMID`: those who sleep get EIDRM. EPERM, EINVAL.
pub fn remove(id: usize) -> KResult<()> {
    let queue = QUEUES.find(id)?;
    queue.perm().check_owner()?;
    if QUEUES.remove(&queue) {
        let messages = {
            let mut state = queue.state.lock();
            state.removed = true;
            core::mem::take(&mut state.messages)
        };
        drop(messages);
        queue.changes.wake_all();
    }
    Ok(())
}

/// Number of queues, messages, bytes, and the highest index.
pub fn sums() -> (usize, usize, usize, usize) {
    let all = QUEUES.all();
    let (mut messages, mut bytes) = (0, 0);
    for (_, queue) in &all {
        let state = queue.state.lock();
        messages += state.messages.len();
        bytes += state.bytes;
    }
    (all.len(), messages, bytes, QUEUES.highest())
}

/// The text of `/proc/sysvipc/msg`.
pub fn describe() -> String {
    let mut text = String::from(
        "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      \
         stime      rtime      ctime\n",
    );
    for (id, queue) in QUEUES.all() {
        let state = queue.state.lock();
        let perm = &state.perm;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:>10} {id:>10}  {:>4}  {:>10} {:>10} {:>5} {:>5} {:>5} {:>5} {:>5} {:>5} {:>10} {:>10} {:>10}",
            perm.key,
            format!("{:o}", perm.mode),
            state.bytes,
            state.messages.len(),
            state.last_sender,
            state.last_receiver,
            perm.uid,
            perm.gid,
            perm.cuid,
            perm.cgid,
            state.sent,
            state.received,
            state.changed,
        );
    }
    text
}
