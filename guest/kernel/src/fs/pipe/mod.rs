//! Pipes (`pipe(7)`): the bytes between two ends, and who waits for them.
//!
//! Up to `PIPE_BUF` bytes are written as a whole or not at all; longer writes go in pieces. A sleeping
//! lock guards the ring of bytes, because copies to and from programs may fault.

mod end;
pub mod fifo;
mod ring;

pub use end::PipeEnd;
use ring::Ring;

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::any::Any;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::perm::Who;
use super::{File, FileOps, FileType, Inode, Metadata, OpenFlags, ReadBuf, Timespec, WriteBuf};
use crate::errno::{Errno, KResult};
use crate::sync::{Mutex, MutexGuard, WaitQueue};
use crate::task::signal::{self, SigInfo};

/// Writes of at most so many bytes are atomic.
const PIPE_BUF: usize = 4096;

/// Largest capacity that `F_SETPIPE_SZ` grants (`/proc/sys/fs/pipe-max-size`).
pub const MAX_CAPACITY: usize = 1 << 20;

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
        self.filled.store(ring.len(), Ordering::Release);
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
                if ring.len() > 0 {
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
                    if ring.free() < max {
                        let wanted = ring.len() + max;
                        ring.grow(wanted);
                    }
                    if total > PIPE_BUF || ring.free() >= left {
                        step = ring.fill(buf, max);
                        self.note_len(&ring);
                    } else {
                        ring.stop_growing();
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
        self.ring.lock().capacity()
    }

    /// `F_SETPIPE_SZ`: a power of two of pages that holds `size`. EBUSY if it holds more now, EPERM
    /// above [`MAX_CAPACITY`], ENOMEM.
    pub fn set_capacity(&self, size: usize) -> KResult<usize> {
        if size > MAX_CAPACITY {
            return Err(Errno::EPERM);
        }
        let capacity = size.max(4096).next_power_of_two();
        self.ring.lock().set_capacity(capacity)?;
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
