//! The virtio console (virtio 1.2, section 5.3), port 0 only.
//!
//! Output is copied into buffers of the driver's own and is on its way when `write` returns; one
//! request carries up to 64 KiB, because each costs an exit. Output that follows upon other output
//! within a few milliseconds is gathered into such a request; a timer sends what is left. Input arrives in large buffers, which
//! are handed to the device at the first read (or when a terminal takes the console over), so a
//! program that never reads costs nothing.
//!
//! End of file: gnomon returns one receive buffer with length 0, and nothing after it.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::mmio::MmioTransport;
use virtio_drivers::transport::{InterruptStatus, Transport};

use super::hal::KernelHal;
use super::{InterruptHandler, negotiate};
use crate::errno::{Errno, KResult};
use crate::fs::{PollTable, ReadBuf, WriteBuf};
use crate::mm::frame;
use crate::sync::{Mutex, Once, SpinLock, WaitQueue};
use crate::time::timer::{self, Alarm};

const QUEUE: usize = 16;
const RX: u16 = 0;
const TX: u16 = 1;

/// `VIRTIO_CONSOLE_F_SIZE`: the configuration space tells columns and rows.
const FEATURE_SIZE: u64 = 1;

/// Output buffers, so many requests can be under way.
const TX_SLOTS: usize = 4;

/// Order of the large buffers: 64 KiB.
const LARGE_ORDER: usize = 4;

/// Output that comes sooner than this after other output is gathered, for so long at most.
const GATHER_NS: u64 = 10_000_000;

/// Consoles that have output gathered.
static GATHERING: AtomicUsize = AtomicUsize::new(0);

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

/// Contiguous frames for a device to read or write.
struct DmaBuffer {
    gpa: u64,
    order: usize,
}

impl DmaBuffer {
    /// `2^order` frames, or fewer if memory is short. ENOMEM.
    fn new(order: usize) -> KResult<Self> {
        for order in (0..=order).rev() {
            if let Some(gpa) = frame::alloc_pages(order) {
                return Ok(Self { gpa, order });
            }
        }
        Err(Errno::ENOMEM)
    }

    fn len(&self) -> usize {
        4096 << self.order
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the frames are this buffer's own and mapped in the direct map.
        unsafe { core::slice::from_raw_parts(crate::mm::phys_to_virt(self.gpa), self.len()) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(crate::mm::phys_to_virt(self.gpa), self.len()) }
    }
}

impl Drop for DmaBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated by `new`, and no device knows of it any more.
        unsafe { frame::free_pages(self.gpa, self.order) };
    }
}

/// A buffer with the device.
struct Sent {
    token: u16,
    buffer: DmaBuffer,
    len: usize,
}

struct Tx {
    queue: VirtQueue<KernelHal, QUEUE>,
    under_way: Vec<Sent>,
    free: Vec<DmaBuffer>,
    /// Buffers that exist: free, under way or being filled.
    total: usize,
}

impl Tx {
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

struct Received {
    buffer: DmaBuffer,
    at: usize,
    len: usize,
}

struct Rx {
    queue: VirtQueue<KernelHal, QUEUE>,
    posted: Vec<(u16, DmaBuffer)>,
    /// Filled buffers, oldest first, the first one partly read.
    ready: VecDeque<Received>,
    started: bool,
    eof: bool,
}

impl Rx {
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

/// Output that waits for more.
struct Gathered {
    buffer: DmaBuffer,
    len: usize,
}

/// A virtio console.
pub struct Console {
    me: Weak<Console>,
    /// Writers take turns.
    writer: Mutex<()>,
    gathered: SpinLock<Option<Gathered>>,
    /// The timer has come while a writer had the gathered output in its hands.
    overdue: AtomicBool,
    /// A timer for the gathered output is under way.
    timer_set: AtomicBool,
    /// When output was last handed to the device.
    sent_ns: AtomicU64,
    transport: SpinLock<MmioTransport<'static>>,
    has_size: bool,
    tx: SpinLock<Tx>,
    tx_done: Arc<WaitQueue>,
    rx: SpinLock<Rx>,
    input: Arc<WaitQueue>,
    reader: Mutex<()>,
    sink: Once<Arc<dyn InputSink>>,
    is_terminal: AtomicBool,
}

static CONSOLES: SpinLock<Vec<Arc<Console>>> = SpinLock::new(Vec::new());

/// Console number `index` (`hvc0`, `hvc1` …).
pub fn get(index: usize) -> Option<Arc<Console>> {
    CONSOLES.lock().get(index).cloned()
}

/// How many consoles there are.
pub fn count() -> usize {
    CONSOLES.lock().len()
}

/// Wait until all output has been taken: before the machine ends.
pub fn flush_all() {
    let consoles = CONSOLES.lock().clone();
    for console in consoles {
        console.flush();
    }
}

pub(super) fn start(mut transport: MmioTransport<'static>) -> KResult<Arc<Console>> {
    let features = negotiate(&mut transport, FEATURE_SIZE);
    let rx = VirtQueue::new(&mut transport, RX, false, false).map_err(|_| Errno::EIO)?;
    let tx = VirtQueue::new(&mut transport, TX, false, false).map_err(|_| Errno::EIO)?;
    transport.finish_init();
    let console = Arc::new_cyclic(|me| Console {
        me: me.clone(),
        writer: Mutex::new(()),
        gathered: SpinLock::new(None),
        overdue: AtomicBool::new(false),
        timer_set: AtomicBool::new(false),
        sent_ns: AtomicU64::new(0),
        transport: SpinLock::new(transport),
        has_size: features & FEATURE_SIZE != 0,
        tx: SpinLock::new(Tx {
            queue: tx,
            under_way: Vec::with_capacity(TX_SLOTS),
            free: Vec::with_capacity(TX_SLOTS),
            total: 0,
        }),
        tx_done: Arc::new(WaitQueue::new()),
        rx: SpinLock::new(Rx {
            queue: rx,
            posted: Vec::new(),
            ready: VecDeque::new(),
            started: false,
            eof: false,
        }),
        input: Arc::new(WaitQueue::new()),
        reader: Mutex::new(()),
        sink: Once::new(),
        is_terminal: AtomicBool::new(false),
    });
    CONSOLES.lock().push(console.clone());
    Ok(console)
}

impl Console {
    /// Columns and rows of the window, if known.
    pub fn size(&self) -> Option<(u16, u16)> {
        if !self.has_size {
            return None;
        }
        let transport = self.transport.lock();
        let columns = transport.read_config_space(0).ok()?;
        let rows = transport.read_config_space(2).ok()?;
        Some((columns, rows))
    }

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
        let busy =
            !at_once && crate::time::now_ns() - self.sent_ns.load(Ordering::Relaxed) < GATHER_NS;
        let mut output = match self.take_gathered() {
            Some(gathered) => gathered,
            None => Gathered {
                buffer: self.acquire(busy || buf.remaining() > 4096)?,
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
            Some(buffer) if buffer.order > 0 || order == 0 => return Ok(buffer),
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
            timer::ring_at(crate::time::now_ns() + GATHER_NS, me);
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
        self.sent_ns.store(crate::time::now_ns(), Ordering::Relaxed);
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

    fn read_ready(&self, buf: &mut ReadBuf<'_>) -> Option<KResult<usize>> {
        let first = {
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
        let mut first = first;
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

impl InterruptHandler for Console {
    fn interrupt(&self) {
        let status = self.transport.lock().ack_interrupt();
        if status.contains(InterruptStatus::DEVICE_CONFIGURATION_INTERRUPT)
            && let Some(sink) = self.sink.get()
        {
            sink.resized();
        }
        if self.sink.get().is_some() {
            self.pump();
        }
        self.input.wake_all();
        self.tx_done.wake_all();
    }
}
