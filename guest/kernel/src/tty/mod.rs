//! Terminals: a line discipline and job control before a console, or before a program (`pty.rs`).
//!
//! Input is processed when it arrives, on a console in the interrupt, so that ^C reaches a program
//! that reads nothing. Locks: the console's input before the terminal's state before its output.

mod console;
mod ioctl;
mod ldisc;
mod line;
pub mod pty;
mod termios;

pub use console::{console_tty, init};

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::errno::{Errno, KResult};
use crate::fs::{File, FileOps, OpenFlags, PollEvents, PollTable, ReadBuf, WriteBuf};
use crate::sync::{Mutex, SpinLock, WaitQueue};
use crate::task::signal::{self, SigInfo};
use crate::task::{self, Process};

use ldisc::{Effect, LineDiscipline, Signal};
use line::Line;
use termios::{ICANON, TOSTOP, VMIN, VTIME, WinSize};

/// Bytes that one step of a read or a write moves.
const CHUNK: usize = 1024;

/// A terminal.
pub struct Tty {
    line: Arc<dyn Line>,
    discipline: SpinLock<LineDiscipline>,
    window: SpinLock<WinSize>,
    /// Session that this is the controlling terminal of; 0: none.
    session: AtomicU32,
    /// Foreground process group; 0: none.
    foreground: AtomicU32,
    /// How often it has been hung up: descriptions from before are dead.
    hangups: AtomicU32,
    input: Arc<WaitQueue>,
    /// Woken when output may go on.
    output: Arc<WaitQueue>,
    /// Writers take turns, so that their lines do not mix.
    writer: Mutex<Vec<u8>>,
    /// Readers too.
    reader: Mutex<()>,
}

/// From which side a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// A program that uses the terminal.
    Terminal,
    /// The program that plays it.
    Master,
}

/// Open a terminal: it becomes the controlling terminal of a session leader that has none, unless
/// `O_NOCTTY` is given.
pub fn open(tty: &Arc<Tty>, flags: OpenFlags) -> Box<dyn FileOps> {
    if !flags.has(OpenFlags::NOCTTY) && task::current_process().pid() != 0 {
        let process = task::current_process();
        let leads = process.sid() == process.pid();
        if leads
            && process.ctty.lock().is_none()
            && tty
                .session
                .compare_exchange(0, process.sid(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            tty.foreground.store(process.pgid(), Ordering::Relaxed);
            *process.ctty.lock() = Some(tty.clone());
        }
    }
    Box::new(TtyFile::new(tty.clone()))
}

/// Open `/dev/tty`: the controlling terminal. ENXIO if there is none.
pub fn open_controlling() -> KResult<Box<dyn FileOps>> {
    let tty = task::current_process().ctty.lock().clone();
    match tty {
        Some(tty) => Ok(Box::new(TtyFile::new(tty))),
        None => Err(Errno::ENXIO),
    }
}

/// `process` has no controlling terminal any more (exit, `TIOCNOTTY`); if it leads the session,
/// nobody in it has, and the foreground group gets SIGHUP and SIGCONT.
pub fn disassociate(process: &Process) {
    let Some(tty) = process.ctty.lock().take() else {
        return;
    };
    let sid = process.sid();
    if sid != process.pid() {
        return;
    }
    let foreground = tty.session_ended(sid);
    if let Some(group) = foreground {
        signal::send_to_group(group, SigInfo::kernel(signal::SIGHUP));
        signal::send_to_group(group, SigInfo::kernel(signal::SIGCONT));
    }
}

impl Tty {
    fn new(line: Arc<dyn Line>, rows: u16, columns: u16) -> Self {
        Self {
            line,
            discipline: SpinLock::new(LineDiscipline::new()),
            window: SpinLock::new(WinSize {
                rows,
                columns,
                ..WinSize::default()
            }),
            session: AtomicU32::new(0),
            foreground: AtomicU32::new(0),
            hangups: AtomicU32::new(0),
            input: Arc::new(WaitQueue::new()),
            output: Arc::new(WaitQueue::new()),
            writer: Mutex::new(Vec::new()),
            reader: Mutex::new(()),
        }
    }

    /// Device number.
    pub fn device(&self) -> u64 {
        self.line.device()
    }

    /// Nobody is at the other end any more: the session loses its terminal, its leader and the
    /// foreground group get SIGHUP and SIGCONT, and descriptions are dead.
    fn hang_up(&self) {
        let session = self.session();
        let leader = match session {
            0 => None,
            sid => task::find_process(sid),
        };
        let foreground = self.session_ended(session);
        self.revoke();
        for signo in [signal::SIGHUP, signal::SIGCONT] {
            if let Some(leader) = &leader {
                // A standard signal always finds room.
                let _ = signal::send_to_process(leader, SigInfo::kernel(signo));
            }
            if let Some(group) = foreground {
                signal::send_to_group(group, SigInfo::kernel(signo));
            }
        }
    }

    /// All descriptions of the terminal are dead from now on.
    fn revoke(&self) {
        self.hangups.fetch_add(1, Ordering::Relaxed);
        {
            let mut discipline = self.discipline.lock();
            discipline.flush_input();
            discipline.stopped = false;
        }
        self.input.wake_all();
        self.output.wake_all();
    }

    /// The foreground process group; 0: none.
    pub fn foreground(&self) -> u32 {
        self.foreground.load(Ordering::Relaxed)
    }

    /// The session it controls; 0: none.
    pub fn session(&self) -> u32 {
        self.session.load(Ordering::Relaxed)
    }

    /// The terminal does not control session `sid` (0: none) any more, and nobody in it has one;
    /// gives the foreground group, which is to be told.
    fn session_ended(&self, sid: u32) -> Option<u32> {
        let ended = self
            .session
            .compare_exchange(sid, 0, Ordering::Relaxed, Ordering::Relaxed);
        let foreground = ended.map_or(0, |_| self.foreground.swap(0, Ordering::Relaxed));
        if sid != 0 {
            for member in task::all_processes() {
                if member.sid() == sid {
                    member.ctty.lock().take();
                }
            }
        }
        (foreground != 0).then_some(foreground)
    }

    fn signal_foreground(&self, signo: u32) {
        let group = self.foreground();
        if group != 0 {
            signal::send_to_group(group, SigInfo::kernel(signo));
        }
    }

    /// Whether the running process is in the background of this, its controlling terminal.
    fn in_background(&self) -> bool {
        let process = task::current_process();
        process.sid() == self.session() && process.pgid() != self.foreground()
    }

    /// Stop a background process that wants to use the terminal: `signo` goes to its group and
    /// the call is restarted after it. EIO if the group is orphaned or ignores SIGTTIN.
    fn check_background(&self, signo: u32) -> KResult<()> {
        if !self.in_background() {
            return Ok(());
        }
        if signal::is_ignored_or_blocked(signo) {
            // Ignored: output goes through, input fails.
            return if signo == signal::SIGTTOU {
                Ok(())
            } else {
                Err(Errno::EIO)
            };
        }
        let group = task::current_process().pgid();
        if signal::is_orphaned(group) {
            return Err(Errno::EIO);
        }
        signal::send_to_group(group, SigInfo::kernel(signo));
        Err(Errno::ERESTARTSYS)
    }

    /// Take input, processed already; gives how many bytes there was room for. The rest is to be
    /// offered again after [`Line::pump`]. Does not sleep.
    fn accept_input(&self, bytes: &[u8]) -> usize {
        let mut effect = Effect::default();
        let (taken, stopped) = {
            let mut discipline = self.discipline.lock();
            let taken = discipline.receive(bytes, &mut effect);
            (taken, discipline.stopped)
        };
        if !effect.echo.is_empty() {
            self.line.write_now(&effect.echo);
        }
        for signal in effect.signals {
            self.signal_foreground(match signal {
                Signal::Interrupt => signal::SIGINT,
                Signal::Quit => signal::SIGQUIT,
                Signal::Suspend => signal::SIGTSTP,
            });
        }
        if effect.readable {
            self.input.wake_all();
        }
        if !stopped {
            self.output.wake_all();
        }
        taken
    }

    /// Whether some input would be accepted.
    fn accepts_input(&self) -> bool {
        self.discipline.lock().has_room()
    }

    /// Throw away input that has not been read.
    fn flush_input(&self) {
        self.discipline.lock().flush_input();
        self.line.pump();
    }

    /// Read as a description opened after `hangups` hang-ups does.
    fn read(&self, buf: &mut ReadBuf<'_>, nonblock: bool, hangups: u32) -> KResult<usize> {
        if buf.remaining() == 0 {
            return Ok(0);
        }
        let is_dead = || self.hangups.load(Ordering::Relaxed) != hangups;
        let mut line = Vec::new();
        let mut waited = false;
        loop {
            if is_dead() {
                // Only who has waited learns why nothing comes.
                return match waited && self.line.is_gone() {
                    true => Err(Errno::EIO),
                    false => Ok(0),
                };
            }
            waited = true;
            self.check_background(signal::SIGTTIN)?;
            let (termios, ended) = {
                let discipline = self.discipline.lock();
                (discipline.termios, discipline.ended)
            };
            let reader = self.reader.lock();
            let max = buf.remaining().min(CHUNK * 4);
            // Without a time limit a read waits for as many bytes as VMIN says.
            let least = match termios.cc[VTIME] {
                0 if !nonblock && !ended => usize::from(termios.cc[VMIN]).min(max),
                _ => 1,
            };
            let (found, eof) = {
                let mut discipline = self.discipline.lock();
                let found = discipline.has_input(least);
                (found, found && discipline.read(max, &mut line))
            };
            if found {
                // Room has been made: input that waited can come in.
                self.line.pump();
                if line.is_empty() && !eof {
                    continue;
                }
                return buf.put(&line);
            }
            drop(reader);
            if ended {
                return Ok(0);
            }
            if nonblock {
                return Err(Errno::EAGAIN);
            }
            let tenths = u64::from(termios.cc[VTIME]);
            let ready = || {
                let discipline = self.discipline.lock();
                (discipline.has_input(least) || discipline.ended || is_dead()).then_some(())
            };
            if termios.local(ICANON) || termios.cc[VMIN] > 0 {
                self.input.wait(ready)?;
            } else if tenths == 0 {
                return Ok(0);
            } else {
                let deadline = crate::time::now_ns() + tenths * 100_000_000;
                if self.input.wait_deadline(Some(deadline), ready)?.is_none() {
                    return Ok(0);
                }
            }
        }
    }

    /// Write as a description opened after `hangups` hang-ups does.
    fn write(&self, buf: &mut WriteBuf<'_>, nonblock: bool, hangups: u32) -> KResult<usize> {
        if self.discipline.lock().termios.local(TOSTOP) {
            self.check_background(signal::SIGTTOU)?;
        }
        let is_dead = || self.hangups.load(Ordering::Relaxed) != hangups;
        let mut out = match self.writer.try_lock() {
            Some(out) => out,
            None if nonblock => return Err(Errno::EAGAIN),
            None => self.writer.lock(),
        };
        let mut written = 0;
        let mut chunk = [0u8; CHUNK];
        while buf.remaining() > 0 {
            let waited = match self.room() {
                0 if nonblock => Err(Errno::EAGAIN),
                0 => self.output.wait(|| {
                    let room = self.room();
                    (room > 0 || is_dead()).then_some(room)
                }),
                room => Ok(room),
            };
            let waited = if is_dead() { Err(Errno::EIO) } else { waited };
            let step = waited.and_then(|room| {
                // A line's end becomes two bytes.
                let n = buf.take(&mut chunk[..(room / 2).clamp(1, CHUNK)])?;
                out.clear();
                self.discipline.lock().process_output(&chunk[..n], &mut out);
                self.line.write(&out)?;
                Ok(n)
            });
            match step {
                Ok(0) => break,
                Ok(n) => written += n,
                Err(e) if written == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(written)
    }

    /// How many bytes can be written now: none while output is stopped.
    fn room(&self) -> usize {
        if self.discipline.lock().stopped {
            0
        } else {
            self.line.room()
        }
    }
}

/// An open terminal.
struct TtyFile {
    tty: Arc<Tty>,
    /// How often the terminal had been hung up before.
    hangups: u32,
}

impl TtyFile {
    fn new(tty: Arc<Tty>) -> Self {
        tty.line.opened();
        let hangups = tty.hangups.load(Ordering::Relaxed);
        Self { tty, hangups }
    }

    fn is_dead(&self) -> bool {
        self.tty.hangups.load(Ordering::Relaxed) != self.hangups
    }
}

impl Drop for TtyFile {
    fn drop(&mut self) {
        self.tty.line.closed();
    }
}

impl FileOps for TtyFile {
    fn read(&self, file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        self.tty.read(buf, file.nonblocking(), self.hangups)
    }

    fn write(&self, file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        self.tty.write(buf, file.nonblocking(), self.hangups)
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.add(&self.tty.input);
            table.add(&self.tty.output);
        }
        if self.is_dead() {
            return PollEvents::ALWAYS | PollEvents::ERR | PollEvents::HUP;
        }
        let mut events = PollEvents::empty();
        {
            let discipline = self.tty.discipline.lock();
            let least = match discipline.termios.cc[VTIME] {
                0 => usize::from(discipline.termios.cc[VMIN]).max(1),
                _ => 1,
            };
            if discipline.has_input(least) || discipline.ended {
                events |= PollEvents::READABLE;
            }
            if discipline.ended {
                events |= PollEvents::HUP;
            }
        }
        if self.tty.room() > 0 {
            events |= PollEvents::WRITABLE;
        }
        events
    }

    fn ioctl(&self, _file: &File, cmd: u32, arg: usize) -> KResult<usize> {
        if self.is_dead() {
            return Err(Errno::EIO);
        }
        self.tty.ioctl(Side::Terminal, cmd, arg)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
