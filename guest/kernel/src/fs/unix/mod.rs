//! UNIX-domain sockets (`unix(7)`): streams, datagrams and packets, with passing of descriptors.
//!
//! What is sent goes, as messages, into the receiver's [`Inbox`]; a connected socket holds its
//! peer's. A stream ignores the borders between messages, except those that carry descriptors.
//! Names are either inodes of sockets in the file system or abstract (beginning with NUL).

mod descriptor;
pub mod garbage;
mod inbox;
mod transfer;

use descriptor::SocketFile;
pub use descriptor::of_file;
use inbox::{Inbox, Message};
pub use transfer::Received;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{File, Inode, OpenFlags, PollEvents, PollTable};
use crate::errno::{Errno, KResult};
use crate::sync::{SpinLock, WaitQueue};
use crate::task;

/// Bytes that may wait for one receiver (`SO_RCVBUF`).
pub const BUFFER: usize = 212_992;

/// Most descriptors in one message (`SCM_MAX_FD`).
pub const MAX_DESCRIPTORS: usize = 253;

/// Most connections that wait to be accepted, whatever `listen` asks for.
pub const MAX_BACKLOG: usize = 4096;

/// What a socket carries, with the numbers of `socket(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes (`SOCK_STREAM`).
    Stream = 1,
    /// Messages, without a connection (`SOCK_DGRAM`).
    Datagram = 2,
    /// Messages over a connection (`SOCK_SEQPACKET`).
    Packet = 5,
}

/// A name: a path, or an abstract name that begins with NUL; empty: none.
pub type Address = Vec<u8>;

/// Who is at the other end (`SO_PEERCRED`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Peer {
    /// Its process.
    pub pid: u32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

impl Peer {
    fn current() -> Self {
        let process = task::current_process();
        let creds = process.creds.lock();
        Self {
            pid: process.pid(),
            uid: creds.euid,
            gid: creds.egid,
        }
    }
}

enum Role {
    Idle,
    Listening {
        waiting: VecDeque<Arc<Socket>>,
        backlog: usize,
    },
    Connected,
}

struct State {
    role: Role,
    address: Address,
    peer_address: Address,
    /// Where what is sent goes.
    peer: Option<Arc<Inbox>>,
    peer_creds: Peer,
    /// The key under which it is bound, to be removed when it closes.
    bound: Option<Key>,
}

/// What a name is found by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Inode(u64, u64),
    Abstract(Vec<u8>),
}

static BOUND: SpinLock<BTreeMap<Key, Weak<Socket>>> = SpinLock::new(BTreeMap::new());
static NEXT_INO: AtomicU64 = AtomicU64::new(1);

/// A socket.
pub struct Socket {
    kind: Kind,
    ino: u64,
    inbox: Arc<Inbox>,
    /// How long calls wait, in nanoseconds; 0: for ever.
    receive_timeout: AtomicU64,
    send_timeout: AtomicU64,
    /// Senders are told with what is received (`SO_PASSCRED`).
    pass_creds: AtomicBool,
    state: SpinLock<State>,
}

/// Sleep on `queue` until `ready` gives a value, for so many nanoseconds at most (0: for ever). EAGAIN:
/// the time is over. ERESTARTSYS; with a time limit EINTR, since it would begin anew.
fn wait<T>(queue: &WaitQueue, timeout: &AtomicU64, ready: impl FnMut() -> Option<T>) -> KResult<T> {
    let timeout = timeout.load(Ordering::Relaxed);
    if timeout == 0 {
        return queue.wait(ready);
    }
    let deadline = crate::time::now_ns().saturating_add(timeout);
    match queue.wait_deadline(Some(deadline), ready) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(Errno::EAGAIN),
        Err(_) => Err(Errno::EINTR),
    }
}

impl Socket {
    /// How long receiving and accepting wait, in nanoseconds; 0: for ever (`SO_RCVTIMEO`).
    pub fn receive_timeout(&self) -> &AtomicU64 {
        &self.receive_timeout
    }

    /// How long sending and connecting wait, in nanoseconds; 0: for ever (`SO_SNDTIMEO`).
    pub fn send_timeout(&self) -> &AtomicU64 {
        &self.send_timeout
    }

    /// Whether senders are told with what is received (`SO_PASSCRED`).
    pub fn pass_creds(&self) -> &AtomicBool {
        &self.pass_creds
    }

    /// An unconnected socket.
    pub fn new(kind: Kind) -> Arc<Self> {
        Arc::new(Self {
            kind,
            ino: NEXT_INO.fetch_add(1, Ordering::Relaxed),
            inbox: Inbox::new(),
            receive_timeout: AtomicU64::new(0),
            send_timeout: AtomicU64::new(0),
            pass_creds: AtomicBool::new(false),
            state: SpinLock::new(State {
                role: Role::Idle,
                address: Address::new(),
                peer_address: Address::new(),
                peer: None,
                peer_creds: Peer::default(),
                bound: None,
            }),
        })
    }

    /// Two sockets, connected with each other.
    pub fn pair(kind: Kind) -> (Arc<Self>, Arc<Self>) {
        let (a, b) = (Self::new(kind), Self::new(kind));
        join(&a, &b);
        (a, b)
    }

    /// An open file for the socket; `flags`: NONBLOCK counts.
    pub fn into_file(self: Arc<Self>, flags: OpenFlags) -> Arc<File> {
        let nonblock = OpenFlags(flags.0 & OpenFlags::NONBLOCK.0);
        let ops = Box::new(SocketFile(self.clone()));
        File::new(self, None, Some(ops), OpenFlags::RDWR | nonblock)
    }

    /// What it carries.
    pub fn kind_of_traffic(&self) -> Kind {
        self.kind
    }

    /// Its name.
    pub fn address(&self) -> Address {
        self.state.lock().address.clone()
    }

    /// The name of the other end. ENOTCONN.
    pub fn peer_address(&self) -> KResult<Address> {
        let state = self.state.lock();
        match state.peer {
            Some(_) => Ok(state.peer_address.clone()),
            None => Err(Errno::ENOTCONN),
        }
    }

    /// Who is at the other end.
    pub fn peer_creds(&self) -> Peer {
        self.state.lock().peer_creds
    }

    /// Whether it waits for connections.
    pub fn is_listening(&self) -> bool {
        matches!(self.state.lock().role, Role::Listening { .. })
    }

    /// Give it a name: `inode` is the file-system object of a path. EINVAL if it has one,
    /// EADDRINUSE.
    pub fn bind(self: &Arc<Self>, address: Address, inode: Option<&Arc<dyn Inode>>) -> KResult<()> {
        let key = match inode {
            Some(inode) => inode_key(inode),
            None => Key::Abstract(address.clone()),
        };
        let mut bound = BOUND.lock();
        if bound
            .get(&key)
            .is_some_and(|known| known.strong_count() > 0)
        {
            return Err(Errno::EADDRINUSE);
        }
        let mut state = self.state.lock();
        if state.bound.is_some() {
            return Err(Errno::EINVAL);
        }
        state.address = address;
        state.bound = Some(key.clone());
        bound.insert(key, Arc::downgrade(self));
        Ok(())
    }

    /// Whether it has a name.
    pub fn is_bound(&self) -> bool {
        self.state.lock().bound.is_some()
    }

    /// Wait for connections from now on. EOPNOTSUPP for datagrams, EINVAL without a name.
    pub fn listen(&self, backlog: usize) -> KResult<()> {
        if self.kind == Kind::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut state = self.state.lock();
        let limit = backlog.clamp(1, MAX_BACKLOG);
        let has_name = state.bound.is_some();
        match &mut state.role {
            Role::Connected => return Err(Errno::EINVAL),
            Role::Listening { backlog, .. } => *backlog = limit,
            Role::Idle if !has_name => return Err(Errno::EINVAL),
            Role::Idle => {
                state.peer_creds = Peer::current();
                state.role = Role::Listening {
                    waiting: VecDeque::new(),
                    backlog: limit,
                };
            }
        }
        Ok(())
    }

    /// The next connection. EINVAL if it does not listen, EAGAIN, ERESTARTSYS.
    pub fn accept(&self, nonblock: bool) -> KResult<Arc<Self>> {
        let take = || match &mut self.state.lock().role {
            Role::Listening { waiting, .. } => waiting.pop_front().map(Ok),
            _ => Some(Err(Errno::EINVAL)),
        };
        let accepted = match take() {
            Some(accepted) => accepted?,
            None if nonblock => return Err(Errno::EAGAIN),
            None => wait(&self.inbox.readable, &self.receive_timeout, take)??,
        };
        // Those who wait to connect find room now.
        self.inbox.writable.wake_all();
        Ok(accepted)
    }

    /// Connect to the socket `target`. ECONNREFUSED, EISCONN, EPROTOTYPE, EAGAIN.
    pub fn connect(self: &Arc<Self>, target: &Arc<Self>, nonblock: bool) -> KResult<()> {
        if self.kind != target.kind {
            return Err(Errno::EPROTOTYPE);
        }
        if self.kind == Kind::Datagram {
            let mut state = self.state.lock();
            state.peer = Some(target.inbox.clone());
            state.peer_address = target.address();
            return Ok(());
        }
        match self.state.lock().role {
            Role::Idle => {}
            Role::Connected => return Err(Errno::EISCONN),
            Role::Listening { .. } => return Err(Errno::EINVAL),
        }
        let server = Self::new(self.kind);
        let queue = || {
            let mut state = target.state.lock();
            let address = state.address.clone();
            let creds = state.peer_creds;
            match &mut state.role {
                Role::Listening { waiting, backlog } if waiting.len() <= *backlog => {
                    join(self, &server);
                    server.state.lock().address = address.clone();
                    let mut own = self.state.lock();
                    own.peer_address = address;
                    own.peer_creds = creds;
                    drop(own);
                    waiting.push_back(server.clone());
                    Some(Ok(()))
                }
                Role::Listening { .. } => None,
                _ => Some(Err(Errno::ECONNREFUSED)),
            }
        };
        match queue() {
            Some(result) => result?,
            None if nonblock => return Err(Errno::EAGAIN),
            None => wait(&target.inbox.writable, &self.send_timeout, queue)??,
        }
        target.inbox.readable.wake_all();
        Ok(())
    }

    /// `shutdown(2)`: no more reading, no more writing. ENOTCONN.
    pub fn shutdown(&self, read: bool, write: bool) -> KResult<()> {
        let peer = self.state.lock().peer.clone().ok_or(Errno::ENOTCONN)?;
        if write {
            peer.end();
        }
        if read {
            self.inbox.close();
        }
        Ok(())
    }

    fn close(&self) {
        let (peer, bound, waiting) = {
            let mut state = self.state.lock();
            let role = core::mem::replace(&mut state.role, Role::Idle);
            let waiting = match role {
                Role::Listening { waiting, .. } => waiting,
                _ => VecDeque::new(),
            };
            (state.peer.take(), state.bound.take(), waiting)
        };
        if let Some(key) = bound {
            BOUND.lock().remove(&key);
        }
        self.inbox.close();
        for connection in waiting {
            connection.close();
        }
        if let Some(peer) = peer
            && self.kind != Kind::Datagram
        {
            peer.end();
        }
    }

    fn readiness(&self, table: Option<&mut PollTable>) -> PollEvents {
        let peer = self.state.lock().peer.clone();
        if let Some(table) = table {
            table.add(&self.inbox.readable);
            if let Some(peer) = &peer {
                table.add(&peer.writable);
            }
        }
        let mut events = PollEvents::empty();
        if let Role::Listening { waiting, .. } = &self.state.lock().role {
            if !waiting.is_empty() {
                events |= PollEvents::READABLE;
            }
            return events;
        }
        let (ended, closed) = {
            let queue = self.inbox.queue.lock();
            if !queue.messages.is_empty() || queue.ended || queue.closed {
                events |= PollEvents::READABLE;
            }
            (queue.ended, queue.closed)
        };
        if ended {
            events |= PollEvents::RDHUP;
        }
        match &peer {
            Some(peer) => {
                let gone = peer.queue.lock().closed;
                if (ended || closed) && gone {
                    events |= PollEvents::HUP;
                }
                if peer.has_room() {
                    events |= PollEvents::WRITABLE;
                }
            }
            None if self.kind == Kind::Datagram => events |= PollEvents::WRITABLE,
            None => events |= PollEvents::WRITABLE | PollEvents::HUP,
        }
        events
    }
}

/// Connect two idle sockets with each other.
fn join(a: &Arc<Socket>, b: &Arc<Socket>) {
    let creds = Peer::current();
    for (one, other) in [(a, b), (b, a)] {
        let mut state = one.state.lock();
        state.role = Role::Connected;
        state.peer = Some(other.inbox.clone());
        state.peer_creds = creds;
    }
    let address = a.address();
    b.state.lock().peer_address = address;
}

fn inode_key(inode: &Arc<dyn Inode>) -> Key {
    let meta = inode.metadata();
    Key::Inode(meta.dev, meta.ino)
}

fn bound(key: &Key) -> KResult<Arc<Socket>> {
    let found = BOUND.lock().get(key).and_then(Weak::upgrade);
    found.ok_or(Errno::ECONNREFUSED)
}

/// The socket bound to an inode. ECONNREFUSED.
pub fn find(inode: &Arc<dyn Inode>) -> KResult<Arc<Socket>> {
    bound(&inode_key(inode))
}

/// The socket bound to an abstract name. ECONNREFUSED.
pub fn find_abstract(name: &[u8]) -> KResult<Arc<Socket>> {
    bound(&Key::Abstract(name.into()))
}
