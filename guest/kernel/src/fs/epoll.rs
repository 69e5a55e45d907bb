//! Event polls (`epoll(7)`).
//!
//! An interest holds its file weakly: closing the last descriptor ends it. Level-triggered
//! interests are asked when somebody waits. An edge-triggered one keeps a registration with its
//! file's wait queues; being woken there is the edge, whether or not the state changed since the
//! last look, as on Linux.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::ops::Bound;

use super::eventfd::anonymous_inode;
use super::{File, FileOps, OpenFlags, PollEvents, PollTable};
use crate::errno::{Errno, KResult};
use crate::sync::{Mutex, WaitQueue};

/// Report each readiness once (`EPOLLONESHOT`).
const ONESHOT: u32 = 1 << 30;
/// Report edges, not levels (`EPOLLET`).
const EDGE: u32 = 1 << 31;
/// Wake one waiter only (`EPOLLEXCLUSIVE`): taken as a hint.
const EXCLUSIVE: u32 = 1 << 28;
/// Keep the machine awake (`EPOLLWAKEUP`): without meaning here.
const WAKEUP: u32 = 1 << 29;

/// `struct epoll_event` on x86-64: packed.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, packed)]
pub struct Event {
    /// Events of [`PollEvents`], and in an interest the flags.
    pub events: u32,
    /// The caller's.
    pub data: u64,
}

// SAFETY: two integers, packed: no padding.
unsafe impl crate::mm::user::Pod for Event {}

/// Descriptor and file.
type Key = (usize, u64);

struct Interest {
    file: Weak<File>,
    events: u32,
    data: u64,
    /// One-shot, and has been reported.
    disarmed: bool,
    /// For an edge-triggered interest: its lasting registration.
    edge: Option<PollTable>,
    /// An edge has been seen, or nothing has been reported yet.
    pending: bool,
}

impl Interest {
    fn wanted(&self) -> PollEvents {
        let always = PollEvents::ERR | PollEvents::HUP;
        PollEvents(self.events & 0xffff) | always
    }

    /// What is to be reported now.
    fn ready(&mut self, file: &File) -> PollEvents {
        if self.disarmed {
            return PollEvents::empty();
        }
        if let Some(table) = &self.edge {
            self.pending |= table.take_woken();
            if !self.pending {
                return PollEvents::empty();
            }
        }
        file.poll(None) & self.wanted()
    }
}

/// An event poll.
pub struct Epoll {
    interests: Mutex<BTreeMap<Key, Interest>>,
    /// The last interest that took the last room of a wait: the next begins behind it, so that each
    /// has its turn.
    last: Mutex<Key>,
    /// Woken when interests are added or changed: waiters then register anew.
    changed: Arc<WaitQueue>,
}

/// A new event poll (`epoll_create1(2)`).
pub fn create() -> Arc<File> {
    let epoll = Epoll {
        interests: Mutex::new(BTreeMap::new()),
        last: Mutex::new((usize::MAX, u64::MAX)),
        changed: Arc::new(WaitQueue::new()),
    };
    File::new(
        anonymous_inode(),
        None,
        Some(Box::new(epoll)),
        OpenFlags::RDWR,
    )
}

impl Epoll {
    fn interest(file: &Arc<File>, event: Event) -> Interest {
        let events = event.events;
        let mut edge = None;
        if events & EDGE != 0 {
            let mut table = PollTable::new();
            file.poll(Some(&mut table));
            edge = Some(table);
        }
        Interest {
            file: Arc::downgrade(file),
            events: events & !(EXCLUSIVE | WAKEUP),
            data: event.data,
            disarmed: false,
            edge,
            pending: true,
        }
    }

    /// `EPOLL_CTL_ADD`. EEXIST, ELOOP for an event poll that itself watches event polls.
    pub fn add(&self, fd: usize, file: &Arc<File>, event: Event) -> KResult<()> {
        if let Some(inner) = file.ops_as::<Epoll>()
            && inner.watches_polls()
        {
            return Err(Errno::ELOOP);
        }
        let mut interests = self.interests.lock();
        interests.retain(|_, interest| interest.file.strong_count() > 0);
        if interests.contains_key(&(fd, file.id())) {
            return Err(Errno::EEXIST);
        }
        interests.insert((fd, file.id()), Self::interest(file, event));
        drop(interests);
        self.changed.wake_all();
        Ok(())
    }

    /// `EPOLL_CTL_MOD`. ENOENT.
    pub fn modify(&self, fd: usize, file: &Arc<File>, event: Event) -> KResult<()> {
        let mut interests = self.interests.lock();
        let known = interests.get_mut(&(fd, file.id())).ok_or(Errno::ENOENT)?;
        *known = Self::interest(file, event);
        drop(interests);
        self.changed.wake_all();
        Ok(())
    }

    /// `EPOLL_CTL_DEL`. ENOENT.
    pub fn remove(&self, fd: usize, file: &Arc<File>) -> KResult<()> {
        let removed = self.interests.lock().remove(&(fd, file.id()));
        removed.map(drop).ok_or(Errno::ENOENT)
    }

    fn watches_polls(&self) -> bool {
        self.interests.lock().values().any(|interest| {
            interest
                .file
                .upgrade()
                .is_some_and(|file| file.ops_as::<Epoll>().is_some())
        })
    }

    /// Up to `max` events that are there now.
    fn collect(&self, max: usize) -> Vec<Event> {
        let mut found = Vec::new();
        let mut dead = false;
        let mut interests = self.interests.lock();
        let mut last = self.last.lock();
        let ranges = [
            (Bound::Excluded(*last), Bound::Unbounded),
            (Bound::Unbounded, Bound::Included(*last)),
        ];
        for range in ranges {
            for (key, interest) in interests.range_mut(range) {
                if found.len() == max {
                    break;
                }
                let Some(file) = interest.file.upgrade() else {
                    dead = true;
                    continue;
                };
                let events = interest.ready(&file);
                if events.is_empty() {
                    continue;
                }
                interest.pending = false;
                interest.disarmed = interest.events & ONESHOT != 0;
                found.push(Event {
                    events: events.0,
                    data: interest.data,
                });
                if found.len() == max {
                    *last = *key;
                }
            }
        }
        if dead {
            interests.retain(|_, interest| interest.file.strong_count() > 0);
        }
        found
    }

    /// Add the queues of all interests to `table`.
    fn register(&self, table: &mut PollTable) {
        table.add(&self.changed);
        let mut files = Vec::new();
        for interest in self.interests.lock().values() {
            if !interest.disarmed {
                files.extend(interest.file.upgrade());
            }
        }
        for file in &files {
            file.poll(Some(table));
        }
    }

    /// `epoll_wait(2)`: up to `max` events, waiting for the first until the monotonic clock shows
    /// `deadline` (`None`: for ever). Empty: the time is over. ERESTARTSYS.
    pub fn wait(&self, max: usize, deadline: Option<u64>, wait: bool) -> KResult<Vec<Event>> {
        let found = self.collect(max);
        if !found.is_empty() || !wait {
            return Ok(found);
        }
        loop {
            let mut table = PollTable::new();
            self.register(&mut table);
            let found = self.collect(max);
            if !found.is_empty() {
                return Ok(found);
            }
            if !table.wait(deadline)? {
                return Ok(self.collect(max));
            }
        }
    }
}

impl FileOps for Epoll {
    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            self.register(table);
        }
        let mut interests = self.interests.lock();
        let ready = interests.values_mut().any(|interest| {
            let Some(file) = interest.file.upgrade() else {
                return false;
            };
            !interest.ready(&file).is_empty()
        });
        if ready {
            PollEvents::READABLE
        } else {
            PollEvents::empty()
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
