//! POSIX message queues (`mq_overview(7)`): messages with priorities, in a queue with a name.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::errno::{Errno, KResult};
use crate::fs::{
    File, FileOps, FileType, Inode, Metadata, OpenFlags, PollEvents, PollTable, ReadBuf, SetAttr,
};
use crate::sync::{SpinLock, WaitQueue};
use crate::task::rlimit::Resource;
use crate::task::signal::{self, SigInfo};
use crate::task::{self, Process};

/// Priorities are below this.
pub const PRIORITIES: u32 = 32768;
/// `si_code`: a message has come to an empty queue.
const SI_MESGQ: i32 = -3;
/// Size that stat shows.
const SIZE: u64 = 80;
/// What a message takes beyond its text, as limits are counted.
const OVERHEAD: u64 = 96;
/// Root's own limits.
const ROOT_MESSAGES: u64 = 65536;
const ROOT_LENGTH: u64 = 16 << 20;

/// The numbers in `/proc/sys/fs/mqueue`.
pub struct Limits {
    /// Messages of a queue made without attributes.
    pub default_messages: AtomicU32,
    /// Most messages that others than root may ask for.
    pub most_messages: AtomicU32,
    /// Length of messages of a queue made without attributes.
    pub default_length: AtomicU32,
    /// Longest messages that others than root may ask for.
    pub most_length: AtomicU32,
    /// Most queues of others than root.
    pub most_queues: AtomicU32,
}

/// The limits.
pub static LIMITS: Limits = Limits {
    default_messages: AtomicU32::new(10),
    most_messages: AtomicU32::new(10),
    default_length: AtomicU32::new(8192),
    most_length: AtomicU32::new(8192),
    most_queues: AtomicU32::new(256),
};

/// What a queue holds at most.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Most messages.
    pub messages: u64,
    /// Longest message in bytes.
    pub length: u64,
}

impl Shape {
    /// Of a queue made without attributes.
    pub fn default() -> Self {
        let load = |limit: &AtomicU32| u64::from(limit.load(Ordering::Relaxed));
        Self {
            messages: load(&LIMITS.default_messages).min(load(&LIMITS.most_messages)),
            length: load(&LIMITS.default_length).min(load(&LIMITS.most_length)),
        }
    }

    /// Whether the running process may ask for it. EINVAL.
    pub fn check(&self) -> KResult<()> {
        let root = task::current_process().creds.lock().is_privileged();
        let load = |limit: &AtomicU32| u64::from(limit.load(Ordering::Relaxed));
        let (messages, length) = match root {
            true => (ROOT_MESSAGES, ROOT_LENGTH),
            false => (load(&LIMITS.most_messages), load(&LIMITS.most_length)),
        };
        if self.messages == 0
            || self.length == 0
            || self.messages > messages
            || self.length > length
        {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.messages * (self.length + OVERHEAD)
    }
}

/// Bytes that the queues of each user may take.
static CHARGED: SpinLock<BTreeMap<u32, u64>> = SpinLock::new(BTreeMap::new());

/// Who is told of the next message to an empty queue.
struct Notification {
    process: Weak<Process>,
    /// 0: nobody, but the place is taken.
    signo: u32,
    value: u64,
}

struct State {
    by_priority: BTreeMap<u32, VecDeque<Vec<u8>>>,
    count: u64,
    bytes: u64,
    /// Sleepers that a message goes to at once.
    receivers: u32,
    notification: Option<Notification>,
}

/// A queue.
pub struct Queue {
    meta: SpinLock<Metadata>,
    shape: Shape,
    user: u32,
    state: SpinLock<State>,
    changes: Arc<WaitQueue>,
}

impl Queue {
    /// An empty queue with these facts. EMFILE: the user's queues would take more than
    /// RLIMIT_MSGQUEUE.
    pub fn new(meta: Metadata, shape: Shape) -> KResult<Arc<Self>> {
        let user = task::current_process().creds.lock().uid;
        let limit = task::current_process().rlimit(Resource::MessageQueues);
        let mut charged = CHARGED.lock();
        let sum = charged.entry(user).or_insert(0);
        if *sum + shape.bytes() > limit {
            return Err(Errno::EMFILE);
        }
        *sum += shape.bytes();
        drop(charged);
        Ok(Arc::new(Self {
            meta: SpinLock::new(Metadata { size: SIZE, ..meta }),
            shape,
            user,
            state: SpinLock::new(State {
                by_priority: BTreeMap::new(),
                count: 0,
                bytes: 0,
                receivers: 0,
                notification: None,
            }),
            changes: Arc::new(WaitQueue::new()),
        }))
    }

    /// Its name has been removed.
    pub fn unlinked(&self) {
        self.meta.lock().nlink = 0;
    }

    /// What it holds at most, and the messages that it holds now.
    pub fn shape(&self) -> (Shape, u64) {
        (self.shape, self.state.lock().count)
    }

    /// Add a message (`mq_timedsend(3)`).
    ///
    /// # Errors
    /// EMSGSIZE, EAGAIN, ETIMEDOUT, EINTR.
    pub fn send(
        &self,
        text: Vec<u8>,
        priority: u32,
        nonblocking: bool,
        deadline: Option<u64>,
    ) -> KResult<()> {
        if text.len() as u64 > self.shape.length {
            return Err(Errno::EMSGSIZE);
        }
        let mut text = Some(text);
        let sent = self.changes.wait_deadline(deadline, || {
            let mut state = self.state.lock();
            if state.count >= self.shape.messages {
                return nonblocking.then_some(Err(Errno::EAGAIN));
            }
            let text = text.take()?;
            state.count += 1;
            state.bytes += text.len() as u64;
            state
                .by_priority
                .entry(priority)
                .or_default()
                .push_back(text);
            let told = match state.count == 1 && state.receivers == 0 {
                true => state.notification.take(),
                false => None,
            };
            Some(Ok(told))
        })?;
        let told = sent.ok_or(Errno::ETIMEDOUT)??;
        self.changes.wake_all();
        if let Some(told) = told
            && told.signo != 0
            && let Some(process) = told.process.upgrade()
        {
            let me = task::current_process();
            let uid = me.creds.lock().uid;
            let sender = u64::from(me.pid()) | u64::from(uid) << 32;
            let info = SigInfo::new(told.signo, SI_MESGQ, [sender, told.value, 0, 0]);
            // A queue of signals that is full loses it, as with any other.
            let _ = signal::send_to_process(&process, info);
        }
        Ok(())
    }

    /// Take the oldest message of the highest priority, which may have `room` bytes
    /// (`mq_timedreceive(3)`).
    ///
    /// # Errors
    /// EMSGSIZE: a message might be longer. EAGAIN, ETIMEDOUT, EINTR.
    pub fn receive(
        &self,
        room: usize,
        nonblocking: bool,
        deadline: Option<u64>,
    ) -> KResult<(Vec<u8>, u32)> {
        if (room as u64) < self.shape.length {
            return Err(Errno::EMSGSIZE);
        }
        let mut counted = false;
        let received = self.changes.wait_deadline(deadline, || {
            let mut state = self.state.lock();
            if core::mem::take(&mut counted) {
                state.receivers -= 1;
            }
            match state.take() {
                Some(message) => Some(Ok(message)),
                None if nonblocking => Some(Err(Errno::EAGAIN)),
                None => {
                    state.receivers += 1;
                    counted = true;
                    None
                }
            }
        });
        if counted {
            self.state.lock().receivers -= 1;
        }
        let message = received?.ok_or(Errno::ETIMEDOUT)??;
        self.changes.wake_all();
        Ok(message)
    }

    /// Have the running process told of the next message to the empty queue, by signal `signo` with
    /// `value` (0: by nothing). EBUSY: another one is told.
    pub fn notify(&self, signo: u32, value: u64) -> KResult<()> {
        let me = task::current().process.clone();
        let mut state = self.state.lock();
        let taken = state.notification.as_ref();
        if taken.is_some_and(|n| n.process.upgrade().is_some_and(|p| !p.is_dead())) {
            return Err(Errno::EBUSY);
        }
        state.notification = Some(Notification {
            process: Arc::downgrade(&me),
            signo,
            value,
        });
        Ok(())
    }

    /// Take back what [`Self::notify`] did, if it was the running process.
    pub fn stop_notifying(&self) {
        let me = task::current_process();
        let mut state = self.state.lock();
        let mine = |n: &Notification| n.process.upgrade().is_some_and(|p| p.pid() == me.pid());
        if state.notification.as_ref().is_some_and(mine) {
            state.notification = None;
        }
    }

    /// The text of its file.
    fn describe(&self) -> alloc::string::String {
        let state = self.state.lock();
        let told = state.notification.as_ref();
        let pid = told
            .and_then(|n| n.process.upgrade())
            .map_or(0, |p| p.pid());
        let signo = told.map_or(0, |n| n.signo);
        let how = u32::from(told.is_some() && signo == 0);
        format!(
            "QSIZE:{:<10} NOTIFY:{how:<5} SIGNO:{signo:<5} NOTIFY_PID:{pid:<6}\n",
            state.bytes
        )
    }
}

impl State {
    fn take(&mut self) -> Option<(Vec<u8>, u32)> {
        let (&priority, messages) = self.by_priority.iter_mut().next_back()?;
        let text = messages.pop_front()?;
        if messages.is_empty() {
            self.by_priority.remove(&priority);
        }
        self.count -= 1;
        self.bytes -= text.len() as u64;
        Some((text, priority))
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let mut charged = CHARGED.lock();
        if let Some(sum) = charged.get_mut(&self.user) {
            *sum -= self.shape.bytes();
            if *sum == 0 {
                charged.remove(&self.user);
            }
        }
    }
}

impl Inode for Queue {
    fn metadata(&self) -> Metadata {
        *self.meta.lock()
    }

    fn kind(&self) -> FileType {
        FileType::Regular
    }

    fn fs(&self) -> Option<Arc<dyn crate::fs::FileSystem>> {
        Some(super::mqueue_fs::instance())
    }

    fn truncate(&self, _size: u64) -> KResult<()> {
        Ok(())
    }

    fn set_attr(&self, attr: &SetAttr) -> KResult<()> {
        self.meta.lock().change(attr);
        Ok(())
    }

    fn open(&self, _flags: OpenFlags) -> KResult<Option<Box<dyn FileOps>>> {
        Ok(Some(Box::new(Open)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// An open queue; the inode holds everything.
struct Open;

/// The queue behind a file. EBADF: it is none.
pub fn queue_of(file: &File) -> KResult<&Queue> {
    file.inode().as_any().downcast_ref().ok_or(Errno::EBADF)
}

impl FileOps for Open {
    fn read(&self, file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        file.at_offset(|offset| self.read_at(file, offset, buf))
    }

    fn read_at(&self, file: &File, offset: u64, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        let text = queue_of(file)?.describe();
        match text.as_bytes().get(offset as usize..) {
            Some(rest) => buf.put(rest),
            None => Ok(0),
        }
    }

    fn seek_end(&self, _file: &File) -> KResult<u64> {
        Ok(SIZE)
    }

    fn poll(&self, file: &File, table: Option<&mut PollTable>) -> PollEvents {
        let Ok(queue) = queue_of(file) else {
            return PollEvents::ERR;
        };
        if let Some(table) = table {
            table.add(&queue.changes);
        }
        let count = queue.state.lock().count;
        let mut events = PollEvents::empty();
        if count > 0 {
            events |= PollEvents::READABLE;
        }
        if count < queue.shape.messages {
            events |= PollEvents::WRITABLE;
        }
        events
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
