//! Pseudo-terminals (`pty(7)`): terminals behind which a program sits, at the descriptor that opening
//! `/dev/ptmx` gave it, the master.
//!
//! ```text
//!  write ──► line discipline ──► read          terminal output ──► ring of bytes ──► read
//!  master                        terminal      terminal            (Pair)            master
//! ```
//!
//! The terminal ends with its master: whoever has it open then finds it hung up. The master finds EIO
//! while nobody has the terminal open any more.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::line::Line;
use super::{CHUNK, Tty};
use crate::errno::{Errno, KResult};
use crate::fs::path::{self, Lookup};
use crate::fs::perm::Who;
use crate::fs::{
    FIONREAD, File, FileOps, FileType, FsContext, Metadata, OpenFlags, PollEvents, PollTable,
    ReadBuf, Timespec, WriteBuf, device, devpts, open_dentry,
};
use crate::mm::user::{read_user, write_user};
use crate::sync::{SpinLock, WaitQueue};
use crate::task;
use crate::task::signal;

/// Most pseudo-terminals at a time (`/proc/sys/kernel/pty/max` of Linux).
const MOST: usize = 4096;

/// Output that a terminal holds for its master before writers wait.
const OUTPUT: usize = 4096;

/// Major number of the terminals' special files.
const MAJOR: u32 = 136;

/// The group `tty`, which `write(1)` and its like run as.
const TTY_GROUP: u32 = 5;

const TCFLSH: u32 = 0x540b;
const TIOCOUTQ: u32 = 0x5411;
const TIOCNOTTY: u32 = 0x5422;
const TIOCGPTPEER: u32 = 0x5441;
const TIOCGPTN: u32 = 0x8004_5430;
const TIOCSPTLCK: u32 = 0x4004_5431;
const TIOCSIG: u32 = 0x4004_5436;
const TIOCGPTLCK: u32 = 0x8004_5439;

/// The terminal's number, and what its two sides share.
struct Pair {
    number: u32,
    /// Output that the master has not read.
    output: SpinLock<VecDeque<u8>>,
    /// Woken when the master may find something to read, or that there will be nothing.
    readable: Arc<WaitQueue>,
    /// Woken when the terminal takes input again.
    writable: Arc<WaitQueue>,
    /// Descriptions of the terminal.
    users: AtomicUsize,
    /// Somebody has opened the terminal.
    used: AtomicBool,
    /// The terminal cannot be opened yet (`unlockpt(3)`).
    locked: AtomicBool,
    /// The master is closed.
    gone: AtomicBool,
}

impl Pair {
    fn new(number: u32) -> KResult<Self> {
        let mut output = VecDeque::new();
        // Room for what is written at once when there is hardly any left, and for echo.
        output
            .try_reserve_exact(OUTPUT + 4 * CHUNK)
            .map_err(|_| Errno::ENOMEM)?;
        Ok(Self {
            number,
            output: SpinLock::new(output),
            readable: Arc::new(WaitQueue::new()),
            writable: Arc::new(WaitQueue::new()),
            users: AtomicUsize::new(0),
            used: AtomicBool::new(false),
            locked: AtomicBool::new(true),
            gone: AtomicBool::new(false),
        })
    }

    /// Whether the terminal has been used, and is not any more.
    fn is_left(&self) -> bool {
        self.used.load(Ordering::Relaxed) && self.users.load(Ordering::Relaxed) == 0
    }
}

impl Line for Pair {
    fn device(&self) -> u64 {
        device::make_dev(MAJOR, self.number)
    }

    fn room(&self) -> usize {
        OUTPUT.saturating_sub(self.output.lock().len())
    }

    fn write(&self, bytes: &[u8]) -> KResult<()> {
        self.output.lock().extend(bytes);
        self.readable.wake_all();
        Ok(())
    }

    fn write_now(&self, bytes: &[u8]) {
        {
            let mut output = self.output.lock();
            let room = output.capacity() - output.len();
            output.extend(&bytes[..bytes.len().min(room)]);
        }
        self.readable.wake_all();
    }

    fn drain(&self) {}

    fn pump(&self) {
        self.writable.wake_all();
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    fn opened(&self) {
        self.users.fetch_add(1, Ordering::Relaxed);
        self.used.store(true, Ordering::Relaxed);
    }

    fn closed(&self) {
        if self.users.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.readable.wake_all();
        }
    }
}

/// A terminal with a name in `/dev/pts`.
pub struct Slave {
    pair: Arc<Pair>,
    tty: Arc<Tty>,
    meta: SpinLock<Metadata>,
}

/// All that there are, by number.
static SLAVES: SpinLock<BTreeMap<u32, Arc<Slave>>> = SpinLock::new(BTreeMap::new());

/// The terminal with a number. ENOENT.
pub fn slave(number: u32) -> KResult<Arc<Slave>> {
    SLAVES.lock().get(&number).cloned().ok_or(Errno::ENOENT)
}

/// The numbers of the terminals that there are.
pub fn numbers() -> Vec<u32> {
    SLAVES.lock().keys().copied().collect()
}

impl Slave {
    /// The facts about its special file.
    pub fn meta(&self) -> &SpinLock<Metadata> {
        &self.meta
    }

    /// Open the terminal. EIO: it is locked, or its master is closed.
    pub fn open(&self, flags: OpenFlags) -> KResult<Box<dyn FileOps>> {
        if self.pair.is_gone() || self.pair.locked.load(Ordering::Relaxed) {
            return Err(Errno::EIO);
        }
        Ok(super::open(&self.tty, flags))
    }
}

/// Open `/dev/ptmx`: a terminal with the lowest free number. ENOSPC: there are too many. ENOMEM.
pub fn open_master() -> KResult<Box<dyn FileOps>> {
    let who = Who::current();
    let now = Timespec::now();
    loop {
        let number = {
            let slaves = SLAVES.lock();
            if slaves.len() >= MOST {
                return Err(Errno::ENOSPC);
            }
            let taken = slaves.keys().zip(0..).take_while(|(key, n)| **key == *n);
            taken.count() as u32
        };
        let pair = Arc::new(Pair::new(number)?);
        let meta = Metadata {
            uid: who.uid,
            gid: TTY_GROUP,
            rdev: pair.device(),
            atime: now,
            mtime: now,
            ctime: now,
            ..devpts::metadata(u64::from(number), FileType::Char, 0o620)
        };
        let tty = Arc::new(Tty::new(pair.clone(), 0, 0));
        let slave = Arc::new(Slave {
            pair: pair.clone(),
            tty: tty.clone(),
            meta: SpinLock::new(meta),
        });
        let mut slaves = SLAVES.lock();
        if slaves.contains_key(&number) {
            // Somebody has been faster.
            continue;
        }
        slaves.insert(number, slave);
        return Ok(Box::new(Master { pair, tty }));
    }
}

/// The program's side.
struct Master {
    pair: Arc<Pair>,
    tty: Arc<Tty>,
}

impl Master {
    /// Hand over what the terminal has put out; gives the count.
    fn take_output(&self, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        let mut chunk = [0; CHUNK];
        let mut read = 0;
        while buf.remaining() > 0 {
            let mut n = 0;
            {
                let mut output = self.pair.output.lock();
                let most = buf.remaining().min(CHUNK).min(output.len());
                for byte in output.drain(..most) {
                    chunk[n] = byte;
                    n += 1;
                }
            }
            if n == 0 {
                break;
            }
            read += buf.put(&chunk[..n])?;
        }
        if read > 0 {
            self.tty.output.wake_all();
        }
        Ok(read)
    }

    /// A descriptor of the terminal, without its name (`TIOCGPTPEER`).
    fn open_peer(&self, flags: u32) -> KResult<usize> {
        let name = format!("/dev/pts/{}", self.pair.number);
        let found = path::resolve_in(&FsContext::initial(), name.as_bytes(), Lookup::NoFollow)
            .map_err(|_| Errno::EIO)?;
        let flags = OpenFlags(flags);
        let file = open_dentry(found.dentry, flags)?;
        task::current_process().install_file(file, flags.has(OpenFlags::CLOEXEC))
    }
}

impl FileOps for Master {
    fn read(&self, file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        if buf.remaining() == 0 {
            return Ok(0);
        }
        loop {
            let left = self.pair.is_left();
            let n = self.take_output(buf)?;
            if n > 0 {
                return Ok(n);
            }
            if left {
                return Err(Errno::EIO);
            }
            if file.nonblocking() {
                return Err(Errno::EAGAIN);
            }
            self.pair.readable.wait(|| {
                (self.pair.is_left() || !self.pair.output.lock().is_empty()).then_some(())
            })?;
        }
    }

    fn write(&self, file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        let mut chunk = [0; CHUNK];
        let mut written = 0;
        let partly = |written: usize, error: Errno| match written {
            0 => Err(error),
            n => Ok(n),
        };
        while buf.remaining() > 0 {
            let n = match buf.take(&mut chunk) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) => return partly(written, e),
            };
            let mut at = 0;
            while at < n {
                at += self.tty.accept_input(&chunk[at..n]);
                if at == n {
                    break;
                }
                if file.nonblocking() {
                    return partly(written + at, Errno::EAGAIN);
                }
                let waited = self
                    .pair
                    .writable
                    .wait(|| self.tty.accepts_input().then_some(()));
                if let Err(e) = waited {
                    return partly(written + at, e);
                }
            }
            written += n;
        }
        Ok(written)
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.add(&self.pair.readable);
            table.add(&self.pair.writable);
        }
        let mut events = PollEvents::empty();
        if !self.pair.output.lock().is_empty() {
            events |= PollEvents::READABLE;
        }
        if self.tty.accepts_input() {
            events |= PollEvents::WRITABLE;
        }
        if self.pair.is_left() {
            events |= PollEvents::HUP;
        }
        events
    }

    fn ioctl(&self, _file: &File, cmd: u32, arg: usize) -> KResult<usize> {
        match cmd {
            TIOCGPTN => write_user(arg, &self.pair.number)?,
            TIOCSPTLCK => {
                let locked: u32 = read_user(arg)?;
                self.pair.locked.store(locked != 0, Ordering::Relaxed);
            }
            TIOCGPTLCK => {
                let locked = self.pair.locked.load(Ordering::Relaxed);
                write_user(arg, &u32::from(locked))?;
            }
            TIOCGPTPEER => return self.open_peer(arg as u32),
            TIOCSIG => {
                let signo = arg as u32;
                if !matches!(signo, signal::SIGINT | signal::SIGQUIT | signal::SIGTSTP) {
                    return Err(Errno::EINVAL);
                }
                self.tty.signal_foreground(signo);
            }
            FIONREAD => write_user(arg, &(self.pair.output.lock().len() as u32))?,
            TIOCOUTQ => write_user(arg, &0u32)?,
            TIOCNOTTY => return Err(Errno::ENOTTY),
            TCFLSH => {
                // What is input for the terminal is output here, and the other way round.
                if arg > 2 {
                    return Err(Errno::EINVAL);
                }
                if arg != 1 {
                    self.pair.output.lock().clear();
                    self.tty.output.wake_all();
                }
                if arg != 0 {
                    self.tty.flush_input();
                }
            }
            _ => return self.tty.ioctl(super::Side::Master, cmd, arg),
        }
        Ok(0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let slave = SLAVES.lock().remove(&self.pair.number);
        drop(slave);
        self.pair.gone.store(true, Ordering::Relaxed);
        self.tty.hang_up();
    }
}
