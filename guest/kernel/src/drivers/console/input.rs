//! Input of a console: to readers, as a stream of bytes, or to a terminal.
//!
//! Input arrives in large buffers, which are handed to the device at the first read (or when a
//! terminal takes the console over), so a program that never reads costs nothing. At the end of
//! input gnomon returns one buffer with length 0, and nothing after it.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;

use super::buffer::{DmaBuffer, LARGE_ORDER};
use super::{Console, QUEUE, RX};
use crate::drivers::hal::KernelHal;
use crate::errno::{Errno, KResult};
use crate::fs::{PollTable, ReadBuf};

/// Input buffers of a byte stream.
const RX_STREAM_BUFFERS: usize = 2;

/// Input buffers of a terminal, one page each.
const RX_TTY_BUFFERS: usize = 2;

/// Takes the input of a console that is a terminal.
pub trait InputSink: Send + Sync {
    /// Take bytes that have arrived; gives how many there was room for. The rest is offered again
    /// after [`Console::pump`]. Called with interrupts off; must not sleep.
    fn accept(&self, bytes: &[u8]) -> usize;

    /// No more input will come.
    fn end_of_input(&self);

    /// The window has another size now.
    fn resized(&self);
}

/// A buffer that the device has filled.
struct Received {
    buffer: DmaBuffer,
    /// First byte that has not been read.
    at: usize,
    len: usize,
}

/// The input queue and its buffers.
pub(super) struct Rx {
    queue: VirtQueue<KernelHal, QUEUE>,
    posted: Vec<(u16, DmaBuffer)>,
    /// Filled buffers, oldest first, the first one partly read.
    ready: VecDeque<Received>,
    /// The device has had its first buffers.
    started: bool,
    /// No more will come.
    eof: bool,
}

impl Rx {
    /// No buffers yet.
    pub fn new(queue: VirtQueue<KernelHal, QUEUE>) -> Self {
        Self {
            queue,
            posted: Vec::new(),
            ready: VecDeque::new(),
            started: false,
            eof: false,
        }
    }

    /// Hand a buffer to the device.
    fn post(&mut self, mut buffer: DmaBuffer) {
        // SAFETY: the buffer stays in `posted`, untouched, until it is popped.
        let token = unsafe { self.queue.add(&[], &mut [buffer.bytes_mut()]) };
        // The queue has more descriptors than there are buffers.
        if let Ok(token) = token {
            self.posted.push((token, buffer));
        }
    }

    /// Take in what the device has filled.
    fn collect(&mut self) {
        while let Some(token) = self.queue.peek_used() {
            let Some(at) = self.posted.iter().position(|posted| posted.0 == token) else {
                return;
            };
            let (_, mut buffer) = self.posted.swap_remove(at);
            // SAFETY: the same buffer as was added under this token.
            let popped = unsafe { self.queue.pop_used(token, &[], &mut [buffer.bytes_mut()]) };
            match popped {
                Ok(0) => self.eof = true,
                Ok(len) => {
                    let len = (len as usize).min(buffer.len());
                    self.ready.push_back(Received { buffer, at: 0, len });
                }
                Err(_) => {
                    core::mem::forget(buffer);
                    return;
                }
            }
        }
    }
}

impl Console {
    /// Give the device its first input buffers.
    fn start_input(&self, rx: &mut Rx) {
        if rx.started {
            return;
        }
        rx.started = true;
        let (count, order) = if self.is_terminal.load(Ordering::Relaxed) {
            (RX_TTY_BUFFERS, 0)
        } else {
            (RX_STREAM_BUFFERS, LARGE_ORDER)
        };
        for _ in 0..count {
            if let Ok(buffer) = DmaBuffer::new(order) {
                rx.post(buffer);
            }
        }
        self.transport.lock().notify(RX);
    }

    /// Read as a byte stream: what is there, at least one byte; 0 at the end of input. EAGAIN,
    /// ERESTARTSYS, EFAULT.
    pub fn read(&self, buf: &mut ReadBuf<'_>, nonblock: bool) -> KResult<usize> {
        if buf.remaining() == 0 {
            return Ok(0);
        }
        loop {
            {
                let _reader = self.reader.lock();
                if let Some(result) = self.read_ready(buf) {
                    return result;
                }
            }
            if nonblock {
                return Err(Errno::EAGAIN);
            }
            self.input.wait(|| {
                let mut rx = self.rx.lock();
                rx.collect();
                (rx.eof || !rx.ready.is_empty()).then_some(())
            })?;
        }
    }

    /// Read from the first filled buffer, if there is one; the readers' lock is held.
    fn read_ready(&self, buf: &mut ReadBuf<'_>) -> Option<KResult<usize>> {
        let mut first = {
            let mut rx = self.rx.lock();
            self.start_input(&mut rx);
            rx.collect();
            match rx.ready.pop_front() {
                Some(first) => first,
                None => return rx.eof.then_some(Ok(0)),
            }
        };
        // The buffer is out of the queue and the reader's lock is held, so the copy, which may
        // fault and sleep, needs no spin lock.
        let result = buf.put(&first.buffer.bytes()[first.at..first.len]);
        if let Ok(n) = result {
            first.at += n;
        }
        let mut rx = self.rx.lock();
        if first.at < first.len {
            rx.ready.push_front(first);
        } else if !rx.eof {
            rx.post(first.buffer);
            if rx.queue.should_notify() {
                self.transport.lock().notify(RX);
            }
        }
        Some(result)
    }

    /// Whether a read would not wait. With a table, add the input queue first.
    pub fn readable(&self, table: Option<&mut PollTable>) -> bool {
        if let Some(table) = table {
            table.add(&self.input);
        }
        let mut rx = self.rx.lock();
        self.start_input(&mut rx);
        rx.collect();
        rx.eof || !rx.ready.is_empty()
    }

    /// Bytes that are there to be read (`FIONREAD`).
    pub fn available(&self) -> usize {
        let mut rx = self.rx.lock();
        rx.collect();
        rx.ready.iter().map(|r| r.len - r.at).sum()
    }

    /// From now on `sink` gets the input. The first call wins.
    pub fn attach(&self, sink: Arc<dyn InputSink>) {
        self.is_terminal.store(true, Ordering::Relaxed);
        if self.sink.set(sink).is_ok() {
            let mut rx = self.rx.lock();
            self.start_input(&mut rx);
        }
    }

    /// Hand what has arrived to the sink, as far as it has room.
    pub fn pump(&self) {
        let Some(sink) = self.sink.get() else { return };
        let mut rx = self.rx.lock();
        let was_eof = rx.eof;
        rx.collect();
        let mut reposted = false;
        while let Some(mut first) = rx.ready.pop_front() {
            first.at += sink.accept(&first.buffer.bytes()[first.at..first.len]);
            if first.at < first.len {
                rx.ready.push_front(first);
                break;
            }
            rx.post(first.buffer);
            reposted = true;
        }
        if reposted && rx.queue.should_notify() {
            self.transport.lock().notify(RX);
        }
        let ended = rx.eof && !was_eof;
        drop(rx);
        if ended {
            sink.end_of_input();
        }
    }
}
