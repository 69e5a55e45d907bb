//! What waits for one receiver: messages, with the descriptors in them.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Address, BUFFER, Peer};
use crate::fs::File;
use crate::sync::{Mutex, SpinLock, WaitQueue};

/// What a message takes of [`BUFFER`] beside its bytes, so that empty ones are not for nothing.
const OVERHEAD: usize = 256;

pub(super) struct Message {
    pub(super) data: Vec<u8>,
    pub(super) at: usize,
    pub(super) files: Vec<Arc<File>>,
    pub(super) from: Address,
    pub(super) sender: Peer,
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) messages: VecDeque<Message>,
    pub(super) bytes: usize,
    /// Nothing will come any more.
    pub(super) ended: bool,
    /// Nobody will read any more.
    pub(super) closed: bool,
}

/// What waits for one receiver.
pub(super) struct Inbox {
    pub(super) queue: SpinLock<Queue>,
    pub(super) readable: Arc<WaitQueue>,
    /// Woken when there is room for senders.
    pub(super) writable: Arc<WaitQueue>,
    /// Readers take turns: a message is out of the queue while it is copied.
    pub(super) reader: Mutex<()>,
}

impl Inbox {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            queue: SpinLock::new(Queue::default()),
            readable: Arc::new(WaitQueue::new()),
            writable: Arc::new(WaitQueue::new()),
            reader: Mutex::new(()),
        })
    }

    pub(super) fn end(&self) {
        self.queue.lock().ended = true;
        self.readable.wake_all();
        self.writable.wake_all();
    }

    pub(super) fn close(&self) {
        let dropped = {
            let mut queue = self.queue.lock();
            queue.closed = true;
            queue.bytes = 0;
            core::mem::take(&mut queue.messages)
        };
        drop(dropped);
        self.readable.wake_all();
        self.writable.wake_all();
    }

    pub(super) fn has_room(&self) -> bool {
        let queue = self.queue.lock();
        queue.closed || queue.bytes + queue.messages.len() * OVERHEAD < BUFFER
    }
}
