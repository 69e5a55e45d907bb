//! Sockets that nobody can reach any more, because they wait in messages of each other (or of
//! themselves): `SCM_RIGHTS` makes such circles, and counting references never frees them.
//!
//! Every socket that was ever sent is known here. One that has more owners than there are messages
//! that hold it, in sockets known here, is in somebody's hands; so are those in its messages, and in
//! theirs. The messages of all others are dropped.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{Inbox, Message, Role, Socket, of_file};
use crate::errno::{Errno, KResult};
use crate::fs::File;
use crate::sync::SpinLock;

/// Sockets that were sent; one more than once, if it was sent again.
static SENT: SpinLock<Vec<Weak<File>>> = SpinLock::new(Vec::new());
/// How many there are.
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// At so many they are looked through.
static LIMIT: AtomicUsize = AtomicUsize::new(FIRST_LIMIT);
const FIRST_LIMIT: usize = 64;
/// What is dropped closes sockets, which asks for another look.
static BUSY: AtomicBool = AtomicBool::new(false);

/// Files are about to be sent. ENOMEM.
pub(super) fn note(files: &[Arc<File>]) -> KResult<()> {
    if COUNT.load(Ordering::Relaxed) >= LIMIT.load(Ordering::Relaxed) {
        collect();
        let left = COUNT.load(Ordering::Relaxed);
        LIMIT.store(FIRST_LIMIT + 2 * left, Ordering::Relaxed);
    }
    for file in files.iter().filter(|file| of_file(file).is_ok()) {
        let mut sent = SENT.lock();
        sent.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        sent.push(Arc::downgrade(file));
        COUNT.store(sent.len(), Ordering::Relaxed);
    }
    Ok(())
}

/// Drop what nobody can reach. Under no lock.
pub fn collect() {
    if COUNT.load(Ordering::Relaxed) == 0 || BUSY.swap(true, Ordering::Acquire) {
        return;
    }
    drop(unreachable());
    BUSY.store(false, Ordering::Release);
}

/// The known sockets, each once.
fn known() -> Vec<Arc<File>> {
    let mut files: Vec<Arc<File>> = Vec::new();
    let mut sent = SENT.lock();
    sent.retain(|weak| match weak.upgrade() {
        Some(file) if !files.iter().any(|other| Arc::ptr_eq(other, &file)) => {
            files.push(file);
            true
        }
        _ => false,
    });
    COUNT.store(sent.len(), Ordering::Relaxed);
    files
}

/// Where messages for a socket wait: its own inbox, and those of connections not accepted yet.
fn inboxes(socket: &Socket) -> Vec<Arc<Inbox>> {
    let mut inboxes = Vec::new();
    inboxes.push(socket.inbox.clone());
    if let Role::Listening { waiting, .. } = &socket.state.lock().role {
        inboxes.extend(waiting.iter().map(|connection| connection.inbox.clone()));
    }
    inboxes
}

/// Takes the messages of all sockets that cannot be reached.
fn unreachable() -> Vec<VecDeque<Message>> {
    let files = known();
    let place: BTreeMap<*const File, usize> = files
        .iter()
        .enumerate()
        .map(|(n, file)| (Arc::as_ptr(file), n))
        .collect();
    let mut held = alloc::vec![0; files.len()];
    let mut holds: Vec<Vec<usize>> = Vec::new();
    for file in &files {
        let mut found = Vec::new();
        for inbox in of_file(file).map(|s| inboxes(s)).unwrap_or_default() {
            let queue = inbox.queue.lock();
            let waiting = queue.messages.iter().flat_map(|m| m.files.iter());
            found.extend(waiting.filter_map(|f| place.get(&Arc::as_ptr(f)).copied()));
        }
        for n in &found {
            held[*n] += 1;
        }
        holds.push(found);
    }
    // One owner more is the list here.
    let mut live: Vec<bool> = files
        .iter()
        .zip(&held)
        .map(|(file, held)| Arc::strong_count(file) > held + 1)
        .collect();
    let mut reached: Vec<usize> = (0..files.len()).filter(|n| live[*n]).collect();
    while let Some(n) = reached.pop() {
        for next in &holds[n] {
            if !core::mem::replace(&mut live[*next], true) {
                reached.push(*next);
            }
        }
    }
    let mut garbage = Vec::new();
    for (file, _) in files.iter().zip(&live).filter(|(_, live)| !**live) {
        for inbox in of_file(file).map(|s| inboxes(s)).unwrap_or_default() {
            let mut queue = inbox.queue.lock();
            queue.bytes = 0;
            garbage.push(core::mem::take(&mut queue.messages));
        }
    }
    garbage
}
