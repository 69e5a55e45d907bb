//! Terminals: a console with a line discipline and job control.
//!
//! The kernel's command line says what the first console is: `console=tty` makes it the terminal
//! `/dev/console`; with `console=stream` it stays a stream of bytes.
//!
//! Input is processed when it arrives, in the interrupt, so that ^C reaches a program that reads
//! nothing. Locks: the console's input before the terminal's state before the console's output.

mod ioctl;
mod ldisc;
mod termios;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::drivers::console::{self, Console, InputSink};
use crate::errno::{Errno, KResult};
use crate::fs::{File, FileOps, OpenFlags, PollEvents, PollTable, ReadBuf, WriteBuf};
use crate::sync::{Mutex, Once, SpinLock, WaitQueue};
use crate::task::signal::{self, SigInfo};
use crate::task::{self, Process};

use ldisc::{Effect, LineDiscipline, Signal};
use termios::{ICANON, TOSTOP, VMIN, VTIME, WinSize};

/// Bytes that one step of a read or a write moves.
const CHUNK: usize = 1024;

/// A terminal.
pub struct Tty {
    console: Arc<Console>,
    discipline: SpinLock<LineDiscipline>,
    window: SpinLock<WinSize>,
    /// Session that this is the controlling terminal of; 0: none.
    session: AtomicU32,
    /// Foreground process group; 0: none.
    foreground: AtomicU32,
    input: Arc<WaitQueue>,
    /// Woken when output may go on.
    output: Arc<WaitQueue>,
    /// Writers take turns, so that their lines do not mix.
    writer: Mutex<Vec<u8>>,
    /// Readers too.
    reader: Mutex<()>,
}

static CONSOLE: Once<Arc<Tty>> = Once::new();

/// Make the first console a terminal if the command line says `console=tty`.
pub fn init(cmdline: &str) {
    let wanted = cmdline
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix("console="))
        .any(|kind| kind == "tty");
    if !wanted {
        return;
    }
    let Some(console) = console::get(0) else {
        return;
    };
    let (columns, rows) = console
        .size()
        .filter(|&(columns, rows)| columns != 0 && rows != 0)
        .unwrap_or((80, 24));
    let tty = Arc::new(Tty {
        console: console.clone(),
        discipline: SpinLock::new(LineDiscipline::new()),
        window: SpinLock::new(WinSize {
            rows,
            columns,
            ..WinSize::default()
        }),
        session: AtomicU32::new(0),
        foreground: AtomicU32::new(0),
        input: Arc::new(WaitQueue::new()),
        output: Arc::new(WaitQueue::new()),
        writer: Mutex::new(Vec::new()),
        reader: Mutex::new(()),
    });
    if CONSOLE.set(tty.clone()).is_ok() {
        console.attach(tty);
    }
}

/// The terminal on the first console, if it is one.
pub fn console_tty() -> Option<Arc<Tty>> {
    CONSOLE.get().cloned()
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
    Box::new(TtyFile { tty: tty.clone() })
}

/// Open `/dev/tty`: the controlling terminal. ENXIO if there is none.
pub fn open_controlling() -> KResult<Box<dyn FileOps>> {
    let tty = task::current_process().ctty.lock().clone();
    match tty {
        Some(tty) => Ok(Box::new(TtyFile { tty })),
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
    for member in task::all_processes() {
        if member.sid() == sid {
            *member.ctty.lock() = None;
        }
    }
    if let Some(group) = foreground {
        signal::send_to_group(group, SigInfo::kernel(signal::SIGHUP));
        signal::send_to_group(group, SigInfo::kernel(signal::SIGCONT));
    }
}

impl Tty {
    /// Device number: `/dev/console` is 5:1.
    pub fn device(&self) -> u64 {
        crate::fs::devfs::make_dev(5, 1)
    }

    /// The foreground process group; 0: none.
    pub fn foreground(&self) -> u32 {
        self.foreground.load(Ordering::Relaxed)
    }

    /// The session it controls; 0: none.
    pub fn session(&self) -> u32 {
        self.session.load(Ordering::Relaxed)
    }

    /// Session `sid` does not control the terminal any more; gives the foreground group, which is to
    /// be told.
    fn session_ended(&self, sid: u32) -> Option<u32> {
        self.session
            .compare_exchange(sid, 0, Ordering::Relaxed, Ordering::Relaxed)
            .ok()?;
        let foreground = self.foreground.swap(0, Ordering::Relaxed);
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

    fn read(&self, buf: &mut ReadBuf<'_>, nonblock: bool) -> KResult<usize> {
        if buf.remaining() == 0 {
            return Ok(0);
        }
        let mut line = Vec::new();
        loop {
            self.check_background(signal::SIGTTIN)?;
            let (termios, ended) = {
                let discipline = self.discipline.lock();
                (discipline.termios, discipline.ended)
            };
            let reader = self.reader.lock();
            let max = buf.remaining().min(CHUNK * 4);
            let (found, eof) = {
                let mut discipline = self.discipline.lock();
                let found = discipline.has_input();
                (found, found && discipline.read(max, &mut line))
            };
            if found {
                // Room has been made: input that waited can come in.
                self.console.pump();
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
            let least = usize::from(termios.cc[VMIN]);
            let tenths = u64::from(termios.cc[VTIME]);
            let ready = || {
                let discipline = self.discipline.lock();
                (discipline.has_input() || discipline.ended).then_some(())
            };
            if termios.local(ICANON) || (least > 0 && tenths == 0) {
                // With VMIN above 1 Linux waits for so many; one is what every program handles.
                self.input.wait(ready)?;
            } else if least == 0 && tenths == 0 {
                return Ok(0);
            } else if least == 0 {
                let deadline = crate::time::now_ns() + tenths * 100_000_000;
                if self.input.wait_deadline(Some(deadline), ready)?.is_none() {
                    return Ok(0);
                }
            } else {
                self.input.wait(ready)?;
            }
        }
    }

    fn write(&self, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        if self.discipline.lock().termios.local(TOSTOP) {
            self.check_background(signal::SIGTTOU)?;
        }
        let mut out = self.writer.lock();
        let mut written = 0;
        let mut chunk = [0u8; CHUNK];
        while buf.remaining() > 0 {
            if self.discipline.lock().stopped {
                let resumed = self
                    .output
                    .wait(|| (!self.discipline.lock().stopped).then_some(()));
                if let Err(e) = resumed {
                    return if written > 0 { Ok(written) } else { Err(e) };
                }
            }
            let n = match buf.take(&mut chunk) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if written == 0 => return Err(e),
                Err(_) => break,
            };
            out.clear();
            self.discipline.lock().process_output(&chunk[..n], &mut out);
            if let Err(e) = self.console.write(&mut WriteBuf::kernel(&out), false) {
                return if written > 0 { Ok(written) } else { Err(e) };
            }
            written += n;
        }
        Ok(written)
    }
}

impl InputSink for Tty {
    fn accept(&self, bytes: &[u8]) -> usize {
        let mut effect = Effect::default();
        let (taken, stopped) = {
            let mut discipline = self.discipline.lock();
            let taken = discipline.receive(bytes, &mut effect);
            (taken, discipline.stopped)
        };
        if !effect.echo.is_empty() {
            self.console.write_now(&effect.echo);
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

    fn end_of_input(&self) {
        self.discipline.lock().ended = true;
        self.input.wake_all();
        self.output.wake_all();
    }

    fn resized(&self) {
        if let Some((columns, rows)) = self.console.size() {
            self.set_window(WinSize {
                rows,
                columns,
                ..WinSize::default()
            });
        }
    }
}

/// An open terminal.
struct TtyFile {
    tty: Arc<Tty>,
}

impl FileOps for TtyFile {
    fn read(&self, file: &File, buf: &mut ReadBuf<'_>) -> KResult<usize> {
        self.tty.read(buf, file.nonblocking())
    }

    fn write(&self, _file: &File, buf: &mut WriteBuf<'_>) -> KResult<usize> {
        self.tty.write(buf)
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.add(&self.tty.input);
            table.add(&self.tty.output);
        }
        let discipline = self.tty.discipline.lock();
        let mut events = PollEvents::empty();
        if discipline.has_input() || discipline.ended {
            events |= PollEvents::READABLE;
        }
        if discipline.ended {
            events |= PollEvents::HUP;
        }
        if !discipline.stopped {
            events |= PollEvents::WRITABLE;
        }
        events
    }

    fn ioctl(&self, _file: &File, cmd: u32, arg: usize) -> KResult<usize> {
        self.tty.ioctl(cmd, arg)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
