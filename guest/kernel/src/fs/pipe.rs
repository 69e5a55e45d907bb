//! Pipes and FIFOs (`pipe(7)`, `fifo(7)`).
//!
//! A pipe is a ring of bytes. Up to `PIPE_BUF` bytes are written as a whole or not at all; longer
//! writes go in pieces. The ring is one page until it is full for the first time, then grows to the
//! pipe's capacity. A sleeping lock guards it, because copies to and from programs may fault.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::any::Any;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::perm::Who;
use super::{
    File, FileOps, FileType, Inode, Metadata, OpenFlags, PollEvents, PollTable, ReadBuf, Timespec,
    WriteBuf,
};
use crate::errno::{Errno, KResult};
use crate::mm::frame;
use crate::mm::user::write_user;
use crate::sync::{Mutex, MutexGuard, SpinLock, WaitQueue};
use crate::task::signal::{self, SigInfo};

/// Writes of at most so many bytes are atomic.
pub const PIPE_BUF: usize = 4096;

/// Capacity of a new pipe in bytes.
const DEFAULT_CAPACITY: usize = 65536;

/// Largest capacity that `F_SETPIPE_SZ` grants (`/proc/sys/fs/pipe-max-size`).
pub const MAX_CAPACITY: usize = 1 << 20;

const FIONREAD: u32 = 0x541b;

/// The bytes of a pipe: contiguous frames, used as a ring.
struct Ring {
    gpa: u64,
    order: usize,
    start: usize,
    len: usize,
    capacity: usize,
}

impl Ring {
    fn new() -> KResult<Self> {
        Ok(Self {
            gpa: frame::alloc_pages(0).ok_or(Errno::ENOMEM)?,
            order: 0,
            start: 0,
            len: 0,
            capacity: DEFAULT_CAPACITY,
        })
    }

    fn size(&self) -> usize {
        4096 << self.order
    }

    fn memory(&mut self) -> &mut [u8] {
        // SAFETY: the frames are the ring's own, and `self` is borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(crate::mm::phys_to_virt(self.gpa), self.size()) }
    }

    /// Room for writers, counting what the ring may grow to.
    fn room(&self) -> usize {
        self.capacity.max(self.size()) - self.len
    }

    /// Make the memory large enough for `wanted` bytes, if that can be had. The contents stay.
    fn grow(&mut self, wanted: usize) {
        let mut order = (wanted.min(self.capacity).div_ceil(4096))
            .next_power_of_two()
            .trailing_zeros() as usize;
        // In a hurry to hold much, skip the sizes in between.
        if order > 0 {
            order = order.max(2);
        }
        while order > self.order {
            // The reserve is not for what programs ask for.
            if frame::can_allocate(1 << order)
                && let Some(gpa) = frame::alloc_pages(order)
            {
                self.move_to(gpa, order);
                return;
            }
            order -= 1;
        }
    }

    fn move_to(&mut self, gpa: u64, order: usize) {
        let (start, len) = (self.start, self.len);
        let old = self.memory();
        let first = len.min(old.len() - start);
        let to = crate::mm::phys_to_virt(gpa);
        // SAFETY: the new frames have just been allocated and hold at least `len` bytes; old and
        // new do not overlap.
        unsafe {
            core::ptr::copy_nonoverlapping(old.as_ptr().add(start), to, first);
            core::ptr::copy_nonoverlapping(old.as_ptr(), to.add(first), len - first);
            frame::free_pages(self.gpa, self.order);
        }
        self.gpa = gpa;
        self.order = order;
        self.start = 0;
    }

    /// Take bytes from `buf` as far as there is memory; gives the count.
    fn fill(&mut self, buf: &mut WriteBuf<'_>, max: usize) -> KResult<usize> {
        let mut done = 0;
        while done < max {
            let size = self.size();
            let end = (self.start + self.len) & (size - 1);
            let run = (size - self.len).min(size - end).min(max - done);
            if run == 0 {
                break;
            }
            match buf.take(&mut self.memory()[end..end + run]) {
                Ok(0) => break,
                Ok(n) => {
                    self.len += n;
                    done += n;
                }
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Hand copies of the oldest bytes to `buf`; gives the count.
    fn peek(&mut self, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        let (start, len) = (self.start, self.len);
        let first = len.min(self.size() - start);
        let n = buf.put(&self.memory()[start..start + first])?;
        if n < first {
            return Ok(n);
        }
        Ok(n + buf.put(&self.memory()[..len - first])?)
    }

    /// Hand bytes to `buf`; gives the count.
    fn drain(&mut self, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        let mut done = 0;
        while self.len > 0 && buf.remaining() > 0 {
            let start = self.start;
            let run = self.len.min(self.size() - start);
            match buf.put(&self.memory()[start..start + run]) {
                Ok(0) => break,
                Ok(n) => {
                    self.start = (start + n) & (self.size() - 1);
                    self.len -= n;
                    done += n;
                }
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
            }
        }
        if self.len == 0 {
            self.start = 0;
        }
        Ok(done)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` or `grow`, and used by nobody else.
        unsafe { frame::free_pages(self.gpa, self.order) };
    }
}

/// A pipe: what its two ends share.
pub struct Pipe {
    me: Weak<Pipe>,
    ring: Mutex<Ring>,
    /// Bytes in the ring, readable without its lock.
    filled: AtomicUsize,
    readers: AtomicU32,
    writers: AtomicU32,
    /// How many readers and writers have ever opened it: FIFO opens wait for a change.
    reader_opens: AtomicU32,
    writer_opens: AtomicU32,
    /// Room at which somebody waits to be woken; `usize::MAX`: nobody waits. A long write waits
    /// for half the pipe, so that reader and writer do not take turns for every few bytes.
    wanted_room: AtomicUsize,
    readable: Arc<WaitQueue>,
    writable: Arc<WaitQueue>,
    meta: Metadata,
}

impl Pipe {
    fn new(meta: Metadata) -> KResult<Arc<Self>> {
        let ring = Ring::new()?;
        Ok(Arc::new_cyclic(|me| Self {
            me: me.clone(),
            ring: Mutex::new(ring),
            filled: AtomicUsize::new(0),
            readers: AtomicU32::new(0),
            writers: AtomicU32::new(0),
            reader_opens: AtomicU32::new(0),
            writer_opens: AtomicU32::new(0),
            wanted_room: AtomicUsize::new(usize::MAX),
            readable: Arc::new(WaitQueue::new()),
            writable: Arc::new(WaitQueue::new()),
            meta,
        }))
    }

    fn note_len(&self, ring: &MutexGuard<'_, Ring>) {
        self.filled.store(ring.len, Ordering::Release);
    }

    /// Read what there is, at least one byte; 0 when it is empty and nobody can write. EAGAIN,
    /// ERESTARTSYS, EFAULT.
    pub fn read(&self, buf: &mut ReadBuf<'_>, nonblock: bool) -> KResult<usize> {
        if buf.remaining() == 0 {
            return Ok(0);
        }
        loop {
            {
                let mut ring = self.ring.lock();
                if ring.len > 0 {
                    let n = ring.drain(buf)?;
                    self.note_len(&ring);
                    let room = ring.room();
                    drop(ring);
                    if room >= self.wanted_room.load(Ordering::Acquire) {
                        self.wake_writers();
                    }
                    return Ok(n);
                }
            }
            if self.writers.load(Ordering::Acquire) == 0 {
                return Ok(0);
            }
            if nonblock {
                return Err(Errno::EAGAIN);
            }
            self.readable.wait(|| {
                (self.filled.load(Ordering::Acquire) > 0
                    || self.writers.load(Ordering::Acquire) == 0)
                    .then_some(())
            })?;
        }
    }

    /// Give `to` copies of at most `len` bytes, which stay (`tee(2)`): as many as there are and have
    /// room, at least one; 0 when it is empty and nobody can write. EAGAIN, EPIPE and SIGPIPE,
    /// ERESTARTSYS.
    pub fn tee(&self, to: &Pipe, len: usize, nonblock: bool) -> KResult<usize> {
        const MOST: usize = 64 * 1024;
        let mut bytes = alloc::vec::Vec::new();
        loop {
            if to.readers.load(Ordering::Acquire) == 0 {
                broken();
                return Err(Errno::EPIPE);
            }
            let (filled, room) = (self.len(), to.room_hint());
            if filled > 0 && room > 0 {
                let want = len.min(filled).min(room).min(MOST);
                bytes.try_reserve_exact(want).map_err(|_| Errno::ENOMEM)?;
                bytes.resize(want, 0);
                let n = self.ring.lock().peek(&mut ReadBuf::kernel(&mut bytes))?;
                match to.write(&mut WriteBuf::kernel(&bytes[..n]), true) {
                    Err(Errno::EAGAIN) if !nonblock => {}
                    result => return result,
                }
            }
            if filled == 0 && !self.has_writers() {
                return Ok(0);
            }
            if nonblock {
                return Err(Errno::EAGAIN);
            }
            if filled == 0 {
                self.readable
                    .wait(|| (self.len() > 0 || !self.has_writers()).then_some(()))?;
            } else {
                to.writable.wait(|| {
                    to.wanted_room.fetch_min(1, Ordering::AcqRel);
                    (to.readers.load(Ordering::Acquire) == 0 || to.room_hint() > 0).then_some(())
                })?;
            }
        }
    }

    /// Write all of `buf`, waiting for room. EPIPE and SIGPIPE when nobody can read, EAGAIN,
    /// ERESTARTSYS, EFAULT.
    pub fn write(&self, buf: &mut WriteBuf<'_>, nonblock: bool) -> KResult<usize> {
        let total = buf.remaining();
        if total == 0 {
            return Ok(0);
        }
        let mut written = 0;
        loop {
            if self.readers.load(Ordering::Acquire) == 0 {
                if written > 0 {
                    return Ok(written);
                }
                broken();
                return Err(Errno::EPIPE);
            }
            let left = total - written;
            let mut step = Ok(0);
            {
                let mut ring = self.ring.lock();
                // A short write goes as a whole; a long one as it fits.
                let fits = if total <= PIPE_BUF {
                    ring.room() >= left
                } else {
                    ring.room() > 0
                };
                if fits {
                    let max = left.min(ring.room());
                    if ring.size() - ring.len < max {
                        let wanted = ring.len + max;
                        ring.grow(wanted);
                    }
                    if total > PIPE_BUF || ring.size() - ring.len >= left {
                        step = ring.fill(buf, max);
                        self.note_len(&ring);
                    } else {
                        // Memory is short: the pipe is as large as it gets.
                        ring.capacity = ring.size();
                    }
                }
            }
            match step {
                Ok(0) => {}
                Ok(n) => {
                    written += n;
                    self.readable.wake_all();
                    if written == total {
                        return Ok(written);
                    }
                    continue;
                }
                Err(e) if written == 0 => return Err(e),
                Err(_) => return Ok(written),
            }
            if nonblock {
                // An edge-triggered watcher wants to hear of it when there is room again.
                self.has_room();
                return if written > 0 {
                    Ok(written)
                } else {
                    Err(Errno::EAGAIN)
                };
            }
            let left = total - written;
            let need = if total <= PIPE_BUF {
                left
            } else {
                left.min(self.capacity() / 2)
            };
            let waited = self.writable.wait(|| {
                self.wanted_room.fetch_min(need, Ordering::AcqRel);
                (self.readers.load(Ordering::Acquire) == 0 || self.room_hint() >= need)
                    .then_some(())
            });
            if let Err(e) = waited {
                return if written > 0 { Ok(written) } else { Err(e) };
            }
        }
    }

    /// Whether a short write would not wait; if not, the writable queue is woken when it is so.
    fn has_room(&self) -> bool {
        if self.room_hint() >= PIPE_BUF {
            return true;
        }
        self.wanted_room.fetch_min(PIPE_BUF, Ordering::AcqRel);
        // Once more: a reader may have come between the two.
        self.room_hint() >= PIPE_BUF
    }

    fn wake_writers(&self) {
        self.wanted_room.store(usize::MAX, Ordering::Release);
        self.writable.wake_all();
    }

    /// Room for a writer, or too much while somebody holds the ring: the writer then looks again.
    fn room_hint(&self) -> usize {
        match self.ring.try_lock() {
            Some(ring) => ring.room(),
            None => usize::MAX,
        }
    }

    /// Bytes that can be read.
    pub fn len(&self) -> usize {
        self.filled.load(Ordering::Acquire)
    }

    /// Capacity in bytes (`F_GETPIPE_SZ`).
    pub fn capacity(&self) -> usize {
        self.ring.lock().capacity
    }

    /// `F_SETPIPE_SZ`: a power of two of pages that holds `size`. EBUSY if it holds more now, EPERM
    /// above [`MAX_CAPACITY`].
    pub fn set_capacity(&self, size: usize) -> KResult<usize> {
        if size > MAX_CAPACITY {
            return Err(Errno::EPERM);
        }
        let capacity = size.max(4096).next_power_of_two();
        let mut ring = self.ring.lock();
        if capacity < ring.len {
            return Err(Errno::EBUSY);
        }
        if capacity < ring.size() {
            let order = (capacity / 4096).trailing_zeros() as usize;
            if !frame::can_allocate(1 << order) {
                return Err(Errno::ENOMEM);
            }
            let gpa = frame::alloc_pages(order).ok_or(Errno::ENOMEM)?;
            ring.move_to(gpa, order);
        }
        ring.capacity = capacity;
        drop(ring);
        self.wake_writers();
        Ok(capacity)
    }

    /// Whether anybody can write to it.
    pub fn has_writers(&self) -> bool {
        self.writers.load(Ordering::Acquire) > 0
    }
}

/// A write to a pipe that nobody reads: SIGPIPE.
pub fn broken() {
    let task = crate::task::current();
    // A standard signal always finds room.
    let _ = signal::send_to_task(task, SigInfo::kernel(signal::SIGPIPE));
}

impl Inode for Pipe {
    fn metadata(&self) -> Metadata {
        self.meta
    }

    fn kind(&self) -> FileType {
        FileType::Fifo
    }

    /// Opened by way of `/proc/PID/fd`: one more end, as `flags` say. Nobody has to be waited for.
    fn open(&self, flags: OpenFlags) -> KResult<Option<Box<dyn FileOps>>> {
        let pipe = self.me.upgrade().ok_or(Errno::ENXIO)?;
        let end = PipeEnd::new(pipe, flags.readable(), flags.writable());
        Ok(Some(Box::new(end)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// One end of a pipe, or both (a FIFO opened for reading and writing).
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
}

impl PipeEnd {
    fn new(pipe: Arc<Pipe>, reads: bool, writes: bool) -> Self {
        if reads {
            pipe.readers.fetch_add(1, Ordering::AcqRel);
            pipe.reader_opens.fetch_add(1, Ordering::AcqRel);
        }
        if writes {
            pipe.writers.fetch_add(1, Ordering::AcqRel);
            pipe.writer_opens.fetch_add(1, Ordering::AcqRel);
        }
        Self {
            pipe,
            reads,
            writes,
        }
    }

    /// The pipe.
    pub fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        if self.reads && self.pipe.readers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.pipe.wake_writers();
        }
        if self.writes && self.pipe.writers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.pipe.readable.wake_all();
        }
    }
}

impl FileOps for PipeEnd {
    fn read(&self, file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        self.pipe.read(buf, file.nonblocking())
    }

    fn write(&self, file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        self.pipe.write(buf, file.nonblocking())
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        let pipe = &*self.pipe;
        if let Some(table) = table {
            if self.reads {
                table.add(&pipe.readable);
            }
            if self.writes {
                table.add(&pipe.writable);
            }
        }
        let mut events = PollEvents::empty();
        if self.reads {
            if pipe.len() > 0 {
                events |= PollEvents::READABLE;
            }
            if pipe.writers.load(Ordering::Acquire) == 0
                && pipe.writer_opens.load(Ordering::Acquire) > 0
            {
                events |= PollEvents::HUP;
            }
        }
        if self.writes {
            if pipe.has_room() {
                events |= PollEvents::WRITABLE;
            }
            if pipe.readers.load(Ordering::Acquire) == 0 {
                events |= PollEvents::ERR;
            }
        }
        events
    }

    fn ioctl(&self, _file: &File, cmd: u32, arg: usize) -> KResult<usize> {
        match cmd {
            FIONREAD => {
                write_user(arg, &(self.pipe.len() as u32))?;
                Ok(0)
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The file system number of nameless pipes.
static PIPE_DEV: crate::sync::Once<u64> = crate::sync::Once::new();
static NEXT_INO: AtomicU32 = AtomicU32::new(1);

/// A pipe's reading and writing end (`pipe2(2)`). ENOMEM.
pub fn create(flags: OpenFlags) -> KResult<(Arc<File>, Arc<File>)> {
    let dev = *PIPE_DEV.call_once(super::mount::next_dev);
    let ino = u64::from(NEXT_INO.fetch_add(1, Ordering::Relaxed));
    let now = Timespec::now();
    let who = Who::current();
    let pipe = Pipe::new(Metadata {
        uid: who.uid,
        gid: who.gid,
        atime: now,
        mtime: now,
        ctime: now,
        ..Metadata::synthetic(dev, ino, FileType::Fifo, 0o600)
    })?;
    let flags = OpenFlags(flags.0 & (OpenFlags::NONBLOCK.0 | OpenFlags::DIRECT.0));
    let reader = File::new(
        pipe.clone(),
        None,
        Some(Box::new(PipeEnd::new(pipe.clone(), true, false))),
        flags | OpenFlags::RDONLY,
    );
    let writer = File::new(
        pipe.clone(),
        None,
        Some(Box::new(PipeEnd::new(pipe, false, true))),
        flags | OpenFlags::WRONLY,
    );
    Ok((reader, writer))
}

/// The pipes behind FIFOs that are open, by file system and inode number.
static FIFOS: SpinLock<BTreeMap<(u64, u64), Weak<Pipe>>> = SpinLock::new(BTreeMap::new());

/// Open the FIFO with the given identity; waits for the other side as `fifo(7)` says. ENXIO for a
/// non-blocking writer without readers, ERESTARTSYS.
pub fn open_fifo(dev: u64, ino: u64, flags: OpenFlags) -> KResult<Box<dyn FileOps>> {
    let (reads, writes) = (flags.readable(), flags.writable());
    let pipe = {
        let known = FIFOS.lock().get(&(dev, ino)).and_then(Weak::upgrade);
        match known {
            Some(pipe) => pipe,
            None => {
                let fresh = Pipe::new(Metadata::synthetic(dev, ino, FileType::Fifo, 0o600))?;
                let mut fifos = FIFOS.lock();
                fifos.retain(|_, pipe| pipe.strong_count() > 0);
                fifos.insert((dev, ino), Arc::downgrade(&fresh));
                fresh
            }
        }
    };
    let nonblock = flags.has(OpenFlags::NONBLOCK);
    if writes && !reads && nonblock && pipe.readers.load(Ordering::Acquire) == 0 {
        return Err(Errno::ENXIO);
    }
    let (seen_readers, seen_writers) = (
        pipe.reader_opens.load(Ordering::Acquire),
        pipe.writer_opens.load(Ordering::Acquire),
    );
    let end = PipeEnd::new(pipe.clone(), reads, writes);
    // Whoever waits for this side to be opened looks again.
    pipe.readable.wake_all();
    pipe.wake_writers();
    if nonblock || (reads && writes) {
        return Ok(Box::new(end));
    }
    if reads && !pipe.has_writers() {
        pipe.readable
            .wait(|| (pipe.writer_opens.load(Ordering::Acquire) != seen_writers).then_some(()))?;
    }
    if writes && pipe.readers.load(Ordering::Acquire) == 0 {
        pipe.writable
            .wait(|| (pipe.reader_opens.load(Ordering::Acquire) != seen_readers).then_some(()))?;
    }
    Ok(Box::new(end))
}
