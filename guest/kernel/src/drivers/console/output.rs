//! Output of a console: it is copied into buffers of the driver's own and is on its way when `write`
//! returns.
//!
//! One request carries up to 64 KiB, because each costs an exit. Output that follows upon other
//! output within a few milliseconds is gathered into such a request; a timer sends what is left.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;

use super::buffer::{DmaBuffer, LARGE_ORDER};
use super::{CONSOLES, Console, QUEUE, TX};
use crate::drivers::hal::KernelHal;
use crate::errno::{Errno, KResult};
use crate::fs::WriteBuf;
use crate::mm::layout::PAGE;
use crate::time::now_ns;
use crate::time::timer::{self, Alarm};

/// Output buffers, so many requests can be under way.
const TX_SLOTS: usize = 4;

/// Output that comes sooner than this after other output is gathered, for so long at most.
const GATHER_NS: u64 = 10_000_000;

/// Consoles that have output gathered.
static GATHERING: AtomicUsize = AtomicUsize::new(0);

/// A buffer with the device.
struct Sent {
    token: u16,
    buffer: DmaBuffer,
    len: usize,
}

/// The output queue and its buffers.
pub(super) struct Tx {
    queue: VirtQueue<KernelHal, QUEUE>,
    under_way: Vec<Sent>,
    free: Vec<DmaBuffer>,
    /// Buffers that exist: free, under way or being filled.
    total: usize,
}

impl Tx {
    /// No buffers yet: they are made when they are needed.
    pub fn new(queue: VirtQueue<KernelHal, QUEUE>) -> Self {
        Self {
            queue,
            under_way: Vec::with_capacity(TX_SLOTS),
            free: Vec::with_capacity(TX_SLOTS),
            total: 0,
        }
    }

    /// Take back what the device is done with.
    fn reap(&mut self) {
        while let Some(token) = self.queue.peek_used() {
            let Some(at) = self.under_way.iter().position(|sent| sent.token == token) else {
                return;
            };
            let sent = self.under_way.swap_remove(at);
            // SAFETY: the same buffer as was added under this token.
            let popped = unsafe {
                self.queue
                    .pop_used(token, &[&sent.buffer.bytes()[..sent.len]], &mut [])
            };
            if popped.is_err() {
                // Not ours to reuse: the device may still read it.
                core::mem::forget(sent.buffer);
                return;
            }
            self.free.push(sent.buffer);
        }
    }

    /// A free buffer, or permission (`None` inside) to make one; `None`: all are under way.
    fn acquire(&mut self) -> Option<Option<DmaBuffer>> {
        self.reap();
        if let Some(buffer) = self.free.pop() {
            return Some(Some(buffer));
        }
        if self.total < TX_SLOTS {
            self.total += 1;
            return Some(None);
        }
        None
    }
}

/// Output that waits for more.
pub(super) struct Gathered {
    buffer: DmaBuffer,
    len: usize,
}

impl Console {
    /// Write all of `buf`; `at_once`: nothing is gathered, the device has it all in the end. EFAULT, or
    /// ERESTARTSYS if a signal comes before the first byte.
    pub fn write(&self, buf: &mut WriteBuf<'_>, at_once: bool) -> KResult<usize> {
        self.flush_others();
        let _writer = self.writer.lock();
        let mut written = 0;
        while buf.remaining() > 0 {
            match self.write_chunk(buf, at_once) {
                Ok(n) => written += n,
                Err(e) if written == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(written)
    }

    /// Take a part of `buf`; the writers' lock is held.
    fn write_chunk(&self, buf: &mut WriteBuf<'_>, at_once: bool) -> KResult<usize> {
        let busy = !at_once && now_ns() - self.sent_ns.load(Ordering::Relaxed) < GATHER_NS;
        let mut output = match self.take_gathered() {
            Some(gathered) => gathered,
            None => Gathered {
                buffer: self.acquire(busy || buf.remaining() > PAGE)?,
                len: 0,
            },
        };
        let taken = buf.take(&mut output.buffer.bytes_mut()[output.len..]);
        output.len += taken.unwrap_or(0);
        if output.len == 0 {
            self.tx.lock().free.push(output.buffer);
        } else if busy && output.len < output.buffer.len() {
            self.gather(output)?;
        } else {
            self.send(output.buffer, output.len)?;
        }
        match taken {
            Ok(0) => Err(Errno::EFAULT),
            taken => taken,
        }
    }

    /// A buffer for output, waiting for one if need be.
    fn acquire(&self, large: bool) -> KResult<DmaBuffer> {
        let order = if large { LARGE_ORDER } else { 0 };
        let buffer = match self.tx_done.wait(|| self.tx.lock().acquire())? {
            Some(buffer) if buffer.len() > PAGE || order == 0 => return Ok(buffer),
            // A small buffer is given up for a large one when there is much to write.
            small => {
                drop(small);
                DmaBuffer::new(order)
            }
        };
        if buffer.is_err() {
            self.tx.lock().total -= 1;
        }
        buffer
    }

    fn take_gathered(&self) -> Option<Gathered> {
        let gathered = self.gathered.lock().take();
        if gathered.is_some() {
            GATHERING.fetch_sub(1, Ordering::Relaxed);
        }
        gathered
    }

    /// Keep output for a while; a timer sees to it that it goes out.
    fn gather(&self, output: Gathered) -> KResult<()> {
        if self.overdue.swap(false, Ordering::Relaxed) {
            return self.send(output.buffer, output.len);
        }
        *self.gathered.lock() = Some(output);
        GATHERING.fetch_add(1, Ordering::Relaxed);
        if !self.timer_set.swap(true, Ordering::Relaxed)
            && let Some(me) = self.me.upgrade()
        {
            timer::ring_at(now_ns() + GATHER_NS, me);
        }
        Ok(())
    }

    /// Send what has been gathered.
    fn send_gathered(&self) {
        if let Some(output) = self.take_gathered() {
            // An error means a broken device: there is nobody to tell.
            let _ = self.send(output.buffer, output.len);
        }
    }

    /// Output of the other consoles, written before, shall be seen before.
    fn flush_others(&self) {
        if GATHERING.load(Ordering::Relaxed) == 0 {
            return;
        }
        let consoles = CONSOLES.lock();
        for console in consoles.iter() {
            if !core::ptr::eq(&**console, self) {
                console.send_gathered();
            }
        }
    }

    fn send(&self, buffer: DmaBuffer, len: usize) -> KResult<()> {
        self.sent_ns.store(now_ns(), Ordering::Relaxed);
        let mut tx = self.tx.lock();
        // SAFETY: the buffer stays in `under_way`, untouched, until it is popped.
        let token = unsafe { tx.queue.add(&[&buffer.bytes()[..len]], &mut []) };
        let Ok(token) = token else {
            tx.free.push(buffer);
            return Err(Errno::EIO);
        };
        tx.under_way.push(Sent { token, buffer, len });
        if tx.queue.should_notify() {
            self.transport.lock().notify(TX);
        }
        tx.reap();
        Ok(())
    }

    /// Write without sleeping, for echo from interrupts: at most one buffer, and nothing at all if
    /// none is free.
    pub fn write_now(&self, bytes: &[u8]) {
        self.send_gathered();
        let acquired = self.tx.lock().acquire();
        let mut buffer = match acquired {
            Some(Some(buffer)) => buffer,
            Some(None) => match DmaBuffer::new(0) {
                Ok(buffer) => buffer,
                Err(_) => {
                    self.tx.lock().total -= 1;
                    return;
                }
            },
            None => return,
        };
        let len = bytes.len().min(buffer.len());
        buffer.bytes_mut()[..len].copy_from_slice(&bytes[..len]);
        // An error means a broken device: there is nobody to tell.
        let _ = self.send(buffer, len);
    }

    /// Wait, without sleeping and not forever, until the device has taken all output.
    pub fn flush(&self) {
        self.send_gathered();
        for _ in 0..50_000_000u32 {
            {
                let mut tx = self.tx.lock();
                tx.reap();
                if tx.under_way.is_empty() {
                    return;
                }
            }
            core::hint::spin_loop();
        }
    }
}

impl Alarm for Console {
    fn ring(&self, _now: u64) {
        self.timer_set.store(false, Ordering::Relaxed);
        if self.gathered.lock().is_some() {
            self.send_gathered();
        } else {
            self.overdue.store(true, Ordering::Relaxed);
        }
    }
}
